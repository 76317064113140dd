using CarServer.Rpc.CommandLine;

namespace CarServer.Tests.Unit.CommandLine;

internal sealed class TokenFileTests : IDisposable
{
    private readonly string _path = Path.Combine(Directory.CreateTempSubdirectory("car-token-").FullName, "token");

    public void Dispose() => Directory.Delete(Path.GetDirectoryName(_path)!, recursive: true);

    [Test]
    public async Task The_token_is_trimmed_and_its_file_deleted()
    {
        File.WriteAllText(_path, "  secret\r\n");
        await Assert.That(TokenFile.Take(_path)).IsEqualTo("secret");
        await Assert.That(File.Exists(_path)).IsFalse();
    }

    [Test]
    [Arguments("", "is empty")]
    [Arguments(" \n", "is empty")]
    [Arguments("hunter2 hunter3", "must be printable ASCII without spaces")]
    public async Task A_file_without_a_token_is_refused_and_left_alone(string content, string rule)
    {
        File.WriteAllText(_path, content);
        UsageException? refused = await Assert.That(() => TokenFile.Take(_path)).Throws<UsageException>();
        await Assert.That(refused!.Message).IsEqualTo($"the token in {_path} {rule}");
        await Assert.That(File.Exists(_path)).IsTrue();
    }

    [Test]
    public async Task A_file_that_is_too_long_is_refused_and_left_alone()
    {
        File.WriteAllText(_path, new string('x', 4097));
        await Assert.That(() => TokenFile.Take(_path)).Throws<UsageException>();
        await Assert.That(File.Exists(_path)).IsTrue();
        File.WriteAllText(_path, new string('x', 4096));
        await Assert.That(TokenFile.Take(_path).Length).IsEqualTo(4096);
    }

    [Test]
    public async Task A_file_that_cannot_be_read_is_refused()
    {
        UsageException? refused = await Assert.That(() => TokenFile.Take(_path)).Throws<UsageException>();
        await Assert.That(refused!.Message).IsEqualTo($"cannot read the token file {_path}: no such file");
        await Assert.That(() => TokenFile.Take(Path.GetDirectoryName(_path)!)).Throws<UsageException>();
        await Assert.That(TokenFile.TryRead(_path)).IsNull();
    }
}
