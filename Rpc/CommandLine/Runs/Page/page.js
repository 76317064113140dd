'use strict';
// Everything that comes from the trace reaches the page as text, never as markup, and only when it is looked at.

const $ = (id) => document.getElementById(id);
const parse = (block) => (block ? JSON.parse(block.textContent) : null);

const run = parse($('overview'));
const started = parse($('started'));
const ended = parse($('ended'));
const blocks = document.querySelectorAll('script.record');   // the k-th belongs to the k-th turn of the overview
const outcomes = { ok: 'ok', failed: 'failed', rejected: 'rejected by policy', doubted: 'not verified' };
const longest = run.turns.reduce((most, turn) => Math.max(most, turn.ms ?? 0), 0);

function element(name, { className, text, outcome, ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  if (outcome) made.dataset.outcome = outcome;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter(Boolean));
  return made;
}

/** What would be invisible, or turn the text around it, is shown as its escape. */
const visible = (text) => text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (character) =>
  /[\n\t\u200c\u200d]/.test(character) ? character
    : [...Array(character.length).keys()].map((unit) => '\\u' + character.charCodeAt(unit).toString(16).padStart(4, '0')).join(''));

const moment = (iso) => new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' }).format(new Date(iso));

/** Roots, so that one long turn does not flatten all others. */
const share = (ms) => Math.sqrt(ms / longest);

// ---- the head

function head() {
  const intent = visible(started?.intent || 'A run without an intent');
  document.title = intent.length > 80 ? intent.slice(0, 80) + '…' : intent;
  $('agent').textContent = visible(started?.agent_id ?? 'unknown agent');
  $('run-id').textContent = visible(started?.run_id ?? '');
  $('intent').textContent = intent;
  if (started?.outcome_description) {
    $('wanted').textContent = visible(started.outcome_description);
    $('wanted').hidden = false;
  }
  const facts = [['Status', run.how, run.outcome]];
  if (started) facts.push(['Started', moment(started.started_at)]);
  if (run.took) facts.push(['Took', run.took]);
  facts.push(['Turns', run.turns.length.toLocaleString()]);
  const metrics = ended?.termination?.outcome?.metrics;
  if (metrics?.tool_calls) facts.push(['Tool calls', metrics.tool_calls.toLocaleString()]);
  if (metrics?.retries) facts.push(['Retries', metrics.retries.toLocaleString()]);
  $('facts').append(...facts.map(([name, value, outcome]) =>
    element('div', { outcome }, element('dt', { text: name }), element('dd', { text: value }))));
  const outcome = ended?.termination?.outcome;
  if (outcome?.summary) {
    $('summary').textContent = visible(outcome.summary);
    $('summary').hidden = false;
  }
  $('made').textContent = `Exported ${moment(run.exported_at)} by ${run.by}`;
}

/** A long intent is a prompt: its first lines tell what it is. */
function clampIntent() {
  const intent = $('intent'), button = $('whole-intent');
  intent.classList.add('clamped');
  if (intent.scrollHeight <= intent.clientHeight + 2) return;
  button.hidden = false;
  button.addEventListener('click', () => {
    button.textContent = intent.classList.toggle('clamped') ? 'show all of it' : 'show less';
  });
}

// ---- the timeline

function strip() {
  const count = run.turns.length, wide = $('strip').clientWidth;
  const gap = count > 120 ? 1 : count > 40 ? 2 : 4;
  const width = Math.max(3, Math.min(26, Math.floor(wide / Math.max(count, 1)) - gap));
  const lines = Math.ceil(count / Math.max(1, Math.floor((wide + gap) / (width + gap))));
  $('strip').style.setProperty('--width', width + 'px');
  $('strip').style.setProperty('--gap', gap + 'px');
  $('strip').style.setProperty('--tall', (longest === 0 || lines > 4 ? 22 : lines > 1 ? 34 : 64) + 'px');
  $('strip').append(...run.turns.map((turn, place) => {
    const mark = element('span', { className: 'mark', outcome: turn.outcome, title: [`#${turn.index} ${turn.tool}`, turn.word, turn.took].filter(Boolean).join(', ') });
    if (longest > 0) mark.style.setProperty('--height', turn.ms === undefined ? '7%' : 12 + 88 * share(turn.ms) + '%');
    mark.dataset.place = place;
    return mark;
  }));
  $('strip').addEventListener('click', ({ target }) => {
    if (target.dataset.place === undefined) return;
    rows[target.dataset.place].hidden = false;
    open(Number(target.dataset.place), true);
  });
  const slowest = run.turns.find((turn) => turn.ms === longest);
  $('scale-note').textContent = count === 0 ? ''
    : longest > 0 ? `A mark is a turn, its height the time it took, at most ${slowest.took}; flat ones do not tell.`
    : 'A mark is a turn; none tells how long it took.';
  $('legend').append(...Object.entries(outcomes).filter(([kind]) => run.turns.some((turn) => turn.outcome === kind))
    .map(([kind, name]) => element('span', { text: name, outcome: kind })));
}

