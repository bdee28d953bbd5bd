import {stripVTControlCharacters} from 'node:util';
import {describe, expect, test} from 'vitest';
import {displayWidth} from '../../src/cli/display-width.js';
import {chartRows, scaleOf} from '../../src/cli/status-chart.js';
import {type Picture, drawFrame} from '../../src/cli/status-frame.js';
import {StatusModel, type ToldEvent} from '../../src/cli/status-model.js';
import type {AutoSSHEventPayloads, AutoSSHStats, Outcome} from '../../src/index.js';

const lost: Outcome = {
  reason: 'signal',
  message: 'ssh was ended by SIGKILL',
  retryable: true,
  throttled: false,
  stage: 'up',
  uptime: 182_000,
  stderr: [],
};
const beats = [1, null, 4, 9, 16] as const;

test('80×24, up: everything there is to know, with air', () => {
  const lines = drawFrame(upAndRunning(), {columns: 80, rows: 24, colour: false});
  expect(text(lines)).toBe(`
 ● up         deploy@bastion.example.com                          ssh pid 48213

 up for       02:04:31
 restarts     3
 heartbeats   128 sent  126 answered  2 missed
 forwards     127.0.0.1:15432 → db.internal:5432
              server [::1]:8080 → /run/web.sock
              127.0.0.1:1080 → SOCKS

─ rtt ─────────────────────────────────────── min 1.0 ms  now 16 ms  max 16 ms ─
                                                                           ╎  █
                                                                           ╎ ██
                                                                           ╎███
 ·········································································█×███

─ events ───────────────────────────────────────────────────────────────────────
 12:00:01  ● running       ssh 3, pid 48200
 12:00:02  × missed        1 of 2: nothing came for 15 s
 12:00:03  ✕ disconnected  ssh was ended by SIGKILL (after 3 min 2 s)
 12:00:03  ↻ restart       at once (attempt 1)
 12:00:04  ▸ started       ssh 4, pid 48213
 12:00:05  ● running       ssh 4, pid 48213

 q  end the tunnel    r  restart ssh
`);
});

test('80×24, waiting: how long still, of how much, and because of what', () => {
  const picture = upAndRunning();
  picture.model.state = 'waiting';
  picture.model.wait = {until: 10_000, delay: 8_000, attempt: 4, why: 'Connection refused'};
  const lines = drawFrame({...picture, pid: undefined, now: 5_950}, {columns: 80, rows: 24, colour: false});
  expect(text(lines.slice(0, 5))).toBe(`
 ○ waiting    deploy@bastion.example.com

 next ssh in  4.1 s  ━━━━━━────  attempt 4
 because      Connection refused
 restarts     3
`);
});

test('40×12, up: the same, tight', () => {
  const lines = drawFrame(upAndRunning(), {columns: 40, rows: 12, colour: false});
  expect(text(lines)).toBe(
    `
● up 02:04:31                  ssh 48213
deploy@bastion.example.com
restarts 3  beats 128 126 ok 2 missed
min 1.0 ms  now 16 ms  max 16 ms
···································▂×▄▆█
─ events ───────────────────────────────
12:00:02 × missed 1 of 2: nothing came…
12:00:03 ✕ disconnected ssh was ended b…
12:00:03 ↻ restart at once (attempt 1)
12:00:04 ▸ started ssh 4, pid 48213
12:00:05 ● running ssh 4, pid 48213
 q  end the tunnel    r  restart ssh
`,
  );
});

test('40×12, waiting: the reason has the place of the figures', () => {
  const picture = upAndRunning();
  picture.model.state = 'waiting';
  picture.model.wait = {until: 95_000, delay: 95_000, attempt: 12, why: 'Connection refused'};
  const lines = drawFrame({...picture, pid: undefined, now: 500}, {columns: 40, rows: 12, colour: false});
  expect(text(lines.slice(0, 3))).toBe(`
○ waiting 1 min 35 s ━━━━━━━━━━
deploy@bastion.example.com
Connection refused
`);
});

