using System.Text;
using CarServer.Rpc.JsonRpc;

namespace CarServer.Tests.Support;

/// <summary>What <see cref="Envelope"/> makes of a message, in words.</summary>
internal static class EnvelopeReading
{
    public static string Tell(ReadOnlySpan<byte> message)
    {
        Envelope envelope = Envelope.Read(message);
        if (envelope.Kind != EnvelopeKind.Batch)
        {
            string told = Tell(envelope), slowly = Tell(Envelope.ReadAny(message));
            return told == slowly ? told : $"{told}, and read slowly {slowly}";
        }
        var members = new List<Range>();
        if (Envelope.ReadBatch(message, members, out _) is { } code) return $"Batch {(int)code}";
        var batch = new StringBuilder("Batch");
        foreach (Range member in members) batch.Append($" [{Tell(Envelope.Read(message[member]))}]");
        return batch.ToString();
    }

    private static string Tell(in Envelope envelope)
    {
        var told = new StringBuilder(envelope.Kind.ToString());
        Add("id", envelope.Id);
        if (envelope.Kind is EnvelopeKind.Request or EnvelopeKind.Notification)
        {
            Add("method", envelope.Method);
            Add("params", envelope.Params);
            _ = envelope.MethodName();
        }
        if (envelope.Kind is EnvelopeKind.Reply)
        {
            Add("result", envelope.Result);
            Add("error", envelope.Error);
        }
        return told.ToString();

        void Add(string name, ReadOnlySpan<byte> value)
        {
            if (!value.IsEmpty) told.Append($" {name}={Encoding.UTF8.GetString(value)}");
        }
    }
}
