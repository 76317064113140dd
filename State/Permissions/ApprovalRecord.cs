using System.Text.Json.Serialization;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;

namespace CarServer.State.Permissions;

/// <summary>One decision about one fingerprint: a line of the ledger, and the answer to whoever took it (protocol 12.1).</summary>
/// <param name="RequiredTier">How far an approval reaches: it does not count for an action that needs more.</param>
/// <param name="Reviewer">Who took it, as the daemon knows him: <c>agent:&lt;id&gt;</c> or <c>conn:&lt;client_id&gt;</c>.</param>
[ToJson]
internal sealed record ApprovalRecord(
    string Fingerprint, [property: JsonConverter(typeof(TierWord))] string RequiredTier, [property: JsonConverter(typeof(ApprovalWord))] string Decision,
    string Reviewer, string Reason,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] RawJson Evidence, DateTime DecidedAt);

/// <summary>What a line must have for it to count; the rest of it is for people.</summary>
[FromJson]
internal sealed record ApprovalLine(
    string Fingerprint, [property: JsonConverter(typeof(TierWord))] string RequiredTier, [property: JsonConverter(typeof(ApprovalWord))] string Decision);
