import type {AutoSSHStats} from '../index.js';
import {displayWidth} from './display-width.js';
import {type Span, type Tone, apart, paint} from './spans.js';
import {chartRows, scaleOf} from './status-chart.js';
import type {Entry, EntryKind, StatusModel} from './status-model.js';
import {count, duration, roundTrip, stopwatch} from './status-words.js';

/** What is to be seen. */
export interface Picture {
  readonly model: StatusModel;
  readonly stats: AutoSSHStats;
  /** Of the current ssh. */
  readonly pid: number | undefined;
  /** By the clock that is never set. */
  readonly now: number;
  /** Whether keys do anything. */
  readonly keys: boolean;
}

/** Where it is to be seen. */
export interface Canvas {
  readonly columns: number;
  readonly rows: number;
  readonly colour: boolean;
}

/** From this size on there is room for air, for a chart of several rows and for the forwards. */
const roomy = {columns: 60, rows: 18} as const;

/** The whole window: as many lines as it has rows, each of exactly its width. */
export function drawFrame(picture: Picture, canvas: Canvas): readonly string[] {
  const {columns, rows, colour} = canvas;
  const isRoomy = columns >= roomy.columns && rows >= roomy.rows;
  const top = isRoomy ? roomyTop(picture, canvas) : tightTop(picture, canvas);
  const bottom = rows > 6 ? [...(isRoomy ? [[]] : []), footer(picture, columns)] : [];
  const list = eventList(picture.model.entries, rows - top.length - bottom.length, columns);
  return [...top, ...list, ...bottom].slice(0, rows).map((spans) => paint(spans, columns, colour));
}

type Line = readonly Span[];

function roomyTop({model, stats, pid, now}: Picture, {columns, rows}: Canvas): readonly Line[] {
  const label = (text: string): Span => [` ${text.padEnd(13)}`, 'dim'];
  const [dot, word, tone] = looks(model);
  const wait = model.wait && model.wait.attempt > 0 ? model.wait : undefined;
  const more = explanation(model, stats, now);
  return [
    apart(
      [[' '], [dot, tone], [` ${word.padEnd(11)}`, tone], [model.destination, 'bold']],
      pid === undefined ? [] : [['ssh pid ', 'dim'], [`${String(pid)} `]],
      columns,
    ),
    [],
    [
      label(more.label),
      ...more.spans,
      ...(wait ? ([[`  attempt ${String(wait.attempt)}`, 'dim']] satisfies Line) : []),
    ],
    ...(more.second ? [[label('because'), ['', 'plain'], [more.second]] satisfies Line] : []),
    [label('restarts'), [String(stats.restarts)]],
    [label('heartbeats'), ...beatFigures(stats, ' sent', ' answered', ' missed', '  ')],
    ...forwardLines(stats, rows >= 24 ? 3 : 1).map((text, index): Line => [
      label(index === 0 ? 'forwards' : ''),
      [text],
    ]),
    [],
    ...chartSection(model, columns, rows >= 24 ? 4 : 2, 1),
    rule('events', [], columns),
  ];
}

function tightTop({model, stats, pid, now}: Picture, {columns}: Canvas): readonly Line[] {
  const [dot, word, tone] = looks(model);
  const more = explanation(model, stats, now);
  return [
    apart(
      [[dot, tone], [` ${word} `, tone], ...more.spans],
      pid === undefined ? [] : [['ssh ', 'dim'], [String(pid)]],
      columns,
    ),
    [[model.destination, 'bold']],
    [
      ...(more.second
        ? ([[more.second]] satisfies Line)
        : [
            ['restarts ', 'dim'] satisfies Span,
            [`${String(stats.restarts)}  `] satisfies Span,
            ['beats ', 'dim'] satisfies Span,
            ...beatFigures(stats, '', ' ok', ' missed', ' '),
          ]),
    ],
    ...chartSection(model, columns, 1, 0),
    rule('events', [], columns),
  ];
}

