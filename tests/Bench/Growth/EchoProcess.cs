using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using CarServer.Rpc.Transport.Native;

namespace CarServer.Tests.Bench;

/// <summary>Sends back what comes, to as many clients as there are: what the same connections cost the kernel and whoever asks it, where a daemon would be.</summary>
/// <remarks>A process of its own, as a daemon is: one could not have both ends of ten thousand connections open.</remarks>
internal sealed class EchoProcess : IDisposable
{
    public const string Verb = "echo";

    private readonly Process _process;

    /// <param name="toAll">What comes goes to every client instead of back to its own.</param>
    public EchoProcess(bool toAll = false)
    {
        string first = Processors.DaemonHasTheFirst is { } before ? before + "; " : "";
        _process = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", $"{first}exec \"$0\" {Verb}{(toAll ? " all" : "")}", Environment.ProcessPath!]) { RedirectStandardOutput = true })!;
        string? port = _process.StandardOutput.ReadLine();
        Address = new IPEndPoint(IPAddress.Loopback, int.Parse(port ?? throw new InvalidOperationException("the echo did not start"), CultureInfo.InvariantCulture));
    }

    public EndPoint Address { get; }

    public void Dispose()
    {
        _process.Kill();
        _process.WaitForExit();
        _process.Dispose();
    }

    /// <summary>One thread, one wait for whoever is ready, one receive and one send for each. Until it is killed.</summary>
    public static int Serve(bool toAll)
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { Blocking = false };
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(1024);
        int accepting = (int)listener.Handle;
        using var poller = Poller.Create();
        poller.Add(accepting, (uint)accepting);
        Console.WriteLine(((IPEndPoint)listener.LocalEndPoint!).Port);
        Span<Ready> ready = new Ready[256];
        byte[] buffer = new byte[64 * 1024];
        var peers = new List<int>();
        while (true)
        {
            int count = poller.Wait(ready, -1);
            foreach (Ready one in ready[..count])
            {
                int descriptor = (int)one.Token;
                if (descriptor == accepting) Accept();
                else Echo(descriptor);
            }
        }

        void Accept()
        {
            int peer = Posix.Accept(accepting);
            if (peer < 0) return;
            Posix.TuneTcp(peer);
            poller.Add(peer, (uint)peer);
            peers.Add(peer);
        }

        void Echo(int peer)
        {
            int came = Posix.Receive(peer, buffer);
            if (came == -Posix.EAGAIN) return;
            if (came <= 0) Close(peer);
            else if (!toAll || buffer.AsSpan(0, came).StartsWith("GET "u8)) SendTo(peer, came);   // a client's opening is its own
            else foreach (int each in peers.ToArray()) SendTo(each, came);
        }

        void SendTo(int peer, int count)
        {
            // What is asked here is small: a socket that takes only part of it belongs to a client that has gone wrong.
            if (Posix.Send(peer, buffer.AsSpan(0, count)) != count) Close(peer);
        }

        void Close(int peer)
        {
            peers.Remove(peer);
            Posix.Close(peer);
        }
    }
}
