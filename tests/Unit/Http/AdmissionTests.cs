using System.Net;
using CarServer.Rpc.Http;

namespace CarServer.Tests.Unit.Http;

public sealed class AdmissionTests
{
    private static readonly Admission Ours = new(["https://app.example"]);

    [Test]
    [Arguments("localhost", true)]
    [Arguments("LocalHost:9100", true)]
    [Arguments("127.0.0.1", true)]
    [Arguments("127.8.9.10:1", true)]
    [Arguments("[::1]", true)]
    [Arguments("[::1]:9100", true)]
    [Arguments("10.1.2.3:9100", true)]
    [Arguments("app.example", true)]
    [Arguments("app.example:443", true)]
    [Arguments("localhost:", true)]
    [Arguments("", false)]
    [Arguments(":9100", false)]
    [Arguments("localhost.", false)]
    [Arguments("localhost.evil.example", false)]
    [Arguments("evil.example", false)]
    [Arguments("10.1.2.4", false)]
    [Arguments("localhost:80:80", false)]
    [Arguments("localhost:80@evil.example", false)]
    [Arguments("localhost:evil", false)]
    [Arguments("[::1", false)]
    [Arguments("[::1]evil.example", false)]
    [Arguments("[::2]", false)]
    [Arguments("user@localhost", false)]
    public async Task The_Host_has_to_name_this_machine(string host, bool ours) =>
        await Assert.That(Ours.IsOurHost(host, IPAddress.Parse("10.1.2.3"))).IsEqualTo(ours);

    [Test]
    [Arguments("http://localhost", true)]
    [Arguments("https://LOCALHOST:3000", true)]
    [Arguments("http://127.0.0.1:80", true)]
    [Arguments("http://[::1]:3000", true)]
    [Arguments("https://app.example", true)]
    [Arguments("https://app.example:8443", false)]
    [Arguments("http://app.example", false)]
    [Arguments("https://evil.example", false)]
    [Arguments("null", false)]
    [Arguments("", false)]
    [Arguments("localhost", false)]
    [Arguments("file:///", false)]
    [Arguments("ws://localhost", false)]
    [Arguments("http://localhost/", false)]
    [Arguments("http://localhost/x", false)]
    [Arguments("http://localhost?x", false)]
    [Arguments("http://localhost#x", false)]
    [Arguments("http://u@localhost", false)]
    [Arguments("http://localhost@evil.example", false)]
    [Arguments("http://localhost.evil.example", false)]
    [Arguments("http://localhost http://evil.example", false)]
    public async Task An_Origin_is_loopback_or_named(string origin, bool allowed) =>
        await Assert.That(Ours.IsAllowedOrigin(origin)).IsEqualTo(allowed);
}
