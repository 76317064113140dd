namespace CarServer.Tests.Support;

/// <summary>Where this checkout lies: its documents, and the executable under test.</summary>
internal static class Repository
{
    public static string Root { get; } = FindRoot();

    /// <summary><c>CAR_SERVER_BIN</c>, else what <c>./build.sh build</c> leaves behind.</summary>
    public static string Binary { get; } = Environment.GetEnvironmentVariable("CAR_SERVER_BIN") is { Length: > 0 } named
        ? Path.GetFullPath(named)
        : Path.Combine(Root, "out", "car-server");

    private static string FindRoot()
    {
        for (DirectoryInfo? at = new(AppContext.BaseDirectory); at is not null; at = at.Parent)
            if (File.Exists(Path.Combine(at.FullName, "car-server.csproj"))) return at.FullName;
        throw new InvalidOperationException($"no car-server.csproj above {AppContext.BaseDirectory}");
    }
}
