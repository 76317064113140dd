using CarServer.Rpc.CommandLine;

namespace CarServer.Tests.Unit.CommandLine;

internal sealed class StateRootTests
{
    [Test]
    //         system          CAR_HOME     XDG_RUNTIME_DIR  root              tokens                                                        socket
    [Arguments("Linux", "",          "",              "/home/ada/.car", "/home/ada/.config/ai.parslee.car",                           "/home/ada/.car/run/car-server.sock")]
    [Arguments("Linux", "",          "/run/user/7",   "/home/ada/.car", "/run/user/7/ai.parslee.car",                                 "/run/user/7/ai.parslee.car/car-server.sock")]
    [Arguments("Linux", "",          "relative",      "/home/ada/.car", "/home/ada/.config/ai.parslee.car",                           "/home/ada/.car/run/car-server.sock")]
    [Arguments("Linux", "/srv/car",  "/run/user/7",   "/srv/car",       "/srv/car/ai.parslee.car",                                    "/srv/car/run/car-server.sock")]
    [Arguments("Linux", "/srv/car/", "",              "/srv/car",       "/srv/car/ai.parslee.car",                                    "/srv/car/run/car-server.sock")]
    [Arguments("MacOS", "",          "",              "/home/ada/.car", "/home/ada/Library/Application Support/ai.parslee.car",       "/home/ada/.car/run/car-server.sock")]
    [Arguments("MacOS", "",          "/run/user/7",   "/home/ada/.car", "/home/ada/Library/Application Support/ai.parslee.car",       "/run/user/7/ai.parslee.car/car-server.sock")]
    [Arguments("MacOS", "/srv/car",  "/run/user/7",   "/srv/car",       "/srv/car/ai.parslee.car",                                    "/srv/car/run/car-server.sock")]
    public async Task Finds_the_places_of_each_system(string system, string home, string runtime, string root, string tokens, string socket)
    {
        StateRoot found = StateRoot.Resolve(TestLayers.Environment($"CAR_HOME={home}", $"XDG_RUNTIME_DIR={runtime}"), Enum.Parse<Platform>(system));
        await Assert.That(found.Path).IsEqualTo(root);
        await Assert.That(found.TokenDirectory).IsEqualTo(tokens);
        await Assert.That(found.SocketPath).IsEqualTo(socket);
        await Assert.That(found.IsExplicit).IsEqualTo(home.Length > 0);
    }

    [Test]
    [Arguments("~/.car/run/a", "/srv/car/run/a")]
    [Arguments("~/.car/../b", "/srv/b")]
    [Arguments("~/.car", "/srv/car")]
    [Arguments("~/a", "/home/ada/a")]
    [Arguments("a/~/.car/b", "/here/a/~/.car/b")]
    [Arguments("./a", "/here/a")]
    [Arguments("/a/./b", "/a/b")]
    public async Task Expands_paths(string path, string absolute)
    {
        StateRoot root = StateRoot.Resolve(TestLayers.Environment("CAR_HOME=/srv/car"), Platform.Linux);
        await Assert.That(root.Expand(path, "/here")).IsEqualTo(absolute);
    }

    [Test]
    public async Task A_home_directory_is_not_needed_when_the_root_is_named()
    {
        StateRoot root = StateRoot.Resolve(TestLayers.Environment("CAR_HOME=/srv/car", "HOME="), Platform.Linux);
        await Assert.That(root.SocketPath).IsEqualTo("/srv/car/run/car-server.sock");
    }
}
