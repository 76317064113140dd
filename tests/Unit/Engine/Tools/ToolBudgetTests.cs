using CarServer.State.Engine;
using CarServer.State.Engine.Tools;

namespace CarServer.Tests.Unit.Engine.Tools;

public class ToolBudgetTests
{
    [Test]
    [Arguments(180_000ul, 185_000ul)]
    [Arguments(600_000ul, 605_000ul)]
    [Arguments(0ul, 5_000ul)]
    [Arguments(ulong.MaxValue - 5_000, ulong.MaxValue)]
    [Arguments(ulong.MaxValue - 4_999, ulong.MaxValue)]
    [Arguments(ulong.MaxValue, ulong.MaxValue)]
    public async Task A_timeout_of_the_action_gets_five_seconds_of_grace(ulong timeout, ulong budget)
    {
        await Assert.That(ToolBudget.Milliseconds(timeout, null)).IsEqualTo(budget);
        await Assert.That(ToolBudget.Milliseconds(timeout, "7")).IsEqualTo(budget);
    }

    [Test]
    [Arguments(null, 300_000ul)]
    [Arguments("", 300_000ul)]
    [Arguments("   ", 300_000ul)]
    [Arguments("10", 10_000ul)]
    [Arguments(" 10\n", 10_000ul)]
    [Arguments("+10", 10_000ul)]
    [Arguments("007", 7_000ul)]
    [Arguments("0", 0ul)]
    [Arguments("-1", 300_000ul)]
    [Arguments("-0", 300_000ul)]
    [Arguments("++1", 300_000ul)]
    [Arguments("1.5", 300_000ul)]
    [Arguments("1e3", 300_000ul)]
    [Arguments("1 0", 300_000ul)]
    [Arguments("1,000", 300_000ul)]
    [Arguments("ten", 300_000ul)]
    [Arguments("18446744073709551", 18_446_744_073_709_551_000ul)]
    [Arguments("18446744073709552", ulong.MaxValue)]
    [Arguments("18446744073709551615", ulong.MaxValue)]
    [Arguments("18446744073709551616", 300_000ul)]
    public async Task Without_one_the_variable_decides(string? variable, ulong budget)
    {
        await Assert.That(ToolBudget.Milliseconds(null, variable)).IsEqualTo(budget);
    }

    [Test]
    public async Task Timers_are_set_to_at_most_what_they_take()
    {
        await Assert.That(EngineLimits.TimerSpan(ulong.MaxValue).TotalMilliseconds).IsEqualTo(int.MaxValue);
        await Assert.That(EngineLimits.TimerSpan(1_500).TotalMilliseconds).IsEqualTo(1_500);
    }

    [Test]
    [Arguments(1ul, 100)]
    [Arguments(2ul, 200)]
    [Arguments(3ul, 400)]
    [Arguments(14ul, 819_200)]
    [Arguments(15ul, 1_638_400)]
    [Arguments(16ul, 1_800_000)]
    [Arguments(4_294_967_295ul, 1_800_000)]
    public async Task The_delay_doubles_up_to_half_an_hour(ulong retry, int ms)
    {
        await Assert.That(EngineLimits.Backoff(retry).TotalMilliseconds).IsEqualTo(ms);
    }
}
