// A page in a headless Chromium, driven over the DevTools pipe: what it logs, what it asks of the network, what it looks like.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';

export async function startChromium() {
  const profile = await mkdtemp(path.join(os.tmpdir(), 'car-chromium-'));
  const browser = spawn(process.env.CHROMIUM ?? 'chromium', [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic', '--no-first-run', '--hide-scrollbars',
    '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-extensions',
    `--user-data-dir=${profile}`, '--remote-debugging-pipe', 'about:blank',
  ], { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'] });
  let log = '';
  browser.stderr.on('data', (chunk) => { log += chunk; });
  const ended = once(browser, 'exit');

  // Messages are JSON with a NUL behind each.
  const pending = new Map();
  const listeners = new Set();
  let lastId = 0, unread = '';
  browser.stdio[4].setEncoding('utf8').on('data', (chunk) => {
    const messages = (unread + chunk).split('\0');
    unread = messages.pop();
    for (const message of messages.map((json) => JSON.parse(json))) {
      if (message.id === undefined) for (const listener of listeners) listener(message);
      else {
        const { resolve, reject } = pending.get(message.id);
        pending.delete(message.id);
        if (message.error) reject(new Error(message.error.message)); else resolve(message.result);
      }
    }
  });
  ended.then(() => { for (const { reject } of pending.values()) reject(new Error(`the browser ended: ${log}`)); });

  const send = (method, params = {}, sessionId = undefined) => new Promise((resolve, reject) => {
    const id = ++lastId;
    pending.set(id, { resolve, reject });
    browser.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + '\0');
  });

  return {
    /** Opens a file. What went wrong in it and what it asked for are kept from before its first byte. */
    async open(file, { width = 1280, height = 900, dark = false, media = 'screen' } = {}) {
      const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
      const { sessionId } = await send('Target.attachToTarget', { targetId, flatten: true });
      const call = (method, params) => send(method, params, sessionId);
      const page = { complaints: [], requests: [] };
      let loaded;
      const done = new Promise((resolve) => { loaded = resolve; });
      listeners.add(({ method, params, sessionId: of }) => {
        if (of !== sessionId) return;
        if (method === 'Runtime.consoleAPICalled') page.complaints.push(`console.${params.type}: ${params.args.map((arg) => arg.value ?? arg.description).join(' ')}`);
        if (method === 'Runtime.exceptionThrown') page.complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
        if (method === 'Log.entryAdded') page.complaints.push(`${params.entry.level}: ${params.entry.text}`);
        if (method === 'Page.javascriptDialogOpening') page.complaints.push(`a dialog: ${params.message}`);
        if (method === 'Network.requestWillBeSent') page.requests.push(params.request.url);
        if (method === 'Page.loadEventFired') loaded();
      });
      for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await call(`${domain}.enable`);
      await call('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: false });
      await call('Emulation.setEmulatedMedia', { media, features: [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }] });
      await call('Page.navigate', { url: `file://${file}` });
      await done;

      /** The value of an expression, which may be a promise, in the page. */
      page.evaluate = async (expression) => {
        const { result, exceptionDetails } = await call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
        if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
        return result.value;
      };
      page.press = async (key) => {
        const text = key === 'Enter' ? '\r' : key.length === 1 ? key : undefined;
        const code = { Enter: 13, Escape: 27 }[key];
        await call('Input.dispatchKeyEvent', { type: 'keyDown', key, text, windowsVirtualKeyCode: code });
        await call('Input.dispatchKeyEvent', { type: 'keyUp', key, windowsVirtualKeyCode: code });
      };
      page.screenshot = async (name) => {
        const { data } = await call('Page.captureScreenshot', { format: 'png' });
        await writeFile(name, Buffer.from(data, 'base64'));
      };
      page.close = () => send('Target.closeTarget', { targetId });
      return page;
    },
    async stop() {
      browser.kill('SIGKILL');
      await ended;
      await rm(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });   // its children may still write
    },
  };
}
