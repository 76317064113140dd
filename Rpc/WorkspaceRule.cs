using CarServer.RunStore;

namespace CarServer.Rpc;

/// <summary>What may be a workspace: no directory that the daemon's own files lie in, for who reads the host token there is the host.</summary>
internal static class WorkspaceRule
{
    /// <summary>Whether a path is the directory or lies in it, whatever links are on the way to either. Both absolute; the path may not be there yet. macOS has only the names.</summary>
    public static bool Holds(string directory, string path)
    {
        if ((path.TrimEnd('/') + "/").StartsWith(directory.TrimEnd('/') + "/", StringComparison.Ordinal)) return true;
        if (!OperatingSystem.IsLinux()) return false;
        while (FileIdentity.Of(path) is null && Path.GetDirectoryName(path) is { } nearest) path = nearest;
        FileIdentity? held = FileIdentity.Of(directory), previous = null;
        // Upwards, until the directory above is the directory itself.
        for (string above = path; FileIdentity.Of(above) is { } there && there != previous; above += "/..")
        {
            if (there == held) return true;
            previous = there;
        }
        return false;
    }
}
