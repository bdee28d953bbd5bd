import {defined, fields, number, oneOf, optional, record, unexpected} from '../checks.js';
import {defaults} from '../defaults.js';
import {type Forward, targetHost} from '../ssh/forward.js';

/** The heartbeat through the tunnel. */
export interface HeartbeatOptions {
  /**
   * - `'forward-loop'`: data goes out through a local forward (`-L`) and must come back through a remote one (`-R`).
   *   Both ends on this side are Unix sockets in a private folder.
   * - `'echo-port'`: data goes through a local forward to an echo service on the server's side.
   * - `'server-alive'`: ssh's own keep-alives (`ServerAliveInterval`, `ServerAliveCountMax`); a frozen ssh goes unseen.
   *
   * @default 'forward-loop'
   */
  readonly mode?: 'forward-loop' | 'echo-port' | 'server-alive';
  /** Milliseconds from one beat to the next. With `'server-alive'` rounded up to whole seconds. 0: no heartbeat. @default 10000 */
  readonly interval?: number | false;
  /** Milliseconds from ready to the first beat after it. @default the interval */
  readonly firstInterval?: number | false;
  /** Milliseconds for one answer; 0: any time is good enough. @default 15000 */
  readonly timeout?: number | false;
  /** So many misses in a row, and ssh is replaced; 0: never, the misses are only told. @default 2 */
  readonly maxMisses?: number | false;
  /** Up to 64 bytes without a line feed that each beat carries, for whoever reads along on the server. */
  readonly message?: string;
  /** forward-loop: the port listened on at the server, on its 127.0.0.1. @default a fresh one for every ssh */
  readonly remotePort?: number;
  /** echo-port: the echo service's host as seen from the server. @default '127.0.0.1' */
  readonly echoHost?: string;
  /** echo-port: its port. @default 7 */
  readonly echoPort?: number;
  /**
   * With `sshArguments` only, and then required: the port P of autossh's `-M`. The forwards are in the arguments already:
   * for a forward-loop `-L P:127.0.0.1:P -R P:127.0.0.1:P+1`, for an echo-port `-L P:127.0.0.1:E`. Each beat opens a
   * connection of its own to 127.0.0.1:P, and a loop listens on 127.0.0.1:P+1. If the server's port P turns out to be
   * held, the next ssh gets another in its place.
   */
  readonly monitorPort?: number;
}

/** {@link HeartbeatOptions}, checked and complete. */
export interface HeartbeatSettings {
  readonly mode: 'forward-loop' | 'echo-port' | 'server-alive';
  readonly interval: number;
  readonly firstInterval: number;
  readonly timeout: number;
  readonly maxMisses: number;
  readonly message: string;
  readonly remotePort: number | undefined;
  readonly echoHost: string;
  readonly echoPort: number;
  readonly monitorPort: number | undefined;
}

const known = fields<HeartbeatOptions>({
  mode: true,
  interval: true,
  firstInterval: true,
  timeout: true,
  maxMisses: true,
  message: true,
  remotePort: true,
  echoHost: true,
  echoPort: true,
  monitorPort: true,
});

/**
 * Checks and completes the heartbeat's options; `false`: there is none.
 *
 * @param isRaw - the command line of ssh is the host's
 * @throws TypeError that names the option and the value it has
 */
export function resolveHeartbeat(
  value: unknown,
  forwards: readonly Forward[],
  isRaw: boolean,
): HeartbeatSettings | false {
  if (value === false) return false;
  const own = defined(record('heartbeat', value, known));
  const given: Readonly<Record<string, unknown>> = {...defaults.heartbeat, ...own};
  const mode = oneOf('heartbeat.mode', given['mode'], ['forward-loop', 'echo-port', 'server-alive']);
  for (const [name, owner] of [
    ['remotePort', 'forward-loop'],
    ['echoHost', 'echo-port'],
    ['echoPort', 'echo-port'],
  ] as const) {
    if (name in own && mode !== owner)
      throw new TypeError(
        `Expected \`heartbeat.${name}\` to be absent with \`heartbeat.mode\` '${mode}': only '${owner}' has it`,
      );
  }
  const monitorPort = optional(given['monitorPort'], (port) =>
    number('heartbeat.monitorPort', port, {min: 1, max: 65_534, integer: true}),
  );
  if (isRaw) refuseWithoutPort(mode, monitorPort, own);
  else if (monitorPort !== undefined)
    throw new TypeError(
      'Expected `heartbeat.monitorPort` to be absent without `sshArguments`: the heartbeat needs none',
    );
  const {message} = given;
  // It comes back byte for byte, whatever it is, but a beat ends with its line.
  if (typeof message !== 'string' || Buffer.byteLength(message) > 64 || /[\n\0]/.test(message)) {
    throw unexpected('heartbeat.message', 'a string of at most 64 bytes without line feeds and NUL', message);
  }
  const interval = number('heartbeat.interval', given['interval'], {off: true});
  if (interval === 0) return false;
  const remotePort = optional(given['remotePort'], (port) =>
    number('heartbeat.remotePort', port, {min: 1, max: 65_535, integer: true}),
  );
  if (
    forwards.some((one) => one.type === 'remote' && one.listen.port !== undefined && one.listen.port === remotePort)
  ) {
    throw new TypeError(
      `Expected \`heartbeat.remotePort\` to be a port of its own, but a remote forward listens on ${String(remotePort)} too`,
    );
  }
  return Object.freeze({
    mode,
    interval,
    firstInterval: number('heartbeat.firstInterval', 'firstInterval' in own ? own['firstInterval'] : interval, {
      off: true,
    }),
    timeout: number('heartbeat.timeout', given['timeout'], {off: true}) || Infinity,
    maxMisses: number('heartbeat.maxMisses', given['maxMisses'], {integer: true, off: true}) || Infinity,
    message,
    remotePort,
    echoHost: targetHost('`heartbeat.echoHost`', given['echoHost']),
    echoPort: number('heartbeat.echoPort', given['echoPort'], {
      min: 1,
      max: 65_535,
      integer: true,
    }),
    monitorPort,
  });
}

/** Nothing may be added to a raw command line, so the beats go where its own forwards lead. */
function refuseWithoutPort(
  mode: HeartbeatSettings['mode'],
  monitorPort: number | undefined,
  own: Readonly<Record<string, unknown>>,
): void {
  if (mode === 'server-alive' || monitorPort === undefined) {
    throw new TypeError(
      'Expected `heartbeat` to be false, or of the mode forward-loop or echo-port with a `monitorPort`, where `sshArguments` is given: nothing may be added to them',
    );
  }
  const idle = ['remotePort', 'echoHost', 'echoPort'].find((name) => name in own);
  if (idle !== undefined)
    throw new TypeError(
      `Expected \`heartbeat.${idle}\` to be absent where \`sshArguments\` is given: they say where the beats go`,
    );
}
