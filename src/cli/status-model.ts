import type {AutoSSHError, AutoSSHEventPayloads, StateName} from '../index.js';
import {hintOf} from './hint.js';
import {count, duration, oneLine, roundTrip} from './status-words.js';

/** What of a tunnel's events is told. */
export const toldEvents = [
  'state',
  'start',
  'connect',
  'heartbeat',
  'heartbeat-miss',
  'disconnect',
  'restart',
  'warning',
  'stderr',
  'fatal',
  'stop',
] as const satisfies readonly (keyof AutoSSHEventPayloads)[];

/** An event as it came. */
export type ToldEvent = {
  [Name in (typeof toldEvents)[number]]: {readonly name: Name; readonly payload: AutoSSHEventPayloads[Name]};
}[(typeof toldEvents)[number]];

/** When something happened: for the eye, and in milliseconds of a clock that is never set. */
export interface Moment {
  readonly clock: string;
  readonly now: number;
}

/** What an entry of the list is about. */
export type EntryKind =
  | 'started'
  | 'running'
  | 'beat'
  | 'missed'
  | 'disconnected'
  | 'failed'
  | 'restart'
  | 'warning'
  | 'ssh'
  | 'fatal'
  | 'ended';

/** One thing that happened, in words. */
export interface Entry {
  readonly clock: string;
  readonly kind: EntryKind;
  readonly text: string;
  /** How often in a row. */
  readonly times: number;
}

/** What is kept at most: more than a large window shows. */
export const bounds = {entries: 200, beats: 500} as const;

const endings = {
  stopped: 'it was asked to',
  aborted: 'it was aborted',
  'max-lifetime': 'its lifetime is over',
  exit: 'ssh has ended',
  fatal: 'it cannot go on',
} as const;

/** What a tunnel's events come to: all that is shown of it, but for the figures it gives itself. */
export class StatusModel {
  readonly destination: string;
  state: StateName = 'idle';
  /** When it came into this state, by the clock that is never set. */
  since: number;
  /** Round trip times, the newest last; `null`: a miss. */
  readonly beats: (number | null)[] = [];
  readonly entries: Entry[] = [];
  /** Whether beats are sent. */
  readonly isMonitored: boolean;
  /** Whether the ssh that runs has answered a beat: nothing else shows that it has ever reached a server. */
  isProven = false;
  /** In a row, up to now. */
  misses = 0;
  /** At how many ssh is replaced. */
  maxMisses = Infinity;
  /** How the last ssh ended and when the next one is started, until it is. */
  wait: {readonly until: number; readonly delay: number; readonly attempt: number; readonly why: string} | undefined;
  /** Why there is no tunnel any more. */
  error: AutoSSHError | undefined;
  ending: string | undefined;

  /** The last ssh that was started. */
  #ssh = '';

  constructor(destination: string, isMonitored: boolean, now: number, state: StateName = 'idle') {
    this.destination = oneLine(destination);
    this.isMonitored = isMonitored;
    this.since = now;
    this.state = state;
  }

  apply(event: ToldEvent, moment: Moment): void {
    const wasProven = this.isProven;
    this.#reckon(event, moment.now);
    const {clock} = moment;
    if (this.isProven && !wasProven) this.#enter({clock, kind: 'running', text: this.#ssh, times: 1});
    for (const {kind, text} of inWords(event)) {
      // Beats are in the chart.
      if (kind !== 'beat') this.#enter({clock, kind, text, times: 1});
    }
  }

