namespace CarServer.Tests.Bench;
internal static class Comparison { public static Task<int> RunAsync(string[] a) => Task.FromResult(a.Length); }
