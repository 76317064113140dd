using System.Text;
using CarServer.Tests.Support;

namespace CarServer.Tests.Fuzz;

/// <summary>However a request head is cut into packets, it is taken with the same fields or refused for the same reason.</summary>
public sealed class RequestHeadFuzz
{
    private static readonly string[] Parts =
    [
        "GET / HTTP/1.1\r\n", "GET /x HTTP/1.0\r\n", "POST / HTTP/1.1\r\n", "GET ", "/", " HTTP/1.1", "\r\n", "\r\n\r\n", "\n", "\r", " ", ":", "\0", "é",
        "Host: localhost\r\n", "Host: localhost\r\n\r\n", "Host:", "Origin: null\r\n", "Upgrade: websocket\r\n", "Connection: a,upgrade\r\n", "Content-Length: 0\r\n", "Content-Length: 7\r\n",
        "Transfer-Encoding: chunked\r\n", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "Sec-WebSocket-Version: 13\r\n", "x: y\r\n", " folded\r\n",
    ];

    [Test]
    public async Task Any_head_in_any_chunking_has_one_outcome()
    {
        var random = new Random(9112);
        int counted = FuzzBudget.ParserInputs / 25;
        var seen = new Dictionary<string, int>();
        for (int round = 0; round < counted; round++)
        {
            byte[] octets = Encoding.UTF8.GetBytes(Head(random));
            int length = Mutation.Apply(random, octets, octets.Length);
            string told = HeadReading.Tell(octets.AsSpan(0, length));
            string kind = told[..Math.Min(3, told.Length)];
            seen[kind] = seen.GetValueOrDefault(kind) + 1;
            foreach (Func<int, int> chunk in (Func<int, int>[])[_ => length > 2000 ? 97 : 1, left => random.Next(left + 1), _ => 1 + random.Next(30)])
                if (HeadReading.Tell(octets.AsSpan(0, length), chunk) is var cut && cut != told)
                    Assert.Fail($"whole: {told}; in pieces: {cut}; {Convert.ToHexString(octets.AsSpan(0, length))}");
        }
        FuzzReport.Print($"request heads: {counted:N0} inputs; {string.Join(", ", seen.OrderBy(pair => pair.Key).Select(pair => $"{pair.Key} {pair.Value:N0}"))}");
        await Assert.That(seen.ContainsKey("tak")).IsTrue();
    }

    private static string Head(Random random)
    {
        var head = new StringBuilder(random.Next(4) > 0 ? Parts[0] : "");
        for (int count = random.Next(12); count > 0; count--) head.Append(Parts[random.Next(Parts.Length)]);
        if (random.Next(100) == 0) head.Append("X: ").Append('x', random.Next(20_000)).Append("\r\n");
        if (random.Next(100) == 0) head.Append(string.Concat(Enumerable.Repeat("a: b\r\n", random.Next(80))));
        return head.Append(random.Next(3) > 0 ? "Host: localhost\r\n\r\n" : "").ToString();
    }
}
