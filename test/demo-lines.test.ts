import {describe, expect, test} from 'vitest';
import {Screen, type Output} from '../examples/demo/screen.js';
import {
  backLine,
  brokenLine,
  finishedLines,
  isGood,
  legendLines,
  liveLines,
  milliseconds,
  noticedLine,
  queriesLine,
  servedLine,
  summaryLines,
  upLine,
  type FaultReport,
  type Line,
  type Scene,
  type Verdict,
} from '../examples/demo/timeline.js';

const report: FaultReport = {
  number: 2,
  of: 5,
  title: 'server session frozen',
  how: 'SIGSTOP to the sshd that serves us, pid 4712',
  isGentle: false,
  brokenAt: 12_340,
  noticed: {after: 604, event: 'heartbeat-miss', why: 'no answer for 501 ms'},
  up: {after: 1150, how: 'ssh 4713'},
  backAfter: 1200,
  servedAfter: 1400,
  queries: {brokenAt: 12_340, inFlight: 3, lost: 2, stale: 8, failed: 0, waits: [1301, 150, 700]},
};

const verdict: Verdict = {
  starts: 6,
  queries: 4000,
  acknowledged: 2000,
  missing: [],
  unexpected: [],
  unseen: 1,
  misread: 0,
};

const scene: Scene = {
  now: 13_340,
  state: 'starting',
  pid: 4_194_303,
  uptime: 0,
  route: '127.0.0.1:45045 -> 127.0.0.1:36127',
  beats: [0.4, 0.5, undefined],
  answered: [20, 20, 0, 0],
  usual: 20,
  waiting: 61,
  fault: report,
  next: ['server away for 3 s'],
};

const plain = (line: Line): string => line.map(([text]) => text).join('');
const tones = (line: Line): string[] => line.filter(([text]) => text !== '').map(([, tone = 'plain']) => tone);

test('a fault is told with its time on the clock and its distance from the break', () => {
  const lines = [brokenLine, noticedLine, upLine, backLine, servedLine, queriesLine];
  expect(lines.map((line) => plain(line(report)))).toEqual([
    ' 12.3 s  2/5 server session frozen: SIGSTOP to the sshd that serves us, pid 4712',
    ' 12.9 s      noticed   after  604 ms  heartbeat-miss: no answer for 501 ms',
    ' 13.5 s      new ssh   after  1.15 s  connect: ssh 4713',
    ' 13.5 s      serves    after  1.20 s  the first answer on a new connection',
    ' 13.7 s      caught up after  1.40 s  3 queries waited, median 700 ms, longest 1.30 s',
    '             queries   3 in flight, 2 of them lost; 8 sent on old connections and lost; 0 others failed',
  ]);
});

test.each([
  [0.4, '0 ms'],
  [999.4, '999 ms'],
  [999.6, '1.00 s'],
  [3041, '3.04 s'],
])('%d ms is written %s', (value, text) => {
  expect(milliseconds(value)).toBe(text);
});

describe('a lane', () => {
  const [first = []] = finishedLines(report, 128);

  test('has a part for each state of knowledge, as long as it lasted', () => {
    // 100 columns for 4 s.
    expect(plain(first)).toBe(`  ✔  server session frozen  ${'█'.repeat(16)}${'▓'.repeat(14)}${'░'.repeat(5)}`);
    expect(tones(first)).toEqual(['good', 'bold', 'bad', 'warn', 'good']);
  });

  test('ends where it began while nothing is known but the break', () => {
    const {noticed, backAfter, servedAfter, ...broken} = report;
    const lane = liveLines({...scene, fault: broken, now: report.brokenAt + 200}, 128).find((line) =>
      plain(line).includes('2/5'),
    );
    expect(lane && plain(lane)).toBe(` 2/5 server session frozen  ${'█'.repeat(5)}`);
  });

  test('of an outage that is longer than the lane does not leave it', () => {
    const {backAfter, servedAfter, ...down} = report;
    const lines = liveLines({...scene, fault: down, now: report.brokenAt + 60_000}, 80).map(plain);
    expect(lines.find((line) => line.includes('2/5'))).toHaveLength(80);
  });
});

test.each([80, 120])('in %d columns nothing that is redrawn, no finished fault and no table is wider', (width) => {
  const lines = [
    ...liveLines(scene, width),
    ...finishedLines(report, width),
    ...summaryLines('with one ssh', [report], verdict),
    ...legendLines(),
  ];
  for (const line of lines) expect(plain(line).trimEnd().length, plain(line)).toBeLessThanOrEqual(width);
});

