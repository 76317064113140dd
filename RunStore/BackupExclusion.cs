using System.Runtime.InteropServices;

namespace CarServer.RunStore;

/// <summary>Keeps a directory out of Time Machine (protocol 14.1). Does nothing on other systems.</summary>
internal static partial class BackupExclusion
{
    private const string Attribute = "com.apple.metadata:com_apple_backup_excludeItem";

    /// <summary>A binary property list that holds one string, <c>com.apple.backupd</c>: what <c>tmutil addexclusion</c> writes.</summary>
    private static byte[] Value =>
    [
        .. "bplist00"u8,
        0x5F, 0x10, 0x11, .. "com.apple.backupd"u8,   // object 0 at offset 8: a string of 17 ASCII characters
        0x08,                                         // the table of offsets, at 28
        0, 0, 0, 0, 0, 0, 1, 1,                       // sizes of an offset and of a reference
        0, 0, 0, 0, 0, 0, 0, 1,                       // one object
        0, 0, 0, 0, 0, 0, 0, 0,                       // it is the root
        0, 0, 0, 0, 0, 0, 0, 28,                      // where the table is
    ];

    /// <summary>A refusal is no failure: the file <c>.nobackup</c> still says what is meant.</summary>
    public static void Apply(string directory)
    {
        if (OperatingSystem.IsMacOS()) _ = SetAttribute(directory, Attribute, Value, (nuint)Value.Length, position: 0, options: 0);
    }

    [LibraryImport("libc", EntryPoint = "setxattr", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetAttribute(string path, string name, ReadOnlySpan<byte> value, nuint size, uint position, int options);
}
