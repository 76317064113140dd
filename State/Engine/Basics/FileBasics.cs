using System.Text;
using System.Text.Unicode;
using Microsoft.Win32.SafeHandles;

namespace CarServer.State.Engine.Basics;

/// <summary><c>read_file</c>, <c>list_dir</c>, <c>write_file</c>, <c>edit_file</c>.</summary>
internal static class FileBasics
{
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Lines from <c>offset</c>, counted from 0, as many as <c>limit</c> says and the bound on bytes allows.</summary>
    public static void Read(BasicCall call, Workspace workspace)
    {
        string path = call.Text("path");
        int offset = call.Number("offset", 0, 0, int.MaxValue), limit = call.Number("limit", int.MaxValue, 1, int.MaxValue);
        using SafeFileHandle file = workspace.OpenFile(path, out long size);
        long from = StartOfLine(file, offset, call.Abandoned);
        byte[] bytes = ReadUpTo(file, from, BasicLimits.MaxReadBytes + 1);
        int length = Math.Min(bytes.Length, BasicLimits.MaxReadBytes), lines = 0, end = 0;
        while (end < length && lines < limit)
        {
            int newline = bytes.AsSpan(end, length - end).IndexOf((byte)'\n');
            // Half a line is only shown where the bound leaves no whole one, or the file ends with it.
            if (newline < 0 && length < bytes.Length && lines > 0) break;
            end = newline < 0 ? length : end + newline + 1;
            lines++;
        }
        if (end < bytes.Length) while (end > 0 && (bytes[end] & 0xC0) == 0x80) end--;   // not inside a character
        call.Answer.WriteString("path", path);
        call.Answer.WriteString("content", Text(bytes.AsSpan(0, end)));
        call.Answer.WriteNumber("offset", offset);
        call.Answer.WriteNumber("lines", lines);
        call.Answer.WriteNumber("size", size);
        call.Answer.WriteBoolean("truncated", end < bytes.Length);
    }

    public static void List(BasicCall call, Workspace workspace)
    {
        string path = call.TextOrNull("path") ?? ".";
        using SafeFileHandle directory = workspace.OpenDirectory(path);
        var names = new List<string>();
        bool isWhole = FileCalls.List(directory, BasicLimits.MaxListed, names);
        names.Sort(StringComparer.Ordinal);
        call.Answer.WriteString("path", path);
        call.Answer.WriteStartArray("entries");
        foreach (string name in names)
        {
            FileKind kind = FileCalls.Look(directory, name, out _, out long size);
            if (kind == FileKind.Missing) continue;   // gone meanwhile
            call.Answer.WriteStartObject();
            call.Answer.WriteString("name", name);
            call.Answer.WriteString("type", kind switch { FileKind.File => "file", FileKind.Directory => "dir", FileKind.Link => "symlink", _ => "other" });
            if (kind == FileKind.File) call.Answer.WriteNumber("size", size);
            call.Answer.WriteEndObject();
        }
        call.Answer.WriteEndArray();
        call.Answer.WriteBoolean("truncated", !isWhole);
    }

    public static void Write(BasicCall call, Workspace workspace)
    {
        string path = call.Text("path");
        byte[] content = Encoding.UTF8.GetBytes(call.Text("content"));
        bool isNew;
        lock (workspace.Changes)
        {
            using SafeFileHandle directory = workspace.OpenParent(path, out string name);
            isNew = Replace(directory, name, content);
        }
        call.Answer.WriteString("path", path);
        call.Answer.WriteNumber("bytes", content.Length);
        call.Answer.WriteBoolean("created", isNew);
    }

