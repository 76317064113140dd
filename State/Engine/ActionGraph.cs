using System.Runtime.InteropServices;

namespace CarServer.State.Engine;

/// <summary>Which actions have to wait for which: the levels that a proposal runs in (protocol 10.2).</summary>
/// <param name="Levels">Indexes into the actions, ascending within a level. Every action is in exactly one.</param>
/// <param name="Broken">Actions of a cycle that were taken before what they wait for: each time the smallest index left.</param>
internal sealed record ActionGraph(IReadOnlyList<int[]> Levels, IReadOnlyList<int> Broken)
{
    /// <summary>True when some order had to be broken.</summary>
    public bool HasCycle => Broken.Count > 0;

    /// <remarks>
    /// An edge goes from the last writer of a key before its reader, from a state write to the next one of the same key, and from each
    /// id in <c>dependencies</c>. Takes time in proportion to actions and edges, but for sorting the levels.
    /// </remarks>
    public static ActionGraph Of(IReadOnlyList<AgentAction> actions)
    {
        var edges = new Edges(actions.Count);
        AddStateEdges(actions, edges);
        AddDeclaredEdges(actions, edges);
        return Layer(edges);
    }

    private static void AddStateEdges(IReadOnlyList<AgentAction> actions, Edges edges)
    {
        var keys = new Dictionary<string, Writers>(actions.Count, StringComparer.Ordinal);   // about a key an action
        for (int i = 0; i < actions.Count; i++)
        {
            AgentAction action = actions[i];
            foreach (string key in action.StateDependencies)
            {
                if (keys.TryGetValue(key, out Writers writers)) edges.Add(writers.Last - 1, i);
            }
            if (action.WrittenKey is { } written)
            {
                ref Writers writers = ref CollectionsMarshal.GetValueRefOrAddDefault(keys, written, out _);
                if (writers.LastStateWrite > 0) edges.Add(writers.LastStateWrite - 1, i);
                writers = new Writers(i + 1, i + 1);
            }
            foreach ((string key, _) in action.ExpectedEffects) CollectionsMarshal.GetValueRefOrAddDefault(keys, key, out _).Last = i + 1;
        }
    }

    /// <summary>Who wrote a key so far, counted from 1; 0 is nobody.</summary>
    private record struct Writers(int Last, int LastStateWrite);

    private static void AddDeclaredEdges(IReadOnlyList<AgentAction> actions, Edges edges)
    {
        if (!actions.Any(action => action.Dependencies.Count > 0)) return;
        var byId = new Dictionary<string, int>(actions.Count, StringComparer.Ordinal);
        for (int i = 0; i < actions.Count; i++) byId.TryAdd(actions[i].Id, i);
        for (int i = 0; i < actions.Count; i++)
        {
            foreach (string id in actions[i].Dependencies)
            {
                if (byId.TryGetValue(id, out int earlier) && earlier != i) edges.Add(earlier, i);
            }
        }
    }

    /// <summary>Kahn's layering.</summary>
    private static ActionGraph Layer(Edges edges)
    {
        int[] waitsFor = edges.Incoming;
        var levels = new List<int[]>();
        var placed = new bool[waitsFor.Length];
        var broken = new List<int>();
        int smallestLeft = 0;
        var ready = new List<int>();
        for (int i = 0; i < waitsFor.Length; i++)
            if (waitsFor[i] == 0) ready.Add(i);
        for (int left = waitsFor.Length; left > 0; left -= levels[^1].Length)
        {
            if (ready.Count == 0)
            {
                while (placed[smallestLeft]) smallestLeft++;
                ready.Add(smallestLeft);
                broken.Add(smallestLeft);
            }
            int[] level = [.. ready];
            if (!IsAscending(level)) Array.Sort(level);
            levels.Add(level);
            ready.Clear();
            foreach (int done in level) placed[done] = true;
            foreach (int done in level)
            {
                for (int edge = edges.First[done]; edge >= 0; edge = edges.List[edge].Next)
                {
                    int next = edges.List[edge].To;
                    if (--waitsFor[next] == 0 && !placed[next]) ready.Add(next);
                }
            }
        }
        return new ActionGraph(levels, broken);
    }

    /// <summary>As most levels are: what comes first in a proposal is mostly waited for first.</summary>
    private static bool IsAscending(int[] level)
    {
        for (int i = 1; i < level.Length; i++)
            if (level[i] < level[i - 1]) return false;
        return true;
    }

    /// <summary>Outgoing edges as linked lists in one array: nothing is allocated for an action that has none.</summary>
    private sealed class Edges
    {
        public Edges(int count)
        {
            Incoming = new int[count];
            First = new int[count];
            Array.Fill(First, -1);
        }

        public int[] Incoming { get; }
        public int[] First { get; }
        public List<(int To, int Next)> List { get; } = [];

        public void Add(int from, int to)
        {
            List.Add((to, First[from]));
            First[from] = List.Count - 1;
            Incoming[to]++;
        }
    }
}
