using System.Text;
using CarServer.Rpc.Http;

namespace CarServer.Tests.Support;

/// <summary>Feeds octets to <see cref="RequestHead"/> as they come, and tells what came of them.</summary>
internal static class HeadReading
{
    public static string Tell(ReadOnlySpan<byte> octets, Func<int, int>? nextChunk = null)
    {
        for (int length = 0; ;)
        {
            int left = octets.Length - length;
            length += nextChunk is null ? left : Math.Clamp(nextChunk(left), Math.Min(1, left), left);
            if (RequestHead.TryParse(octets[..length], out RequestHead head, out HttpRefusal? refusal)) return Tell(head);
            if (refusal is not null) return $"{refusal.Status} {refusal.Reason}";
            if (length == octets.Length) return "…";
        }
    }

    private static string Tell(in RequestHead head)
    {
        static string Text(ReadOnlySpan<byte> octets) => Encoding.Latin1.GetString(octets);
        return $"taken {head.Length}: {Text(head.Method)} {Text(head.Target)} host={Text(head.Host)}"
            + (head.HasOrigin ? $" origin={Text(head.Origin)}" : "") + $" key={Text(head.WebSocketKey)} version={Text(head.WebSocketVersion)}"
            + (head.UpgradesToWebSocket ? " upgrade" : "") + (head.ConnectionUpgrade ? " connection" : "") + (head.HasBody ? " body" : "");
    }
}
