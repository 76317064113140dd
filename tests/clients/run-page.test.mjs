// The page of 'runs export --format html' in a browser: every turn is there, nothing of the trace runs, nothing is fetched.
// Leaves pictures in out/, to be looked at.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startChromium } from './chromium.mjs';
import { startDaemon } from './daemon.mjs';
import { endedLine, hostile, hostileTrace, putTrace, repair, startedLine, turnLine } from './traces.mjs';

const out = fileURLToPath(new URL('../../out', import.meta.url));
const binary = process.env.CAR_SERVER_BIN ?? path.join(out, 'car-server');
let daemon, browser;
before(async () => { [daemon, browser] = await Promise.all([startDaemon(), startChromium()]); }, { timeout: 60_000 });
after(() => Promise.all([daemon?.stop(), browser?.stop()]));

/** Stores the trace, exports it and opens the page. */
async function pageOf(runId, lines, look) {
  const file = path.join(daemon.home, `${runId}.html`);
  await putTrace(daemon.home, runId, lines);
  await promisify(execFile)(binary, ['runs', 'export', runId, '--format', 'html', '--output', file], { env: { ...process.env, CAR_HOME: daemon.home } });
  return browser.open(file, look);
}

/** What holds for every page. */
async function assertCalm(page, turns) {
  assert.deepEqual(page.complaints, []);
  assert.deepEqual(page.requests.filter((url) => !url.startsWith('file://') && !url.startsWith('data:')), []);
  assert.equal(page.requests.filter((url) => url.startsWith('file://')).length, 1);
  assert.equal(await page.evaluate("document.querySelectorAll('.mark').length"), turns);
  assert.equal(await page.evaluate("document.querySelectorAll('.turn:not(.last)').length"), turns);
}

/** Opens every turn; returns how many then show what they hold. */
async function openAll(page) {
  await page.press('o');
  return page.evaluate("new Promise((resolve) => setTimeout(() => resolve(document.querySelectorAll('details[open] .detail').length), 200))");
}

for (const dark of [false, true]) {
  test(`a run of seven turns, ${dark ? 'dark' : 'light'}`, async () => {
    const page = await pageOf(`small-${dark}`, repair(`small-${dark}`, 7), { dark, height: 1200 });
    await assertCalm(page, 7);
    assert.match(await page.evaluate('document.title'), /^Find out why the weekly reminder/);
    assert.equal(await page.evaluate("document.querySelectorAll('.turn .detail').length"), 1, 'the evidence; no turn is shown before it is asked for');
    await page.evaluate("document.querySelector('#turn-2 summary').click()");
    await page.evaluate("document.querySelector('#turn-4 summary').click()");
    assert.match(await page.evaluate("document.querySelector('#turn-4 .detail').textContent"), /npm run typecheck/);
    await page.screenshot(path.join(out, `run-page-small-${dark ? 'dark' : 'light'}.png`));
    assert.deepEqual(page.complaints, []);
    await page.close();
  });

  test(`a run of two hundred turns, ${dark ? 'dark' : 'light'}`, async () => {
    const page = await pageOf(`medium-${dark}`, repair(`medium-${dark}`, 200), { dark });
    await assertCalm(page, 200);
    await page.screenshot(path.join(out, `run-page-medium-${dark ? 'dark' : 'light'}.png`));
    await page.close();
  });
}

