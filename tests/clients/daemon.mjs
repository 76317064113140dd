// Starts the published executable with a home and a port of its own, for the tests in this folder.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';

const binary = process.env.CAR_SERVER_BIN ?? fileURLToPath(new URL('../../out/car-server', import.meta.url));

export async function startDaemon(...args) {
  const home = await mkdtemp('/tmp/car-');   // short: a Unix socket's path has about 100 bytes
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('CAR_') && name !== 'XDG_RUNTIME_DIR'));
  const child = spawn(binary, ['serve', '--bind', '127.0.0.1:0', ...args], { env: { ...env, CAR_HOME: home }, stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = once(child, 'exit');
  let log = '';
  child.stderr.on('data', (chunk) => { log += chunk; });

  const daemon = {
    home,
    port: undefined,
    socket: undefined,
    get url() { return `ws://127.0.0.1:${daemon.port}/`; },
    get log() { return log; },
    token: () => readFile(path.join(home, 'ai.parslee.car', 'auth-token'), 'utf8'),
    hostToken: () => readFile(path.join(home, 'ai.parslee.car', 'host-token'), 'utf8'),
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await exited;
      await rm(home, { recursive: true, force: true });
    },
  };

  let ready = false;
  for await (const line of readline.createInterface({ input: child.stdout })) {
    const tcp = /^listening on ws:\/\/127\.0\.0\.1:(\d+)\//.exec(line);
    const unix = /^listening on unix:(.*)$/.exec(line);
    if (tcp) daemon.port ??= Number(tcp[1]);
    if (unix) daemon.socket = unix[1];
    if (line === 'ready') { ready = true; break; }
  }
  if (!ready) {
    await daemon.stop();
    throw new Error(`the daemon ended before it was ready: ${log}`);
  }
  child.stdout.resume();
  return daemon;
}
