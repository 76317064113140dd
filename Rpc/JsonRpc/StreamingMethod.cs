using System.Text;
using CarServer.Rpc.Transport;
using CarServer.RunStore.Contracts;
using CarServer.State;
using CarServer.State.Sessions;

namespace CarServer.Rpc.JsonRpc;

/// <summary>A method whose result may be of any size and is never held as a whole.</summary>
/// <remarks>Runs away from the read loop. A connection has one such answer under way; what it asks for meanwhile waits, holding nothing.</remarks>
internal sealed class StreamingMethod<P, R>(string name, string shape, string summary, IReads<P> paramsType, IWrites<R> resultType,
    Func<Call, P, Task<StreamedResult<R>>> handler) : TypedMethod<P, R>(name, shape, summary, paramsType, resultType)
{
    /// <summary>Up to here an answer is put together and sent at once. It is what would be sent as one part anyway.</summary>
    private const int LargestHeld = 64 * 1024;

    /// <summary>A batch is answered with one message, which has to be put together; no client takes more than this in one.</summary>
    private const long LargestInBatch = Limits.DefaultMaxMessageBytes;

    public override PendingAnswer Invoke(ServerState state, ClientSession session, ReadOnlySpan<byte> parameters, ref Answer answer)
    {
        P parsed = Parse(parameters);
        var abandon = CancellationTokenSource.CreateLinkedTokenSource(session.Closed);
        Task<StreamedResult<R>> result = RunAsync(new Call(state, session, abandon.Token), parsed);
        return new Pending(this, session, result, abandon);
    }

    private async Task<StreamedResult<R>> RunAsync(Call call, P parsed)
    {
        await call.Session.StreamTurn.WaitAsync(call.Abandoned);
        try
        {
            return await Task.Run(() => handler(call, parsed));
        }
        catch
        {
            call.Session.StreamTurn.Release();
            throw;
        }
    }

    private sealed class Pending(StreamingMethod<P, R> method, ClientSession session, Task<StreamedResult<R>> task, CancellationTokenSource abandon)
        : PendingAnswer(task, abandon)
    {
        private bool _isSent;

        public override TimeSpan Deadline(TimeSpan standard) => standard;
        public override bool MayRead => true;

        /// <summary>For a short answer, and for a member of a batch.</summary>
        public override void Write(ref Answer answer)
        {
            if (!answer.IsWanted) return;
            StreamedResult<R> result = task.GetAwaiter().GetResult();
            if (result.Elements is not { } elements)
            {
                method.Write(ref answer, result.Shell);
                return;
            }
            if (elements.Length > LargestInBatch)
                throw new RpcException(RpcErrorCode.InternalError, $"the answer is over {LargestInBatch} bytes, too large for a batch: ask for it alone or with a limit");
            (byte[] head, byte[] tail) = Split(result);
            byte[] whole = new byte[head.Length + elements.Length + tail.Length];
            head.CopyTo(whole, 0);
            elements.ReadExactly(whole, head.Length, (int)elements.Length);
            tail.CopyTo(whole, whole.Length - tail.Length);
            answer.WriteResult(whole);
        }

        public override AnswerParts? Parts(ReadOnlySpan<byte> id)
        {
            StreamedResult<R> result = task.GetAwaiter().GetResult();
            if (result.Elements is not { Length: > LargestHeld } elements) return null;
            (byte[] head, byte[] tail) = Split(result);
            return new AnswerParts([.. Answer.Opening, .. id, .. ",\"result\":"u8, .. head], elements, [.. tail, (byte)'}']);
        }

        public override Action? Sent()
        {
            _isSent = true;
            return task.GetAwaiter().GetResult().Settled is { } settled ? () => settled(true) : null;
        }

        /// <summary>Lets go when the handler is through, which may be long after nobody waits for it any more.</summary>
        public override void Dispose()
        {
            base.Dispose();
            _ = LetGoAsync();
        }

        private async Task LetGoAsync()
        {
            try
            {
                StreamedResult<R> result = await task;
                result.Elements?.Dispose();
                if (!_isSent) result.Settled?.Invoke(false);
                session.StreamTurn.Release();
            }
            catch (Exception)
            {
                // Told to the caller, or to nobody because he left; the turn was given back where it failed.
            }
        }

        /// <summary>The shell's text up to the array's opening bracket and from its closing one on. No text of the caller's can look like that member: its quotes would be escaped.</summary>
        private (byte[] Head, byte[] Tail) Split(StreamedResult<R> result)
        {
            byte[] shell = method.ResultType.ToUtf8(result.Shell);
            byte[] member = Encoding.UTF8.GetBytes($"\"{result.Array}\":[]");
            int at = shell.AsSpan().IndexOf(member) + member.Length - 1;
            return (shell[..at], shell[at..]);
        }
    }
}
