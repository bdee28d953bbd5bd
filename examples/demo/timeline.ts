/**
 * What the demo shows, as lines of text: pure functions from facts to lines. What is red here is only called `bad`; screen.ts
 * knows about colours, widths and cursors.
 */
import type {AutoSSH} from 'node-autossh';

export type Tone = 'plain' | 'dim' | 'bold' | 'good' | 'warn' | 'bad';
export type Span = readonly [text: string, tone?: Tone];
export type Line = readonly Span[];

/** One fault: what was broken, and what came of it. Times are milliseconds; `…After` counts from the break. */
export interface FaultReport {
  readonly number: number;
  readonly of: number;
  /** What happens, in a few words: `ssh frozen`. */
  readonly title: string;
  /** How it is done: `SIGSTOP to ssh, pid 4711`. */
  how: string;
  /** Since the demo began. */
  readonly brokenAt: number;
  /** When the server is there again, for a fault that has to be over before anything can be mended. */
  returnedAfter?: number;
  /** The first event of the tunnel that told of it. */
  noticed?: {readonly after: number; readonly event: string; readonly why: string};
  /** The `connect` event. */
  up?: {readonly after: number; readonly how: string};
  /** When every query that had to wait was answered. */
  servedAfter?: number;
  queries: QueryTally;
}

/** What a fault meant for the queries of that time. */
export interface QueryTally {
  /** Answered, but later than usual. */
  waited: number;
  /** Attempts that ended with an error and were repeated. */
  retried: number;
  /** Of one query, all its attempts included. */
  longest: number;
}

/** The present, for the region that is redrawn. */
export interface Scene {
  readonly now: number;
  readonly state: AutoSSH['state'];
  readonly pid: number | undefined;
  /** How long this ssh has been up. */
  readonly uptime: number;
  readonly route: string;
  /** The latest beats' round-trip times, oldest first; `undefined` for a miss. */
  readonly beats: readonly (number | undefined)[];
  /** Answered queries in each of the latest tenths of a second, oldest first. */
  readonly answered: readonly number[];
  /** As many as that are answered in a tenth of a second when all is well. */
  readonly usual: number;
  readonly waiting: number;
  readonly fault: FaultReport | undefined;
  /** The titles of what is still to come. */
  readonly next: readonly string[];
}

/** The final account. */
export interface Verdict {
  readonly starts: number;
  readonly queries: number;
  readonly acknowledged: number;
  /** Rows that were acknowledged and are not in the table, or not as they were written. */
  readonly missing: readonly number[];
  /** Rows in the table that nobody was told about. */
  readonly unexpected: readonly number[];
  /** Rows whose first INSERT was committed although its client saw an error; the repetition found them. */
  readonly unseen: number;
  /** Reads through the tunnel that did not find an acknowledged row. */
  readonly misread: number;
}

/** One thing that happened while everything was set up. */
export function stepLine(at: number, subject: string, text: string): Line {
  return [[clock(at), 'dim'], [` ${subject.padEnd(10)} `, 'bold'], [text]];
}

export function brokenLine({number, of, title, how, brokenAt}: FaultReport): Line {
  return [[clock(brokenAt), 'dim'], [` ${number}/${of} `, 'bold'], [title, 'bad'], [`: ${how}`]];
}

export function returnedLine(report: FaultReport): Line {
  return factLine(report, 'server', 'back', report.returnedAfter ?? 0, '');
}

export function noticedLine(report: FaultReport): Line {
  const {after = 0, event = '', why = ''} = report.noticed ?? {};
  return factLine(report, 'noticed', 'warn', after, `${event}: ${why}`);
}

export function upLine(report: FaultReport): Line {
  return factLine(report, 'up again', 'good', report.up?.after ?? 0, `connect: ${report.up?.how ?? ''}`);
}

export function servedLine(report: FaultReport): Line {
  return factLine(report, 'served', 'good', report.servedAfter ?? 0, tally(report.queries));
}

