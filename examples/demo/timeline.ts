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
  /** Whether nothing at all may be lost by it. */
  readonly isGentle: boolean;
  /** Since the demo began. */
  readonly brokenAt: number;
  /** When the server is there again, for a fault that has to be over before anything can be mended. */
  returnedAfter?: number;
  /** The first event of the tunnel that told of it. */
  noticed?: {readonly after: number; readonly event: string; readonly why: string};
  /** When the first query that began after the break, on a connection of its own, was answered. */
  backAfter?: number;
  /** The first `connect` event: of the new ssh, or with a standby of the one that takes its place. */
  up?: {readonly after: number; readonly how: string};
  /** When every query that had to wait was answered. */
  servedAfter?: number;
  queries: QueryTally;
}

/**
 * What a fault meant for the queries of that time. Those that failed were repeated until they were answered; what counts
 * here is with which right they failed.
 */
export interface QueryTally {
  /** The break. */
  readonly brokenAt: number;
  /** Sent before the break and unanswered at it. */
  readonly inFlight: number;
  /** Those of them that failed. */
  lost: number;
  /**
   * Failed, and began after the break, on a connection that was there before it: nobody can know that such a connection is
   * dead before something is sent on it.
   */
  stale: number;
  /** Failed, and was neither: none may. */
  failed: number;
  /** How long each took that was answered later than usual, all its attempts included. */
  readonly waits: number[];
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

export function backLine(report: FaultReport): Line {
  return factLine(report, 'serves', 'good', report.backAfter ?? 0, 'the first answer on a new connection');
}

export function upLine(report: FaultReport): Line {
  return factLine(report, 'new ssh', 'good', report.up?.after ?? 0, `connect: ${report.up?.how ?? ''}`);
}

export function servedLine(report: FaultReport): Line {
  return factLine(report, 'caught up', 'good', report.servedAfter ?? 0, waited(report.queries));
}

/** With which right queries failed. */
export function queriesLine({isGentle, queries}: FaultReport): Line {
  const {inFlight, lost, stale, failed} = queries;
  return [
    [' '.repeat(clock(0).length + 5)],
    ['queries   ', isBad(isGentle, queries) ? 'bad' : 'good'],
    [`${inFlight} in flight, ${lost} of them lost; ${stale} sent on old connections and lost; ${failed} others failed`],
  ];
}

/** A finished fault on a terminal: its lane and its figures. */
export function finishedLines(report: FaultReport, width: number): readonly Line[] {
  const {noticed, up, queries, backAfter, servedAfter, returnedAfter, isGentle} = report;
  const {inFlight, lost, stale, failed, waits} = queries;
  const figures = [
    noticed && `noticed ${milliseconds(noticed.after)} (${noticed.event})`,
    backAfter !== undefined &&
      `serves ${milliseconds(backAfter - (returnedAfter ?? 0))}${returnedAfter === undefined ? '' : ' after its return'}`,
    up && `new ssh ${milliseconds(up.after)}`,
    waits.length > 0
      ? `${waits.length} waited, median ${milliseconds(median(waits))}, longest ${milliseconds(longest(waits))}`
      : 'none waited',
    `${lost} of ${inFlight} in flight lost`,
    ...(stale > 0 ? [`${stale} on old connections`] : []),
  ];
  const isGood = servedAfter !== undefined && !isBad(isGentle, queries);
  return [
    [
      isGood ? ['  ✔  ', 'good'] : ['  ✘  ', 'bad'],
      [`${report.title.padEnd(titleWidth)} `, 'bold'],
      ...lane(report, Infinity, width),
    ],
    ...wrap(
      figures.filter((figure) => typeof figure === 'string'),
      width - 5,
    ).map((text): Line => [[`     ${text}`, 'dim']]),
    ...(failed > 0
      ? [[[`     ${failed} failed and ${failed === 1 ? 'was' : 'were'} not in flight`, 'bad'] as const]]
      : []),
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
    lines.push([
      [name, fault.backAfter === undefined ? 'bad' : 'bold'],
      ...lane(fault, scene.now - fault.brokenAt, width),
    ]);
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
    [' serves, catching up', 'dim'],
  ]);
  return lines;
}

