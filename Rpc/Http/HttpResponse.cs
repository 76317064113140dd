using System.Text;

namespace CarServer.Rpc.Http;

/// <summary>Whole responses, each the last one on its connection.</summary>
internal static class HttpResponse
{
    public static byte[] Refuse(HttpRefusal refusal) => Write(refusal.Status, "text/plain; charset=utf-8", refusal.Reason + "\n", refusal.Headers);

    public static byte[] Write(int status, string contentType, string body, string headers = "")
    {
        byte[] content = Encoding.UTF8.GetBytes(body);
        string head = $"HTTP/1.1 {status} {Phrase(status)}\r\nContent-Type: {contentType}\r\nContent-Length: {content.Length}\r\n"
            + $"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n{headers}\r\n";
        return [.. Encoding.ASCII.GetBytes(head), .. content];
    }

    private static string Phrase(int status) => status switch
    {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => throw new ArgumentOutOfRangeException(nameof(status), status, "no phrase for this status"),
    };
}
