using System.Runtime.Versioning;
using CarServer.Tests.Support;
using TUnit.Core.Interfaces;

[assembly: ParallelLimiter<FewAtATime>]
[assembly: SupportedOSPlatform("linux")]
[assembly: SupportedOSPlatform("macos")]

namespace CarServer.Tests.Support;

/// <summary>
/// Most tests wait for a daemon of their own, so a few more than there are processors keep them busy; many more would only
/// stretch everybody's waits towards their deadlines.
/// </summary>
public sealed record FewAtATime : IParallelLimit
{
    public int Limit => Math.Clamp(Environment.ProcessorCount * 2, 2, 8);
}
