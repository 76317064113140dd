using System.Diagnostics;
using System.Globalization;
using System.Runtime.Versioning;
using CarServer.Tests.Bench;
using CarServer.Tests.Support;

[assembly: SupportedOSPlatform("linux")]
[assembly: SupportedOSPlatform("macos")]

// The daemon's own repeatable figures. A ratio is time here over time of the limit, measured turn by turn in the same run:
// 1.00 is the limit itself. Absolute figures drift with the machine; ratios are what counts.

CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
if (args is ["soak", ..]) return await Soak.RunAsync(args[1..]);
if (args is ["crowd"]) return await Crowd.RunAsync();
if (args is ["growth", ..]) return await GrowthTable.RunAsync(args[1..]);
if (args is [EchoProcess.Verb, .. var how]) return EchoProcess.Serve(toAll: how is ["all"]);
if (args is ["compare", ..]) return await Comparison.RunAsync(args[1..]);
int rounds = 9;
string filter = "";
foreach (string argument in args)
{
    if (argument.StartsWith("--rounds=", StringComparison.Ordinal) && int.TryParse(argument["--rounds=".Length..], out rounds) && rounds > 0) continue;
    if (argument.StartsWith('-'))
    {
        Console.Error.WriteLine("usage: bench [--rounds=N] [WORD]   with WORD only the cases that have it in their name");
        return 2;
    }
    filter = argument;
}
bool Wanted(Case one) => one.Name.Contains(filter, StringComparison.OrdinalIgnoreCase);

long started = Stopwatch.GetTimestamp();
var inside = new Table(rounds, TimeSpan.FromMilliseconds(60));
var outside = new Table(rounds, TimeSpan.FromMilliseconds(250));

inside.PrintHeading("inside the daemon");
foreach (Case one in FrameCases.All().Where(Wanted)) inside.Run(one);
await using (var dispatch = new DispatchCases())
    foreach (Case one in dispatch.All().Where(Wanted)) inside.Run(one);
foreach (Case one in StateCases.All().Where(Wanted)) inside.Run(one);
foreach (Case one in EventCases.All().Where(Wanted)) inside.Run(one);
foreach (Case one in AnalysisCases.All().Where(Wanted)) inside.Run(one);
foreach (Case one in RunStoreCases.Durable().Where(Wanted)) inside.Run(one);

if (!File.Exists(Repository.Binary))
{
    Console.Error.WriteLine($"{Repository.Binary} is missing; make it with ./build.sh build");
    return 1;
}
outside.PrintHeading("the published executable, loopback");
await using (DaemonCases daemon = await DaemonCases.StartAsync())
{
    foreach (Case one in daemon.All().Where(Wanted)) outside.Run(one);
    foreach (Case one in RunStoreCases.Daemon().Where(Wanted)) outside.Run(one);
    if (filter.Length == 0) await daemon.PrintMemoryAsync();
}
outside.PrintHeading("run traces, the published executable, loopback");
await using (TraceCases traces = await TraceCases.StartAsync())
{
    foreach (Case one in traces.All().Where(Wanted)) outside.Run(one);
    if (filter.Length == 0 || "memory".Contains(filter, StringComparison.OrdinalIgnoreCase)) await traces.PrintMemoryAsync();
}
Console.WriteLine();
Console.WriteLine($"{rounds} rounds, {Stopwatch.GetElapsedTime(started).TotalSeconds:0} s, {Environment.ProcessorCount} processors");
return 0;