// ---- the turns

const rows = [];

function row(turn, place) {
  const took = element('span', { className: 'took' });
  if (turn.took) {
    const bar = element('i', { className: 'bar' });
    bar.style.setProperty('--length', 100 * share(turn.ms) + '%');
    took.append(bar, element('span', { text: turn.took }));
  }
  const details = element('details', {},
    element('summary', {},
      element('span', { className: 'index', text: turn.index }),
      element('span', { className: 'dot' }),
      element('span', { className: 'name', text: turn.tool, title: turn.tool }),
      element('span', { className: 'gist' }, turn.given, turn.came && element('span', { className: 'came', text: ` → ${turn.came}` })),
      element('span', { className: 'word', text: turn.word === 'ok' ? '' : turn.word }),
      took));
  details.addEventListener('toggle', () => {
    if (details.open && !details.querySelector('.detail')) details.append(detail(parse(blocks[place])));
  });
  details.addEventListener('focusin', () => mark(place));
  return element('li', { className: 'turn', outcome: turn.outcome, id: `turn-${turn.index}` }, details);
}

function end() {
  const how = ended ? `${run.how}, ${moment(ended.ended_at)}` : `${run.how} when this page was made`;
  const item = element('li', { className: 'turn last', outcome: run.outcome },
    element('div', { className: 'end' }, element('span', { className: 'index' }), element('span', { className: 'dot' }), element('span', { className: 'how', text: how })));
  const evidence = ended?.termination?.outcome?.evidence ?? [];
  if (evidence.length > 0) {
    const shown = element('div', { className: 'detail' });
    for (const piece of evidence) section(shown, piece.kind.replaceAll('_', ' '), text(visible(piece.description)), piece.data != null && value(piece.data));
    item.append(shown);
  }
  return item;
}

/** What a turn holds, each part under its name. */
function detail(record) {
  const shown = element('div', { className: 'detail' });
  if (record.prompt !== undefined) section(shown, 'Prompt', text(visible(record.prompt)));
  if (record.parameters !== undefined) section(shown, 'Parameters', value(record.parameters));
  if (record.output !== undefined) section(shown, 'Output', value(record.output));
  if (record.cli_outcome) section(shown, 'Program', value(record.cli_outcome));
  if (record.extra !== undefined) section(shown, 'Extra', value(record.extra));
  if (record.policy_rejected) section(shown, 'Policy', text('rejected'));
  if (record.verifier_verdict !== 'not_run') section(shown, 'Verdict', text(visible(String(record.verifier_verdict))));
  if (shown.childElementCount === 0) section(shown, 'Turn', text('It holds nothing but its number.'));
  return shown;
}

const section = (shown, name, ...content) => shown.append(element('h2', { text: name }), element('div', {}, ...content));
const text = (plain) => element('pre', { className: 'text', text: plain });

/** The members of an object one by one, texts with their own lines; whatever lies deeper as JSON. */
function value(given) {
  if (typeof given !== 'object' || given === null || Array.isArray(given) || Object.keys(given).length === 0) return plain(given);
  const shown = element('div');
  for (const [name, member] of Object.entries(given)) {
    const inline = typeof member === 'string' ? member.length < 90 && !member.includes('\n') : typeof member !== 'object' || member === null;
    const label = element('p', { className: inline ? 'member inline' : 'member' }, element('span', { text: visible(name) }));
    if (inline) label.append(plain(member));
    shown.append(label);
    if (!inline) shown.append(plain(member));
  }
  return shown;
}

const plain = (given) => element('pre', { className: 'block', text: visible(typeof given === 'string' ? given || '""' : JSON.stringify(given, null, 2)) });

// ---- moving about

let current = -1;