/** A finished fault on a terminal: its lane and its figures. */
export function finishedLines(report: FaultReport, width: number): readonly Line[] {
  const {noticed, up, queries, returnedAfter} = report;
  const figures = [
    noticed && `noticed ${milliseconds(noticed.after)} (${noticed.event})`,
    up &&
      `up ${milliseconds(up.after - (returnedAfter ?? 0))}${returnedAfter === undefined ? '' : ' after its return'}`,
    `${queries.waited} waited`,
    `${queries.retried} retried`,
    `longest ${milliseconds(queries.longest)}`,
  ];
  return [
    [
      up ? ['  ✔  ', 'good'] : ['  ✘  ', 'bad'],
      [`${report.title.padEnd(titleWidth)} `, 'bold'],
      ...lane(report, Infinity, width),
    ],
    ...wrap(
      figures.filter((figure) => figure !== undefined),
      width - 5,
    ).map((text): Line => [[`     ${text}`, 'dim']]),
  ];
}

/** What is redrawn several times a second. */
export function liveLines(scene: Scene, width: number): readonly Line[] {
  const {state, pid, uptime, route, beats, answered, usual, waiting, fault, next} = scene;
  const facts = [
    pid === undefined ? 'no ssh' : `ssh ${pid}`,
    ...(state === 'up' ? [`for ${seconds(uptime)}`] : []),
    route,
  ];
  const graph = Math.max(10, width - 36);
  const rtt = beats.at(-1);
  const perSecond = answered.slice(-10).reduce((sum, count) => sum + count, 0);
  const lines: Line[] = [
    [['─'.repeat(width), 'dim']],
    [[' tunnel  ', 'bold'], [`● ${state}`.padEnd(12), toneOf(state)], [facts.join(' · ')]],
    [
      [' rtt     ', 'bold'],
      ...sparkline(beats, graph, Math.max(1, ...beats.map((beat) => beat ?? 0))),
      [rtt === undefined ? '  no answer' : `  ${rtt.toFixed(1)} ms`],
    ],
    [
      [' queries ', 'bold'],
      ...sparkline(answered, graph, usual * 2),
      [`  ${perSecond}/s`],
      [`  ${waiting} waiting`, waiting > 20 ? 'bad' : 'dim'],
    ],
  ];
  if (fault) {
    const name = ` ${fault.number}/${fault.of} ${fault.title}`.padEnd(laneStart);
    lines.push([[name, fault.up ? 'bold' : 'bad'], ...lane(fault, scene.now - fault.brokenAt, width)]);
    lines.push([[`     ${fault.how}`, 'dim']]);
  } else {
    lines.push(
      [[next.length > 0 ? ` next: ${next.join(', ')}` : ' comparing the table with what was acknowledged', 'dim']],
      [],
    );
  }
  lines.push([
    [' █', 'bad'],
    [' broken  ', 'dim'],
    ['▓', 'warn'],
    [' noticed  ', 'dim'],
    ['░', 'good'],
    [' up, catching up', 'dim'],
  ]);
  return lines;
}

export function summaryLines(reports: readonly FaultReport[], verdict: Verdict): readonly Line[] {
  const row = (...cells: readonly string[]): string =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(titleWidth) : cell.padStart(columnWidths[column] ?? 0)))
      .join('');
  const rows = reports.map((report): Line => {
    const {noticed, up, queries} = report;
    const {waited, retried, longest} = queries;
    return [
      up ? ['  '] : ['! ', 'bad'],
      [
        row(
          report.title,
          noticed ? milliseconds(noticed.after) : 'never',
          noticed?.event ?? '',
          up ? milliseconds(up.after) : 'never',
          String(waited),
          String(retried),
          milliseconds(longest),
        ),
      ],
    ];
  });
  return [
    [['  '], [row('fault', 'noticed', 'by', 'up again', 'waited', 'retried', 'longest'), 'bold']],
    ...rows,
    [],
    [[`  ${verdict.starts} starts of ssh, ${verdict.queries} queries answered.`]],
    ...verdictLines(verdict),
  ];
}

export function isGood(
  reports: readonly FaultReport[],
  {acknowledged, missing, unexpected, misread}: Verdict,
): boolean {
  const broken = missing.length + unexpected.length + misread;
  return (
    acknowledged > 0 &&
    broken === 0 &&
    reports.every(({up, servedAfter}) => up !== undefined && servedAfter !== undefined)
  );
}

