using System.Buffers.Binary;

namespace CarServer.Rpc.WebSocket;

/// <summary>Headers of the frames a server sends: never masked, never fragmented (RFC 6455, 5.1).</summary>
internal static class FrameWriter
{
    /// <summary>Octets the header of a payload of this length takes: 2, 4 or 10.</summary>
    public static int HeaderSize(long payloadLength) => payloadLength <= 125 ? 2 : payloadLength <= ushort.MaxValue ? 4 : 10;

    public static void WriteHeader(Span<byte> destination, Opcode opcode, long payloadLength)
    {
        destination[0] = (byte)(0x80 | (byte)opcode);
        switch (HeaderSize(payloadLength))
        {
            case 2:
                destination[1] = (byte)payloadLength;
                break;
            case 4:
                destination[1] = 126;
                BinaryPrimitives.WriteUInt16BigEndian(destination[2..], (ushort)payloadLength);
                break;
            default:
                destination[1] = 127;
                BinaryPrimitives.WriteUInt64BigEndian(destination[2..], (ulong)payloadLength);
                break;
        }
    }
}
