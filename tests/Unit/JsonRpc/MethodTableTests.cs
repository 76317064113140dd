using System.Text;
using CarServer.Rpc.JsonRpc;
using CarServer.Rpc.Methods;
using CarServer.RunStore.Contracts;

namespace CarServer.Tests.Unit.JsonRpc;

public sealed class MethodTableTests
{
    [Test]
    public async Task Every_method_is_found_by_its_name_and_by_nothing_near_it()
    {
        foreach (Method method in AllMethods.Table.All)
        {
            byte[] name = Encoding.UTF8.GetBytes(method.Name);
            await Assert.That(AllMethods.Table.Find(name)).IsSameReferenceAs(method);
            for (int at = 0; at < name.Length; at++)
            {
                byte[] near = [.. name];
                near[at] ^= 0x20;
                await Assert.That(AllMethods.Table.Find(near)).IsNull().Because($"{Encoding.UTF8.GetString(near)} is not {method.Name}");
            }
            await Assert.That(AllMethods.Table.Find(name.AsSpan(1))).IsNull();
            await Assert.That(AllMethods.Table.Find([.. name, 0])).IsNull();
        }
        await Assert.That(AllMethods.Table.Find([])).IsNull();
    }

    [Test]
    public async Task A_thousand_methods_are_all_found_and_sorted()
    {
        var table = new MethodTable(Enumerable.Range(0, 1000).Select(i => Row($"m{i}.x")));
        for (int i = 0; i < 1000; i++) await Assert.That(table.Find($"m{i}.x")?.Name).IsEqualTo($"m{i}.x");
        await Assert.That(table.Find("m1000.x")).IsNull();
        await Assert.That(table.All.Select(method => method.Name)).IsEquivalentTo(table.All.Select(method => method.Name).Order(StringComparer.Ordinal));
    }

    [Test]
    public async Task Two_rows_of_one_name_are_a_mistake() =>
        await Assert.That(() => new MethodTable([Row("a.b"), Row("c.d"), Row("a.b")])).Throws<ArgumentException>().WithMessage("method 'a.b' has two rows");

    private static Method Row(string name) =>
        Method.Row(name, "{}", "", Json.NoParams, Scalar.Text, static (_, _) => "");
}
