// An agent in a process of its own: registers two tools, opens a run, has the daemon run them by a proposal, answers each
// callback with a real child process, ends the run. Prints the run's id and nothing else.
//
//   node tool-agent.mjs URL TOKEN AGENT-ID
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text as textOf } from 'node:stream/consumers';
import WebSocket from 'ws';
import { Rpc } from './rpc.mjs';

const [url, token, agentId] = process.argv.slice(2);

async function spawned(program, args, input) {
  const child = spawn(program, args, { stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'close');
  const output = textOf(child.stdout);
  child.stdin?.end(input);
  const [exitCode] = await ended;
  if (exitCode !== 0) throw new Error(`${program} ended with ${exitCode}`);
  return { stdout: await output, exit_code: exitCode };
}

const rpc = await Rpc.open(new WebSocket(url), {
  system_name: () => spawned('uname', ['-s']),
  count_bytes: ({ text }) => spawned('wc', ['-c'], text),
});
await rpc.call('session.auth', { token });
await rpc.call('tools.register', [
  { name: 'system_name', description: 'the kernel this machine runs' },
  { name: 'count_bytes', description: 'bytes of a text', parameters: { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] } },
]);
const { run_id } = await rpc.call('runs.start', { intent: 'say where we are', agent_id: agentId });
const { results } = await rpc.call('proposal.submit', {
  proposal: {
    actions: [
      { id: 'where', type: 'tool_call', tool: 'system_name' },
      { id: 'count', type: 'tool_call', tool: 'count_bytes', parameters: { text: 'twelve bytes' } },
    ],
  },
});
const bad = results.filter((r) => r.status !== 'succeeded');
if (bad.length > 0) throw new Error(`the proposal failed: ${JSON.stringify(bad)}`);
await rpc.call('runs.complete', { run_id, outcome: { status: 'success', summary: 'told' } });
await rpc.close();
console.log(run_id);
