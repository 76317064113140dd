using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.WebSocket;

public sealed class FrameReaderTests
{
    public static IEnumerable<(string Drawn, string Told)> Streams() =>
    [
        ("81 82 00000000 'hi'", "Text 'hi'; "),
        ("81 85 37FA213D 7F9F4D5158", "Text 'Hello'; "),
        ("82 82 00000000 FFFE", "Binary 'ÿþ'; "),
        ("01 81 00000000 'a' 89 81 00000000 'p' 00 80 00000000 80 81 00000000 'b'", "Ping 'p'; Text 'ab'; "),
        ("01 81 00000000 'a' 88 82 00000000 03E8 80 81 00000000 'b'", "Close '\u0003è'; Text 'ab'; "),
        ("81 81 00000000 'a' 82 81 00000000 'b' 8A 80 00000000", "Text 'a'; Binary 'b'; Pong ''; "),
        ($"82 FE 0100 01020304 '{new string('a', 256)}'", $"Binary '{string.Concat(Enumerable.Repeat("`cbe", 64))}'; "),
        ("01 81 00000000 'a'", "…"),
        ("81 85 00000000 'hell'", "…"),
        ("81", "…"),
        ("", ""),
        ("81 82 00000000 C328", "1007 text is not UTF-8 (RFC 6455 8.1)"),
        ("01 81 00000000 C3 80 81 00000000 28", "1007 text is not UTF-8 (RFC 6455 8.1)"),
        ("01 81 00000000 C3 80 81 00000000 A9", "Text 'Ã©'; "),
        ("81 81 00000000 'a' 80 80 00000000", "Text 'a'; 1002 continuation without a message (RFC 6455 5.4)"),
        ("81 FE FFFF 00000000 FF", "1007 text is not UTF-8 (RFC 6455 8.1)"),
        ("88 81 00000000 00", "1002 close frame with one octet (RFC 6455 5.5.1)"),
        ("88 82 00000000 03ED", "1002 close code may not be sent (RFC 6455 7.4)"),
        ("88 83 00000000 03E8 FF", "1007 text is not UTF-8 (RFC 6455 8.1)"),
        ("82 FF 0000000000100001 00000000", "1009 message over the limit"),
        ("02 FF 00000000000FFFFF 00000000 00*1048575 80 82 00000000", "1009 message over the limit"),
    ];

    [Test, MethodDataSource(nameof(Streams))]
    public async Task The_outcome_is_the_same_however_the_stream_is_cut(string drawn, string told)
    {
        byte[] stream = Drawing.Octets(drawn);
        await Assert.That(FrameReading.Tell(stream)).IsEqualTo(told);
        if (stream.Length > 2000)
        {
            await Assert.That(FrameReading.Tell(stream, chunk: 1000)).IsEqualTo(told);
            return;
        }
        await Assert.That(FrameReading.Tell(stream, chunk: 1)).IsEqualTo(told);
        for (int cut = 1; cut < stream.Length; cut++)
        {
            int next = cut;
            await Assert.That(FrameReading.Tell(stream, left => Interlocked.Exchange(ref next, left))).IsEqualTo(told).Because($"it was cut at {cut}");
        }
    }
}
