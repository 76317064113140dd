// A page in Chromium: the other WebSocket client that is not ours, and the one that sends an Origin.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { startDaemon } from './daemon.mjs';
import { complaints } from './rpc.mjs';

const patience = 60_000;   // a browser's first start on a busy machine
let daemon;
before(async () => { daemon = await startDaemon(); }, { timeout: patience });
after(() => daemon?.stop());

/** Opens the page under the given host name, which the browser takes for 127.0.0.1, and returns what the page reports. */
async function reportOfPageOn(host) {
  const profile = await mkdtemp(path.join(os.tmpdir(), 'car-chromium-'));
  let report;
  const reported = new Promise((resolve) => { report = resolve; });
  const server = http.createServer(async (request, response) => {
    const name = new URL(request.url, 'http://x').pathname;
    if (request.method === 'POST' && name === '/report') {
      let body = '';
      for await (const chunk of request) body += chunk;
      response.writeHead(204).end();
      report(JSON.parse(body));
    } else if (name === '/browser-page.html' || name === '/rpc.mjs') {
      response.writeHead(200, { 'content-type': name.endsWith('.mjs') ? 'text/javascript' : 'text/html' });
      response.end(await readFile(new URL(`.${name}`, import.meta.url)));
    } else {
      response.writeHead(404).end();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const query = new URLSearchParams({ daemon: daemon.url, token: await daemon.token() });
  const browser = spawn(process.env.CHROMIUM ?? 'chromium', [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-extensions',
    `--host-resolver-rules=MAP ${host} 127.0.0.1`, `--user-data-dir=${profile}`, '--remote-debugging-pipe',
    `http://${host}:${server.address().port}/browser-page.html?${query}`,
  ], { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'] });   // the last two: the pipe that keeps a headless browser open
  let log = '';
  browser.stderr.on('data', (chunk) => { log += chunk; });
  const ended = once(browser, 'exit');
  let timer;
  try {
    return await Promise.race([
      reported,
      ended.then(([code]) => { throw new Error(`the browser ended with ${code}: ${log}`); }),
      new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`no report from the page: ${log}`)), patience); }),
    ]);
  } finally {
    clearTimeout(timer);
    browser.kill('SIGKILL');
    await ended;
    server.closeAllConnections();
    server.close();
    await rm(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });   // its children may still write
  }
}

test('a page of a loopback origin completes auth, tools.register and a proposal with its own tool', async () => {
  const report = await reportOfPageOn('127.0.0.1');
  assert.equal(report.error, undefined);
  assert.deepEqual(complaints(report.outcome), []);
});

test('a page of a foreign origin is refused, though it knows the token', async () => {
  const report = await reportOfPageOn('foreign.example');
  assert.match(report.origin, /^http:\/\/foreign\.example:/);
  assert.match(report.error, /refused/);
});
