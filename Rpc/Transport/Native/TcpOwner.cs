using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace CarServer.Rpc.Transport.Native;

/// <summary>Linux: which user owns the other end of a loopback TCP connection.</summary>
/// <remarks>
/// Asks the kernel for that one socket through sock_diag(7), whose cost does not grow with the number of connections as reading
/// <c>/proc/net/tcp</c> does; the file is read only where the netlink family is closed to us, as in some containers.
/// </remarks>
internal static unsafe partial class TcpOwner
{
    /// <summary>The user id; null when the system cannot say (another OS, or nobody holds the peer's socket any more).</summary>
    /// <remarks>A socket that its process has closed lives on in the kernel for a while, without an inode and shown as root's.</remarks>
    public static uint? Find(IPEndPoint peer, IPEndPoint ours)
    {
        if (!OperatingSystem.IsLinux()) return null;
        int netlink = socket(16, 2 | 0x80000, 4);   // AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG
        if (netlink < 0) return FromTable(peer, ours);
        try
        {
            // "No such socket" is also what a kernel without the inet_diag module says: the table decides then.
            return TryAsk(netlink, peer, ours, out uint? user) ? user : FromTable(peer, ours);
        }
        finally
        {
            Posix.Close(netlink);
        }
    }

    private static bool TryAsk(int netlink, IPEndPoint peer, IPEndPoint ours, out uint? user)
    {
        user = null;
        Span<byte> message = stackalloc byte[72];   // nlmsghdr, then inet_diag_req_v2
        message.Clear();
        MemoryMarshal.Write(message, 72u);
        MemoryMarshal.Write(message[4..], (ushort)20);   // SOCK_DIAG_BY_FAMILY
        MemoryMarshal.Write(message[6..], (ushort)1);    // NLM_F_REQUEST
        message[16] = (byte)(peer.AddressFamily == AddressFamily.InterNetwork ? 2 : 10);
        message[17] = 6;                                 // IPPROTO_TCP
        MemoryMarshal.Write(message[20..], uint.MaxValue);   // any state
        BinaryPrimitives.WriteUInt16BigEndian(message[24..], (ushort)peer.Port);
        BinaryPrimitives.WriteUInt16BigEndian(message[26..], (ushort)ours.Port);
        peer.Address.TryWriteBytes(message[28..], out _);
        ours.Address.TryWriteBytes(message[44..], out _);
        message[64..].Fill(0xFF);                        // INET_DIAG_NOCOOKIE
        if (Posix.Send(netlink, message) != message.Length) return false;

        Span<byte> answer = stackalloc byte[1024];
        int n = Posix.Receive(netlink, answer);
        if (n < 88 || MemoryMarshal.Read<ushort>(answer[4..]) != 20) return false;          // else NLMSG_ERROR
        bool held = MemoryMarshal.Read<uint>(answer[84..]) != 0;                            // inet_diag_msg.idiag_inode
        if (held) user = MemoryMarshal.Read<uint>(answer[80..]);                            // inet_diag_msg.idiag_uid
        return true;
    }

    private static uint? FromTable(IPEndPoint peer, IPEndPoint ours)
    {
        string table = peer.AddressFamily == AddressFamily.InterNetwork ? "/proc/net/tcp" : "/proc/net/tcp6";
        string wanted = $"{Hex(peer)} {Hex(ours)} ";
        try
        {
            foreach (string line in File.ReadLines(table))
            {
                if (!line.Contains(wanted, StringComparison.Ordinal)) continue;
                string[] fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                if (fields.Length > 9 && fields[9] != "0" && uint.TryParse(fields[7], CultureInfo.InvariantCulture, out uint user)) return user;   // 9: inode
            }
        }
        catch (IOException) { return null; }
        catch (UnauthorizedAccessException) { return null; }
        return null;

        static string Hex(IPEndPoint end)
        {
            byte[] address = end.Address.GetAddressBytes();
            for (int i = 0; i < address.Length; i += 4) address.AsSpan(i, 4).Reverse();
            return $"{Convert.ToHexString(address)}:{end.Port:X4}";
        }
    }

    [LibraryImport("libc")] private static partial int socket(int domain, int type, int protocol);
}
