// The agent of the specification's own example, with a client that is not ours: it lists a directory, reads a file, writes a report.
// Two policies hold it: its own, no shell command with 'rm -rf' (protocol 8.2), and the operator's, no writing outside a folder (8.4).
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import WebSocket from 'ws';
import { startDaemon } from './daemon.mjs';
import { Rpc, RpcError } from './rpc.mjs';

const patience = { timeout: 60_000 };
let daemon, token, work;
before(async () => {
  work = await mkdtemp('/tmp/car-work-');
  await writeFile(path.join(work, 'notes.txt'), 'three short words\n');
  await mkdir(path.join(work, 'out'));
  daemon = await startDaemon();
  token = await daemon.token();
  await mkdir(path.join(daemon.home, 'policies'));
  await writeFile(path.join(daemon.home, 'policies', 'report.toml'),
    `[[deny_tool_param_matching]]\ntool = 'write_file'\nparam = 'path'\nmatches = '${outside(path.join(work, 'out') + '/')}'\n`);
}, patience);
after(async () => {
  await daemon?.stop();
  await rm(work, { recursive: true, force: true });
});

/** A pattern for every path that is not below a folder; patterns cannot look ahead, so it names each place where a path may leave the folder's. */
function outside(folder) {
  const letters = [...folder].map((letter) => letter.replace(/[.\\^$*+?()[\]{}|]/g, '\\$&'));
  const leaving = letters.map((letter, i) => `^${letters.slice(0, i).join('')}(?:[^${letter}]|$)`);
  return [...leaving, '(?:^|/)\\.\\.(?:/|$)'].join('|');
}

const string = { type: 'string' };
const tool = (name, ...params) => ({ name, description: name, parameters: { type: 'object', properties: Object.fromEntries(params.map((p) => [p, string])), required: params } });

/** Tools that do the real thing, and keep what they were asked to do. */
function tools(done) {
  const real = {
    list_dir: async ({ path: directory }) => (await readdir(directory)).sort(),
    read_file: async ({ path: file }) => readFile(file, 'utf8'),
    write_file: async ({ path: file, content }) => { await writeFile(file, content); return { bytes: Buffer.byteLength(content) }; },
    shell: async ({ command }) => (await promisify(execFile)('sh', ['-c', command])).stdout,
  };
  return Object.fromEntries(Object.entries(real).map(([name, run]) => [name, (parameters) => { done.push(name); return run(parameters); }]));
}

async function openAgent(done) {
  const rpc = await Rpc.open(new WebSocket(daemon.url), tools(done));
  await rpc.call('session.auth', { token });
  const init = await rpc.call('session.init', {
    tools: [tool('list_dir', 'path'), tool('read_file', 'path'), tool('write_file', 'path', 'content'), tool('shell', 'command')],
    policies: [{ name: 'no_destruction', rule: 'deny_tool_param', target: 'shell', key: 'command', pattern: 'rm -rf' }],
  });
  assert.deepEqual([init.tools_registered, init.policies_registered], [4, 1]);
  return rpc;
}

const statuses = ({ results }) => results.map((r) => `${r.action_id} ${r.status}`);

test('an agent lists, reads and writes its report, and its trace tells of it', patience, async () => {
  const done = [];
  const rpc = await openAgent(done);
  const { run_id } = await rpc.call('runs.start', { intent: 'report on the notes', agent_id: 'reporter' });

  const looked = await rpc.call('proposal.submit', { proposal: { source: 'reporter', actions: [
    { id: 'list', type: 'tool_call', tool: 'list_dir', parameters: { path: work }, expected_effects: { listed: true } },
    { id: 'read', type: 'tool_call', tool: 'read_file', parameters: { path: path.join(work, 'notes.txt') }, state_dependencies: ['listed'], expected_effects: { read: true } },
  ] } });
  assert.deepEqual(statuses(looked), ['list succeeded', 'read succeeded']);
  assert.deepEqual(looked.results.map((r) => r.output), [['notes.txt', 'out'], 'three short words\n']);

  const words = looked.results[1].output.trim().split(' ').length;
  const report = path.join(work, 'out', 'report.md');
  const written = await rpc.call('proposal.submit', { proposal: { source: 'reporter', actions: [
    { id: 'write', type: 'tool_call', tool: 'write_file', parameters: { path: report, content: `${words} words\n` },
      preconditions: [{ key: 'read', operator: 'eq', value: true }], expected_effects: { report } },
    { id: 'check', type: 'assertion', parameters: { key: 'report', operator: 'contains', value: 'report.md' }, dependencies: ['write'] },
  ] } });
  assert.deepEqual(statuses(written), ['write succeeded', 'check succeeded']);
  assert.equal(await readFile(report, 'utf8'), '3 words\n');
  assert.deepEqual(await rpc.call('state.snapshot', {}), { listed: true, read: true, report });
  assert.deepEqual(done, ['list_dir', 'read_file', 'write_file']);

  await rpc.call('runs.complete', { run_id, outcome: { status: 'success', summary: 'reported' } });
  assert.equal(await rpc.close(), 1000);

  const host = await Rpc.open(new WebSocket(daemon.url));
  await host.call('session.auth', { host_token: await daemon.hostToken() });
  const { agent_id, records } = await host.call('runs.get_trace', { run_id });
  assert.equal(agent_id, 'reporter');
  assert.deepEqual(records.map((r) => r.record), ['started', 'turn', 'turn', 'turn', 'turn', 'ended']);
  assert.deepEqual(records.slice(1, 5).map((r) => [r.tool, r.output]),
    [['list_dir', ['notes.txt', 'out']], ['read_file', 'three short words\n'], ['write_file', { bytes: 8 }], [undefined, null]]);
  assert.deepEqual(records[3].parameters, { path: report, content: '3 words\n' });
  assert.equal(records[5].termination.outcome.summary, 'reported');
  await host.close();
});