describe('every state has a dot and a word', () => {
  test.each([
    ['idle', '○ idle'],
    ['starting', '◐ starting'],
    ['up', '● up'],
    ['waiting', '○ waiting'],
    ['stopping', '◌ stopping'],
    ['stopped', '■ stopped'],
  ] as const)('%s', (state, expected) => {
    const picture = upAndRunning();
    picture.model.state = state;
    expect(drawFrame(picture, {columns: 80, rows: 24, colour: false})[0]).toContain(` ${expected} `);
  });

  test.each([
    [true, '◐ started', 'no beat yet', '\u001B[33m◐'],
    [false, '● started', 'no heartbeat', '●\u001B[0m'],
  ])('up without a proof is started, where beats are sent (%s) and where none are', (isMonitored, ...expected) => {
    const [look, note, coloured] = expected;
    const model = new StatusModel('h', isMonitored, 0, 'up');
    const picture = {...upAndRunning(), model};
    const lines = drawFrame(picture, {columns: 80, rows: 24, colour: false});
    expect(lines[0]).toContain(` ${look} `);
    expect(lines[2]).toMatch(new RegExp(`^ ssh runs for 02:04:31  ${note} *$`));
    expect(drawFrame(picture, {columns: 40, rows: 12, colour: false})[0]).toMatch(
      new RegExp(`^${look} 02:04:31  ${note} `),
    );
    const first = drawFrame(picture, {columns: 80, rows: 24, colour: true})[0];
    expect(first).not.toContain('\u001B[32m');
    if (isMonitored) expect(first).toContain(coloured);
  });

  test('up with misses is doubtful', () => {
    const picture = upAndRunning();
    picture.model.misses = 1;
    picture.model.maxMisses = 2;
    const lines = drawFrame(picture, {columns: 80, rows: 24, colour: false});
    expect(lines[0]).toContain(' ◑ doubtful ');
    expect(lines[2]).toContain('02:04:31  1 of 2 missed');
  });
});

test('without beats the list has the room of the chart', () => {
  const picture = upAndRunning();
  picture.model.beats.length = 0;
  const stats = {...picture.stats, heartbeats: {...picture.stats.heartbeats, sent: 0}};
  const lines = drawFrame({...picture, stats}, {columns: 80, rows: 24, colour: false});
  expect(lines.join('\n')).not.toContain('rtt');
  expect(lines[4]).toContain('heartbeats   none sent');
  expect(lines.findIndex((line) => line.includes('events'))).toBe(9);
});

test('where no key does anything, none is offered', () => {
  const lines = drawFrame({...upAndRunning(), keys: false}, {columns: 80, rows: 24, colour: false});
  expect(lines.at(-1)?.trim()).toBe('Ctrl-C ends the tunnel');
});

test('the newest entries stay when there is no room for all, and long ones are cut by what they take on the screen', () => {
  const {model, ...rest} = upAndRunning();
  for (let number = 1; number <= 50; number++) enter(model, 'stderr', {line: `line ${number}`}, '12:01:00');
  enter(model, 'stderr', {line: `${'日本語'.repeat(20)} end`}, '12:02:00');
  const lines = drawFrame({model, ...rest}, {columns: 80, rows: 24, colour: false});
  expect(lines.join('\n')).not.toContain('line 45');
  expect(lines.join('\n')).toContain('line 50');
  expect(lines[21]).toBe(` 12:02:00  │ ssh           ${'日本語'.repeat(8)}日本…`);
});

describe('whatever the size', () => {
  const sizes = [1, 2, 5, 12, 20, 39, 40, 59, 60, 80, 81, 132, 300];
  const heights = [1, 2, 5, 6, 7, 12, 17, 18, 23, 24, 50];

  test.each([true, false])(
    'there are as many lines as rows, each exactly as wide as the window (colour %s)',
    (colour) => {
      const {model, ...rest} = upAndRunning();
      enter(model, 'stderr', {line: '日本語 👩‍💻 ❤️ e\u0301 '.repeat(40)}, '12:02:00');
      for (const columns of sizes) {
        for (const rows of heights) {
          const lines = drawFrame({model, ...rest}, {columns, rows, colour});
          const widths = lines.map((line) => displayWidth(stripVTControlCharacters(line)));
          expect(widths, `${columns}×${rows}`).toEqual(Array.from({length: rows}, () => columns));
        }
      }
    },
  );

  test('colour changes nothing but the colours, and each line ends without one', () => {
    const plain = drawFrame(upAndRunning(), {columns: 80, rows: 24, colour: false});
    const coloured = drawFrame(upAndRunning(), {columns: 80, rows: 24, colour: true});
    expect(plain.join('')).not.toContain('\u001B');
    expect(coloured.map(stripVTControlCharacters)).toEqual(plain);
    expect(coloured[0]).toContain('\u001B[32m●\u001B[0m\u001B[32m up ');
    for (const line of coloured)
      expect(line.split('\u001B[0m').length).toBe(Math.ceil(line.split('\u001B[').length / 2));
  });
});

