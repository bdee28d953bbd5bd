import {defined, fields, number, oneOf, record, unexpected} from '../checks.js';
import {defaults} from '../defaults.js';
import type {Outcome} from '../errors.js';

/** What `shouldRestart` is told beside the outcome. */
export interface RestartContext {
  /** Which restart of this outage it would be, from 1. */
  readonly attempt: number;
  /** How often ssh has been started. */
  readonly starts: number;
  /** Milliseconds that the tunnel would wait first. */
  readonly delay: number;
}

/** When ssh is started again, and when no more. `retries` to `randomize` are p-retry's words. */
export interface RestartOptions {
  /**
   * - `'exponential'`: whatever ends ssh but a permanent failure, it is started again, after waits that grow.
   * - `'autossh'`: what autossh 1.4g decides by the exit code alone. 0 ends the tunnel; 255 restarts, 1 and 2 as well but
   *   for the first start; any other, the remote command's, is fatal; a signal restarts. Inside `gateTime` the first start
   *   may not exit at all. The first five runs in a row that are shorter than `stableAfter` are followed by short waits, the
   *   others by `maxTimeout`/100 × t²/3, t = 1, 2, …, at most `maxTimeout`. Its defaults: `maxTimeout` 600000,
   *   `stableAfter` a tenth of that.
   *
   * @default 'exponential'
   */
  readonly policy?: 'exponential' | 'autossh';
  /** So many restarts in a row without a stable connection between them. @default Infinity */
  readonly retries?: number;
  /** Each wait is so many times the one before. @default 2 */
  readonly factor?: number;
  /** Milliseconds of the first wait. @default 500 */
  readonly minTimeout?: number | false;
  /** Milliseconds that no wait exceeds. @default 60000 */
  readonly maxTimeout?: number;
  /** Each wait is multiplied by a random number from 0.5 to 1, so that many hosts do not come back at once. @default true */
  readonly randomize?: boolean;
  /** ssh is started at most so often, the first start included; 0: as often as need be. @default Infinity */
  readonly maxStarts?: number | false;
  /** Milliseconds; an ssh that was up so long is stable, and the backoff begins anew after it. @default 10000 */
  readonly stableAfter?: number | false;
  /**
   * Milliseconds; for so long after a tunnel that was up lost its server, the wait stays at `minTimeout` while the
   * server cannot be reached, and grows only then: most servers are back in seconds. @default 10000
   */
  readonly quickFor?: number | false;
  /** The host's own last word, asked before each restart; `false` ends the tunnel. */
  readonly shouldRestart?: (outcome: Outcome, context: RestartContext) => boolean | Promise<boolean>;
}

/** {@link RestartOptions}, checked and complete. */
export type RestartSettings = Readonly<
  Record<'retries' | 'factor' | 'minTimeout' | 'maxTimeout' | 'maxStarts' | 'stableAfter' | 'quickFor', number>
> & {
  readonly policy: 'exponential' | 'autossh';
  readonly randomize: boolean;
  readonly shouldRestart: RestartOptions['shouldRestart'];
};

const known = fields<RestartOptions>({
  policy: true,
  retries: true,
  factor: true,
  minTimeout: true,
  maxTimeout: true,
  randomize: true,
  maxStarts: true,
  stableAfter: true,
  quickFor: true,
  shouldRestart: true,
});

/**
 * Checks and completes the restart policy's options.
 *
 * @throws TypeError that names the option and the value it has
 */
export function resolveRestart(value: unknown): RestartSettings {
  const own = defined(record('restart', value, known));
  const {restart} = defaults;
  const policy = oneOf('restart.policy', own['policy'] ?? restart.policy, ['exponential', 'autossh']);
  if (policy === 'autossh') refuseIdle(own);
  const given: Readonly<Record<string, unknown>> = {...restart, ...(policy === 'autossh' && asAutossh(own)), ...own};
  const field = (
    name: keyof typeof restart & keyof RestartOptions,
    bounds: Parameters<typeof number>[2] = {},
  ): number => number(`restart.${name}`, given[name], bounds);
  const minTimeout = field('minTimeout', {max: 2 ** 31 - 1, off: true});
  const longest =
    policy === 'autossh' || 'maxTimeout' in own ? given['maxTimeout'] : Math.max(restart.maxTimeout, minTimeout);
  const maxTimeout = number('restart.maxTimeout', longest, {max: 2 ** 31 - 1});
  if (maxTimeout < minTimeout) {
    throw unexpected(
      'restart.maxTimeout',
      `at least \`restart.minTimeout\`, which is ${String(minTimeout)}`,
      maxTimeout,
    );
  }
  const {randomize, shouldRestart} = given;
  if (typeof randomize !== 'boolean') throw unexpected('restart.randomize', 'a boolean', randomize);
  if (shouldRestart !== undefined && typeof shouldRestart !== 'function')
    throw unexpected('restart.shouldRestart', 'a function', shouldRestart);
  return Object.freeze({
    policy,
    retries: field('retries', {integer: true}),
    factor: field('factor', {min: 1, max: 1_000}),
    minTimeout,
    maxTimeout,
    randomize,
    maxStarts: field('maxStarts', {integer: true, off: true}) || Infinity,
    stableAfter: field('stableAfter', {off: true}),
    quickFor: field('quickFor', {off: true}),
    shouldRestart: shouldRestart as RestartOptions['shouldRestart'],
  });
}

/** autossh's own: it backs off up to its poll time, and an ssh that ran for a tenth of it is stable. */
function asAutossh({maxTimeout = autosshPoll}: Readonly<Record<string, unknown>>): object {
  return {
    maxTimeout,
    minTimeout: Math.min(shortestWait, Number(maxTimeout)),
    stableAfter: Math.max(defaults.restart.stableAfter, Number(maxTimeout) / 10),
  };
}

/** autossh's default poll time. */
const autosshPoll = 600_000;

/** autossh does without a wait in the first five restarts; it is kept short. */
const shortestWait = 100;

function refuseIdle(own: Readonly<Record<string, unknown>>): void {
  const idle = ['retries', 'factor', 'quickFor'].find((name) => name in own);
  if (idle !== undefined)
    throw new TypeError(
      `Expected \`restart.${idle}\` to be absent with \`restart.policy\` 'autossh': it has a backoff of its own`,
    );
}
