import type {Outcome} from '../errors.js';
import {backoff} from './backoff.js';
import type {Decision, History, PolicySettings} from './policy.js';

/** So many short runs in a row are followed by hardly any wait; then the backoff begins. */
const fastTries = 5;

/** Milliseconds; the longest wait among the fast ones. */
const longestFast = 1_000;

/** What autossh 1.4g does when an ssh has ended: `ssh_wait()` and `grace_time()` of its source. */
export function decideAsAutossh(
  outcome: Outcome,
  history: History,
  settings: PolicySettings,
  now: number,
  random: number,
): Decision | {readonly type: 'finish'} {
  const end = endOf(outcome, history, settings, now);
  if (end) return end;
  // One that only gets its loop another port is the same start once more.
  if (history.starts - history.moves >= settings.maxStarts)
    return {
      type: 'give-up',
      code: 'ERR_AUTOSSH_GAVE_UP',
      why: `ssh has been started ${String(settings.maxStarts)} times`,
    };
  const delay = outcome.reason === 'requested' ? 0 : autosshDelay(history.tries, settings, random);
  return {type: 'restart', delay, grown: history.grown};
}

/** The end of the tunnel, if this is one. */
function endOf(
  {reason, exitCode, message, code = 'ERR_AUTOSSH_EXIT', retryable}: Outcome,
  {starts, moves, firstStart}: History,
  {gateTime}: PolicySettings,
  now: number,
): ReturnType<typeof decideAsAutossh> | undefined {
  if (reason === 'spawn') return retryable ? undefined : {type: 'give-up', code, why: message};
  if (reason !== 'exit') return undefined;
  const isFirst = starts - moves === 1 && gateTime > 0;
  if (isFirst && now - firstStart <= gateTime) {
    return {
      type: 'give-up',
      code: 'ERR_AUTOSSH_GATE',
      why: `The first ssh exited within the gate time of ${String(gateTime)} ms: ${message}`,
    };
  }
  if (exitCode === 0) return {type: 'finish'};
  // 255 is ssh's own failure. It can exit with 1 and 2 when it cannot reconnect; a first time that is rather a mistake.
  const mayRestart = exitCode === 255 || (!isFirst && (exitCode === 1 || exitCode === 2));
  return mayRestart ? undefined : {type: 'give-up', code, why: message};
}

/**
 * The wait in milliseconds before the next ssh.
 *
 * @param tries - runs in a row that were not stable
 * @param random - from 0 to 1
 */
export function autosshDelay(
  tries: number,
  settings: Pick<PolicySettings, 'minTimeout' | 'maxTimeout' | 'randomize'>,
  random: number,
): number {
  if (tries === 0) return 0;
  if (tries <= fastTries) {
    const maxTimeout = Math.min(longestFast, settings.maxTimeout);
    return backoff(tries - 1, {...settings, maxTimeout, factor: 2}, random);
  }
  const slow = tries - fastTries;
  // autossh counts whole seconds.
  const grown = Math.floor((settings.maxTimeout / 100_000) * (slow * (slow / 3))) * 1_000;
  // Where that is none yet, it is no faster than the fast ones.
  return Math.max(Math.min(grown, settings.maxTimeout), autosshDelay(fastTries, settings, random));
}