const inside = (...names) => [work, 'out', ...names].join('/');   // not path.join, which would tidy '..' away
const write = (file) => ({ tool: 'write_file', parameters: { path: file, content: 'x' } });
for (const [what, action, policy] of [
  ['a shell command with rm -rf', () => ({ tool: 'shell', parameters: { command: 'cd /; rm -rf out' } }), 'no_destruction'],
  ['a write beside the folder', () => write(path.join(work, 'notes.txt')), 'deny_tool_param_matching:write_file.path'],
  ['a write to the folder itself', () => write(inside()), 'deny_tool_param_matching:write_file.path'],
  ['a write to a folder with a longer name', () => write(inside() + 'side/x'), 'deny_tool_param_matching:write_file.path'],
  ['a write that climbs out', () => write(inside('..', 'escaped.txt')), 'deny_tool_param_matching:write_file.path'],
  ['a write from wherever the tool runs', () => write('report.md'), 'deny_tool_param_matching:write_file.path'],
  ['a write into /etc', () => write('/etc/car-report'), 'deny_tool_param_matching:write_file.path'],
]) {
  test(`${what} is denied, in words, before the tool hears of it`, patience, async () => {
    const done = [];
    const rpc = await openAgent(done);
    const result = await rpc.call('proposal.submit', { proposal: { actions: [
      { id: 'first', type: 'state_write', parameters: { key: 'begun', value: true } },
      { id: 'bad', type: 'tool_call', ...action(), dependencies: ['first'], expected_effects: { bad: true } },
      { id: 'rest', type: 'tool_call', tool: 'list_dir', parameters: { path: work }, dependencies: ['bad'] },
    ] } });
    assert.deepEqual(statuses(result), ['first succeeded', 'bad rejected', 'rest skipped']);
    assert.deepEqual(done, []);
    assert.deepEqual(await rpc.call('state.snapshot', {}), { begun: true });   // a rejection rolls nothing back
    const { events } = await rpc.call('events.query', { kinds: ['policy_violation'] });
    assert.deepEqual(events.map((e) => [e.action_id, e.data.policy_name, e.data.reason]), [['bad', policy, result.results[1].error]]);
    await rpc.close();
  });
}

test('what the policies do not name goes through', patience, async () => {
  const done = [];
  const rpc = await openAgent(done);
  const result = await rpc.call('proposal.submit', { proposal: { actions: [
    { id: 'harmless', type: 'tool_call', tool: 'shell', parameters: { command: 'echo rm -r f' } },
    { id: 'mentions', type: 'tool_call', tool: 'write_file', parameters: { path: path.join(work, 'out', 'a'), content: 'rm -rf /etc/ ..' } },
    { id: 'reads', type: 'tool_call', tool: 'read_file', parameters: { path: `${work}/out/../notes.txt` } },
  ] } });
  assert.deepEqual(statuses(result), ['harmless succeeded', 'mentions succeeded', 'reads succeeded']);
  assert.equal(result.results[0].output, 'rm -r f\n');
  assert.deepEqual(done, ['shell', 'write_file', 'read_file']);
  await assert.rejects(rpc.call('policy.register', { name: 'x', rule: 'allow' }), RpcError);
  await rpc.close();
});