describe('the verdict', () => {
  const text = (changes: Partial<Verdict>): string =>
    summaryLines('with one ssh', [report], {...verdict, ...changes})
      .map(plain)
      .join('\n');

  test('is good when every fault was survived and every acknowledged row is there', () => {
    expect(isGood([report], verdict)).toBe(true);
    expect(text({})).toContain('✔ 2000 rows acknowledged, and every one is in the table.');
    expect(text({})).toContain('1 row was committed though the client saw an error; the retry found it.');
  });

  test('names the rows that are missing', () => {
    expect(isGood([report], {...verdict, missing: [7, 8]})).toBe(false);
    expect(text({missing: [7, 8]})).toContain('✘ 2000 rows acknowledged, 2 of them missing: 7, 8');
    expect(text({missing: [1, 2, 3, 4, 5, 6]})).toContain('1, 2, 3, 4, 5, …');
  });

  test('is bad with a row that nobody acknowledged, with a wrong read, with no row at all, and without a recovery', () => {
    const {backAfter, ...down} = report;
    expect(isGood([report], {...verdict, unexpected: [9]})).toBe(false);
    expect(isGood([report], {...verdict, misread: 1})).toBe(false);
    expect(isGood([report], {...verdict, acknowledged: 0})).toBe(false);
    expect(isGood([down], verdict)).toBe(false);
  });
});

describe('a query that failed', () => {
  const withTally = (changes: Partial<FaultReport['queries']>, isGentle = false): FaultReport => ({
    ...report,
    isGentle,
    queries: {...report.queries, ...changes},
  });
  const summary = (one: FaultReport): string => summaryLines('with one ssh', [one], verdict).map(plain).join('\n');

  test('is excused while it was in flight or sent on an old connection', () => {
    expect(isGood([withTally({lost: 3, stale: 8})], verdict)).toBe(true);
    expect(summary(report)).toContain('✔ No query failed that was not in flight or sent on an old connection.');
    expect(summary(report)).toMatch(/^ {2}server session frozen .* 2 of 3 +8 +0$/m);
  });

  test('is never excused otherwise, and is said in every place', () => {
    const bad = withTally({failed: 1});
    expect(isGood([bad], verdict)).toBe(false);
    expect(summary(bad)).toContain('✘ 1 query failed that was not in flight');
    expect(summary(bad)).toMatch(/^! server session frozen .* 1$/m);
    expect(finishedLines(bad, 80).map(plain)).toContain('     1 failed and was not in flight');
    expect(tones(queriesLine(bad))).toContain('bad');
  });

  test('is not excused at all where nothing had to break', () => {
    expect(isGood([withTally({lost: 0, stale: 0}, true)], verdict)).toBe(true);
    expect(isGood([withTally({lost: 1, stale: 0}, true)], verdict)).toBe(false);
    expect(isGood([withTally({lost: 0, stale: 1}, true)], verdict)).toBe(false);
  });
});

describe('a screen', () => {
  test('in a pipe gets the lines that stay and nothing else', () => {
    const {output, written} = terminal({isTTY: false});
    const screen = new Screen(output, {});
    screen.show(() => [[['region']]]);
    screen.print([['red', 'bad'], ['  ']]);
    screen.close();
    expect(written()).toBe('red\n');
  });

  test('takes the region away before a line that stays, and draws it anew below', () => {
    const {output, written} = terminal({});
    using screen = new Screen(output, {});
    screen.show(() => [[['one']], [['two']]]);
    const before = written().length;
    screen.print([['stays', 'good']]);
    expect(written().slice(before)).toBe('\u001B[2F\u001B[J\u001B[32mstays\u001B[39m\none\ntwo\n');
  });

  test('gives the cursor back once, and is silent after that', () => {
    const {output, written} = terminal({});
    const screen = new Screen(output, {});
    screen.show(() => [[['one']]]);
    screen.close();
    screen.close();
    screen.print([['late']]);
    expect(written()).toBe('\u001B[?25lone\n\u001B[1F\u001B[J\u001B[?25h');
  });

  test('cuts the region to the terminal, in both directions, but not what stays', () => {
    const {output, written} = terminal({columns: 30, rows: 3});
    using screen = new Screen(output, {NO_COLOR: '1'});
    const long = 'x'.repeat(50);
    screen.show(() => [[[long]], [[long, 'bad']], [[long]]]);
    screen.print([[long]]);
    expect(written().split('\n').slice(0, 2)).toEqual([`\u001B[?25l${'x'.repeat(30)}`, 'x'.repeat(30)]);
    expect(written()).toContain(`\u001B[2F\u001B[J${long}\n`);
  });

  test('moves without colours where NO_COLOR asks for it', () => {
    const {output, written} = terminal({});
    using screen = new Screen(output, {NO_COLOR: '1'});
    screen.print([['red', 'bad']]);
    expect(written()).toBe('\u001B[?25lred\n');
  });

  test('does not move on a dumb terminal', () => {
    const {output} = terminal({});
    using screen = new Screen(output, {TERM: 'dumb'});
    expect(screen.isLive).toBe(false);
  });
});

function terminal(options: {isTTY?: boolean; columns?: number; rows?: number}): {
  output: Output;
  written: () => string;
} {
  let text = '';
  const output: Output = {
    isTTY: true,
    columns: 80,
    rows: 24,
    ...options,
    write: (chunk: string | Uint8Array) => {
      text += String(chunk);
      return true;
    },
    on: () => process.stdout,
    off: () => process.stdout,
  };
  return {output, written: () => text};
}
