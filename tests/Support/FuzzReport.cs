namespace CarServer.Tests.Support;

/// <summary>Prints what a long run has done. The test runner shows what a test writes to the console only when it fails.</summary>
internal static class FuzzReport
{
    public static void Print(string line)
    {
        if (!FuzzBudget.IsLong) return;
        using var output = new StreamWriter(Console.OpenStandardOutput());
        output.WriteLine("fuzz: " + line);
    }
}
