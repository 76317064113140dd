using CarServer.Rpc.Client;
using CarServer.Rpc.CommandLine;

namespace CarServer.Tests.Unit.CommandLine;

internal sealed class DaemonFinderTests
{
    private static DaemonFinder Find(string? url = null, string? socket = null, string? token = null, params string[] variables) =>
        DaemonFinder.Resolve(url, socket, token, TestLayers.Environment(variables), Platform.Linux, "/here");

    private static string Order(DaemonFinder finder) => string.Join(' ', finder.Addresses);

    [Test]
    public async Task Looks_in_the_order_of_the_protocol()
    {
        string[] all = ["CAR_DAEMON_URL=ws://127.0.0.1:7/", "CAR_SERVER_SOCKET=/s", "CAR_HOME=/srv/car"];
        await Assert.That(Order(Find(url: "ws://127.0.0.1:8/", variables: all))).IsEqualTo("ws://127.0.0.1:8/");
        await Assert.That(Order(Find(socket: "here", variables: all))).IsEqualTo("unix:/here/here");
        await Assert.That(Order(Find(variables: all))).IsEqualTo("ws://127.0.0.1:7/");
        await Assert.That(Order(Find(variables: all[1..]))).IsEqualTo("unix:/s ws://127.0.0.1:9100/");
        await Assert.That(Order(Find(variables: all[2..]))).IsEqualTo("unix:/srv/car/run/car-server.sock ws://127.0.0.1:9100/");
        await Assert.That(Order(Find())).IsEqualTo("unix:/home/ada/.car/run/car-server.sock ws://127.0.0.1:9100/");
        await Assert.That(Order(Find(variables: "HOME="))).IsEqualTo("ws://127.0.0.1:9100/");
    }

    [Test]
    public async Task The_default_port_is_not_ours_to_stop()
    {
        await Assert.That(Order(Find().WithoutDefault())).IsEqualTo("unix:/home/ada/.car/run/car-server.sock");
        await Assert.That(Order(Find(url: "ws://127.0.0.1:9100/").WithoutDefault())).IsEqualTo("ws://127.0.0.1:9100/");
    }

    [Test]
    public async Task The_token_comes_from_the_flag_the_variable_or_the_file_of_this_machine()
    {
        string home = Directory.CreateTempSubdirectory("car-finder-").FullName;
        try
        {
            Directory.CreateDirectory(home + "/ai.parslee.car");
            File.WriteAllText(home + "/ai.parslee.car/auth-token", "from-file\n");
            File.WriteAllText(home + "/ai.parslee.car/host-token", "host");
            DaemonAddress remote = DaemonAddress.Tcp("192.0.2.1", 9100);
            await Assert.That(Find(token: "flag", variables: "CAR_AUTH_TOKEN=variable").CredentialFor(remote)!.Token).IsEqualTo("flag");
            await Assert.That(Find(variables: "CAR_AUTH_TOKEN= variable ").CredentialFor(remote)!.Token).IsEqualTo("variable");
            DaemonFinder finder = Find(variables: [$"CAR_HOME={home}", "CAR_AUTH_TOKEN=  "]);
            await Assert.That(finder.CredentialFor(DaemonAddress.Default) is { Kind: "host_token", Token: "host" }).IsTrue();
            await Assert.That(finder.CredentialFor(remote)).IsNull();
            await Assert.That(finder.HostCredentialFor(remote)).IsNull();
            DaemonFinder named = Find(token: "flag", variables: $"CAR_HOME={home}");
            await Assert.That(named.CredentialFor(DaemonAddress.Default) is { Kind: "token", Token: "flag" }).IsTrue();
            await Assert.That(named.HostCredentialFor(DaemonAddress.Default) is { Kind: "host_token", Token: "host" }).IsTrue();
            File.Delete(home + "/ai.parslee.car/host-token");
            await Assert.That(finder.CredentialFor(DaemonAddress.Default) is { Kind: "token", Token: "from-file" }).IsTrue();
        }
        finally
        {
            Directory.Delete(home, recursive: true);
        }
    }

    /// <summary>A daemon on another port, in another home, is what a newcomer looks for in vain: both places looked at are named.</summary>
    [Test]
    public async Task Names_every_place_where_it_found_nobody()
    {
        var finder = new DaemonFinder([DaemonAddress.Unix("/nowhere/car.sock"), DaemonAddress.Tcp("127.0.0.1", 1)], null, null);
        RpcConnectionException? nobody = await Assert.That(async () => await finder.ConnectAsync(CancellationToken.None)).Throws<RpcConnectionException>();
        await Assert.That(nobody!.Message).StartsWith("there is no socket /nowhere/car.sock; cannot connect to ws://127.0.0.1:1/");
    }

    [Test]
    public async Task Refuses_what_it_cannot_use()
    {
        await Assert.That(() => Find(url: "http://127.0.0.1/")).Throws<UsageException>();
        await Assert.That(() => Find(variables: "CAR_DAEMON_URL=wss://x/")).Throws<UsageException>();
        await Assert.That(() => Find(url: "ws://127.0.0.1:1/", socket: "/s")).Throws<UsageException>();
        await Assert.That(() => Find(token: " ")).Throws<UsageException>();
    }
}
