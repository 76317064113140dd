using System.Text.Json;
using CarServer.RunStore;
using CarServer.RunStore.Contracts;
using CarServer.State;
using CarServer.State.Sessions;

namespace CarServer.Rpc.JsonRpc;

/// <summary>Who may call a method.</summary>
internal enum Access
{
    /// <summary>Anybody who is connected, authenticated or not.</summary>
    Anyone,
    /// <summary>Authenticated connections; all of them when auth is off.</summary>
    Client,
    /// <summary>Connections with the host role; everybody while no host token is installed (protocol 6.4).</summary>
    Host,
}

/// <summary>What a handler knows about the request it serves, beside its params.</summary>
/// <param name="Abandoned">Set when nobody waits for the answer any more: the connection closed or the deadline passed.</param>
internal readonly record struct Call(ServerState State, ClientSession Session, CancellationToken Abandoned);

/// <summary>No params: absent, <c>null</c> or <c>{}</c>. Further fields are ignored.</summary>
[FromJson]
internal readonly record struct NoParams;

/// <summary>One row of the method table. Dispatch, error texts, <c>rpc.discover</c> and <c>car-server methods</c> all come from it.</summary>
internal abstract class Method(string name, string shape, string summary)
{
    /// <summary>The wire name, such as <c>state.get</c>.</summary>
    public string Name { get; } = name;
    /// <summary>The params in words, as an error text shows them: <c>{ key, value? }</c>.</summary>
    public string Shape { get; } = shape;
    public string Summary { get; } = summary;
    public Access Access { get; init; } = Access.Client;
    /// <summary>Refused with <c>-32005</c> before <c>server.handshake</c>, while <c>--require-handshake</c> is on (protocol 6.5).</summary>
    public bool NeedsHandshake { get; init; }

    /// <summary>What its params look like; they may be read in another way (<see cref="ParamsReader{P}"/>).</summary>
    public abstract IContract ParamsType { get; }
    public abstract IContract ResultType { get; }

    /// <summary>Runs the handler up to its first wait.</summary>
    /// <param name="parameters">One JSON value, or empty when there were no params. Not read after the call returns.</param>
    /// <param name="answer">Takes the result, if it is known by the time the call returns. Begun only when the handler has done its work.</param>
    /// <returns>Null when <paramref name="answer"/> has the result; else what brings it later.</returns>
    /// <exception cref="RpcException">The caller's mistake.</exception>
    /// <exception cref="RefusedException">The handler's refusal.</exception>
    public abstract PendingAnswer? Invoke(ServerState state, ClientSession session, ReadOnlySpan<byte> parameters, ref Answer answer);

    /// <summary>A method that answers without waiting.</summary>
    /// <param name="direct">Comes to the same for the params that nearly all requests have; see <see cref="DirectHandler"/>.</param>
    public static Method Row<P, R>(string name, string shape, string summary, IReads<P> paramsType, IWrites<R> resultType,
        Func<Call, P, R> handler, Access access = Access.Client, bool needsHandshake = false, DirectHandler? direct = null) =>
        new SyncMethod<P, R>(name, shape, summary, paramsType, resultType, handler) { Access = access, NeedsHandshake = needsHandshake, Direct = direct };

    /// <summary>A method that may wait. It runs on the read loop until it first does.</summary>
    /// <param name="deadline">How long it may take, from the session, the params and the daemon's default (protocol 5); null for just the default.</param>
    public static Method Waiting<P, R>(string name, string shape, string summary, IReads<P> paramsType, IWrites<R> resultType,
        Func<Call, P, Task<R>> handler, Access access = Access.Client, Func<ClientSession, P, TimeSpan, TimeSpan>? deadline = null, bool needsHandshake = false) =>
        new WaitingMethod<P, R>(name, shape, summary, paramsType, resultType, handler, deadline) { Access = access, NeedsHandshake = needsHandshake };

    /// <summary>A method that may wait, and whose params are read in a way of their own.</summary>
    /// <param name="paramsType">What the params look like, for the schema.</param>
    public static Method Waiting<P, R>(string name, string shape, string summary, IContract paramsType, ParamsReader<P> read, IWrites<R> resultType,
        Func<Call, P, Task<R>> handler) =>
        new WaitingMethod<P, R>(name, shape, summary, paramsType, resultType, handler, deadline: null) { Reader = read };

    /// <summary>A method whose result has an array that may be too large to hold.</summary>
    public static Method Streaming<P, R>(string name, string shape, string summary, IReads<P> paramsType, IWrites<R> resultType,
        Func<Call, P, Task<StreamedResult<R>>> handler) =>
        new StreamingMethod<P, R>(name, shape, summary, paramsType, resultType, handler);
}

/// <summary>A handler that waits: what to await, for how long, and how to write what it brings.</summary>
internal abstract class PendingAnswer(Task completion, CancellationTokenSource abandon) : IDisposable
{
    public Task Completion { get; } = completion;

    /// <param name="standard">The daemon's default.</param>
    public abstract TimeSpan Deadline(TimeSpan standard);

    /// <summary>Tells the handler that nobody waits any more.</summary>
    public void Abandon() => abandon.Cancel();

