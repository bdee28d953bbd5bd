import {number, unexpected} from '../checks.js';
import type {Forward} from '../ssh/forward.js';

/** What the library's own listeners do while ssh comes and goes. All times are milliseconds. */
export interface FrontOptions {
  /** So long a connection waits for a ready ssh. 0: it is reset at once. @default 30000 */
  readonly holdTimeout?: number | false;
  /** So many connections wait at most; the next is reset. @default 1024 */
  readonly maxHeld?: number;
  /** So long an ssh that was replaced may finish the connections it has; what is left is reset. 0: at once. @default 30000 */
  readonly drainTimeout?: number | false;
  /**
   * A second ssh, ready and beaten, waits for the loss of the first. Refused with what only one ssh can have (a fixed remote
   * port, a direct forward, `heartbeat.remotePort`, `sshArguments`) and with `lazy` and `idleTimeout`. @default false
   */
  readonly standby?: boolean;
  /** ssh is started with the first connection; `start()` only listens. All forwards have to be steady. @default false */
  readonly lazy?: boolean;
  /** So long after the last connection ssh is ended; the listeners stay. All forwards have to be steady. 0: never. @default 0 */
  readonly idleTimeout?: number | false;
}

/** {@link FrontOptions}, checked and complete. */
export interface FrontSettings {
  readonly holdTimeout: number;
  readonly maxHeld: number;
  readonly drainTimeout: number;
  readonly standby: boolean;
  readonly lazy: boolean;
  readonly idleTimeout: number;
}

/**
 * Checks what belongs to the library's own listeners.
 *
 * @param given - the options, with defaults
 * @param remotePort - the heartbeat's, if it is a fixed one
 * @param raw - whether ssh gets a raw command line, of which nothing is known
 * @throws TypeError that names the option and the value it has
 */
export function resolveFront(
  given: Readonly<Record<string, unknown>>,
  forwards: readonly Forward[],
  remotePort: number | undefined,
  raw: boolean,
): FrontSettings {
  const flag = (name: 'standby' | 'lazy'): boolean => {
    const value = given[name];
    if (typeof value !== 'boolean') throw unexpected(name, 'a boolean', value);
    return value;
  };
  const standby = flag('standby');
  const lazy = flag('lazy');
  const idleTimeout = number('idleTimeout', given['idleTimeout'], {off: true}) || Infinity;
  if (standby && raw)
    throw new TypeError(
      'Expected `standby` to be absent where `sshArguments` is given: what two ssh can have at once is not known',
    );
  const single = forwards.findIndex((one) => !canOverlap(one));
  if (standby && single < 0 && remotePort !== undefined) {
    throw new TypeError(
      'Expected `heartbeat.remotePort` to be absent with `standby`: only one ssh can have it listened on at the server',
    );
  }
  if (standby && single >= 0) {
    throw new TypeError(
      `Expected \`forwards[${String(single)}]\` to be one that two ssh can have at once, because of \`standby\`: no fixed remote port, no Unix socket and no \`steady: false\``,
    );
  }
  for (const [name, on] of [
    ['lazy', lazy],
    ['idleTimeout', idleTimeout !== Infinity],
  ] as const) {
    if (!on) continue;
    const blind = forwards.findIndex((one) => !one.steady);
    if (forwards.length === 0 || blind >= 0)
      throw new TypeError(
        `Expected \`${name}\` to be absent ${forwards.length === 0 ? 'without a forward' : `with \`forwards[${String(blind)}]\``}: only the connections of steady forwards are seen, start ssh and keep it`,
      );
    if (standby)
      throw new TypeError(
        `Expected \`${name}\` to be absent with \`standby\`: the one saves an ssh, the other spends one`,
      );
  }
  return {
    holdTimeout: number('holdTimeout', given['holdTimeout'], {off: true}),
    maxHeld: number('maxHeld', given['maxHeld'], {integer: true}),
    drainTimeout: number('drainTimeout', given['drainTimeout'], {off: true}),
    standby,
    lazy,
    idleTimeout,
  };
}

/** Whether two ssh can have a forward at the same time: our own listener is in front of both, or the server chooses. */
export function canOverlap(forward: Forward): boolean {
  return forward.steady || (forward.type === 'remote' && forward.listen.port === 0);
}
