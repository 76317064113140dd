using System.Text;
using Microsoft.Win32.SafeHandles;

namespace CarServer.State.Engine.Basics;

/// <summary>The one directory that the basics work in. Nothing outside it can be reached, whatever a path says and whoever swaps what meanwhile. Any thread.</summary>
/// <remarks>
/// A path is never checked and then used. On Linux the kernel resolves a path for reading, and links only as long as they stay inside;
/// elsewhere, and always for writing, each step is opened in the directory before it and no link is followed. A hard link is the file itself.
/// </remarks>
/// <param name="root">Absolute; null when the basics have no files.</param>
/// <param name="kernelResolves">False: as on a system whose kernel cannot do that.</param>
internal sealed class Workspace(string? root, bool kernelResolves = true)
{
    private volatile bool _kernelResolves = kernelResolves;

    /// <summary>One who changes files at a time, of all connections: an edit reads before it writes.</summary>
    public Lock Changes { get; } = new();

    /// <summary>A regular file, for reading.</summary>
    /// <exception cref="BasicException">There is none, or it may not be read.</exception>
    public SafeFileHandle OpenFile(string path, out long size)
    {
        // A pipe that nobody writes to must not keep us.
        SafeFileHandle file = Open(Steps(path), FileCalls.NonBlock);
        try
        {
            CheckIsFile(FileCalls.Look(file, out size));
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public SafeFileHandle OpenDirectory(string path) => Open(Steps(path), FileCalls.Directory);

    /// <summary>The directory that a file is in, or is going to be; missing ones are made.</summary>
    public SafeFileHandle OpenParent(string path, out string name)
    {
        string[] steps = Steps(path);
        if (steps.Length == 0) throw new BasicException("it is a directory");
        name = steps[^1];
        SafeFileHandle directory = OpenRoot();
        foreach (string step in steps.AsSpan(0, steps.Length - 1)) directory = Enter(directory, step, make: true);
        return directory;
    }

    internal static void CheckIsFile(FileKind kind)
    {
        if (kind != FileKind.File) throw new BasicException(kind switch
        {
            FileKind.Missing => "no such file or directory",
            FileKind.Directory => "it is a directory",
            FileKind.Link => "it is a symbolic link that may not be followed",
            _ => "it is no regular file",
        });
    }

    private SafeFileHandle Open(string[] steps, int flags)
    {
        using SafeFileHandle start = OpenRoot();
        if (_kernelResolves)
        {
            SafeFileHandle? opened = FileCalls.OpenBeneath(start, steps.Length == 0 ? "." : string.Join('/', steps), flags, out bool isKnown);
            if (isKnown) return opened ?? throw Missing();
            _kernelResolves = false;
        }
        if (steps.Length == 0) return FileCalls.Open(start, ".", flags) ?? throw Missing();
        SafeFileHandle directory = OpenRoot();
        foreach (string step in steps.AsSpan(0, steps.Length - 1)) directory = Enter(directory, step, make: false);
        using (directory) return FileCalls.Open(directory, steps[^1], flags | FileCalls.NoFollow) ?? throw Missing();
    }

    /// <summary>Opens a directory in another one, which is closed.</summary>
    private static SafeFileHandle Enter(SafeFileHandle directory, string step, bool make)
    {
        using (directory)
        {
            int flags = FileCalls.Directory | FileCalls.NoFollow;
            if (FileCalls.Open(directory, step, flags) is { } there) return there;
            if (!make) throw Missing();
            FileCalls.MakeDirectory(directory, step);
            return FileCalls.Open(directory, step, flags) ?? throw Missing();
        }
    }

    private SafeFileHandle OpenRoot() => root is null
        ? throw new BasicException("this daemon has no workspace: start it in one, or with --workspace")
        : FileCalls.OpenRoot(root);

    /// <summary>The names on the way from the root. A path below the root may also be given whole.</summary>
    private string[] Steps(string path)
    {
        if (path.Contains('\0') || Encoding.UTF8.GetByteCount(path) > BasicLimits.MaxPathBytes)
            throw new BasicException($"a path has no NUL and at most {BasicLimits.MaxPathBytes} bytes");
        if (path.StartsWith('/'))
        {
            if (root is null || !(path + "/").StartsWith(root.TrimEnd('/') + "/", StringComparison.Ordinal)) throw new BasicException("it lies outside the workspace");
            path = path[root.TrimEnd('/').Length..];
        }
        string[] steps = [.. path.Split('/').Where(step => step is not ("" or "."))];
        return Array.IndexOf(steps, "..") < 0 ? steps : throw new BasicException("'..' is not allowed in a path");
    }

    private static BasicException Missing() => new("no such file or directory");
}

/// <summary>Why a basic could not do what it was asked; the text is the action's failure.</summary>
internal sealed class BasicException(string message) : Exception(message);
