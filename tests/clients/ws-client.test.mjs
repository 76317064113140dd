// The `ws` package: a WebSocket client that is not ours.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { startDaemon } from './daemon.mjs';
import { complaints, Rpc, runOneProposal } from './rpc.mjs';

const patience = { timeout: 60_000 };   // a wait without an end would end the whole run
let daemon, token;
before(async () => {
  daemon = await startDaemon();
  token = await daemon.token();
}, patience);
after(() => daemon?.stop());

test('ws completes auth, tools.register and a proposal with its own tool over TCP', patience, async () => {
  assert.deepEqual(complaints(await runOneProposal(new WebSocket(daemon.url), token)), []);
});

test('ws completes the same over the Unix socket', patience, async () => {
  assert.deepEqual(complaints(await runOneProposal(new WebSocket(`ws+unix:${daemon.socket}:/`), token)), []);
});

test('ws carries a message of 4 MiB both ways, sent in fragments', patience, async () => {
  const socket = new WebSocket(daemon.url);
  const rpc = await Rpc.open(socket);
  await rpc.call('session.auth', { token });
  const value = 'é'.repeat(2 * 1024 * 1024);
  const request = Buffer.from(JSON.stringify({ jsonrpc: '2.0', method: 'state.set', params: { key: 'big', value } }));
  for (let at = 0; at < request.length; at += 99_991) {   // a prime: the cuts fall inside characters, too
    socket.send(request.subarray(at, at + 99_991), { binary: false, fin: at + 99_991 >= request.length });
  }
  assert.equal(await rpc.call('state.get', { key: 'big' }), value);
  assert.equal(await rpc.close(), 1000);
});

test('ws pings and gets its pong with the same payload', patience, async () => {
  const socket = new WebSocket(daemon.url);
  await Rpc.open(socket);
  const pong = new Promise((resolve) => socket.once('pong', resolve));
  socket.ping('are you there');
  assert.equal(String(await pong), 'are you there');
  socket.close();
});

test('permessage-deflate is declined', patience, async () => {
  const socket = new WebSocket(daemon.url, { perMessageDeflate: true });
  await Rpc.open(socket);
  assert.equal(socket.extensions, '');
  socket.close();
});

for (const [what, options] of [
  ['a page of a foreign origin', { origin: 'http://foreign.example' }],
  ['a Host that is not loopback', { headers: { Host: 'foreign.example' } }],
]) {
  test(`${what} is refused with 403`, patience, async () => {
    const socket = new WebSocket(daemon.url, options);
    const status = await new Promise((resolve) => {
      socket.once('unexpected-response', (_, response) => { resolve(response.statusCode); socket.terminate(); });
      socket.once('open', () => resolve('open'));
      socket.on('error', () => {});
    });
    assert.equal(status, 403);
  });
}
