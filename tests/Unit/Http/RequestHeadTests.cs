using System.Text;
using CarServer.Rpc.Http;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.Http;

public sealed class RequestHeadTests
{
    [Test]
    public async Task An_unfinished_head_is_neither_taken_nor_refused()
    {
        byte[] whole = Encoding.ASCII.GetBytes(RawPeer.UpgradeRequest("localhost"));
        for (int length = 0; length < whole.Length; length++)
        {
            bool taken = RequestHead.TryParse(whole.AsSpan(0, length), out _, out HttpRefusal? refusal);
            await Assert.That(taken).IsFalse().Because($"only {length} octets came");
            await Assert.That(refusal).IsNull().Because($"only {length} octets came");
        }
        await Assert.That(HeadReading.Tell(whole)).StartsWith("taken ");
    }

    [Test]
    public async Task The_fields_are_what_the_lines_say_and_what_follows_is_not_touched()
    {
        byte[] octets = Encoding.ASCII.GetBytes("GET /a?b HTTP/1.1\r\nhost: h:1\r\nORIGIN:\to \r\nUpgrade: x, WebSocket\r\nConnection:UPGRADE\r\n"
            + "Sec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\nX-Empty:\r\n\r\nrest\r\n\r\n");
        await Assert.That(HeadReading.Tell(octets)).IsEqualTo("taken 146: GET /a?b host=h:1 origin=o key=k version=13 upgrade connection");
    }

    [Test]
    [Arguments("GET / HTTP/1.1\r\n\r\n", "400 no Host header")]
    [Arguments("GET / HTTP/1.1\nHost: h\r\n\r\n", "400 malformed request line")]
    [Arguments("GET / HTTP/1.1\r\nHost: h\n\r\n", "400 line does not end in CRLF")]
    [Arguments("GET / HTTP/1.1\r\nHost: h\r\n x\r\n\r\n", "400 malformed header line")]
    [Arguments("get", "400 malformed method")]
    [Arguments("GETTTTTTTTTTTTTTT", "400 malformed request line")]
    [Arguments("GET / HTTP/1.1\r\nHost: h\nX", "400 line does not end in CRLF")]
    public async Task A_broken_head_is_refused_as_soon_as_it_is_certain(string head, string told)
    {
        byte[] octets = Encoding.ASCII.GetBytes(head);
        await Assert.That(HeadReading.Tell(octets)).IsEqualTo(told);
        await Assert.That(HeadReading.Tell(octets, _ => 1)).IsEqualTo(told);
    }

    [Test]
    public async Task A_head_with_two_faults_is_refused_for_the_same_one_however_it_is_cut()
    {
        byte[] octets = Encoding.ASCII.GetBytes("GET / HTTP/1.1\r\nHost: h\r\nX: " + new string('x', 20_000) + "\r\nY: a\nb\r\n\r\n");
        await Assert.That(HeadReading.Tell(octets)).IsEqualTo("431 request head over 16384 bytes");
        await Assert.That(HeadReading.Tell(octets, _ => 1000)).IsEqualTo("431 request head over 16384 bytes");
        octets = Encoding.ASCII.GetBytes("GET / HTTP/1.1\r\nHost: h\r\nY: a\nb\r\nX: " + new string('x', 20_000) + "\r\n\r\n");
        await Assert.That(HeadReading.Tell(octets)).IsEqualTo("400 line does not end in CRLF");
        await Assert.That(HeadReading.Tell(octets, _ => 1000)).IsEqualTo("400 line does not end in CRLF");
    }
}
