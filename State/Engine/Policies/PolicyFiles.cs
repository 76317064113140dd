using System.Text;
using CarServer.RunStore;
using Microsoft.Extensions.Logging;

namespace CarServer.State.Engine.Policies;

/// <summary>The operator's policy files, <c>*.toml</c> of one directory in the order of their names (protocol 8.4). Any thread.</summary>
/// <remarks>
/// Every new connection looks at the directory, so that a change counts from the next connection on; the files themselves are read
/// only when a name, size or time of change differs from last time. A connection keeps the rules it began with.
/// </remarks>
internal sealed class PolicyFiles(string? directory, ILogger log)
{
    private static readonly Encoding StrictUtf8 = new UTF8Encoding(false, throwOnInvalidBytes: true);

    private readonly record struct Seen(string Name, string Path, long Length, DateTime Changed);

    private sealed record Reading(Seen[] Files, IReadOnlyList<Policy> Policies, string? Problem);

    private readonly Lock _reading = new();
    private volatile Reading _last = new([], [], null);

    /// <summary>The rules as the files have them now.</summary>
    /// <exception cref="RefusedException">A file cannot be read or is wrong; the message names it, and the line.</exception>
    public IReadOnlyList<Policy> Current()
    {
        if (directory is null) return [];
        Reading now = Look();
        return now.Problem is null ? now.Policies : throw new RefusedException(now.Problem);
    }

    private Reading Look()
    {
        Seen[] files;
        try
        {
            files = Files(directory!);
        }
        catch (DirectoryNotFoundException)
        {
            files = [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            log.LogError("{Path}: {Problem}: connections are refused", directory, PrivateFiles.Reason(e));
            return new Reading([], [], $"policy files: {PrivateFiles.Reason(e)}");
        }
        Reading last = _last;
        if (last.Files.AsSpan().SequenceEqual(files)) return last;
        // Whoever comes meanwhile waits for the rules rather than getting in without them.
        lock (_reading)
        {
            if (_last.Files.AsSpan().SequenceEqual(files)) return _last;
            Reading reading = Read(files, out bool mayPass);
            if (reading.Problem is { } problem) log.LogError("{Directory}: {Problem}: connections are refused", directory, problem);
            else log.LogInformation("policies read directory={Directory} files={Files} rules={Rules}", directory, files.Length, reading.Policies.Count);
            if (!mayPass) _last = reading;
            return reading;
        }
    }

    private static Seen[] Files(string directory)
    {
        // Most homes have no such directory; asking costs less than the exception.
        if (!Directory.Exists(directory)) return [];
        var files = new List<Seen>();
        foreach (FileInfo file in new DirectoryInfo(directory).EnumerateFiles("*.toml"))
        {
            // A link is as new as what it leads to.
            FileInfo real = file.LinkTarget is null ? file : file.ResolveLinkTarget(returnFinalTarget: true) as FileInfo ?? file;
            files.Add(new Seen(file.Name, real.FullName, real.Exists ? real.Length : -1, real.LastWriteTimeUtc));
        }
        files.Sort(static (left, right) => string.CompareOrdinal(left.Name, right.Name));
        return [.. files];
    }

    /// <param name="mayPass">The problem is the system's, not the text's: it may be over by the next connection, and nothing would tell.</param>
    private Reading Read(Seen[] files, out bool mayPass)
    {
        mayPass = false;
        if (files.Length > PolicyLimits.MaxFiles) return Refused($"policy files: at most {PolicyLimits.MaxFiles} are read, there are {files.Length}");
        var policies = new List<Policy>();
        foreach (Seen file in files)
        {
            try
            {
                List<Policy> rules = PolicyFile.Read(Text(file));
                policies.AddRange(rules);
                foreach (Policy broken in rules.Where(static rule => rule is DenyParamMatching { IsBroken: true }))
                    log.LogWarning("{File}: the regular expression of {Rule} cannot be used: every call of the tool is denied", file.Name, broken.Name);
            }
            catch (PolicyFileException e)
            {
                return Refused($"policy file {file.Name}: {e.Message}");
            }
            catch (DecoderFallbackException)
            {
                return Refused($"policy file {file.Name}: it is not UTF-8");
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                mayPass = true;
                return Refused($"policy file {file.Name}: {PrivateFiles.Reason(e)}");
            }
            if (policies.Count > PolicyLimits.MaxFileRules) return Refused($"policy file {file.Name}: with it there are more than {PolicyLimits.MaxFileRules} rules");
        }
        return new Reading(files, policies, null);

        Reading Refused(string problem) => new(files, [], problem);
    }

    private static string Text(Seen file)
    {
        // An empty file says nothing; what only looks empty, a pipe or a device, is never opened: it would keep us waiting.
        if (file.Length == 0) return "";
        if (file.Length > PolicyLimits.MaxFileBytes) throw new PolicyFileException($"it has {file.Length} bytes, at most {PolicyLimits.MaxFileBytes} are read");
        using var stream = new FileStream(file.Path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
        byte[] bytes = new byte[PolicyLimits.MaxFileBytes];
        return StrictUtf8.GetString(bytes, 0, stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false));
    }
}
