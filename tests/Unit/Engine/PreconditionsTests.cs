using CarServer.RunStore;
using CarServer.State;
using CarServer.State.Engine;

namespace CarServer.Tests.Unit.Engine;

public class PreconditionsTests
{
    [Test]
    //          operator     actual (null: key missing)   expected       problem
    [Arguments("eq",         "1",                         "1.0",         null)]
    [Arguments("eq",         "{\"a\":1,\"b\":2}",         "{\"b\":2,\"a\":1}", null)]
    [Arguments("eq",         "1",                         "\"1\"",       "value differs")]
    [Arguments("eq",         "null",                      "null",        null)]
    [Arguments("eq",         null,                        "null",        "key not found")]
    [Arguments("neq",        "1",                         "2",           null)]
    [Arguments("neq",        "1",                         "1.0",         "value is equal")]
    [Arguments("neq",        null,                        "1",           "key not found")]
    [Arguments("gt",         "2",                         "1",           null)]
    [Arguments("gt",         "1",                         "1",           "value is not gt")]
    [Arguments("gte",        "1",                         "1.0",         null)]
    [Arguments("lt",         "-1",                        "0.5",         null)]
    [Arguments("lte",        "2",                         "1",           "value is not lte")]
    [Arguments("gt",         "\"2\"",                     "1",           "cannot compare: both sides must be numbers")]
    [Arguments("lt",         "1",                         "null",        "cannot compare: both sides must be numbers")]
    [Arguments("lt",         null,                        "1",           "cannot compare: key not found")]
    [Arguments("exists",     "null",                      "null",        null)]
    [Arguments("exists",     null,                        "null",        "key not found")]
    [Arguments("not_exists", null,                        "null",        null)]
    [Arguments("not_exists", "false",                     "null",        "key is present")]
    [Arguments("contains",   "\"haystack\"",              "\"stack\"",   null)]
    [Arguments("contains",   "\"haystack\"",              "\"Stack\"",   "value is not contained")]
    [Arguments("contains",   "\"port 8080\"",             "80",          null)]
    [Arguments("contains",   "8080",                      "80",          null)]
    [Arguments("contains",   "{\"a\":true}",              "true",        null)]
    [Arguments("contains",   "[1,\"a\",{\"b\":1}]",       "1.0",         null)]
    [Arguments("contains",   "[1,\"a\",{\"b\":1}]",       "{\"b\":1}",   null)]
    [Arguments("contains",   "[\"abc\"]",                 "\"b\"",       "value is not contained")]
    [Arguments("contains",   "[]",                        "null",        "value is not contained")]
    [Arguments("contains",   null,                        "1",           "key not found")]
    [Arguments("contains",   "\"a\\u0062c\"",           "\"bc\"",      null)]
    [Arguments("contains",   "\"aab\"",                 "\"ab\"",      null)]
    [Arguments("contains",   "\"abc\"",                 "\"\"",        null)]
    [Arguments("contains",   "[\"\\u0061\"]",           "\"a\"",       null)]
    [Arguments("contains",   "[[1,2],{\"a\":1}]",       "{\"a\":1.0}", null)]
    [Arguments("eq",         "1e999",                     "10e998",      null)]
    [Arguments("eq",         "1e400",                     "1e999",       "value differs")]
    [Arguments("eq",         "-0",                        "0",           null)]
    [Arguments("gt",         "1e999",                     "1",           "cannot compare: both sides must be numbers")]
    [Arguments("lte",        "-1e400",                    "-1e999",      "cannot compare: both sides must be numbers")]
    [Arguments("gte",        "-0",                        "0",           null)]
    [Arguments("lt",         "1e-400",                    "1",           null)]
    [Arguments("like",       "1",                         "1",           "unknown operator 'like'")]
    [Arguments("EQ",         "1",                         "1",           "unknown operator 'EQ'")]
    [Arguments("",           null,                        "1",           "unknown operator ''")]
    public async Task Each_operator_holds_or_says_why_not(string op, string? actual, string expected, string? problem)
    {
        RawJson value = actual is null ? default : RawJson.Parse(actual);
        await Assert.That(Preconditions.Problem(op, actual is not null, value, RawJson.Parse(expected), new Effort(CancellationToken.None))).IsEqualTo(problem);
    }

    /// <summary>Whatever repeats itself could ask for the product of two lengths; all of it is counted, and what is honest is cheap.</summary>
    [Test]
    [Arguments("objects of another key order", 100_000, true)]
    [Arguments("numbers of another spelling", 100_000, true)]
    [Arguments("strings that differ at the end", 100_000, false)]
    [Arguments("a text full of beginnings", 1_000_000, true)]
    [Arguments("a text of words", 1_000_000, false)]
    public async Task Looking_for_something_large_in_something_large_is_paid_for(string what, int length, bool tooMuch)
    {
        (string actual, string expected) = what switch
        {
            "objects of another key order" => (Repeat("{\"z\":1}", length), "{" + string.Join(',', Enumerable.Range(0, 20_000).Select(i => $"\"k{i}\":1")) + "}"),
            "numbers of another spelling" => (Repeat("1.0", length), "1" + new string('0', 100_000)),
            "strings that differ at the end" => (Repeat("\"" + new string('x', 100) + "\"", length), "\"" + new string('x', 100_000) + "\""),
            "a text full of beginnings" => ("\"" + new string('x', length) + "\"", "\"" + new string('x', length / 2) + "y\""),
            _ => ("\"" + Words(0, length / 10) + "\"", "\"" + Words(50, 1_000) + "end\""),
        };
        var effort = new Effort(CancellationToken.None, EngineLimits.MaxConditionSteps);
        string? Problem() => Preconditions.Problem("contains", true, RawJson.Parse(actual), RawJson.Parse(expected), effort);
        if (tooMuch) await Assert.That(Problem).Throws<RefusedException>();
        else await Assert.That(Problem()).IsEqualTo("value is not contained");

        static string Words(int first, int count) => string.Concat(Enumerable.Range(first, count).Select(i => $"word{i} "));
        static string Repeat(string element, int times) => "[" + string.Join(',', Enumerable.Repeat(element, times)) + "]";
    }
}
