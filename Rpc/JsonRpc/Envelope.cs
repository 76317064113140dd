using System.Text.Json;
using CarServer.Rpc.Transport;
using CarServer.RunStore;

namespace CarServer.Rpc.JsonRpc;

internal enum EnvelopeKind
{
    /// <summary>Has a method and an id: wants an answer.</summary>
    Request,
    /// <summary>Has a method and no id.</summary>
    Notification,
    /// <summary>Has an id and no method: answers one of our own callbacks, whatever else it holds.</summary>
    Reply,
    /// <summary>An array of envelopes.</summary>
    Batch,
    /// <summary>Not JSON.</summary>
    NotJson,
    /// <summary>JSON, but none of the above.</summary>
    Invalid,
}

/// <summary>The outer object of one message, read in a single pass; params, result and error stay slices of it.</summary>
/// <remarks>
/// JSON-RPC 2.0, 4 and 5. Stricter than the RFC for JSON where it leaves a choice: a member of the envelope that comes twice is
/// refused (which one a reader takes differs between libraries), and so is nesting over <see cref="RawJsonConverter.MaxDepth"/>.
/// Unknown members are skipped.
/// </remarks>
internal ref partial struct Envelope
{
    public EnvelopeKind Kind;
    /// <summary>The name as it stands between the quotes; escapes are rare and resolved by <see cref="MethodName"/>.</summary>
    public ReadOnlySpan<byte> Method;
    public bool MethodHasEscapes;
    /// <summary>The id's own text, quotes included: what is echoed. Empty when there is none, or none that can be echoed.</summary>
    public ReadOnlySpan<byte> Id;
    /// <summary>Empty when absent.</summary>
    public ReadOnlySpan<byte> Params;
    public ReadOnlySpan<byte> Result;
    public ReadOnlySpan<byte> Error;
    /// <summary>What is wrong, for <see cref="EnvelopeKind.NotJson"/> and <see cref="EnvelopeKind.Invalid"/>.</summary>
    public string? Problem;

    private static readonly JsonReaderOptions ReaderOptions = new() { MaxDepth = RawJsonConverter.MaxDepth + 2 };

    public static Envelope Read(ReadOnlySpan<byte> message) => TryReadUsual(message, out Envelope usual) ? usual : ReadAny(message);

    /// <summary>Reads whatever there is; a usual message comes out as <see cref="TryReadUsual"/> has it.</summary>
    internal static Envelope ReadAny(ReadOnlySpan<byte> message)
    {
        var envelope = new Envelope();
        var reader = new Utf8JsonReader(message, ReaderOptions);
        try
        {
            if (!reader.Read()) return envelope.NotJson("empty message");
            if (reader.TokenType == JsonTokenType.StartArray)
            {
                envelope.Kind = EnvelopeKind.Batch;
                return envelope;
            }
            if (reader.TokenType != JsonTokenType.StartObject)
            {
                if (!Skip(ref reader)) return envelope.Invalid(TooDeep);
                return reader.Read() ? envelope.NotJson("more than one JSON value") : envelope.Invalid("a request is an object");
            }
            envelope.ReadMembers(message, ref reader);
            // Whatever is wrong inside, the text has to be JSON to its end before that counts.
            if (envelope.Problem != TooDeep) while (reader.Read()) { }
        }
        catch (JsonException e)
        {
            return envelope.NotJson($"not JSON at byte {e.BytePositionInLine.GetValueOrDefault()} of line {e.LineNumber.GetValueOrDefault() + 1}");
        }
        return envelope;
    }

    /// <summary>Finds the members of a batch. A refusal leaves <paramref name="members"/> empty.</summary>
    public static RpcErrorCode? ReadBatch(ReadOnlySpan<byte> message, List<Range> members, out string problem)
    {
        problem = "";
        try
        {
            var reader = new Utf8JsonReader(message, ReaderOptions);
            reader.Read();
            while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            {
                int start = (int)reader.TokenStartIndex;
                if (!Skip(ref reader))
                {
                    problem = TooDeep;
                    members.Clear();
                    return RpcErrorCode.InvalidRequest;
                }
                members.Add(start..(int)reader.BytesConsumed);
                if (members.Count > Limits.MaxBatchMembers)
                {
                    problem = $"a batch may have at most {Limits.MaxBatchMembers} members";
                    members.Clear();
                    return RpcErrorCode.InvalidRequest;
                }
            }
            while (reader.Read()) { }
            if (members.Count > 0) return null;
            problem = "an empty batch";
            return RpcErrorCode.InvalidRequest;
        }
        catch (JsonException e)
        {
            members.Clear();
            problem = $"not JSON at byte {e.BytePositionInLine.GetValueOrDefault()} of line {e.LineNumber.GetValueOrDefault() + 1}";
            return RpcErrorCode.ParseError;
        }
    }

    /// <summary>The method's name as text; null when its escapes spell no text (a lone surrogate).</summary>
    public readonly string? MethodName()
    {
        if (!MethodHasEscapes) return System.Text.Encoding.UTF8.GetString(Method);
        try
        {
            var reader = new Utf8JsonReader((byte[])[(byte)'"', .. Method, (byte)'"']);
            reader.Read();
            return reader.GetString();
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }

    private const string TooDeep = "nested deeper than 128 levels";

    private void ReadMembers(ReadOnlySpan<byte> message, ref Utf8JsonReader reader)
    {
        bool version = false, versionRight = false, method = false, id = false, parameters = false, result = false, error = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            Member member = reader.ValueIsEscaped ? EscapedName(ref reader) : Name(reader.ValueSpan);
            reader.Read();
            int start = (int)reader.TokenStartIndex;
            JsonTokenType type = reader.TokenType;
            bool escaped = type == JsonTokenType.String && reader.ValueIsEscaped;
            bool isVersion2 = member == Member.Version && type == JsonTokenType.String && reader.TextIs("2.0"u8);
            if (!Skip(ref reader))
            {
                Fail(TooDeep);
                return;
            }
            ReadOnlySpan<byte> value = message[start..(int)reader.BytesConsumed];
            switch (member)
            {
                case Member.Version:
                    if (version) Fail("member 'jsonrpc' comes twice");
                    version = true;
                    versionRight = isVersion2;
                    break;
                case Member.Method:
                    if (method) Fail("member 'method' comes twice");
                    method = true;
                    if (type != JsonTokenType.String) Fail("method must be a string");
                    else
                    {
                        Method = value[1..^1];
                        MethodHasEscapes = escaped;
                    }
                    break;
                case Member.Id:
                    if (id)
                    {
                        Fail("member 'id' comes twice");
                        Id = default;
                        break;
                    }
                    id = true;
                    if (type is not (JsonTokenType.String or JsonTokenType.Number or JsonTokenType.Null)) Fail("id must be a string, a number or null");
                    else if (value.Length > Limits.MaxRequestIdBytes) Fail($"id over {Limits.MaxRequestIdBytes} bytes");
                    else Id = value;
                    break;
                case Member.Params:
                    if (parameters) Fail("member 'params' comes twice");
                    parameters = true;
                    if (type is not (JsonTokenType.StartObject or JsonTokenType.StartArray or JsonTokenType.Null)) Fail("params must be an object or an array");
                    else if (type != JsonTokenType.Null) Params = value;
                    break;
                case Member.Result:
                    if (result) Fail("member 'result' comes twice");
                    result = true;
                    Result = value;
                    break;
                case Member.Error:
                    if (error) Fail("member 'error' comes twice");
                    error = true;
                    Error = value;
                    break;
            }
        }
        if (Problem is not null) return;
        // A client that has nothing to say may leave out the result: an id without a method is a reply all the same.
        if (!method && id) Kind = EnvelopeKind.Reply;
        else if (!versionRight) Fail(version ? "jsonrpc must be \"2.0\"" : "no member 'jsonrpc'");
        else if (!method) Fail("no member 'method'");
        else Kind = id ? EnvelopeKind.Request : EnvelopeKind.Notification;
    }

    private enum Member { Other, Version, Method, Id, Params, Result, Error }

    private static Member Name(ReadOnlySpan<byte> name) => name.Length switch
    {
        2 when name.SequenceEqual("id"u8) => Member.Id,
        5 when name.SequenceEqual("error"u8) => Member.Error,
        6 when name.SequenceEqual("method"u8) => Member.Method,
        6 when name.SequenceEqual("params"u8) => Member.Params,
        6 when name.SequenceEqual("result"u8) => Member.Result,
        7 when name.SequenceEqual("jsonrpc"u8) => Member.Version,
        _ => Member.Other,
    };

    /// <summary>Nobody escapes these names but to see whether we notice.</summary>
    private static Member EscapedName(ref Utf8JsonReader reader)
    {
        if (reader.TextIs("jsonrpc"u8)) return Member.Version;
        if (reader.TextIs("method"u8)) return Member.Method;
        if (reader.TextIs("id"u8)) return Member.Id;
        if (reader.TextIs("params"u8)) return Member.Params;
        if (reader.TextIs("result"u8)) return Member.Result;
        return reader.TextIs("error"u8) ? Member.Error : Member.Other;
    }

    /// <summary>Goes to the end of the value the reader stands on. False: it is nested too deep.</summary>
    private static bool Skip(ref Utf8JsonReader reader)
    {
        if (reader.TokenType is not (JsonTokenType.StartObject or JsonTokenType.StartArray)) return true;
        int outer = reader.CurrentDepth;
        while (reader.Read())
        {
            // An opening bracket counts as lying outside of what it opens.
            if (reader.CurrentDepth >= RawJsonConverter.MaxDepth && reader.TokenType is (JsonTokenType.StartObject or JsonTokenType.StartArray)) return false;
            if (reader.CurrentDepth == outer && reader.TokenType is (JsonTokenType.EndObject or JsonTokenType.EndArray)) return true;
        }
        return true;
    }

    /// <summary>The first problem stands; the rest is still read, to know whether it is JSON and what its id is.</summary>
    private void Fail(string problem)
    {
        Kind = EnvelopeKind.Invalid;
        Problem ??= problem;
    }

    private readonly Envelope NotJson(string problem) => new() { Kind = EnvelopeKind.NotJson, Problem = problem };
    private readonly Envelope Invalid(string problem) => new() { Kind = EnvelopeKind.Invalid, Problem = problem };
}
