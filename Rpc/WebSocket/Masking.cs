using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace CarServer.Rpc.WebSocket;

/// <summary>RFC 6455, 5.3: octet i of the payload is XORed with octet i mod 4 of the masking key.</summary>
internal static class Masking
{
    /// <summary>Masks or unmasks in place.</summary>
    /// <param name="key">The four key octets as they lie in memory.</param>
    /// <returns>The key for the octet after the last one, so that a payload may come in pieces.</returns>
    public static uint Apply(Span<byte> payload, uint key)
    {
        ref byte start = ref MemoryMarshal.GetReference(payload);
        nuint length = (nuint)payload.Length;
        nuint i = 0;
        if (Vector256.IsHardwareAccelerated && length >= 32)
        {
            Vector256<byte> wide = Vector256.Create(key).AsByte();
            for (; i + 32 <= length; i += 32) (Vector256.LoadUnsafe(ref start, i) ^ wide).StoreUnsafe(ref start, i);
        }
        if (Vector128.IsHardwareAccelerated)
        {
            Vector128<byte> wide = Vector128.Create(key).AsByte();
            for (; i + 16 <= length; i += 16) (Vector128.LoadUnsafe(ref start, i) ^ wide).StoreUnsafe(ref start, i);
        }
        for (; i + 4 <= length; i += 4)
        {
            ref byte at = ref Unsafe.Add(ref start, i);
            Unsafe.WriteUnaligned(ref at, Unsafe.ReadUnaligned<uint>(ref at) ^ key);
        }
        uint rest = key;
        for (; i < length; i++, rest >>= 8) Unsafe.Add(ref start, i) ^= (byte)rest;
        return BitOperations.RotateRight(key, 8 * (payload.Length & 3));
    }
}
