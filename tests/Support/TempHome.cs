namespace CarServer.Tests.Support;

/// <summary>A directory of a test's own, used as <c>CAR_HOME</c> and deleted afterwards.</summary>
/// <remarks>Directly below <c>/tmp</c>: the daemon's Unix socket lives in it, and a socket's path may have about 100 bytes.</remarks>
internal sealed class TempHome : IDisposable
{
    public TempHome()
    {
        Path = System.IO.Path.Combine(Directory.Exists("/tmp") ? "/tmp" : System.IO.Path.GetTempPath(), "car-" + Guid.NewGuid().ToString("N")[..12]);
        Directory.CreateDirectory(Path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    public string Path { get; }

    public string TokenDirectory => In("ai.parslee.car");
    public string AuthTokenFile => In("ai.parslee.car", "auth-token");
    public string HostTokenFile => In("ai.parslee.car", "host-token");
    public string Socket => In("run", "car-server.sock");
    public string Journals => In("journals");

    /// <summary>The trace of a run whose agent and id need no encoding as file names.</summary>
    public string Trace(string agentId, string runId) => In("runs", agentId, runId + ".jsonl");

    public string In(params ReadOnlySpan<string> parts) => System.IO.Path.Combine([Path, .. parts]);

    /// <summary>Every regular file below the home, relative to it, sorted; without the index of run ids, which leads to them again.</summary>
    public IEnumerable<string> Files() =>
        Directory.EnumerateFiles(Path, "*", SearchOption.AllDirectories).Select(f => System.IO.Path.GetRelativePath(Path, f))
            .Where(static f => !f.StartsWith("runs/.index/", StringComparison.Ordinal)).Order(StringComparer.Ordinal);

    public void Dispose()
    {
        try { Directory.Delete(Path, recursive: true); }
        catch (DirectoryNotFoundException) { }   // the test deleted it itself
    }
}
