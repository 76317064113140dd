namespace CarServer.Rpc.CommandLine;

/// <summary>What a command sees of the process it runs in; tests make their own.</summary>
internal sealed record Surroundings(Func<string, string?> Environment, Platform Platform, string Directory, Stream In, Stream Out, TextWriter Error)
{
    /// <summary>How wide the terminal is that <see cref="Out"/> goes to; null when it goes elsewhere. Asked for only by who needs it.</summary>
    public Func<int?> Columns { get; init; } = () => null;

    public static Surroundings OfProcess() => new(
        System.Environment.GetEnvironmentVariable, StateRoot.ThisPlatform, System.Environment.CurrentDirectory,
        new StandardStream(0), new StandardStream(1), new StreamWriter(new StandardStream(2)) { AutoFlush = true })
    {
        Columns = StandardStream.Columns,
    };

    public StateRoot Root() => StateRoot.Resolve(Environment, Platform);

    public void Print(string text) => Out.Write(System.Text.Encoding.UTF8.GetBytes(text));

    public void PrintLine(ReadOnlySpan<byte> utf8)
    {
        Out.Write(utf8);
        Out.Write("\n"u8);
    }
}
