using CarServer.State.Engine;
using CarServer.State.Engine.Tools;
using CarServer.Tests.Support;

namespace CarServer.Tests.Unit.Engine.Tools;

public class TokenBucketTests
{
    private readonly ManualClock _clock = new();

    private TokenBucket Bucket(uint calls, double interval) => new(new ToolRateLimit { MaxCalls = calls, IntervalSecs = interval }, _clock);

    private static Task<bool> Take(TokenBucket bucket, CancellationToken abandoned = default) => bucket.TakeAsync(abandoned).AsTask();

    [Test]
    public async Task It_starts_full_and_refills_evenly()
    {
        TokenBucket bucket = Bucket(2, 10);
        await Assert.That(Take(bucket).IsCompleted).IsTrue();
        await Assert.That(Take(bucket).IsCompleted).IsTrue();
        Task<bool> third = Take(bucket), fourth = Take(bucket);
        await Assert.That((await _clock.NextTimerAsync()).TotalSeconds).IsEqualTo(5);
        _clock.Advance(TimeSpan.FromSeconds(4.999));
        await Assert.That(third.IsCompleted).IsFalse();
        _clock.Advance(TimeSpan.FromSeconds(0.001));
        await Assert.That(third.IsCompleted).IsTrue();
        await Assert.That(fourth.IsCompleted).IsFalse();
        _clock.Advance(TimeSpan.FromSeconds(5));
        await Assert.That(fourth.IsCompleted).IsTrue();
        await Assert.That(_clock.TimersSet).IsEqualTo(0);
    }

    [Test]
    public async Task A_rest_fills_it_and_no_further()
    {
        TokenBucket bucket = Bucket(3, 3);
        for (int i = 0; i < 3; i++) await Take(bucket);
        _clock.Advance(TimeSpan.FromDays(300));
        for (int i = 0; i < 3; i++) await Assert.That(Take(bucket).IsCompleted).IsTrue();
        await Assert.That(Take(bucket).IsCompleted).IsFalse();
    }

    [Test]
    public async Task Waiters_are_served_in_the_order_they_came_and_nobody_passes_them()
    {
        TokenBucket bucket = Bucket(1, 1);
        await Take(bucket);
        var order = new List<int>();
        Task[] waiters = [.. Enumerable.Range(0, 20).Select(async i => { await Take(bucket); order.Add(i); })];
        for (int i = 0; i < 20; i++)
        {
            _clock.Advance(TimeSpan.FromSeconds(1));
            if (i == 5) await Assert.That(Take(bucket).IsCompleted).IsFalse();
        }
        await Task.WhenAll(waiters);
        await Assert.That(string.Join(' ', order)).IsEqualTo(string.Join(' ', Enumerable.Range(0, 20)));
    }

    [Test]
    public async Task Who_leaves_takes_no_token_and_leaves_no_timer()
    {
        TokenBucket bucket = Bucket(1, 1);
        await Take(bucket);
        using var leaving = new CancellationTokenSource();
        Task<bool> gone = Take(bucket, leaving.Token), stays = Take(bucket);
        leaving.Cancel();
        await Assert.That(async () => await gone).Throws<OperationCanceledException>();
        _clock.Advance(TimeSpan.FromSeconds(1));
        await Assert.That(await stays).IsTrue();
        using var last = new CancellationTokenSource();
        Task<bool> alone = Take(bucket, last.Token);
        last.Cancel();
        await Assert.That(_clock.TimersSet).IsEqualTo(0);
        await Assert.That(async () => await alone).Throws<OperationCanceledException>();
        await Assert.That(() => Take(bucket, last.Token)).Throws<OperationCanceledException>();
    }

    [Test]
    public async Task So_many_may_wait_and_not_one_more()
    {
        TokenBucket bucket = Bucket(1, 1);
        await Take(bucket);
        for (int i = 0; i < TokenBucket.MaxWaiting; i++) _ = Take(bucket);
        await Assert.That(await Take(bucket)).IsFalse();
    }

    [Test]
    public async Task A_year_a_token_and_a_million_a_second()
    {
        TokenBucket slow = Bucket(1, TokenBucket.MaxIntervalSecs);
        await Take(slow);
        Task<bool> next = Take(slow);
        while (!next.IsCompleted) _clock.Advance(await _clock.NextTimerAsync());   // longer than one timer waits
        TokenBucket fast = Bucket(uint.MaxValue, 1e-300);
        for (int i = 0; i < 100; i++) await Assert.That(Take(fast).IsCompleted).IsTrue();
    }

    [Test]
    [Arguments(0u, 1.0, "rate_limit.max_calls must be at least 1")]
    [Arguments(1u, 0.0, "rate_limit.interval_secs must be above 0 and at most 31622400")]
    [Arguments(1u, -1.0, "rate_limit.interval_secs must be above 0 and at most 31622400")]
    [Arguments(1u, double.NaN, "rate_limit.interval_secs must be above 0 and at most 31622400")]
    [Arguments(1u, double.PositiveInfinity, "rate_limit.interval_secs must be above 0 and at most 31622400")]
    [Arguments(1u, 31622401.0, "rate_limit.interval_secs must be above 0 and at most 31622400")]
    [Arguments(1u, 0.001, null)]
    public async Task A_limit_that_is_none_is_refused(uint calls, double interval, string? problem) =>
        await Assert.That(TokenBucket.Problem(new ToolRateLimit { MaxCalls = calls, IntervalSecs = interval })).IsEqualTo(problem);
}