    /// <summary>Writes the result. Only after <see cref="Completion"/> ended well, like what follows.</summary>
    public abstract void Write(ref Answer answer);

    /// <summary>The whole response in parts when it is too large to be written; null otherwise.</summary>
    public virtual AnswerParts? Parts(ReadOnlySpan<byte> id) => null;

    /// <summary>Whether the disk may have to be read to write it.</summary>
    public virtual bool MayRead => false;

    /// <summary>Told that the result goes out.</summary>
    /// <returns>What is to be done when it has.</returns>
    public virtual Action? Sent() => null;

    public virtual void Dispose() => abandon.Dispose();
}

/// <summary>Reads the params of a request, one JSON value.</summary>
/// <exception cref="JsonException">They are wrong; the path, from <c>$</c> on, says where.</exception>
internal delegate P ParamsReader<P>(ReadOnlySpan<byte> json);

/// <summary>Serves a request from the bytes of its params, without making objects of them. False leaves it, untouched, to the handler.</summary>
/// <remarks>For the few methods that are called a million times a second: half the time of such a request goes into the contract otherwise.</remarks>
internal delegate bool DirectHandler(ClientSession session, ReadOnlySpan<byte> parameters, ref Answer answer);

internal abstract class TypedMethod<P, R>(string name, string shape, string summary, IContract paramsType, IWrites<R> resultType)
    : Method(name, shape, summary)
{
    /// <summary>Null: by <see cref="ParamsType"/>, which is then that of <typeparamref name="P"/>.</summary>
    public ParamsReader<P>? Reader { get; init; }

    public sealed override IContract ParamsType => paramsType;
    public sealed override IWrites<R> ResultType => resultType;

    protected P Parse(ReadOnlySpan<byte> parameters)
    {
        // What has no members needs no reading; the envelope has seen that it is JSON.
        if (typeof(P) == typeof(NoParams) && (parameters.IsEmpty || parameters[0] == (byte)'{')) return default!;
        try
        {
            if (parameters.IsEmpty || parameters.SequenceEqual("null"u8)) parameters = "{}"u8;
            P? parsed = Reader is null ? ((IReads<P>)paramsType).Parse(parameters) : Reader(parameters);
            return parsed ?? throw RpcException.BadParams(Name, Shape);
        }
        catch (JsonException e)
        {
            // The path holds only what the caller sent; a message might hold more.
            throw RpcException.BadParams(Name, Shape, e.Path is null or "$" ? null : $"wrong or unexpected value at params{e.Path[1..]}");
        }
    }

    protected void Write(ref Answer answer, R result)
    {
        if (!answer.IsWanted) return;
        // What is carried is JSON already, and a large value is copied once less.
        if (typeof(R) == typeof(RawJson)) answer.WriteResult(((RawJson)(object)result!).Utf8);
        else resultType.WriteAll(answer.BeginResult(), result);
    }
}

internal sealed class SyncMethod<P, R>(string name, string shape, string summary, IReads<P> paramsType, IWrites<R> resultType,
    Func<Call, P, R> handler) : TypedMethod<P, R>(name, shape, summary, paramsType, resultType)
{
    public DirectHandler? Direct { get; init; }

    public override PendingAnswer? Invoke(ServerState state, ClientSession session, ReadOnlySpan<byte> parameters, ref Answer answer)
    {
        if (Direct is { } direct && direct(session, parameters, ref answer)) return null;
        R result = handler(new Call(state, session, CancellationToken.None), Parse(parameters));
        Write(ref answer, result);
        return null;
    }
}

internal sealed class WaitingMethod<P, R>(string name, string shape, string summary, IContract paramsType, IWrites<R> resultType,
    Func<Call, P, Task<R>> handler, Func<ClientSession, P, TimeSpan, TimeSpan>? deadline) : TypedMethod<P, R>(name, shape, summary, paramsType, resultType)
{
    public override PendingAnswer? Invoke(ServerState state, ClientSession session, ReadOnlySpan<byte> parameters, ref Answer answer)
    {
        P parsed = Parse(parameters);
        var abandon = CancellationTokenSource.CreateLinkedTokenSource(session.Closed);
        Task<R> task;
        try
        {
            task = handler(new Call(state, session, abandon.Token), parsed);
        }
        catch
        {
            abandon.Dispose();   // or the session would hold it to its end
            throw;
        }
        if (task.IsCompleted)
        {
            abandon.Dispose();
            Write(ref answer, task.GetAwaiter().GetResult());
            return null;
        }
        return new Pending(this, session, parsed, task, abandon);
    }

    private TimeSpan DeadlineOf(ClientSession session, P parsed, TimeSpan standard) => deadline?.Invoke(session, parsed, standard) ?? standard;

    private sealed class Pending(WaitingMethod<P, R> method, ClientSession session, P parsed, Task<R> task, CancellationTokenSource abandon) : PendingAnswer(task, abandon)
    {
        public override TimeSpan Deadline(TimeSpan standard) => method.DeadlineOf(session, parsed, standard);
        public override void Write(ref Answer answer) => method.Write(ref answer, task.GetAwaiter().GetResult());
    }
}
