using System.Buffers;
using CarServer.RunStore;
using CarServer.State.Engine;

namespace CarServer.State.Permissions;

/// <summary>What a decision is about: one action by its type, tool and parameters, whoever proposes it (protocol 12.1).</summary>
internal static class Fingerprint
{
    public const int Chars = 2 * Sha256.HashBytes;

    private static readonly SearchValues<char> Hex = SearchValues.Create("0123456789abcdef");

    public static bool IsOne(string text) => text.Length == Chars && !text.AsSpan().ContainsAnyExcept(Hex);

    /// <summary>Lower-case hex of the hash of <c>{parameters,tool,type}</c>, compact and with sorted members. Strings and numbers count as they are spelled.</summary>
    public static string Of(AgentAction action)
    {
        var json = new ArrayBufferWriter<byte>(256);
        json.Write("{\"parameters\":"u8);
        SortedJson.Write(action.Parameters.Memory, json);
        json.Write(",\"tool\":"u8);
        json.Write(action.Tool is { } tool ? RawJson.FromString(tool).Utf8 : "null"u8);
        json.Write(action.Type switch
        {
            ActionType.ToolCall => ",\"type\":\"tool_call\"}"u8,
            ActionType.StateWrite => ",\"type\":\"state_write\"}"u8,
            ActionType.StateRead => ",\"type\":\"state_read\"}"u8,
            _ => ",\"type\":\"assertion\"}"u8,
        });
        return Digest(json.WrittenSpan);
    }

    /// <summary>Names a value without showing it.</summary>
    public static string Of(RawJson value)
    {
        var json = new ArrayBufferWriter<byte>(256);
        SortedJson.Write(value.Memory, json);
        return Digest(json.WrittenSpan);
    }

    private static string Digest(ReadOnlySpan<byte> bytes)
    {
        Span<byte> hash = stackalloc byte[Sha256.HashBytes];
        Sha256.Hash(bytes, hash);
        return Convert.ToHexStringLower(hash);
    }
}
