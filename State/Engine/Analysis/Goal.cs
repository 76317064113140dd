using System.Text.Json;
using CarServer.RunStore;

namespace CarServer.State.Engine.Analysis;

/// <summary>What a plan is for: conditions on the final state, all of which must hold.</summary>
/// <param name="Conditions">Those that a state decides.</param>
/// <param name="Underivable">Names of the others. With one of them the goal is never reached: what can't be decided must not count as done.</param>
internal sealed record Goal(IReadOnlyList<PlanCondition> Conditions, IReadOnlyList<string> Underivable)
{
    /// <summary>Reads one condition or a list of them. A condition on the state is <c>{ key, operator?, value? }</c>.</summary>
    /// <exception cref="RefusedException">It is neither.</exception>
    public static Goal Read(RawJson json, Plan plan)
    {
        var conditions = new List<PlanCondition>();
        var underivable = new List<string>();
        Utf8JsonReader reader = json.Reader();
        if (reader.TokenType == JsonTokenType.StartObject)
        {
            Add(json);
        }
        else
        {
            if (reader.TokenType != JsonTokenType.StartArray) throw Invalid("goal must be a condition or a list of them");
            while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            {
                if (reader.TokenType != JsonTokenType.StartObject) throw Invalid($"goal[{conditions.Count + underivable.Count}] must be an object");
                Add(RawJsonConverter.ReadValue(ref reader));
            }
        }
        if (conditions.Count + underivable.Count == 0) throw Invalid("goal has no conditions");
        return new Goal(conditions, underivable);

        void Add(RawJson element)
        {
            int index = conditions.Count + underivable.Count;
            if (index >= AnalysisLimits.MaxGoalConditions) throw Invalid($"goal may have at most {AnalysisLimits.MaxGoalConditions} conditions");
            Precondition? condition = TryState(element, out string? name);
            if (condition is not null) conditions.Add(plan.Condition(condition));
            else underivable.Add(name ?? $"goal[{index}]");
        }
    }

    public bool IsReached(PlanState state)
    {
        if (Underivable.Count > 0) return false;
        foreach (PlanCondition condition in Conditions)
        {
            if (!state.Holds(condition)) return false;
        }
        return true;
    }

    /// <summary>Null for a condition that no state decides; <paramref name="name"/> is then what it calls itself.</summary>
    private static Precondition? TryState(RawJson json, out string? name)
    {
        name = null;
        string? key = null, op = null, kind = null, description = null;
        RawJson value = RawJson.Null;
        Utf8JsonReader reader = json.Reader();
        try
        {
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                string member = reader.GetString()!;
                reader.Read();
                if (member == "value") value = RawJsonConverter.ReadValue(ref reader);
                else if (reader.TokenType != JsonTokenType.String) reader.Skip();
                else if (member == "key") key = reader.GetString();
                else if (member == "operator") op = reader.GetString();
                else if (member == "description") description = reader.GetString();
                else if (member is "type" or "kind") kind = reader.GetString();
            }
        }
        catch (InvalidOperationException)
        {
            return null;   // half a surrogate pair is no text, and no key
        }
        op ??= "eq";
        if (key is not null && Preconditions.IsOperator(op)) return new Precondition { Key = key, Operator = op, Value = value };
        name = description ?? (key is null ? kind : $"{key} {op}");
        if (name?.Length > AnalysisLimits.MaxMessageChars) name = null;
        return null;
    }

    private static RefusedException Invalid(string message) => new(message, Refusal.Invalid);
}
