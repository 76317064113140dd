using System.Net;
using System.Net.Sockets;
using CarServer.Rpc.Transport.Native;
using CarServer.RunStore;

namespace CarServer.Rpc.Transport;

/// <summary>The daemon could not start, for a reason the user can act on. The message is one sentence.</summary>
internal sealed class DaemonStartException(string message) : Exception(message);

/// <summary>A bound, listening socket.</summary>
internal sealed class Listener : IDisposable
{
    /// <summary>Connections the kernel may finish before we accept them; it cuts the number to its own maximum.</summary>
    private const int Backlog = 4_096;

    private readonly Socket _socket;

    private Listener(Socket socket, string? path)
    {
        _socket = socket;
        Path = path;
        socket.Blocking = false;
    }

    public int Descriptor => (int)_socket.Handle;

    /// <summary>The file of a Unix socket; null for TCP.</summary>
    public string? Path { get; }

    public bool IsUnix => Path is not null;

    /// <summary>Where a TCP listener listens, the port as the kernel chose it.</summary>
    public IPEndPoint? EndPoint => _socket.LocalEndPoint as IPEndPoint;

    /// <summary><c>ws://127.0.0.1:9100/</c> or <c>unix:/path</c>.</summary>
    public string Url => Path is not null ? "unix:" + Path : $"ws://{EndPoint}/";

    public static Listener Tcp(IPEndPoint address)
    {
        var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            Posix.ReuseAddress((int)socket.Handle);   // a restart must not wait for the old connections' TIME_WAIT
            socket.Bind(address);
            socket.Listen(Backlog);
            return new Listener(socket, null);
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new DaemonStartException(e.SocketErrorCode switch
            {
                SocketError.AddressAlreadyInUse => $"port {address.Port} on {address.Address} is in use{PortOwner.Describe(address.Port)}",
                SocketError.AddressNotAvailable => $"{address.Address} is not an address of this machine",
                SocketError.AccessDenied => $"port {address.Port} may not be bound by this user",
                _ => $"cannot listen on {address}: {e.SocketErrorCode}",
            });
        }
    }

    /// <summary>Binds a Unix socket that only its owner may use; a stale file is removed only after a connect to it failed.</summary>
    public static Listener Unix(string path)
    {
        string directory = System.IO.Path.GetDirectoryName(path)!;
        UnixDomainSocketEndPoint endPoint;
        try { endPoint = new UnixDomainSocketEndPoint(path); }
        catch (ArgumentOutOfRangeException) { throw new DaemonStartException($"socket path is too long for this system: {path}"); }

        try
        {
            PrivateFiles.CreateDirectory(directory);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DaemonStartException($"cannot create the directory {directory}: {e.Message}");
        }
        if (File.Exists(path) || Directory.Exists(path))
        {
            if (Answers(path)) throw new DaemonStartException($"another process answers on {path}");
            if (!Posix.IsSocket(path)) throw new DaemonStartException($"{path} exists and is not a socket");
            if (!PrivateFiles.TryDelete(path)) throw new DaemonStartException($"the stale socket {path} may not be removed by this user");
        }
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Bind(endPoint);
            // Before listen nobody can connect, so there is no moment at which another user could.
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            socket.Listen(Backlog);
            return new Listener(socket, path);
        }
        catch (Exception e) when (e is SocketException or IOException or UnauthorizedAccessException)
        {
            socket.Dispose();
            throw new DaemonStartException($"cannot listen on {path}: {(e is SocketException s ? s.SocketErrorCode.ToString() : e.GetType().Name)}");
        }
    }

    /// <summary>True when somebody accepts connections there.</summary>
    public static bool Answers(string path)
    {
        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(path));
            return true;
        }
        catch (Exception e) when (e is SocketException or ArgumentOutOfRangeException)
        {
            return false;
        }
    }

    public void Dispose()
    {
        if (Path is not null) PrivateFiles.TryDelete(Path);
        _socket.Dispose();
    }
}