function mark(place) {
  $('strip').children[current]?.classList.remove('current');
  current = place;
  $('strip').children[place]?.classList.add('current');
}

const shownPlaces = () => rows.flatMap((item, place) => (item.hidden ? [] : [place]));

function go(place) {
  if (place === undefined) return;
  const summary = rows[place].querySelector('summary');
  summary.focus({ preventScroll: true });
  rows[place].scrollIntoView({ block: 'nearest' });
}

function open(place, wanted) {
  rows[place].querySelector('details').open = wanted;
  go(place);
}

const keys = {
  j: () => go(shownPlaces().find((place) => place > current)),
  k: () => go(shownPlaces().findLast((place) => place < current)),
  n: () => go(shownPlaces().find((place) => place > current && run.turns[place].outcome !== 'ok') ?? shownPlaces().find((place) => run.turns[place].outcome !== 'ok')),
  o: () => {
    const details = shownPlaces().map((place) => rows[place].querySelector('details'));
    const wanted = details.some((one) => !one.open);
    details.slice(0, mostOpen).forEach((one) => { one.open = wanted; });
  },
  Home: () => go(shownPlaces()[0]),
  End: () => go(shownPlaces().at(-1)),
  '/': () => $('search').focus(),
};
keys.ArrowDown = keys.j;
keys.ArrowUp = keys.k;

/** More at once would only make the browser slow. */
const mostOpen = 300;

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === 'Escape') {
    chosen.clear();
    $('tool').value = $('search').value = '';
    document.activeElement.blur();
    filter();
    return;
  }
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName) || !Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
});

// ---- the filter

const chosen = new Set();

function filters() {
  const count = (of) => run.turns.reduce((counts, turn) => counts.set(turn[of], (counts.get(turn[of]) ?? 0) + 1), new Map());
  const kinds = count('outcome');
  $('chips').append(...Object.entries(outcomes).filter(([kind]) => kinds.has(kind)).map(([kind, name]) => {
    const chip = element('button', { className: 'chip', outcome: kind, type: 'button', 'aria-pressed': 'false' }, name, element('b', { text: kinds.get(kind).toLocaleString() }));
    chip.addEventListener('click', () => {
      if (!chosen.delete(kind)) chosen.add(kind);
      filter();
    });
    return chip;
  }));
  const tools = [...count('tool')].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  $('tool').append(element('option', { value: '', text: `all ${tools.length} tools` }),
    ...tools.map(([name, times]) => element('option', { value: 'is ' + name, text: `${name} (${times})` })));
  $('tool').hidden = tools.length < 2;
  $('tools').hidden = $('keys').hidden = run.turns.length === 0;
  $('tool').addEventListener('change', filter);
  let waiting;
  $('search').addEventListener('input', () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 120);
  });
}

/** Looks into the records as they are written in the page, so that none has to be parsed. */
function searcher() {
  const wanted = $('search').value.trim();
  if (!wanted) return () => true;
  const written = JSON.stringify(wanted).slice(1, -1).replaceAll('<', '\\u003c');
  const pattern = new RegExp(written.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), 'i');
  return (place) => pattern.test(blocks[place].textContent);
}

function filter() {
  const found = searcher(), tool = $('tool').value;
  let count = 0;
  run.turns.forEach((turn, place) => {
    const shown = (chosen.size === 0 || chosen.has(turn.outcome)) && (!tool || tool === 'is ' + turn.tool) && found(place);
    rows[place].hidden = !shown;
    $('strip').children[place].classList.toggle('out', !shown);
    count += shown;
  });
  for (const chip of $('chips').children) chip.setAttribute('aria-pressed', chosen.has(chip.dataset.outcome));
  $('shown').textContent = count === run.turns.length ? '' : `${count.toLocaleString()} of ${run.turns.length.toLocaleString()} turns`;
  $('nothing').textContent = run.turns.length === 0 ? 'No turn was recorded.' : 'No turn is like that.';
  $('nothing').hidden = count > 0;
}

// ---- all of it

head();
$('page').hidden = false;
clampIntent();
strip();
rows.push(...run.turns.map(row));
$('turns').style.setProperty('--names', Math.min(20, run.turns.reduce((most, turn) => Math.max(most, turn.tool.length), 4)) + 'ch');
$('turns').append(...rows, end());
filters();
filter();
const linked = run.turns.findIndex((turn) => location.hash === `#turn-${turn.index}`);
if (linked >= 0) open(linked, true);
