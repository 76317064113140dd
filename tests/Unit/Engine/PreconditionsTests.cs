using CarServer.RunStore;
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
    [Arguments("like",       "1",                         "1",           "unknown operator 'like'")]
    [Arguments("EQ",         "1",                         "1",           "unknown operator 'EQ'")]
    [Arguments("",           null,                        "1",           "unknown operator ''")]
    public async Task Each_operator_holds_or_says_why_not(string op, string? actual, string expected, string? problem)
    {
        RawJson value = actual is null ? default : RawJson.Parse(actual);
        await Assert.That(Preconditions.Problem(op, actual is not null, value, RawJson.Parse(expected))).IsEqualTo(problem);
    }
}