  #reckon({name, payload}: ToldEvent, now: number): void {
    switch (name) {
      case 'state':
        this.state = payload.to;
        this.since = now;
        if (payload.to !== 'waiting') this.wait = undefined;
        break;
      case 'start':
        if (this.state !== 'up') this.misses = 0;
        break;
      case 'connect':
        this.misses = 0;
        this.wait = undefined;
        this.isProven = false;
        this.#ssh = sshOf(payload);
        break;
      case 'heartbeat':
        this.misses = 0;
        this.isProven = true;
        this.#beat(payload.rtt);
        break;
      case 'heartbeat-miss':
        this.misses = payload.misses;
        this.maxMisses = payload.maxMisses;
        this.#beat(null);
        break;
      case 'restart': {
        const {delay, attempt, outcome} = payload;
        // While another ssh serves, nobody waits.
        if (this.state === 'waiting') this.wait = {until: now + delay, delay, attempt, why: oneLine(outcome.message)};
        break;
      }
      case 'fatal':
        this.error = payload;
        break;
      case 'stop':
        this.ending = endings[payload.reason];
        break;
      case 'disconnect':
      case 'warning':
      case 'stderr':
        break;
    }
  }

  #beat(rtt: number | null): void {
    this.beats.push(rtt);
    if (this.beats.length > bounds.beats) this.beats.shift();
  }

  /** What is said over and over stands there once, with the time of the last. */
  #enter(entry: Entry): void {
    const last = this.entries.at(-1);
    if (last?.kind === entry.kind && last.text === entry.text) {
      this.entries[this.entries.length - 1] = {...entry, times: last.times + 1};
      return;
    }
    this.entries.push(entry);
    if (this.entries.length > bounds.entries) this.entries.shift();
  }
}

/** An event as entries of a list; none for a change of state, of which another event tells more. */
export function inWords({name, payload}: ToldEvent): readonly {readonly kind: EntryKind; readonly text: string}[] {
  switch (name) {
    case 'state':
      return [];
    case 'start':
      return [{kind: 'started', text: sshOf(payload)}];
    case 'connect':
      // Of a command line that is the user's own it says no more than the start.
      return [];
    case 'heartbeat':
      return [{kind: 'beat', text: `answered after ${roundTrip(payload.rtt)}`}];
    case 'heartbeat-miss': {
      const {misses, maxMisses, waited, reason} = payload;
      const of = maxMisses === Infinity ? '' : ` of ${String(maxMisses)}`;
      const why =
        reason === 'closed'
          ? `its connection was closed after ${duration(waited)}`
          : `nothing came for ${duration(waited)}`;
      return [{kind: 'missed', text: `${String(misses)}${of}: ${why}`}];
    }
    case 'disconnect':
      return [{kind: 'disconnected', text: `${oneLine(payload.outcome.message)} (after ${duration(payload.uptime)})`}];
    case 'restart': {
      const {outcome, attempt, delay} = payload;
      const when = delay < 1 ? 'at once' : `in ${duration(delay)}`;
      const next = {kind: 'restart', text: attempt === 0 ? when : `${when} (attempt ${String(attempt)})`} as const;
      // Of an ssh that was up its disconnect has told.
      return outcome.stage === 'up' ? [next] : [{kind: 'failed', text: oneLine(outcome.message)}, next];
    }
    case 'warning':
      return [{kind: 'warning', text: oneLine(payload.message)}];
    case 'stderr':
      return [{kind: 'ssh', text: oneLine(payload.line)}];
    case 'fatal':
      return [{kind: 'fatal', text: oneLine(payload.message)}];
    case 'stop':
      return [{kind: 'ended', text: endings[payload.reason]}];
  }
}

function sshOf({starts, pid}: {readonly starts: number; readonly pid: number}): string {
  return `ssh ${String(starts)}, pid ${String(pid)}`;
}

/** What is left to say when all is over, or nobody looks any more: how it stands, why, and what to do about it. */
export function lastWords(
  {destination, state, isProven, error, ending, wait}: StatusModel,
  {restarts, uptime}: {readonly restarts: number; readonly uptime: number},
): readonly string[] {
  const after = restarts === 0 ? '' : `, after ${count(restarts, 'restart')}`;
  const now =
    ending === undefined
      ? state === 'up'
        ? `${isProven ? 'up' : 'started, and there'} for ${duration(uptime)}`
        : wait
          ? `waiting: ${wait.why}`
          : state
      : `ended${after}: ${error ? oneLine(error.message) : ending}`;
  const lines = [`${destination}: ${now}`];
  // A gate or a limit says that it was one; what really happened is its cause.
  if (error?.cause instanceof Error && !error.message.includes(error.cause.message))
    lines.push(`cause: ${oneLine(error.cause.message)}`);
  const hint = error && hintOf(error);
  if (hint !== undefined) lines.push(`hint: ${oneLine(hint)}`);
  return lines;
}
