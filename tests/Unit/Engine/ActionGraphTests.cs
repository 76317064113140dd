using CarServer.RunStore;
using System.Text;
using CarServer.State.Engine;

namespace CarServer.Tests.Unit.Engine;

public class ActionGraphTests
{
    /// <summary>
    /// One word an action: <c>w:k</c> state write, <c>e:k</c> effect, <c>r:k</c> state dependency, <c>d:n</c> dependency on action n; several joined by <c>+</c>.
    /// </summary>
    private static ActionGraph Graph(string actions)
    {
        var list = new List<AgentAction>();
        foreach (string spec in actions.Split(' '))
        {
            var action = new AgentAction { Id = $"{list.Count}", Type = ActionType.Assertion };
            foreach (string part in spec.Split('+'))
            {
                string name = part[(part.IndexOf(':') + 1)..];
                switch (part[0])
                {
                    case 'w':
                        action.Type = ActionType.StateWrite;
                        action.Parameters = RawJson.Parse($$"""{"key":"{{name}}"}""");
                        break;
                    case 'e': action.ExpectedEffects = new(action.ExpectedEffects) { [name] = RawJson.Null }; break;
                    case 'r': action.StateDependencies = [.. action.StateDependencies, name]; break;
                    case 'd': action.Dependencies = [.. action.Dependencies, name]; break;
                }
            }
            list.Add(action);
        }
        return ActionGraph.Of(list);
    }

    [Test]
    [Arguments("-", "0")]
    [Arguments("- - -", "0,1,2")]
    [Arguments("e:built r:built -", "0,2 | 1")]
    [Arguments("w:k r:k", "0 | 1")]
    [Arguments("r:k w:k", "0,1")]
    [Arguments("w:k r:k w:k r:k", "0 | 1,2 | 3")]
    [Arguments("w:k w:k w:k", "0 | 1 | 2")]
    [Arguments("e:k e:k r:k", "0,1 | 2")]
    [Arguments("e:k w:k", "0,1")]
    [Arguments("r:k+e:k r:k", "0 | 1")]
    [Arguments("w:a w:b r:a+r:b r:a", "0,1 | 2,3")]
    [Arguments("- d:0 d:1", "0 | 1 | 2")]
    [Arguments("d:1 -", "1 | 0")]
    [Arguments("d:0 d:9 d:0+d:0", "0,1 | 2")]
    [Arguments("w:a+r:a r:a+r:a+d:0", "0 | 1")]
    public async Task Levels_follow_the_edges(string actions, string levels)
    {
        ActionGraph graph = Graph(actions);
        await Assert.That(string.Join(" | ", graph.Levels.Select(level => string.Join(',', level)))).IsEqualTo(levels);
        await Assert.That(graph.HasCycle).IsFalse();
    }

    [Test]
    [Arguments("d:1 d:0", "0 | 1")]
    [Arguments("d:2 d:0 d:1 -", "3 | 0 | 1 | 2")]
    [Arguments("d:2 d:0 d:1 d:0", "0 | 1,3 | 2")]
    [Arguments("d:1 d:0 d:3 d:2", "0 | 1 | 2 | 3")]
    public async Task A_cycle_is_broken_at_the_smallest_index(string actions, string levels)
    {
        ActionGraph graph = Graph(actions);
        await Assert.That(string.Join(" | ", graph.Levels.Select(level => string.Join(',', level)))).IsEqualTo(levels);
        await Assert.That(graph.HasCycle).IsTrue();
    }

    [Test]
    public async Task No_actions_no_levels()
    {
        await Assert.That(ActionGraph.Of([]).Levels).IsEmpty();
    }

    [Test]
    public async Task Ten_thousand_actions_of_every_shape_are_each_placed_once()
    {
        foreach (string shape in new[] { "-", "w:k", "r:k+e:k", "w:k+d:0", "d:9999" })
        {
            var actions = new StringBuilder(shape);
            for (int i = 1; i < EngineLimits.MaxActions; i++) actions.Append(' ').Append(shape);
            int[] placed = [.. Graph(actions.ToString()).Levels.SelectMany(level => level)];
            await Assert.That(placed.Length).IsEqualTo(EngineLimits.MaxActions);
            await Assert.That(placed.Distinct().Count()).IsEqualTo(EngineLimits.MaxActions);
        }
    }
}
