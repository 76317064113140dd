using System.Text;
using System.Text.RegularExpressions;
using System.Text.Unicode;
using Microsoft.Win32.SafeHandles;

namespace CarServer.State.Engine.Basics;

/// <summary><c>find_files</c> and <c>grep_files</c>: walks below a directory, in the order of the names, that follow no link.</summary>
internal sealed class SearchBasics(BasicCall call, TimeProvider clock)
{
    private readonly long _started = clock.GetTimestamp();
    private int _entries;

    /// <summary>Why the walk stops before its end.</summary>
    private bool _isTruncated;

    public static void Find(BasicCall call, Workspace workspace, TimeProvider clock)
    {
        var glob = new Glob(call.Text("pattern"));
        int most = call.Number("max_results", BasicLimits.MaxResults, 1, BasicLimits.MaxResults), found = 0;
        call.Answer.WriteStartArray("files");
        var search = new SearchBasics(call, clock);
        search.Walk(workspace, (_, _, path) =>
        {
            if (!glob.IsMatch(path)) return true;
            if (found++ == most) return false;
            call.Answer.WriteStringValue(search.FromRoot(path));
            return true;
        });
        call.Answer.WriteEndArray();
        call.Answer.WriteBoolean("truncated", search._isTruncated);
    }

    public static void Grep(BasicCall call, Workspace workspace, TimeProvider clock)
    {
        Func<string, bool> isMatch = Matcher(call.Text("pattern"), call.Flag("literal"), call.Flag("ignore_case"));
        Glob? glob = call.TextOrNull("glob") is { } pattern ? new Glob(pattern) : null;
        int most = call.Number("max_results", BasicLimits.MaxResults, 1, BasicLimits.MaxResults), found = 0, searched = 0;
        call.Answer.WriteStartArray("matches");
        var search = new SearchBasics(call, clock);
        search.Walk(workspace, (directory, name, path) =>
        {
            if (glob is not null && !glob.IsMatch(path)) return true;
            if (TextOf(directory, name) is not { } text) return true;
            searched++;
            int number = 0;
            foreach (ReadOnlySpan<char> line in text.AsSpan().EnumerateLines())
            {
                number++;
                if (search.IsOver()) return false;
                string whole = line.ToString();
                if (!isMatch(whole)) continue;
                if (found++ == most) return false;
                call.Answer.WriteStartObject();
                call.Answer.WriteString("path", search.FromRoot(path));
                call.Answer.WriteNumber("line", number);
                call.Answer.WriteString("text", Excerpt.Of(whole, BasicLimits.MaxLineChars));
                call.Answer.WriteEndObject();
            }
            return true;
        });
        call.Answer.WriteEndArray();
        call.Answer.WriteNumber("files_searched", searched);
        call.Answer.WriteBoolean("truncated", search._isTruncated);
    }

    private static Func<string, bool> Matcher(string pattern, bool isLiteral, bool ignoresCase)
    {
        if (pattern.Length is 0 or > BasicLimits.MaxPatternChars) throw new BasicException($"a pattern has 1 to {BasicLimits.MaxPatternChars} characters");
        StringComparison comparison = ignoresCase ? StringComparison.OrdinalIgnoreCase : StringComparison.Ordinal;
        if (isLiteral) return line => line.Contains(pattern, comparison);
        try
        {
            return LinearRegex.Compile(pattern, BasicLimits.MatchTimeout, ignoresCase ? RegexOptions.IgnoreCase : RegexOptions.None).IsMatch;
        }
        catch (ArgumentException)
        {
            throw new BasicException("the pattern is no regular expression; with literal it is searched for as it stands");
        }
        catch (NotSupportedException)
        {
            throw new BasicException("the pattern looks around or back, or is too large: neither is supported");
        }
    }

    /// <summary>The beginning of a text file; null for anything else, and for what is gone or may not be read.</summary>
    private static string? TextOf(SafeFileHandle directory, string name)
    {
        try
        {
            using SafeFileHandle? file = FileCalls.Open(directory, name, FileCalls.NonBlock | FileCalls.NoFollow);
            if (file is null || FileCalls.Look(file, out long size) != FileKind.File) return null;
            ReadOnlySpan<byte> bytes = FileBasics.ReadUpTo(file, 0, BasicLimits.MaxReadBytes);
            if (bytes.Length < size)
            {
                // The last character may have been cut.
                int end = bytes.Length;
                while (end > 0 && end > bytes.Length - 4 && (bytes[end - 1] & 0xC0) == 0x80) end--;
                bytes = bytes[..Math.Max(0, end - 1)];
            }
            return Utf8.IsValid(bytes) && !bytes.Contains((byte)0) ? Encoding.UTF8.GetString(bytes) : null;
        }
        catch (BasicException)
        {
            return null;
        }
    }

    private string FromRoot(string path) => _below.Length == 0 ? path : $"{_below}/{path}";

    private string _below = "";

    private void Walk(Workspace workspace, Visit visit)
    {
        string below = call.TextOrNull("path") ?? ".";
        using SafeFileHandle directory = workspace.OpenDirectory(below);
        _below = below.Trim('/') is "." ? "" : below.TrimEnd('/');
        _isTruncated = !Walk(directory, "", 0, visit) || _isTruncated;
    }

    /// <param name="prefix">Of the paths in this directory: empty, or ending with a <c>/</c>.</param>
    /// <returns>False when the walk is over.</returns>
    private bool Walk(SafeFileHandle directory, string prefix, int depth, Visit visit)
    {
        var names = new List<string>();
        if (!FileCalls.List(directory, BasicLimits.MaxListed, names)) _isTruncated = true;
        names.Sort(StringComparer.Ordinal);
        foreach (string name in names)
        {
            if (name[0] == '.' || name is "node_modules" or "__pycache__" or "target") continue;
            if (++_entries > BasicLimits.MaxWalkEntries || IsOver()) return false;
            try
            {
                switch (FileCalls.Look(directory, name, out _, out _))
                {
                    case FileKind.File when !visit(directory, name, prefix + name):
                        return false;
                    case FileKind.Directory when depth == BasicLimits.MaxDepth:
                        _isTruncated = true;
                        break;
                    case FileKind.Directory:
                        using (SafeFileHandle? inner = FileCalls.Open(directory, name, FileCalls.Directory | FileCalls.NoFollow))
                            if (inner is not null && !Walk(inner, $"{prefix}{name}/", depth + 1, visit)) return false;
                        break;
                }
            }
            catch (BasicException)
            {
                // It may not be read, or is no longer what it was: the rest may be.
            }
        }
        return true;
    }

    private bool IsOver()
    {
        call.Abandoned.ThrowIfCancellationRequested();
        return clock.GetElapsedTime(_started) > BasicLimits.WalkTime;
    }

    /// <returns>False to end the walk.</returns>
    private delegate bool Visit(SafeFileHandle directory, string name, string path);
}