/** A dot, a word and their tone: what there is to know from afar. */
function looks({
  state,
  isMonitored,
  isProven,
  misses,
  error,
}: StatusModel): readonly [dot: string, word: string, tone: Tone] {
  switch (state) {
    case 'idle':
      return ['○', 'idle', 'dim'];
    case 'starting':
      return ['◐', 'starting', 'warn'];
    case 'up':
      if (misses > 0) return ['◑', 'doubtful', 'warn'];
      if (isProven) return ['●', 'up', 'good'];
      return isMonitored ? ['◐', 'started', 'warn'] : ['●', 'started', 'plain'];
    case 'waiting':
      return ['○', 'waiting', 'bad'];
    case 'stopping':
      return ['◌', 'stopping', 'warn'];
    case 'stopped':
      return error ? ['■', 'failed', 'bad'] : ['■', 'stopped', 'dim'];
  }
}

/** What belongs to the state: since when, until when, why. */
function explanation(
  {state, since, wait, isMonitored, isProven, misses, maxMisses}: StatusModel,
  {uptime}: AutoSSHStats,
  now: number,
): {readonly label: string; readonly spans: readonly Span[]; readonly second?: string} {
  if (state === 'up') {
    const doubt = `${String(misses)}${maxMisses === Infinity ? '' : ` of ${String(maxMisses)}`} missed`;
    const unproven = isMonitored ? '  no beat yet' : '  no heartbeat';
    const more: Line = misses > 0 ? [[`  ${doubt}`, 'warn']] : isProven ? [] : [[unproven, 'dim']];
    return {label: isProven ? 'up for' : 'ssh runs for', spans: [[stopwatch(uptime)], ...more]};
  }
  if (state === 'waiting' && wait) {
    const left = Math.max(0, wait.until - now);
    return {
      label: 'next ssh in',
      spans: [[`${countdown(left).padEnd(6)} `, 'warn'], ...gauge(left, wait.delay)],
      second: wait.why,
    };
  }
  if (state === 'waiting') return {label: 'waiting', spans: [['for somebody who needs it']]};
  return {label: 'since', spans: [[stopwatch(now - since)]]};
}

/** Of a wait: tenths only while they are few, and never zero before it is over. */
function countdown(milliseconds: number): string {
  if (milliseconds < 10_000) return `${(Math.ceil(milliseconds / 100) / 10).toFixed(1)} s`;
  return duration(Math.ceil(milliseconds / 1_000) * 1_000);
}

const gaugeWidth = 10;

function gauge(left: number, delay: number): readonly Span[] {
  const full = delay > 0 ? Math.ceil((left / delay) * gaugeWidth) : 0;
  return [
    ['━'.repeat(full), 'warn'],
    ['─'.repeat(gaugeWidth - full), 'dim'],
  ];
}

function beatFigures(
  {heartbeats}: AutoSSHStats,
  sent: string,
  answered: string,
  missed: string,
  gap: string,
): readonly Span[] {
  if (heartbeats.sent === 0) return [['none sent', 'dim']];
  return [
    [String(heartbeats.sent)],
    [`${sent}${gap}`, 'dim'],
    [String(heartbeats.answered)],
    [`${answered}${gap}`, 'dim'],
    [String(heartbeats.missed), heartbeats.missed > 0 ? 'bad' : 'plain'],
    [missed, 'dim'],
  ];
}

function forwardLines({forwards}: AutoSSHStats, most: number): readonly string[] {
  const lines = forwards.map(({type, listen, target}) => {
    return `${type === 'remote' ? 'server ' : ''}${address(listen)} → ${target ? address(target) : 'SOCKS'}`;
  });
  if (lines.length <= most) return lines;
  return [...lines.slice(0, most - 1), `${lines[most - 1] ?? ''}  and ${String(lines.length - most)} more`];
}

