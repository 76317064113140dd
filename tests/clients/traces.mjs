// Traces for the tests of the exported page, put into a daemon's home as the daemon writes them.
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';

const began = Date.parse('2026-03-14T09:26:53.589Z');

export async function putTrace(home, runId, lines) {
  const folder = path.join(home, 'runs', 'page');
  await mkdir(folder, { recursive: true });
  await writeFile(path.join(folder, `${runId}.jsonl`), lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line)) + '\n').join(''));
}

export const startedLine = (runId, intent, outcome_description = null) =>
  ({ record: 'started', run_id: runId, agent_id: 'page', intent, outcome_description, started_at: new Date(began).toISOString() });

export const turnLine = (index, turn) => ({ record: 'turn', index, verifier_verdict: 'not_run', ...turn });

export const endedLine = (runId, seconds, outcome) => ({
  record: 'ended', run_id: runId, agent_id: 'page', ended_at: new Date(began + seconds * 1000).toISOString(),
  termination: outcome === undefined ? { kind: 'incomplete' } : {
    kind: 'outcome',
    outcome: {
      status: 'success', summary: '', evidence: [], timestamp: new Date(began + seconds * 1000).toISOString(),
      metrics: { turns: 0, tool_calls: 0, duration_ms: 0, retries: 0, actions_succeeded: 0, actions_failed: 0 }, ...outcome,
    },
  },
});

/** A run of an agent that repairs a failing test, the way such runs go; the same one each time. */
export function repair(runId, turns) {
  let seed = 20260314;
  const random = () => { seed = (seed * 1103515245 + 12345) % 2147483648; return seed / 2147483648; };
  const files = ['src/calendar/zone.ts', 'src/calendar/recurrence.ts', 'test/recurrence.test.ts', 'src/http/router.ts', 'package.json'];
  const any = (list) => list[Math.floor(random() * list.length)];
  const shell = (command, kind, exit_code, ms, stdout) => ({
    tool: 'shell', parameters: { command, cwd: '/home/ada/calendar' }, output: { stdout, stderr: '', exit_code },
    cli_outcome: { kind, exit_code, duration_ms: ms, stdout_tail: stdout.slice(-200) },
  });
  const kinds = [
    () => ({ tool: 'read_file', parameters: { path: any(files), from_line: 1 + Math.floor(random() * 300), lines: 80 }, output: { text: 'export function next(rule: Rule, after: Instant): Instant {\n  const local = toZone(after, rule.zone);\n  // A day of 23 or 25 hours moves the wall clock, not the rule.\n  return fromWall(advance(local, rule), rule.zone);\n}\n', lines: 5 } }),
    () => ({ tool: 'search', parameters: { pattern: any(['fromWall', 'toZone\\(', 'DST|offset']), path: 'src' }, output: { matches: Math.floor(random() * 40), files: files.slice(0, 1 + Math.floor(random() * 4)) } }),
    () => shell(`npm test -- ${any(['recurrence', 'zone', 'router'])}`, 'succeeded', 0, 1800 + random() * 9000, 'ok 41 - a rule across the end of summer time\nok 42 - a yearly rule on 29 February\n# pass 42\n# fail 0\n'),
    () => shell('git diff --stat', 'succeeded', 0, 12 + random() * 30, ' src/calendar/recurrence.ts | 9 +++++----\n 1 file changed, 5 insertions(+), 4 deletions(-)\n'),
    () => ({ tool: 'edit_file', parameters: { path: any(files), old_text: 'advance(after, rule)', new_text: 'advance(toZone(after, rule.zone), rule)' }, output: { changed: true, line: 112 }, verifier_verdict: random() < .5 ? 'passed' : 'not_run' }),
  ];
  const rare = [
    () => shell('npm test', 'failed', 1, 14000 + random() * 12000, 'not ok 43 - a weekly rule keeps its wall time in spring\n  expected 2026-03-29T07:00:00Z, got 2026-03-29T08:00:00Z\n# pass 42\n# fail 1\n'),
    () => shell('npm run typecheck', 'timed_out', undefined, 30000, ''),
    () => ({ tool: 'shell', parameters: { command: 'git push --force origin main' }, output: { error: 'rejected by policy: no_force_push' }, policy_rejected: true }),
    () => ({ tool: 'edit_file', parameters: { path: any(files), old_text: 'x', new_text: 'y' }, output: { changed: true }, verifier_verdict: any(['failed', 'inconclusive']) }),
    () => ({ tool: 'read_file', parameters: { path: 'src/calendar/rules.ts' }, output: { error: 'no such file: src/calendar/rules.ts' } }),
  ];
  const first = { prompt: 'The nightly build fails in recurrence.test.ts since Sunday. Find out why, repair the cause rather than the test, and leave the tree clean.' };
  return [
    startedLine(runId, 'Find out why the weekly reminder comes an hour late since Sunday, and repair it', 'All tests pass, the cause is named, no test was changed'),
    ...Array.from({ length: turns }, (_, index) => turnLine(index, { ...(index === 0 ? first : {}), ...any(random() < .13 ? rare : kinds)() })),
    endedLine(runId, turns * 4.2, {
      summary: 'The rule was advanced in UTC and then moved to the zone, so a week across the end of winter time was an hour short. It is advanced on the wall clock now; 43 tests pass.',
      evidence: [{ kind: 'external_verification', description: 'npm test in a clean checkout', data: { pass: 43, fail: 0 } }],
      metrics: { turns, tool_calls: turns, duration_ms: turns * 4200, retries: 2, actions_succeeded: turns - 9, actions_failed: 9 },
    }),
  ];
}

/** Everything that has ever ended a script block, a string or a terminal's patience. */
export const hostile = [
  '</script><img src=x onerror="document.title=\'hit\'">', '<!--<script>', '--><svg onload=alert(1)>', ']]>', '{{records}}{{nonce}}', '\u2028\u2029', '\u0000\u0001\u001b[2J\u001b]0;owned\u0007\u009b31m',
  '\u202egnp.exe', 'javascript:alert(1)', '__proto__', '"\'`${alert(1)}', '\ufeff',
];

export function hostileTrace(runId) {
  const all = hostile.join(' ');
  // What JavaScript leaves when it cuts an emoji in half: JSON, though no text.
  const halves = '{"half":"\\ud83d","other \\ude00":["\\udc00\\ud800"]}';
  return [
    { ...startedLine(runId, `intent ${all}`, `wanted ${all}`) },
    ...hostile.map((text, index) => turnLine(index, { prompt: text, tool: text, parameters: { [text]: text, __proto__x: [text] }, output: text, cli_outcome: { kind: 'failed', exit_code: 1, duration_ms: 1e300, stderr_tail: text } })),
    `{"record":"turn","index":${hostile.length},"tool":"halves","parameters":${halves},"output":${halves},"verifier_verdict":"not_run"}`,
    `{"record":"turn","index":${hostile.length + 1},"tool":"proto","parameters":{"__proto__":{"x":1},"constructor":1},"output":{"toString":"x"},"verifier_verdict":"not_run"}`,
    endedLine(runId, 1, { status: 'failure', summary: all, evidence: [{ kind: 'stop_reason', description: all, data: { [all]: all } }] }),
  ];
}
