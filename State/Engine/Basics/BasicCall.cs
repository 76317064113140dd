using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.State.Engine.Basics;

/// <summary>The parameters of one call, and the answer that is being written. A client may have registered a schema of its own, so nothing is taken for granted.</summary>
internal sealed class BasicCall : IDisposable
{
    private readonly JsonDocument _parameters;
    private readonly ArrayBufferWriter<byte> _output = new(1_024);

    public BasicCall(RawJson parameters, CancellationToken abandoned)
    {
        _parameters = JsonDocument.Parse(parameters.Memory, new JsonDocumentOptions { MaxDepth = RawJsonConverter.MaxDepth });
        Answer = new Utf8JsonWriter(_output, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        Answer.WriteStartObject();
        Abandoned = abandoned;
    }

    public CancellationToken Abandoned { get; }

    /// <summary>Inside the object that the call answers with.</summary>
    public Utf8JsonWriter Answer { get; }

    public RawJson Finish()
    {
        Answer.WriteEndObject();
        Answer.Flush();
        return RawJson.FromCompact(_output.WrittenSpan.ToArray());
    }

    public string Text(string name) => TextOrNull(name) ?? throw new BasicException($"parameter '{name}' is missing");

    public string? TextOrNull(string name)
    {
        if (!TryFind(name, out JsonElement value)) return null;
        if (value.ValueKind != JsonValueKind.String) throw new BasicException($"parameter '{name}' must be a string");
        try
        {
            return value.GetString();
        }
        catch (InvalidOperationException)
        {
            throw new BasicException($"parameter '{name}' is not valid Unicode");
        }
    }

    public bool Flag(string name)
    {
        if (!TryFind(name, out JsonElement value)) return false;
        return value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : throw new BasicException($"parameter '{name}' must be true or false");
    }

    public int Number(string name, int unset, int least, int most)
    {
        if (!TryFind(name, out JsonElement value)) return unset;
        if (value.ValueKind != JsonValueKind.Number || !value.TryGetDouble(out double number) || !double.IsInteger(number) || number < least)
            throw new BasicException($"parameter '{name}' must be a whole number from {least}");
        return (int)Math.Min(number, most);
    }

    private bool TryFind(string name, out JsonElement value)
    {
        try
        {
            return _parameters.RootElement.TryGetProperty(name, out value) && value.ValueKind != JsonValueKind.Null;
        }
        catch (InvalidOperationException)
        {
            throw new BasicException("a parameter's name is not valid Unicode");
        }
    }

    public void Dispose()
    {
        Answer.Dispose();
        _parameters.Dispose();
    }
}
