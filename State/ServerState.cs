using CarServer.RunStore;
using CarServer.State.Auth;
using CarServer.State.Engine;
using CarServer.State.Engine.Basics;
using CarServer.State.Engine.Policies;
using CarServer.State.Engine.Tools;
using CarServer.State.Events;
using CarServer.State.Permissions;
using CarServer.State.Runs;
using CarServer.State.Sessions;
using CarServer.State.Supervision;
using Microsoft.Extensions.Logging;

namespace CarServer.State;

/// <summary>The composition root: what all connections share.</summary>
internal sealed class ServerState : IAsyncDisposable
{
    private readonly ServerStateConfig _config;
    private readonly Workspace _workspace;
    private readonly SemaphoreSlim _basicTurns = new(BasicLimits.MaxRunning);

    private ServerState(ServerStateConfig config)
    {
        _config = config;
        _workspace = new Workspace(config.Workspace);
        Clock = config.Clock;
        Log = config.Logs.CreateLogger("state");
        Appender = new Appender(config.Logs.CreateLogger("disk"), config.Durability, clock: Clock);
        RunCatalog catalog = RunCatalog.ForJournalDirectory(config.JournalDirectory);
        ILogger runs = config.Logs.CreateLogger("runs");
        Runs = new RunRegistry(catalog, Appender, runs, config.Clock);
        PolicyFiles = new PolicyFiles(config.PolicyDirectory, config.Logs.CreateLogger("policies"));
        string root = config.Root ?? Path.GetDirectoryName(config.JournalDirectory) ?? config.JournalDirectory;
        Approvals = new ApprovalLedger(Path.Combine(root, "approvals.jsonl"), Appender, config.IsPrimary, config.Logs.CreateLogger("permissions"));
        Permissions = new PermissionGate(Approvals);
        AgentPermissions = new AgentPermissions(Path.Combine(root, "agent-permissions.json"), config.IsPrimary);
        Supervision = new SupervisionDesk(Clock);
        Trajectories = new TrajectoryReader(catalog, config.Clock);
        Sessions = new SessionRegistry(this);
        Housekeeping = new Housekeeping(Runs, catalog, Appender, config.JournalDirectory, Sessions.IsOpen, runs, config.Clock);
        Info = new DaemonInfo { StartedAt = Clock.GetUtcNow().UtcDateTime, IsPrimary = config.IsPrimary };
    }

    /// <summary>For the daemon itself: only the journal directory is needed; everything else is made at first use.</summary>
    public static ServerState Standalone(string journalDirectory) => With(new ServerStateConfig { JournalDirectory = journalDirectory });

    public static ServerState With(ServerStateConfig config) => new(config);

    public TimeProvider Clock { get; }
    public ILogger Log { get; }

    /// <summary>The one writer of every append-only file.</summary>
    public Appender Appender { get; }

    public DaemonInfo Info { get; }

    public AuthState Auth { get; } = new();
    public PolicyFiles PolicyFiles { get; }

    /// <summary>What people decided about actions.</summary>
    public ApprovalLedger Approvals { get; }

    public PermissionGate Permissions { get; }
    public AgentPermissions AgentPermissions { get; }
    public SupervisionDesk Supervision { get; }
    public SessionRegistry Sessions { get; }
    public RunRegistry Runs { get; }

    /// <summary>What recorded runs tell about tools.</summary>
    public TrajectoryReader Trajectories { get; }

    /// <summary>Does nothing by itself: the daemon has it recover, and starts it, when it is the primary one.</summary>
    public Housekeeping Housekeeping { get; }

    internal ServerStateConfig Config => _config;

    /// <summary>A fresh runtime whose tools are the session's own client, and the basics where that knows none.</summary>
    internal Runtime NewRuntime(ClientSession session)
    {
        var events = new EventLog(Journals.PathOf(_config.JournalDirectory, session.ClientId), Appender, Clock);
        var tools = new BasicsExecutor(new ClientToolExecutor(session.Channel, _config.ToolTimeout), _workspace, _basicTurns, Clock);
        return new Runtime(events, tools, Clock, session.OperatorPolicies)
        {
            Admission = new ProposalAdmission(session, Permissions, _config.EnforceTiers, Supervision, events),
        };
    }

    /// <summary>Flushes what was accepted and closes the files. Sessions must be gone by now.</summary>
    public async ValueTask DisposeAsync()
    {
        await Housekeeping.DisposeAsync();
        await Appender.DisposeAsync();
        Runs.Dispose();
    }
}
