namespace CarServer.State;

/// <summary>Somebody's text as it is shown in one of ours.</summary>
internal static class Excerpt
{
    /// <summary>All of it or, of a longer one, the first characters and an ellipsis. A pair is not cut in two.</summary>
    public static string Of(string text, int chars) =>
        text.Length <= chars ? text : string.Concat(text.AsSpan(0, char.IsHighSurrogate(text[chars - 1]) ? chars - 1 : chars), "…");
}
