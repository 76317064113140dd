using System.Buffers.Text;
using System.Runtime.InteropServices;

namespace CarServer.Rpc.Transport.Native;

/// <summary>Random bytes from the kernel.</summary>
/// <remarks>
/// <c>RandomNumberGenerator</c> would load OpenSSL for the first byte: milliseconds of the start-up and megabytes that stay.
/// <c>getentropy</c> is in glibc since 2.25, in musl and in macOS, and can't fail once the kernel's pool is seeded. Any thread.
/// </remarks>
internal static partial class Entropy
{
    /// <summary>What the kernel hands out in one call, at most (getentropy(3)).</summary>
    private const int MaxBytesPerCall = 256;

    private const int TokenBytes = 32;

    public static void Fill(Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            Span<byte> part = destination[..Math.Min(destination.Length, MaxBytesPerCall)];
            if (GetEntropy(ref MemoryMarshal.GetReference(part), (nuint)part.Length) != 0)
                throw new InvalidOperationException("the system has no random bytes to give");
            destination = destination[part.Length..];
        }
    }

    /// <summary>A fresh secret in the form of all tokens (protocol 6.1): 32 bytes as 43 characters of base64url.</summary>
    public static string Token()
    {
        Span<byte> secret = stackalloc byte[TokenBytes];
        Fill(secret);
        string token = Base64Url.EncodeToString(secret);
        secret.Clear();
        return token;
    }

    [LibraryImport("libc", EntryPoint = "getentropy")]
    private static partial int GetEntropy(ref byte buffer, nuint length);
}