describe('the chart', () => {
  const rows = (values: readonly (number | null)[], columns: number, height: number): string[] =>
    chartRows(values, columns, height).map((spans) => spans.map(([part]) => part).join(''));

  test.each<[string, (number | null)[], number, string[]]>([
    ['grows from the right', [1, 4, 16], 5, ['··▂▄█']],
    ['forgets the oldest', [1, 1, 1, 16, 16], 2, ['██']],
    ['marks a miss', [16, null, 16], 3, ['█×█']],
    ['shows even the quickest', [0, 1_000], 2, ['▁█']],
    ['is even when all are zero', [0, 0], 2, ['▁▁']],
    ['has only misses', [null, null], 2, ['××']],
    ['has every block', [1, 4, 9, 16, 25, 36, 49, 64], 8, ['▁▂▃▄▅▆▇█']],
  ])('%s', (_, values, columns, expected) => {
    expect(rows(values, columns, 1)).toEqual(expected);
  });

  test('has eight steps in each row', () => {
    expect(rows([9, 36, 81, 144, null], 5, 3)).toEqual(['  ▂█╎', ' ▄██╎', '▆███×']);
  });

  test('its scale is of those that were answered', () => {
    expect(scaleOf([3, null, 1, 2, null])).toEqual({min: 1, now: 2, max: 3, answered: 3});
    expect(scaleOf([null])).toEqual({min: 0, now: 0, max: 0, answered: 0});
  });
});

function upAndRunning(): Picture {
  const model = new StatusModel('deploy@bastion.example.com', true, 0, 'up');
  enter(model, 'connect', {starts: 3, pid: 48_200, elapsed: 312, forwards: []}, '12:00:01');
  enter(model, 'heartbeat', {rtt: 1, beats: 1}, '12:00:01');
  enter(model, 'heartbeat-miss', {misses: 1, maxMisses: 2, waited: 15_000, reason: 'timeout'}, '12:00:02');
  enter(model, 'disconnect', {outcome: lost, uptime: 182_000}, '12:00:03');
  enter(model, 'restart', {outcome: lost, attempt: 1, delay: 0}, '12:00:03');
  enter(model, 'start', {starts: 4, pid: 48_213, command: 'ssh'}, '12:00:04');
  enter(model, 'connect', {starts: 4, pid: 48_213, elapsed: 1_300, forwards: []}, '12:00:04');
  enter(model, 'heartbeat', {rtt: 1, beats: 2}, '12:00:05');
  model.beats.splice(0, Infinity, ...beats);
  const forward = {bound: true, connections: null, steady: false};
  const stats: AutoSSHStats = {
    state: 'up',
    starts: 4,
    restarts: 3,
    uptime: 7_471_000,
    heartbeats: {sent: 128, answered: 126, missed: 2, lastRtt: 16, smoothedRtt: 9},
    lastOutcome: lost,
    forwards: [
      {
        ...forward,
        name: 'db',
        type: 'local',
        listen: {host: '127.0.0.1', port: 15_432},
        target: {host: 'db.internal', port: 5_432},
      },
      {...forward, name: 'web', type: 'remote', listen: {host: '::1', port: 8_080}, target: {path: '/run/web.sock'}},
      {...forward, name: 'socks', type: 'dynamic', listen: {host: '127.0.0.1', port: 1_080}, target: undefined},
    ],
    targetFailures: 0,
  };
  return {model, stats, pid: 48_213, now: 0, keys: true};
}

function enter<Name extends ToldEvent['name']>(
  model: StatusModel,
  name: Name,
  payload: AutoSSHEventPayloads[Name],
  clock: string,
): void {
  model.apply({name, payload} as ToldEvent, {clock, now: 0});
}

/** What a window shows: nobody sees the blanks at the ends of its lines. */
function text(lines: readonly string[]): string {
  return `\n${lines.map((line) => line.trimEnd()).join('\n')}\n`;
}
