using CarServer.RunStore;
using CarServer.State;
using CarServer.State.Engine;

namespace CarServer.Tests.Unit.Engine;

public class StateStoreTests
{
    private readonly StateStore _store = new();

    private string Value(string key, string? tenant = null) => _store.TryGet(tenant, key, out RawJson value) ? value.ToString() : "-";

    private void Write(StateUndo? undo, string key, string value, string? tenant = null) =>
        _store.Apply(tenant, [new StateWrite(key, RawJson.Parse(value))], undo, new StateTransition[1]);

    [Test]
    public async Task A_write_tells_what_was_there_before()
    {
        StateTransition first = _store.Set(null, "k", RawJson.Parse("1"));
        StateTransition second = _store.Set(null, "k", RawJson.Parse("2"));
        await Assert.That(first.OldValue.IsAbsent).IsTrue();
        await Assert.That(second.OldValue.ToString()).IsEqualTo("1");
        await Assert.That(second.NewValue.ToString()).IsEqualTo("2");
    }

    [Test]
    public async Task Null_is_a_value()
    {
        _store.Set(null, "k", default);
        await Assert.That(Value("k")).IsEqualTo("null");
        await Assert.That(_store.Keys(null)).IsEquivalentTo(new[] { "k" });
    }

    [Test]
    public async Task Keys_are_sorted_and_a_snapshot_is_a_copy()
    {
        foreach (string key in new[] { "b", "a", "C", "ä" }) _store.Set(null, key, RawJson.Null);
        Dictionary<string, RawJson> snapshot = _store.Snapshot(null);
        _store.Set(null, "d", RawJson.Null);
        await Assert.That(string.Join(',', _store.Keys(null))).IsEqualTo("C,a,b,d,ä");
        await Assert.That(snapshot.Count).IsEqualTo(4);
    }

    [Test]
    public async Task Tenants_see_their_own_keys_and_nobody_else_sees_them()
    {
        _store.Set(null, "k", RawJson.Parse("0"));
        _store.Set("a", "k", RawJson.Parse("1"));
        _store.Set("a:b", "k", RawJson.Parse("2"));
        _store.Set("a", "b:k", RawJson.Parse("3"));

        await Assert.That(Value("k")).IsEqualTo("0");
        await Assert.That(Value("k", " ")).IsEqualTo("0");
        await Assert.That(Value("k", "a")).IsEqualTo("1");
        await Assert.That(Value("k", "a:b")).IsEqualTo("2");
        await Assert.That(Value("b:k", "a")).IsEqualTo("3");
        await Assert.That(Value("k", "other")).IsEqualTo("-");
        await Assert.That(Value("tenant:a:k")).IsEqualTo("-");
        await Assert.That(string.Join(',', _store.Keys("a"))).IsEqualTo("b:k,k");
        await Assert.That(string.Join(',', _store.Keys(""))).IsEqualTo("k");
        await Assert.That(_store.Keys("other")).IsEmpty();
        await Assert.That(StateStore.StoredKey("a", "k")).IsEqualTo("tenant:a:k");
    }

    [Test]
    public async Task Without_a_tenant_its_prefix_cannot_be_written()
    {
        RefusedException refused = Assert.Throws<RefusedException>(() => _store.Set(null, "tenant:a:k", RawJson.Null));
        await Assert.That(refused.Refusal).IsEqualTo(Refusal.Invalid);
        await Assert.That(refused.Message).IsEqualTo("state keys that start with 'tenant:' belong to tenants: give the tenant's id instead");
        _store.Set("a", "tenant:a:k", RawJson.Null);
        await Assert.That(Value("tenant:a:k", "a")).IsEqualTo("null");
    }

