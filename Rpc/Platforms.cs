using System.Runtime.Versioning;

// The daemon runs on Linux and macOS; where they differ, a small class beside the caller says how.
[assembly: SupportedOSPlatform("linux")]
[assembly: SupportedOSPlatform("macos")]