test('outcome, tool and words choose the turns that are shown', async () => {
  const lines = repair('filter', 200);
  const page = await pageOf('filter', lines);
  const shown = () => page.evaluate("[document.querySelectorAll('.turn:not(.last):not([hidden])').length, document.querySelectorAll('.mark:not(.out)').length]");
  const turns = lines.filter((line) => line.record === 'turn');
  const rejected = turns.filter((turn) => turn.policy_rejected).length;
  assert.ok(rejected > 0);

  await page.evaluate("document.querySelector('.chip[data-outcome=rejected]').click()");
  assert.deepEqual(await shown(), [rejected, rejected]);
  await page.evaluate('new Promise((resolve) => setTimeout(resolve, 300))');   // the marks fade
  await page.screenshot(path.join(out, 'run-page-filtered.png'));
  await page.press('Escape');
  assert.deepEqual(await shown(), [200, 200]);

  const search = turns.filter((turn) => turn.tool === 'search').length;
  await page.evaluate("document.querySelector('#tool').value = 'is search'; document.querySelector('#tool').dispatchEvent(new Event('change'))");
  assert.deepEqual(await shown(), [search, search]);
  await page.press('Escape');

  await page.press('/');
  for (const key of 'no_FORCE') await page.press(key);
  await page.evaluate('new Promise((resolve) => setTimeout(resolve, 300))');
  assert.deepEqual(await shown(), [rejected, rejected]);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test('keys go from turn to turn and open them', async () => {
  const page = await pageOf('keys', repair('keys', 40));
  const at = () => page.evaluate("document.activeElement.closest('.turn')?.id");
  for (const key of 'jjk') await page.press(key);
  assert.equal(await at(), 'turn-0');
  await page.press('n');
  assert.notEqual(await page.evaluate("document.activeElement.closest('.turn').dataset.outcome"), 'ok');
  await page.press('Enter');
  assert.equal(await page.evaluate("document.activeElement.closest('details').open"), true);
  await page.press('End');
  assert.equal(await at(), 'turn-39');
  assert.equal(await openAll(page), 40);
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test('a hostile trace is text and nothing else', async () => {
  const lines = hostileTrace('hostile');
  const page = await pageOf('hostile', lines);
  await assertCalm(page, hostile.length + 2);
  assert.equal(await openAll(page), hostile.length + 2);
  assert.equal(await page.evaluate("document.querySelectorAll('img, svg, iframe, object, a, base, script:not([nonce]):not([type=\"application/json\"])').length"), 0);
  assert.match(await page.evaluate('document.title'), /^intent <\/script><img/);
  const text = await page.evaluate("document.querySelector('main').textContent");
  for (const shown of [hostile[0], '<!--<script>', '\\u2028\\u2029', '\\u001b[2J', '\\u009b31m', '\\u202egnp.exe', '\\ud83d', '\\udc00\\ud800']) assert.ok(text.includes(shown), shown);
  assert.doesNotMatch(text, /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2028\u2029\ufeff]/);
  await page.screenshot(path.join(out, 'run-page-hostile.png'));
  assert.deepEqual(page.complaints, []);
  await page.close();
});

test('the page may run nothing of others and fetch nothing', async () => {
  const page = await pageOf('policy', repair('policy', 3));
  assert.equal(await page.evaluate("fetch('https://example.com/').then(() => 'fetched', () => 'refused')"), 'refused');
  assert.equal(await page.evaluate("new Promise((resolve) => { const image = new Image(); image.onload = () => resolve('loaded'); image.onerror = () => resolve('refused'); image.src = 'https://example.com/x.png'; })"), 'refused');
  assert.equal(await page.evaluate("const script = document.createElement('script'); script.append('window.ran = true'); document.body.append(script); String(window.ran)").catch(() => 'undefined'), 'undefined');
  assert.equal(await page.evaluate("try { document.body.innerHTML = '<b>x</b>'; 'taken' } catch { 'refused' }"), 'refused');
  assert.ok(page.complaints.length > 0, 'the browser says what it refused');
  await page.close();
});

test('runs without turns, without an end and with an end that nobody told', async () => {
  for (const [runId, lines, words] of [
    ['none', [startedLine('none', 'Nothing came of this'), endedLine('none', 0.004, { status: 'give_up' })], /No turn was recorded\.[^]*completed: give up/],
    ['incomplete', [startedLine('incomplete', 'Cut short'), turnLine(0, { tool: 't' }), endedLine('incomplete', 60)], /incomplete,/],
    ['open', [startedLine('open', 'Still going'), turnLine(0, {}), turnLine(1, { verifier_verdict: 'a word of tomorrow' })], /unreadable[^]*in progress when this page was made/],
  ]) {
    const page = await pageOf(runId, lines);
    await assertCalm(page, lines.filter((line) => line.record === 'turn').length);
    assert.match(await page.evaluate("document.querySelector('main').textContent"), words);
    await page.screenshot(path.join(out, `run-page-${runId}.png`));
    await page.close();
  }
});

test('two thousand turns of 64 KiB open at once', { timeout: 120_000 }, async () => {
  const large = 'a line of output that goes on for a while, <b>as such lines do</b>\n'.repeat(960);
  const lines = repair('large', 2000).map((line) => (line.record === 'turn' ? { ...line, output: { stdout: large.slice(0, 15_000), more: Array.from({ length: 3 }, () => large.slice(0, 16_000)) } } : line));
  const page = await pageOf('large', lines);
  await assertCalm(page, 2000);
  assert.ok((await stat(path.join(daemon.home, 'large.html'))).size > 2000 * 60 * 1024);
  const took = await page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd");
  assert.ok(took < 20_000, `${took} ms`);   // some two seconds where nobody else is at work
  const opening = await page.evaluate("const began = performance.now(); document.querySelector('#turn-1999 summary').click(); new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - began))))");
  assert.ok(opening < 2_000, `${opening} ms`);
  assert.match(await page.evaluate("document.querySelector('#turn-1999 .detail').textContent"), /a line of output/);
  console.log(`# loaded in ${Math.round(took)} ms, a turn opened in ${Math.round(opening)} ms`);
  await page.screenshot(path.join(out, 'run-page-large.png'));
  await page.close();
});
