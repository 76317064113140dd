using System.Security.Cryptography;
using System.Text;
using CarServer.Rpc.WebSocket;

namespace CarServer.Tests.Unit.WebSocket;

public sealed class HandshakeTests
{
    [Test]
    public async Task The_digest_of_every_short_text_is_the_frameworks()
    {
        for (int length = 0; length <= 400; length++)
        {
            byte[] text = [.. Enumerable.Range(0, length).Select(i => (byte)(i * 31 + length))];
            byte[] digest = new byte[20];
            Handshake.Sha1(text, digest);
            await Assert.That(Convert.ToHexString(digest)).IsEqualTo(Convert.ToHexString(SHA1.HashData(text))).Because($"{length} octets");
        }
    }

    [Test]
    public async Task The_key_of_the_RFCs_example_is_answered_as_there() =>
        await Assert.That(Handshake.AcceptKey("dGhlIHNhbXBsZSBub25jZQ==")).IsEqualTo("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

    [Test]
    [Arguments("dGhlIHNhbXBsZSBub25jZQ==", true)]
    [Arguments("AAAAAAAAAAAAAAAAAAAAAA==", true)]
    [Arguments("", false)]
    [Arguments("dGhlIHNhbXBsZSBub25jZQ=", false)]
    [Arguments("dGhlIHNhbXBsZSBub25jZQ===", false)]
    [Arguments("dGhlIHNhbXBsZSBub25jZXgh", false)]
    [Arguments("dGhlIHNhbXBsZSBub25jZXg=", false)]
    [Arguments("dGhlIHNhbXBsZSBub25j ZQ=", false)]
    [Arguments("dGhlIHNhbXBsZSBub25jZ==Q", false)]
    [Arguments("!GhlIHNhbXBsZSBub25jZQ==", false)]
    public async Task A_key_is_the_base64_of_sixteen_octets(string key, bool valid) =>
        await Assert.That(Handshake.IsValidKey(Encoding.Latin1.GetBytes(key))).IsEqualTo(valid);
}
