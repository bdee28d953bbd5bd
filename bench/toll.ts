import type {Attempt} from './outage.js';

/** What something that happened to a tunnel did to its connections. */
export interface Toll {
  /** Of the connections opened since: those without an echo. */
  failed: number;
  /** The longest that one of them took to its echo; `'never'`: there were no more echoes in the end. */
  longestWait: number | 'never';
  /** Of those opened before and not answered by then: the ones that never were. */
  lost: number;
}

/** So many of the last connections must have been answered, or the tunnel is not back. */
const enough = 10;

/** Only of attempts that are over: each has an echo or has failed. */
export function toll(attempts: readonly Attempt[], since: number, until = Infinity): Toll {
  const after = attempts.filter(({begun}) => begun >= since && begun < until);
  const inFlight = attempts.filter((one) => one.begun < since && (one.echoed ?? one.failed ?? Infinity) >= since);
  const isBack = after.length >= enough && after.slice(-enough).every(({echoed}) => echoed !== undefined);
  return {
    failed: after.filter(({echoed}) => echoed === undefined).length,
    longestWait: isBack ? Math.max(...after.map(({begun, echoed = begun}) => echoed - begun)) : 'never',
    lost: inFlight.filter(({echoed}) => echoed === undefined).length,
  };
}
