using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.Rules;

/// <summary>A document that is made from the code and kept in the repository, so that a change of it is seen in review.</summary>
internal static class ApprovedText
{
    private static bool Approves => Environment.GetEnvironmentVariable("CAR_APPROVE") == "1";

    /// <summary>Fails when the document differs; with <c>CAR_APPROVE=1</c> writes it instead.</summary>
    public static async Task IsAsync(string file, string text)
    {
        string path = Path.Combine(Repository.Root, "docs", file);
        if (Approves) await File.WriteAllTextAsync(path, text);
        string approved = File.Exists(path) ? await File.ReadAllTextAsync(path) : "";
        await Assert.That(approved).IsEqualTo(text).Because($"docs/{file} is made from the code: see the change, then CAR_APPROVE=1 ./build.sh test '/*/CarServer.Tests.Unit.Rules/*/*'");
    }
}