    [Test]
    public async Task A_key_may_have_so_many_bytes_and_not_one_more()
    {
        _store.Set(null, new string('k', StateStore.MaxKeyBytes), RawJson.Null);
        _store.Set(null, new string('ä', StateStore.MaxKeyBytes / 2), RawJson.Null);
        await Assert.That(() => _store.Set(null, new string('k', StateStore.MaxKeyBytes + 1), RawJson.Null)).Throws<RefusedException>();
        await Assert.That(() => _store.Set(null, new string('ä', StateStore.MaxKeyBytes / 2) + "k", RawJson.Null)).Throws<RefusedException>();
        await Assert.That(() => _store.Set(new string('t', StateStore.MaxKeyBytes + 1), "k", RawJson.Null)).Throws<RefusedException>();
    }

    [Test]
    public async Task There_may_be_so_many_keys_over_all_tenants_and_not_one_more()
    {
        for (int i = 0; i < StateStore.MaxKeys; i++) _store.Set(i % 2 == 0 ? "t" : null, $"k{i}", RawJson.Null);
        await Assert.That(() => _store.Set("u", "more", RawJson.Null)).Throws<RefusedException>();
        _store.Set("t", "k0", RawJson.Parse("1"));
        await Assert.That(Value("k0", "t")).IsEqualTo("1");
    }

    [Test]
    public async Task The_bytes_are_bounded_and_replaced_values_do_not_count()
    {
        RawJson half = RawJson.FromCompact([(byte)'"', .. new byte[StateStore.MaxTotalBytes / 2].Select(_ => (byte)'x'), (byte)'"']);
        for (int i = 0; i < 5; i++) _store.Set(null, "k", half);
        await Assert.That(() => _store.Set("t", "other", half)).Throws<RefusedException>();
        _store.Set(null, "k", RawJson.Null);
        _store.Set("t", "other", half);
        await Assert.That(_store.Count("t")).IsEqualTo(1);
    }

    [Test]
    public async Task Writes_that_are_refused_are_refused_together()
    {
        StateWrite[] writes = [new("a", RawJson.Null), new("tenant:x", RawJson.Null)];
        await Assert.That(() => _store.Apply(null, writes, null, new StateTransition[2])).Throws<RefusedException>();
        await Assert.That(_store.Keys(null)).IsEmpty();
    }

    [Test]
    public async Task A_rollback_brings_back_what_was_there()
    {
        Write(null, "old", "1");
        var undo = new StateUndo();
        Write(undo, "old", "2");
        Write(undo, "old", "3");
        Write(undo, "new", "1");
        await Assert.That(_store.Rollback(null, undo).Count).IsEqualTo(2);
        await Assert.That(Value("old")).IsEqualTo("1");
        await Assert.That(Value("new")).IsEqualTo("-");
    }

    [Test]
    public async Task A_rollback_leaves_alone_what_somebody_wrote_since()
    {
        var undo = new StateUndo();
        Write(undo, "mine", "1");
        Write(undo, "shared", "1");
        Write(null, "shared", "2");
        await Assert.That(_store.Rollback(null, undo).Count).IsEqualTo(1);
        await Assert.That(Value("mine")).IsEqualTo("-");
        await Assert.That(Value("shared")).IsEqualTo("2");
    }

    [Test]
    public async Task A_rollback_brings_back_somebody_elses_write_between_two_of_its_own()
    {
        var undo = new StateUndo();
        Write(undo, "shared", "1");
        Write(null, "shared", "2");
        Write(undo, "shared", "3");
        _store.Rollback(null, undo);
        await Assert.That(Value("shared")).IsEqualTo("2");
    }

    [Test]
    public async Task The_same_value_written_again_is_a_write()
    {
        var undo = new StateUndo();
        Write(undo, "shared", "1");
        Write(null, "shared", "1");
        _store.Rollback(null, undo);
        await Assert.That(Value("shared")).IsEqualTo("1");
    }

    [Test]
    public async Task Rolled_back_keys_make_room_again()
    {
        for (int i = 1; i < StateStore.MaxKeys; i++) _store.Set(null, $"k{i}", RawJson.Null);
        for (int round = 0; round < 3; round++)
        {
            var undo = new StateUndo();
            Write(undo, "last", "1", "t");
            await Assert.That(() => _store.Set(null, "more", RawJson.Null)).Throws<RefusedException>();
            _store.Rollback("t", undo);
        }
    }
}