/** One act. */
export function summaryLines(title: string, reports: readonly FaultReport[], verdict: Verdict): readonly Line[] {
  const row = (...cells: readonly string[]): string =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(titleWidth) : cell.padStart(columnWidths[column] ?? 0)))
      .join('');
  const rows = reports.map((report): Line => {
    const {noticed, backAfter, queries, isGentle} = report;
    const {inFlight, lost, stale, failed, waits} = queries;
    return [
      isBad(isGentle, queries) || backAfter === undefined ? ['! ', 'bad'] : ['  '],
      [
        row(
          report.title,
          noticed ? milliseconds(noticed.after) : isGentle ? '-' : 'never',
          backAfter === undefined ? 'never' : milliseconds(backAfter),
          waits.length > 0 ? milliseconds(median(waits)) : '-',
          waits.length > 0 ? milliseconds(longest(waits)) : '-',
          `${lost} of ${inFlight}`,
          String(stale),
        ),
      ],
      [String(failed).padStart(7), failed > 0 ? 'bad' : 'good'],
    ];
  });
  const failed = reports.reduce((sum, {queries}) => sum + queries.failed, 0);
  return [
    [[`  ${title}`, 'bold']],
    [['  '], [row('fault', 'noticed', 'serves', 'median', 'longest', 'in flight', 'stale') + ' failed', 'bold']],
    ...rows,
    [],
    [[`  ${verdict.starts} starts of ssh, ${verdict.queries} queries answered.`]],
    failed === 0
      ? [['  ✔ ', 'good'], ['No query failed that was not in flight or sent on an old connection.']]
      : [
          ['  ✘ ', 'bad'],
          [`${failed === 1 ? '1 query failed that was' : `${failed} queries failed that were`} not in flight`],
        ],
    ...verdictLines(verdict),
  ];
}

/** What the columns of the tables mean. */
export function legendLines(): readonly Line[] {
  return [
    'noticed    the first event that told of the fault',
    'serves     the first answer on a new connection, to a query that began later',
    'median, longest   of the queries that waited, each until it was answered',
    'in flight  lost, of those sent before the break and unanswered at it',
    'stale      lost, of those sent later on a connection that was broken already',
    'failed     every other: a query that found no ssh waits, and is answered',
    'What was lost was repeated by the service: its rows have keys, so it may.',
  ].map((text) => [[`  ${text}`, 'dim']]);
}

export function isGood(
  reports: readonly FaultReport[],
  {acknowledged, missing, unexpected, misread}: Verdict,
): boolean {
  const broken = missing.length + unexpected.length + misread;
  return (
    acknowledged > 0 &&
    broken === 0 &&
    reports.every(
      ({up, backAfter, servedAfter, isGentle, queries}) =>
        up !== undefined && backAfter !== undefined && servedAfter !== undefined && !isBad(isGentle, queries),
    )
  );
}

export function milliseconds(value: number): string {
  return value < 999.5 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(2)} s`;
}

const titleWidth = 22;
/** With the two columns before them and the last one 79 in all. */
const columnWidths = [titleWidth, 8, 8, 8, 8, 10, 6] as const;
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

function waited({waits}: QueryTally): string {
  if (waits.length === 0) return 'no query waited';
  return `${waits.length} queries waited, median ${milliseconds(median(waits))}, longest ${milliseconds(longest(waits))}`;
}

function isBad(isGentle: boolean, {lost, stale, failed}: QueryTally): boolean {
  return failed > 0 || (isGentle && lost + stale > 0);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

function longest(values: readonly number[]): number {
  return Math.max(0, ...values);
}

/** One cell for each slice of time since the break, in the tone of what was known then. */
function lane({isGentle, noticed, backAfter, servedAfter}: FaultReport, age: number, width: number): readonly Span[] {
  const slice = laneSpan / Math.max(10, width - laneStart);
  const end = Math.min(age, servedAfter ?? Infinity, laneSpan);
  const cells = (until: number): number => Math.ceil(Math.min(until, end) / slice);
  // Where nothing had to break the old ssh serves on.
  const back = isGentle ? 0 : (backAfter ?? Infinity);
  const broken = cells(Math.min(noticed?.after ?? Infinity, back));
  const down = cells(back) - broken;
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
