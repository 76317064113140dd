using System.Numerics;
using System.Text;
using CarServer.State.Engine.Schemas;

namespace CarServer.Tests.Unit.Engine.Schemas;

/// <summary>Against whole numbers of any size, which the framework has.</summary>
public class JsonNumberTests
{
    [Test]
    public async Task Order_wholeness_and_multiples_are_exact()
    {
        var random = new Random(7);
        for (int round = 0; round < 20_000; round++)
        {
            string left = Draw(random), right = Draw(random);
            (BigInteger a, BigInteger b) = (Scaled(left), Scaled(right));
            int order = JsonNumber.Compare(new JsonNumber(Bytes(left)), new JsonNumber(Bytes(right)));
            if (Math.Sign(order) != a.CompareTo(b)) Assert.Fail($"{left} and {right} compare as {order}");
            bool isWhole = new JsonNumber(Bytes(left)).IsInteger;
            if (isWhole != (a % Unit == 0)) Assert.Fail($"{left} is whole: {isWhole}");
            if (b <= 0) continue;
            bool isMultiple = new JsonNumber(Bytes(left)).IsMultipleOf(new JsonNumber(Bytes(right)));
            if (isMultiple != (a % b == 0)) Assert.Fail($"{left} is a multiple of {right}: {isMultiple}");
        }
        await Assert.That(new JsonNumber("0e5"u8).IsZero).IsTrue();
    }

    private static readonly BigInteger Unit = BigInteger.Pow(10, 20);

    private static byte[] Bytes(string text) => Encoding.ASCII.GetBytes(text);

    private static string Draw(Random random)
    {
        string whole = random.Next(4) switch { 0 => "0", 1 => random.Next(1, 10).ToString(), 2 => random.Next(1, 100_000).ToString(), _ => random.Next(1, 10) + new string('0', random.Next(4)) };
        string fraction = random.Next(3) == 0 ? "." + random.Next(0, 1_000) : "";
        string exponent = random.Next(3) == 0 ? "e" + (random.Next(2) == 0 ? "+" : "") + random.Next(0, 6) : random.Next(4) == 0 ? "E-" + random.Next(0, 6) : "";
        return (random.Next(4) == 0 ? "-" : "") + whole + fraction + exponent;
    }

    /// <summary>The number times 10²⁰.</summary>
    private static BigInteger Scaled(string text)
    {
        string[] parts = text.ToLowerInvariant().Split('e');
        int exponent = 20 + (parts.Length > 1 ? int.Parse(parts[1]) : 0);
        string[] digits = parts[0].Split('.');
        if (digits.Length > 1) exponent -= digits[1].Length;
        return BigInteger.Parse(string.Concat(digits)) * BigInteger.Pow(10, exponent);
    }
}
