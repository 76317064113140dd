using System.Runtime.CompilerServices;
using CarServer.Rpc;

namespace CarServer.Tests.Unit.Transport;

public sealed class GrowableBufferTests
{
    [Test]
    public async Task It_gives_back_what_it_was_given_in_that_order_and_never_holds_much_more()
    {
        var random = new Random(9100);
        var buffer = new GrowableBuffer();
        var model = new List<byte>();
        byte next = 0;
        for (int step = 0; step < 20_000; step++)
        {
            if (random.Next(2) == 0)
            {
                byte[] more = new byte[random.Next(random.Next(10) == 0 ? 5000 : 50)];
                for (int i = 0; i < more.Length; i++) more[i] = next++;
                buffer.Append(more);
                model.AddRange(more);
            }
            else if (model.Count > 0)
            {
                int count = random.Next(20) == 0 ? model.Count : random.Next(Math.Min(model.Count, 60) + 1);
                buffer.Consume(count);
                model.RemoveRange(0, count);
            }
            if (buffer.Length != model.Count || !buffer.Bytes.SequenceEqual(model.ToArray())) Assert.Fail($"step {step}");
            if (model.Count == 0 && Capacity(ref buffer) != 0) Assert.Fail($"step {step}: empty, and still holds {Capacity(ref buffer)}");
        }
        int held = Capacity(ref buffer);
        buffer.Free();
        await Assert.That(held).IsLessThan(4 * Math.Max(1024, model.Count) + 20_000);
        await Assert.That(buffer.IsEmpty).IsTrue();
    }

    [Test]
    public async Task It_grows_with_what_comes_by_no_more_than_its_own_length()
    {
        var buffer = new GrowableBuffer();
        for (int length = 100; length <= 1_000_000; length += 100)
        {
            buffer.Append(new byte[100]);
            if (Capacity(ref buffer) > Math.Max(1024, 2 * length)) Assert.Fail($"{Capacity(ref buffer)} for {length}");
        }
        await Assert.That(buffer.Length).IsEqualTo(1_000_000);
        buffer.Free();
    }

    [UnsafeAccessor(UnsafeAccessorKind.Field, Name = "_capacity")]
    private static extern ref int Capacity(ref GrowableBuffer buffer);
}
