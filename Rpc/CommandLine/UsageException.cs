namespace CarServer.Rpc.CommandLine;

/// <summary>The start is refused; the message is the one sentence the person at the terminal gets. Never holds a secret.</summary>
internal sealed class UsageException(string message) : Exception(message);
