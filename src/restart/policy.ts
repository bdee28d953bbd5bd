import type {AutoSSHErrorCode, Outcome} from '../errors.js';
import {backoff} from './backoff.js';
import type {RestartSettings} from './options.js';

/** What has been so far. */
export interface History {
  /** How often ssh has been started. */
  readonly starts: number;
  /** When it was started first. */
  readonly firstStart: number;
  /** Whether any ssh has been ready. */
  readonly everReady: boolean;
  /** Ends without a stable connection between them, this one included; from 1. */
  readonly attempt: number;
  /** When this outage began. */
  readonly outageSince: number;
  /** How many of this outage's waits have grown already. */
  readonly grown: number;
  /** Runs in a row that were not stable, this one included. */
  readonly tries: number;
  /** Starts that only gave autossh's loop another port. */
  readonly moves: number;
}

/** What is to be done about an outcome. */
export type Decision =
  | {readonly type: 'restart'; readonly delay: number; readonly grown: number}
  | {readonly type: 'give-up'; readonly code: AutoSSHErrorCode; readonly why: string};

/** What {@link decide} goes by. */
export interface PolicySettings extends RestartSettings {
  readonly gateTime: number;
}

/** Failures that cost the server nothing: it was not reached. */
const cheap: readonly (AutoSSHErrorCode | undefined)[] = ['ERR_AUTOSSH_CONNECT', 'ERR_AUTOSSH_RESOLVE'];

/** How many first waits a server is left alone that turns connections away because it has too many. */
const throttledWaits = 10;

/** What to do now that an ssh has ended by itself. */
export function decide(
  outcome: Outcome,
  history: History,
  settings: PolicySettings,
  now: number,
  random: number,
): Decision {
  const {code = 'ERR_AUTOSSH_EXIT'} = outcome;
  const first = !history.everReady && history.attempt === 1;
  if (!outcome.retryable) return {type: 'give-up', code, why: outcome.message};
  // It was given out to nobody yet, and whoever holds it would be taken for the tunnel.
  if (outcome.forward?.side === 'local' && !history.everReady) return {type: 'give-up', code, why: outcome.message};
  if (first && now - history.firstStart < settings.gateTime) {
    return {
      type: 'give-up',
      code: 'ERR_AUTOSSH_GATE',
      why: `The first ssh ended before it was ready, within the gate time of ${String(settings.gateTime)} ms: ${outcome.message}`,
    };
  }
  if (history.attempt > settings.retries) {
    return {
      type: 'give-up',
      code: 'ERR_AUTOSSH_GAVE_UP',
      why: `Gave up after ${plural(settings.retries, 'retry', 'retries')}: ${outcome.message}`,
    };
  }
  if (history.starts >= settings.maxStarts) {
    return {
      type: 'give-up',
      code: 'ERR_AUTOSSH_GAVE_UP',
      why: `Gave up after ${plural(settings.maxStarts, 'start', 'starts')} of ssh: ${outcome.message}`,
    };
  }
  return {type: 'restart', ...wait(outcome, history, settings, now, random)};
}

function wait(
  outcome: Outcome,
  history: History,
  settings: PolicySettings,
  now: number,
  random: number,
): {delay: number; grown: number} {
  const {grown} = history;
  if (outcome.reason === 'requested') return {delay: 0, grown};
  // The slowest: each attempt counts against the account on the server, and nothing but a person mends it.
  if (outcome.code === 'ERR_AUTOSSH_AUTH' && outcome.reason !== 'credentials')
    return {delay: backoff(0, {...settings, minTimeout: settings.maxTimeout}, random), grown};
  if (outcome.throttled) {
    const minTimeout = Math.min(settings.minTimeout * throttledWaits, settings.maxTimeout);
    return {delay: backoff(grown, {...settings, minTimeout}, random), grown: grown + 1};
  }
  if (history.attempt === 1 && outcome.stage === 'up') return {delay: 0, grown};
  const quick = history.everReady && cheap.includes(outcome.code) && now - history.outageSince < settings.quickFor;
  return {delay: backoff(quick ? 0 : grown, settings, random), grown: quick ? grown : grown + 1};
}

function plural(count: number, one: string, many: string): string {
  return `${String(count)} ${count === 1 ? one : many}`;
}
