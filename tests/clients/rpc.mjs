// JSON-RPC over any object with the WebSocket interface of the web: Node's `ws` has it, and so has the browser, which loads
// this very file.

export class RpcError extends Error {
  constructor(code, message) { super(message); this.code = code; }
}

export class Rpc {
  #socket;
  #pending = new Map();
  #lastId = 0;

  /** Resolves to the close code. */
  closed;
  /** Every tools.execute that came. */
  callbacks = [];

  constructor(socket, tools = {}) {
    this.#socket = socket;
    socket.addEventListener('message', (event) => this.#take(JSON.parse(event.data), tools));
    this.closed = new Promise((resolve) => socket.addEventListener('close', (event) => {
      for (const { reject } of this.#pending.values()) reject(new Error(`closed with ${event.code}`));
      resolve(event.code);
    }));
  }

  /** Waits until a socket that was just made is open; rejects when the handshake is refused. */
  static open(socket, tools) {
    const rpc = new Rpc(socket, tools);
    return new Promise((resolve, reject) => {
      socket.addEventListener('open', () => resolve(rpc));
      socket.addEventListener('error', (event) => reject(new Error(event.message ?? 'the connection was refused')));
    });
  }

  call(method, params) {
    const id = ++this.#lastId;
    this.#socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    return new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject }));
  }

  close() { this.#socket.close(1000); return this.closed; }

  async #take(message, tools) {
    if (message.method === 'tools.execute') {
      this.callbacks.push(message.params);
      const reply = { jsonrpc: '2.0', id: message.id };
      try { reply.result = await tools[message.params.tool](message.params.parameters); }
      catch (error) { reply.error = { code: -32000, message: String(error.message) }; }
      this.#socket.send(JSON.stringify(reply));
    } else if (!message.method) {
      const { resolve, reject } = this.#pending.get(message.id);
      this.#pending.delete(message.id);
      if (message.error) reject(new RpcError(message.error.code, message.error.message));
      else resolve(message.result);
    }
  }
}

/**
 * What every client must be able to do: authenticate, register a tool, submit a proposal, answer the callback it causes.
 * Returns what the proposal brought.
 */
export async function runOneProposal(socket, token) {
  const rpc = await Rpc.open(socket, { add: async ({ a, b }) => ({ sum: a + b }) });
  const auth = await rpc.call('session.auth', { token });
  const registered = await rpc.call('tools.register', [
    { name: 'add', description: 'adds', parameters: { type: 'object', properties: { a: { type: 'number' }, b: { type: 'number' } }, required: ['a', 'b'] } },
  ]);
  const result = await rpc.call('proposal.submit', {
    proposal: {
      actions: [
        { id: 'sum', type: 'tool_call', tool: 'add', parameters: { a: 40, b: 2 } },
        { id: 'note', type: 'state_write', parameters: { key: 'text', value: 'grün \u{1F600}' } },
      ],
    },
  });
  const text = await rpc.call('state.get', { key: 'text' });
  const closeCode = await rpc.close();
  return { auth, registered, result, text, callbacks: rpc.callbacks, closeCode };
}

/** The same expectations for every client, in words; an empty list is success. */
export function complaints({ auth, registered, result, text, callbacks, closeCode }) {
  const found = [];
  const expect = (what, actual, expected) => {
    if (JSON.stringify(actual) !== JSON.stringify(expected)) found.push(`${what}: ${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`);
  };
  expect('session.auth', [auth.ok, auth.auth_enabled], [true, true]);
  expect('tools.register', registered, 1);
  expect('statuses', result.results.map((r) => [r.action_id, r.status]), [['sum', 'succeeded'], ['note', 'succeeded']]);
  expect('output', result.results[0].output, { sum: 42 });
  expect('callbacks', callbacks.map((c) => [c.action_id, c.tool, c.parameters]), [['sum', 'add', { a: 40, b: 2 }]]);
  expect('state.get', text, 'grün \u{1F600}');
  expect('close code', closeCode, 1000);
  return found;
}