function address(place: {
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly path?: string | undefined;
}): string {
  if (place.path !== undefined) return place.path;
  const host = place.host?.includes(':') ? `[${place.host}]` : (place.host ?? '');
  return `${host}:${String(place.port ?? '')}`;
}

/** Nothing where there are no beats: their room is the list's. */
function chartSection({beats}: StatusModel, columns: number, rows: number, margin: number): readonly Line[] {
  if (beats.length === 0) return [];
  const shown = beats.slice(-(columns - 2 * margin));
  const {min, now, max, answered} = scaleOf(shown);
  const figure = (name: string, value: number): readonly Span[] => [
    [`${name} `, 'dim'],
    [roundTrip(value), 'accent'],
  ];
  const figures =
    answered === 0
      ? ([['no answer', 'bad']] satisfies Line)
      : ([...figure('min', min), ['  '], ...figure('now', now), ['  '], ...figure('max', max)] satisfies Line);
  const left = ' '.repeat(margin);
  const lines = chartRows(shown, columns - 2 * margin, rows).map((row): Line => [[left], ...row]);
  return [rule('rtt', figures, columns), ...lines, ...(margin > 0 ? [[]] : [])];
}

/** A line with a title in it, and on its right end what belongs to it. */
function rule(title: string, figures: readonly Span[], columns: number): Line {
  const width = figures.reduce((sum, [text]) => sum + displayWidth(text), 0);
  const rest = columns - title.length - 4 - (width > 0 ? width + 3 : 0);
  if (rest < 0) return figures;
  return [
    ['─ ', 'dim'],
    [title, 'bold'],
    [` ${'─'.repeat(rest + 1)}`, 'dim'],
    ...(width > 0 ? ([[' '], ...figures, [' ─', 'dim']] satisfies Line) : []),
  ];
}

const signs: Readonly<Record<EntryKind, readonly [sign: string, word: string, tone: Tone]>> = {
  started: ['▸', 'started', 'dim'],
  running: ['●', 'running', 'good'],
  beat: ['♥', 'beat', 'dim'],
  missed: ['×', 'missed', 'warn'],
  disconnected: ['✕', 'disconnected', 'bad'],
  failed: ['✕', 'failed', 'bad'],
  restart: ['↻', 'restart', 'warn'],
  warning: ['!', 'warning', 'warn'],
  ssh: ['│', 'ssh', 'dim'],
  fatal: ['■', 'fatal', 'bad'],
  ended: ['■', 'ended', 'dim'],
};

const wordWidth = 'disconnected'.length;

/** The last ones that fit, the newest at the bottom. */
function eventList(entries: readonly Entry[], rows: number, columns: number): readonly Line[] {
  if (rows <= 0) return [];
  const isNarrow = columns < roomy.columns;
  const lines = entries.slice(-rows).map(({clock, kind, text, times}): Line => {
    const [sign, word, tone] = signs[kind];
    const often = times > 1 ? ` (${count(times, 'time')})` : '';
    if (isNarrow)
      return [[`${clock} `, 'dim'], [`${sign} `, tone], [`${kind === 'ssh' ? '' : `${word} `}${text}${often}`]];
    return [
      [` ${clock}  `, 'dim'],
      [`${sign} ${word.padEnd(wordWidth)}  `, tone],
      [text + often, kind === 'ssh' ? 'dim' : 'plain'],
    ];
  });
  return [...lines, ...Array.from({length: rows - lines.length}, (): Line => [])];
}

function footer({keys, model}: Picture, columns: number): Line {
  if (!keys) return [[columns < roomy.columns ? 'Ctrl-C ends' : ' Ctrl-C ends the tunnel', 'dim']];
  if (model.state === 'stopping' || model.state === 'stopped')
    return [
      [' q ', 'key'],
      [' end at once', 'dim'],
    ];
  return [
    [' q ', 'key'],
    [' end the tunnel   ', 'dim'],
    [' r ', 'key'],
    [' restart ssh', 'dim'],
  ];
}
