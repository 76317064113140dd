using System.CommandLine;

namespace CarServer.Rpc.CommandLine;

/// <summary>A command with one line for the list of commands, and more for its own help.</summary>
internal sealed class Verb(string name, string summary) : Command(name, summary)
{
    /// <summary>Printed behind the options; asked for only when help is.</summary>
    public Func<string>? More { get; init; }
}
