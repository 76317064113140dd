namespace CarServer.Rpc.JsonRpc;

/// <summary>A result with one array that may be too large to hold: its elements are read, and sent, as fast as the client takes them.</summary>
/// <param name="Shell">The result with that array empty.</param>
/// <param name="Array">The array's member name on the wire.</param>
/// <param name="Elements">JSON values with a comma between them. Null: the shell is all there is.</param>
/// <param name="Settled">Called once. True: the answer is on its way, and what is sent from now on comes after it. False: it never will be.</param>
internal sealed record StreamedResult<R>(R Shell, string Array = "", Stream? Elements = null, Action<bool>? Settled = null);

/// <summary>An answer that is sent in parts: what stands before the elements, the elements, and what stands behind them.</summary>
internal readonly record struct AnswerParts(byte[] Head, Stream Elements, byte[] Tail);
