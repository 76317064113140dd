using System.Text.Json;
using System.Text.Json.Serialization;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;

namespace CarServer.State.Permissions;

/// <summary>A mode for each tier.</summary>
internal sealed record Posture(
    [property: JsonConverter(typeof(ModeWord))] string ReadOnly, [property: JsonConverter(typeof(ModeWord))] string SandboxEdit,
    [property: JsonConverter(typeof(ModeWord))] string FullAccess)
{
    public static Posture Of(string preset) => new(
        preset == PresetWord.Cautious ? ModeWord.RequireApproval : ModeWord.AlwaysAllow,
        preset == PresetWord.Trusting ? ModeWord.AlwaysAllow : ModeWord.RequireApproval,
        ModeWord.RequireApproval);

    public string Mode(PermissionTier tier) => tier switch
    {
        PermissionTier.ReadOnly => ReadOnly,
        PermissionTier.SandboxEdit => SandboxEdit,
        _ => FullAccess,
    };

    public Posture With(PermissionTier tier, string mode) => tier switch
    {
        PermissionTier.ReadOnly => this with { ReadOnly = mode },
        PermissionTier.SandboxEdit => this with { SandboxEdit = mode },
        _ => this with { FullAccess = mode },
    };
}

/// <summary>What an agent has of its own; a tier without a mode follows the default, also when that changes.</summary>
internal sealed record PostureOverride(
    [property: JsonConverter(typeof(ModeWord)), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? ReadOnly = null,
    [property: JsonConverter(typeof(ModeWord)), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? SandboxEdit = null,
    [property: JsonConverter(typeof(ModeWord)), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? FullAccess = null)
{
    public string? Mode(PermissionTier tier) => tier switch
    {
        PermissionTier.ReadOnly => ReadOnly,
        PermissionTier.SandboxEdit => SandboxEdit,
        _ => FullAccess,
    };

    /// <param name="tier">Null for all of them.</param>
    public PostureOverride With(PermissionTier? tier, string mode) => tier switch
    {
        null => new PostureOverride(mode, mode, mode),
        PermissionTier.ReadOnly => this with { ReadOnly = mode },
        PermissionTier.SandboxEdit => this with { SandboxEdit = mode },
        _ => this with { FullAccess = mode },
    };
}

/// <summary>The postures of all agents: the file, and the answer of most methods.</summary>
[FromJson, ToJson]
internal sealed record AgentPostures(Posture Default, IReadOnlyDictionary<string, PostureOverride> Agents)
{
    public static AgentPostures Initial { get; } = new(Posture.Of(PresetWord.Balanced), new Dictionary<string, PostureOverride>());
}

/// <summary>How much each agent is trusted, in one file for all daemons of a state root (protocol 12.1). Any thread.</summary>
/// <remarks>Looked at for each question, read when it changed, and parsed when it became another one: it may be edited by hand. Only the primary daemon writes, whole.</remarks>
internal sealed class AgentPermissions(string path, bool mayWrite)
{
    /// <summary>A file that was younger when it was read may have changed again within the same tick of the clock that stamps files. That
    /// is the kernel's, a hundred times a second or more; but for file systems that keep whole seconds, or every other one.</summary>
    private static readonly TimeSpan SettledAge = TimeSpan.FromMilliseconds(100), SettledAgeOfSeconds = TimeSpan.FromSeconds(3);

    private readonly Lock _changing = new();
    private Reading? _last;

    /// <param name="Content">What the postures were read from, or written as.</param>
    /// <param name="Changed">Before it was read. Null: never settled.</param>
    private sealed record Reading(AgentPostures Postures, byte[] Content, DateTime? Changed = null, DateTime ReadAt = default)
    {
        /// <summary>After <see cref="ReadAt"/> the content could not become another one without another <see cref="Changed"/>.</summary>
        public bool IsSettled => ReadAt - Changed > (Changed?.Ticks % TimeSpan.TicksPerSecond == 0 ? SettledAgeOfSeconds : SettledAge);
    }

    /// <exception cref="RefusedException">The file cannot be read or understood; it is then left as it is.</exception>
    public AgentPostures Read()
    {
        try
        {
            var file = new FileInfo(path);
            if (!file.Exists) return AgentPostures.Initial;
            if (file.Length is 0 or > PermissionLimits.MaxAgentsFileBytes)
                throw new RefusedException($"{path} has {file.Length} bytes, expected are 1 to {PermissionLimits.MaxAgentsFileBytes}: repair or remove it");
            DateTime now = DateTime.UtcNow, changed = FileIdentity.LastChange(file);
            Reading? last = Volatile.Read(ref _last);
            if (last?.Changed == changed && last.Content.Length == file.Length && last.IsSettled) return last.Postures;
            PrivateFiles.TightenFile(path);
            byte[] content = File.ReadAllBytes(path);
            AgentPostures? read = last is not null && content.AsSpan().SequenceEqual(last.Content) ? last.Postures
                : Json.AgentPostures.Parse(content);
            if (read is null || read.Agents.Values.Contains(null)) throw new JsonException();
            Volatile.Write(ref _last, new Reading(read, content, changed, now));
            return read;
        }
        catch (JsonException e)
        {
            string where = e.LineNumber is { } line ? $", line {line + 1}" : "";
            throw new RefusedException($"{path}{where}: not understood; expected is {{\"default\": {{tier: mode}}, \"agents\": {{id: {{tier: mode}}}}}}: repair or remove it");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new RefusedException($"{path}: {PrivateFiles.Reason(e)}");
        }
    }

    /// <param name="tier">Null for all of them.</param>
    /// <returns>What the file now holds, an <see cref="AgentPostures"/>, as of the other changes, too.</returns>
    public RawJson Set(string agentId, PermissionTier? tier, string mode) => Change(postures =>
    {
        if (agentId.Length is 0 or > PermissionLimits.MaxAgentIdChars)
            throw new RefusedException($"agent_id must have 1 to {PermissionLimits.MaxAgentIdChars} characters", Refusal.Invalid);
        var agents = new Dictionary<string, PostureOverride>(postures.Agents);
        agents[agentId] = (agents.GetValueOrDefault(agentId) ?? new PostureOverride()).With(tier, mode);
        if (agents.Count > PermissionLimits.MaxAgents)
            throw new RefusedException($"{PermissionLimits.MaxAgents} agents have a posture of their own, which is the limit: agent_permissions.reset some");
        return postures with { Agents = agents };
    });

    public RawJson SetDefault(string preset) => Change(postures => postures with { Default = Posture.Of(preset) });

    public RawJson SetDefault(PermissionTier tier, string mode) => Change(postures => postures with { Default = postures.Default.With(tier, mode) });

    public RawJson Reset(string agentId) => Change(postures =>
    {
        var agents = new Dictionary<string, PostureOverride>(postures.Agents);
        agents.Remove(agentId);
        return postures with { Agents = agents };
    });

    private RawJson Change(Func<AgentPostures, AgentPostures> change)
    {
        if (!mayWrite) throw new RefusedException("another daemon is primary for this state root: postures are changed there");
        lock (_changing)
        {
            AgentPostures changed = change(Read());
            byte[] content = Json.AgentPostures.ToUtf8(changed, Contract.Compact);
            try
            {
                PrivateFiles.Replace(path, content, durable: true);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new RefusedException($"{path}: {PrivateFiles.Reason(e)}");
            }
            Volatile.Write(ref _last, new Reading(changed, content));   // to be compared with what is there, and not parsed
            return RawJson.FromCompact(content);
        }
    }
}
