using System.Buffers;
using System.Security.Cryptography;
using System.Text;
using CarServer.State;

namespace CarServer.Tests.Unit;

public sealed class Sha256Tests
{
    [Test]
    public async Task It_is_the_base_librarys_at_every_length_around_a_block()
    {
        var random = new Random(1);
        for (int length = 0; length < 400; length++)
        {
            byte[] message = new byte[length];
            random.NextBytes(message);
            byte[] hash = new byte[Sha256.HashBytes];
            Sha256.Hash(message, hash);
            await Assert.That(hash.AsSpan().SequenceEqual(SHA256.HashData(message))).IsTrue().Because($"length {length}");
        }
    }

    [Test]
    [Arguments("""{"b":1,"a":{"z":[{"y":1,"x":2}],"A":null},"":0}""", """{"":0,"a":{"A":null,"z":[{"x":2,"y":1}]},"b":1}""")]
    [Arguments("""[ 1.0 , "\u00e4", {} , [] ]""", """[1.0,"\u00e4",{},[]]""")]
    [Arguments("""{"b":2,"a":1,"b":1}""", """{"a":1,"b":2,"b":1}""")]
    [Arguments("-0", "-0")]
    public async Task Members_are_sorted_at_every_level_and_tokens_stay_as_they_are(string json, string sorted)
    {
        var output = new ArrayBufferWriter<byte>();
        SortedJson.Write(Encoding.UTF8.GetBytes(json), output);
        await Assert.That(Encoding.UTF8.GetString(output.WrittenSpan)).IsEqualTo(sorted);
    }
}
