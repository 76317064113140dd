using CarServer.RunStore;

namespace CarServer.Tests.Support;

/// <summary>Turns to record, all alike.</summary>
internal static class Turns
{
    public static TurnBatch Of(int count, string tool = "t")
    {
        var turns = new TurnBatch();
        for (int i = 0; i < count; i++) turns.Add(new RunTurn(Tool: tool));
        return turns;
    }
}
