using System.Buffers;
using System.Text;
using System.Text.Json;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;

namespace CarServer.State.Engine.Analysis;

/// <param name="Proposal">As it came, but for what was pruned; an action that was pruned and had no id has one now.</param>
/// <param name="Pruned">For each action that changed, the keys it does not depend on any more.</param>
[ToJson]
internal sealed record OptimizeResult(RawJson Proposal, Dictionary<string, string[]> Pruned);

/// <summary><c>optimize</c>: the plan without dependencies on keys that none of its actions writes (protocol 11.2): they order nothing.</summary>
internal static class Optimizer
{
    private readonly record struct Edit(int Start, int End, byte[] Text);

    /// <param name="text">What <paramref name="proposal"/> was read from; fields that nothing here knows stay in it.</param>
    /// <exception cref="RefusedException">See <see cref="ActionProposal.Check"/>.</exception>
    public static OptimizeResult Optimize(ActionProposal proposal, RawJson text)
    {
        proposal.Check();
        var written = new HashSet<string>(StringComparer.Ordinal);
        foreach (AgentAction action in proposal.Actions)
        {
            if (action.WrittenKey is { } key) written.Add(key);
            written.UnionWith(action.ExpectedEffects.Keys);
        }
        var pruned = new Dictionary<string, string[]>();
        foreach (AgentAction action in proposal.Actions)
        {
            string[] idle = [.. action.StateDependencies.Where(key => !written.Contains(key)).Distinct(StringComparer.Ordinal)];
            if (idle.Length > 0) pruned[action.Id] = idle;
        }
        return new OptimizeResult(pruned.Count == 0 ? text : Rewrite(text, FindEdits(text, proposal, pruned, written)), pruned);
    }

    private static List<Edit> FindEdits(RawJson text, ActionProposal proposal, Dictionary<string, string[]> pruned, HashSet<string> written)
    {
        var edits = new List<Edit>();
        Utf8JsonReader reader = text.Reader();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            bool isActions = reader.TextIs("actions"u8);
            reader.Read();
            if (!isActions)
            {
                reader.Skip();
                continue;
            }
            for (int i = 0; reader.Read() && reader.TokenType == JsonTokenType.StartObject; i++)
            {
                if (pruned.ContainsKey(proposal.Actions[i].Id)) EditAction(ref reader, proposal.Actions[i], written, edits);
                else reader.Skip();
            }
        }
        return edits;
    }

    /// <summary>From the action's opening brace to its closing one.</summary>
    private static void EditAction(ref Utf8JsonReader reader, AgentAction action, HashSet<string> written, List<Edit> edits)
    {
        int first = (int)reader.BytesConsumed;
        int before = edits.Count;
        bool hasId = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            bool isId = reader.TextIs("id"u8), isDependencies = reader.TextIs("state_dependencies"u8);
            reader.Read();
            int start = (int)reader.TokenStartIndex;
            bool isNull = reader.TokenType == JsonTokenType.Null;
            reader.Skip();
            int end = (int)reader.BytesConsumed;
            hasId |= isId;
            if (isId && isNull) edits.Add(new Edit(start, end, RawJson.FromString(action.Id).Utf8.ToArray()));
            if (isDependencies) edits.Add(new Edit(start, end, Array(action.StateDependencies.Where(written.Contains))));
        }
        if (!hasId) edits.Insert(before, new Edit(first, first, Encoding.UTF8.GetBytes($"\"id\":\"{action.Id}\",")));
    }

    private static byte[] Array(IEnumerable<string> names)
    {
        var json = new ArrayBufferWriter<byte>();
        json.Write("["u8);
        foreach (string name in names)
        {
            if (json.WrittenCount > 1) json.Write(","u8);
            json.Write(RawJson.FromString(name).Utf8);
        }
        json.Write("]"u8);
        return json.WrittenSpan.ToArray();
    }

    /// <param name="edits">In the order of the text, none inside another.</param>
    private static RawJson Rewrite(RawJson text, List<Edit> edits)
    {
        var json = new ArrayBufferWriter<byte>(text.Utf8.Length);
        int copied = 0;
        foreach (Edit edit in edits)
        {
            json.Write(text.Utf8[copied..edit.Start]);
            json.Write(edit.Text);
            copied = edit.End;
        }
        json.Write(text.Utf8[copied..]);
        return RawJson.FromCompact(json.WrittenSpan.ToArray());
    }
}