    public static void Edit(BasicCall call, Workspace workspace)
    {
        string path = call.Text("path"), oldText = call.Text("old_text"), newText = call.Text("new_text");
        bool all = call.Flag("replace_all");
        if (oldText.Length == 0) throw new BasicException("old_text is empty");
        int count;
        lock (workspace.Changes)
        {
            string text;
            using (SafeFileHandle file = workspace.OpenFile(path, out long size))
            {
                if (size > BasicLimits.MaxReadBytes) throw new BasicException($"it has {size} bytes; files up to {BasicLimits.MaxReadBytes} can be edited");
                text = Text(ReadUpTo(file, 0, (int)size));
            }
            count = Occurrences(text, oldText);
            if (count == 0) throw new BasicException("old_text is not in it");
            if (count > 1 && !all) throw new BasicException($"old_text is in it {count} times: give more of its surroundings, or replace_all");
            if (text.Length + count * ((long)newText.Length - oldText.Length) > BasicLimits.MaxEditedChars) throw new BasicException("it would become too large");
            using SafeFileHandle directory = workspace.OpenParent(path, out string name);
            Replace(directory, name, Strict.GetBytes(text.Replace(oldText, newText, StringComparison.Ordinal)));
        }
        call.Answer.WriteString("path", path);
        call.Answer.WriteNumber("replacements", count);
    }

    /// <summary>The old content or the new one, never half of either, whatever happens meanwhile.</summary>
    /// <returns>True when there was no such file before.</returns>
    private static bool Replace(SafeFileHandle directory, string name, byte[] content)
    {
        FileKind kind = FileCalls.Look(directory, name, out uint permissions, out _);
        if (kind != FileKind.Missing)
        {
            Workspace.CheckIsFile(kind);
            if ((permissions & 0x80) == 0) throw new BasicException("it is read-only");   // the owner's write bit
        }
        string draft = $".{Guid.NewGuid():n}.tmp";
        // 0666 less what the umask takes; a file that others may not read shows them no draft either.
        SafeFileHandle file = FileCalls.Open(directory, draft, FileCalls.Write | FileCalls.Create | FileCalls.Exclusive | FileCalls.NoFollow, kind == FileKind.Missing ? 0x1B6 : permissions)
            ?? throw new BasicException("no such file or directory");
        try
        {
            using (file)
            {
                RandomAccess.Write(file, content, 0);
                if (kind != FileKind.Missing) FileCalls.SetPermissions(file, permissions);
            }
            FileCalls.Rename(directory, draft, name);
        }
        catch
        {
            FileCalls.Remove(directory, draft);
            throw;
        }
        return kind == FileKind.Missing;
    }

    /// <summary>Where the line begins, or where the file ends.</summary>
    private static long StartOfLine(SafeFileHandle file, int line, CancellationToken abandoned)
    {
        if (line == 0) return 0;
        byte[] buffer = new byte[64 * 1024];
        long at = 0;
        while (true)
        {
            abandoned.ThrowIfCancellationRequested();
            int count = RandomAccess.Read(file, buffer, at);
            if (count == 0) return at;
            for (int i = 0; i < count;)
            {
                int newline = buffer.AsSpan(i, count - i).IndexOf((byte)'\n');
                if (newline < 0) break;
                i += newline + 1;
                if (--line == 0) return at + i;
            }
            at += count;
            if (at > BasicLimits.MaxPassedBytes) throw new BasicException($"that line begins after more than {BasicLimits.MaxPassedBytes} bytes");
        }
    }

    internal static byte[] ReadUpTo(SafeFileHandle file, long from, int most)
    {
        long size = RandomAccess.GetLength(file);
        byte[] bytes = new byte[(int)Math.Clamp(size - from, 0, most)];
        int length = 0;
        while (length < bytes.Length && RandomAccess.Read(file, bytes.AsSpan(length), from + length) is > 0 and int count) length += count;
        return length == bytes.Length ? bytes : bytes[..length];
    }

    private static string Text(ReadOnlySpan<byte> bytes) => Utf8.IsValid(bytes) ? Encoding.UTF8.GetString(bytes) : throw new BasicException("it is not UTF-8 text");

    private static int Occurrences(string text, string part)
    {
        int count = 0;
        for (int at = 0; (at = text.IndexOf(part, at, StringComparison.Ordinal)) >= 0; at += part.Length) count++;
        return count;
    }
}