export function milliseconds(value: number): string {
  return value < 999.5 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(2)} s`;
}

const titleWidth = 22;
/** With the two columns before them 79 in all. */
const columnWidths = [titleWidth, 8, 15, 9, 7, 8, 8] as const;
/** Where the lanes begin. */
const laneStart = titleWidth + 6;
/** The longest outage that a lane has room for. */
const laneSpan = 4000;

function verdictLines({acknowledged, missing, unexpected, unseen, misread}: Verdict): readonly Line[] {
  const lines: Line[] = [];
  if (missing.length === 0)
    lines.push([['  ✔ ', 'good'], [`${acknowledged} rows acknowledged, and every one is in the table.`]]);
  else
    lines.push([
      ['  ✘ ', 'bad'],
      [`${acknowledged} rows acknowledged, ${missing.length} of them missing: ${some(missing)}`],
    ]);
  if (unexpected.length > 0)
    lines.push([['  ✘ ', 'bad'], [`${unexpected.length} rows that nobody acknowledged: ${some(unexpected)}`]]);
  if (misread > 0) lines.push([['  ✘ ', 'bad'], [`${misread} reads did not find an acknowledged row`]]);
  const found = unseen === 1 ? '1 row was' : `${unseen} rows were`;
  lines.push([
    ['    '],
    [`${found} committed though the client saw an error; the retry found ${unseen === 1 ? 'it' : 'them'}.`, 'dim'],
  ]);
  return lines;
}

function factLine({brokenAt}: FaultReport, subject: string, tone: Tone | 'back', after: number, text: string): Line {
  return [
    [clock(brokenAt + after), 'dim'],
    [`     ${subject.padEnd(9)}`, tone === 'back' ? 'bold' : tone],
    [tone === 'back' ? ` is back after ${milliseconds(after)}` : ` after ${milliseconds(after).padStart(7)}  ${text}`],
  ];
}

function tally({waited, retried, longest}: QueryTally): string {
  return `${waited} queries waited, ${retried} failed and were retried, longest wait ${milliseconds(longest)}`;
}

/** One cell for each slice of time since the break, in the tone of what was known then. */
function lane({noticed, up, servedAfter}: FaultReport, age: number, width: number): readonly Span[] {
  const slice = laneSpan / Math.max(10, width - laneStart);
  const end = Math.min(age, servedAfter ?? Infinity, laneSpan);
  const cells = (until: number): number => Math.ceil(Math.min(until, end) / slice);
  const broken = cells(noticed?.after ?? Infinity);
  const down = cells(up?.after ?? Infinity) - broken;
  const late = cells(Infinity) - broken - Math.max(0, down);
  return [
    ['█'.repeat(broken), 'bad'],
    ['▓'.repeat(Math.max(0, down)), 'warn'],
    ['░'.repeat(Math.max(0, late)), 'good'],
  ];
}

const levels = '▁▂▃▄▅▆▇█';

/** The latest values on a scale from 0 to `top`; nothing, or a miss, stands out. */
function sparkline(values: readonly (number | undefined)[], width: number, top: number): readonly Span[] {
  const shown = values.slice(-width);
  const spans: Span[] = shown.map((value) => {
    if (value === undefined) return ['×', 'bad'];
    if (value === 0) return ['_', 'bad'];
    return [levels[Math.min(7, Math.floor((value / top) * 8))] ?? ' ', 'good'];
  });
  return [...spans, [' '.repeat(width - shown.length)]];
}

/** Joined by dots into lines that are no longer than `width`. */
function wrap(parts: readonly string[], width: number): readonly string[] {
  const lines: string[] = [];
  for (const part of parts) {
    const longer = `${lines.at(-1) ?? ''} · ${part}`;
    if (lines.length > 0 && longer.length <= width) lines[lines.length - 1] = longer;
    else lines.push(part);
  }
  return lines;
}

function toneOf(state: AutoSSH['state']): Tone {
  switch (state) {
    case 'up':
      return 'good';
    case 'starting':
    case 'waiting':
      return 'warn';
    case 'idle':
    case 'stopping':
    case 'stopped':
      return 'dim';
  }
}

function clock(at: number): string {
  return `${(at / 1000).toFixed(1).padStart(5)} s `;
}

function seconds(value: number): string {
  return `${(value / 1000).toFixed(1)} s`;
}

function some(ids: readonly number[]): string {
  return ids.length > 5 ? `${ids.slice(0, 5).join(', ')}, …` : ids.join(', ');
}
