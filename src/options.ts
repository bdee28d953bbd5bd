import {number, oneOf, operand, record, text, texts, unexpected} from './checks.js';
import type {Outcome} from './errors.js';
import {type Forward, type ForwardOption, resolveForward} from './ssh/forward.js';

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
  /** Up to 64 bytes that each beat carries, for whoever reads along on the server. */
  readonly message?: string;
  /** forward-loop: the port listened on at the server, on its 127.0.0.1. @default a fresh one for every ssh */
  readonly remotePort?: number;
  /** echo-port: the echo service's host as seen from the server. @default '127.0.0.1' */
  readonly echoHost?: string;
  /** echo-port: its port. @default 7 */
  readonly echoPort?: number;
}

/** What `shouldRestart` is told beside the outcome. */
export interface RestartContext {
  /** Which restart of this outage it would be, from 1. */
  readonly attempt: number;
  /** How often ssh has been started. */
  readonly starts: number;
  /** Milliseconds that the tunnel would wait first. */
  readonly delay: number;
}

/** When ssh is started again, and when no more. The first five are p-retry's words. */
export interface RestartOptions {
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

/** What a tunnel is made of. All times are milliseconds; `0` or `false` switches a thing off. */
export interface AutoSSHOptions {
  /** The destination as for ssh: a name, an alias of `ssh_config` or `user@host`. */
  readonly host?: string;
  /** `-p`. @default as configured for ssh */
  readonly port?: number;
  /** `-l`. @default as configured for ssh */
  readonly username?: string;
  /** The forwards, as objects or as on ssh's command line: `'-L 5432:db.internal:5432'`. @default [] */
  readonly forwards?: readonly ForwardOption[];
  /** The heartbeat; `false`: none. @default {mode: 'forward-loop'} */
  readonly heartbeat?: HeartbeatOptions | false;
  /**
   * The starting gate: if the first ssh ends before it is ready and before this time is over, that is fatal, whatever
   * the cause (autossh's `AUTOSSH_GATETIME`). 0: every failure but a permanent one is retried. @default 30000
   */
  readonly gateTime?: number | false;
  /** The restart policy. */
  readonly restart?: RestartOptions;
  /** For the TCP connection and the server's banner (`-o ConnectTimeout`), rounded up to whole seconds. @default 15000 */
  readonly connectTimeout?: number | false;
  /** From the spawn of ssh to proven ready, name lookup and authentication included. @default 45000 */
  readonly readyTimeout?: number | false;
  /** From asking ssh to end (TERM) to killing it (KILL). 0: killed at once. @default 5000 */
  readonly killTimeout?: number | false;
  /** After this time the tunnel stops by itself (autossh's `AUTOSSH_MAXLIFETIME`). @default 0 */
  readonly maxLifetime?: number | false;
  /** The ssh program. @default `AUTOSSH_PATH` of the environment, or 'ssh' */
  readonly sshPath?: string;
  /** `-F`. @default ssh's own */
  readonly configFile?: string;
  /** `-i`, one or several. @default ssh's own */
  readonly identityFile?: string | readonly string[];
  /** More `-o Name=value`; they win over the library's own. `true` and `false` are written `yes` and `no`. */
  readonly sshOptions?: Readonly<Record<string, string | number | boolean | readonly string[]>>;
  /** Raw arguments of ssh, put in front of the library's own. */
  readonly extraArgs?: readonly string[];
  /** The whole environment of ssh. @default the host's */
  readonly env?: NodeJS.ProcessEnv;
  /** The working directory of ssh. @default the host's */
  readonly cwd?: string;
  /**
   * A raw command line of ssh, destination included, in place of `host` and `forwards`; passed on untouched. Nothing
   * is added that could prove the tunnel ready: `connect` then means that ssh was started.
   */
  readonly sshArguments?: readonly string[];
  /** `'inherit'` hands the terminal to ssh; its stderr is then not read. @default 'pipe' */
  readonly stdio?: 'pipe' | 'inherit';
  /** Aborting it is `stop()`. */
  readonly signal?: AbortSignal;
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
}

/** {@link RestartOptions}, checked and complete. */
export type RestartSettings = Readonly<
  Record<'retries' | 'factor' | 'minTimeout' | 'maxTimeout' | 'maxStarts' | 'stableAfter' | 'quickFor', number>
> & {
  readonly randomize: boolean;
  readonly shouldRestart: RestartOptions['shouldRestart'];
};

/** {@link AutoSSHOptions}, copied, checked, complete and frozen. */
export interface Settings {
  readonly host: string;
  readonly port: number | undefined;
  readonly username: string | undefined;
  readonly forwards: readonly Forward[];
  readonly heartbeat: HeartbeatSettings | false;
  readonly gateTime: number;
  readonly restart: RestartSettings;
  readonly connectTimeout: number;
  readonly readyTimeout: number;
  readonly killTimeout: number;
  readonly maxLifetime: number;
  readonly sshPath: string;
  readonly configFile: string | undefined;
  readonly identityFiles: readonly string[];
  readonly sshOptions: readonly (readonly [name: string, value: string])[];
  readonly extraArgs: readonly string[];
  readonly env: NodeJS.ProcessEnv | undefined;
  readonly cwd: string | undefined;
  readonly sshArguments: readonly string[] | undefined;
  readonly stdio: 'pipe' | 'inherit';
  readonly signal: AbortSignal | undefined;
}

/** Every default that is a plain value. */
const defaults = {
  forwards: [],
  gateTime: 30_000,
  connectTimeout: 15_000,
  readyTimeout: 45_000,
  killTimeout: 5_000,
  maxLifetime: 0,
  sshPath: 'ssh',
  identityFile: [],
  sshOptions: {},
  extraArgs: [],
  stdio: 'pipe',
  heartbeat: {
    mode: 'forward-loop',
    interval: 10_000,
    timeout: 15_000,
    maxMisses: 2,
    message: '',
    echoHost: '127.0.0.1',
    echoPort: 7,
  },
  restart: {
    retries: Infinity,
    factor: 2,
    minTimeout: 500,
    maxTimeout: 60_000,
    randomize: true,
    maxStarts: Infinity,
    stableAfter: 10_000,
    quickFor: 10_000,
  },
} as const;

/** The fields that there are; the compiler sees that none is missing and none is made up. */
const fields = <Options>(known: Record<keyof Options, true>) => Object.keys(known);

const optionFields = fields<AutoSSHOptions>({
  host: true,
  port: true,
  username: true,
  forwards: true,
  heartbeat: true,
  gateTime: true,
  restart: true,
  connectTimeout: true,
  readyTimeout: true,
  killTimeout: true,
  maxLifetime: true,
  sshPath: true,
  configFile: true,
  identityFile: true,
  sshOptions: true,
  extraArgs: true,
  env: true,
  cwd: true,
  sshArguments: true,
  stdio: true,
  signal: true,
});

const heartbeatFields = fields<HeartbeatOptions>({
  mode: true,
  interval: true,
  firstInterval: true,
  timeout: true,
  maxMisses: true,
  message: true,
  remotePort: true,
  echoHost: true,
  echoPort: true,
});

const restartFields = fields<RestartOptions>({
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
 * Copies, completes, checks and freezes the options.
 *
 * @param environment - the host's, for `AUTOSSH_PATH`
 * @throws TypeError that names the option and the value it has
 */
export function resolveOptions(options: AutoSSHOptions, environment: NodeJS.ProcessEnv): Settings {
  const given = without(record('', options, optionFields));
  const raw = given['sshArguments'] === undefined ? undefined : rawArguments(given);
  const time = (name: 'gateTime' | 'connectTimeout' | 'readyTimeout' | 'killTimeout' | 'maxLifetime'): number =>
    number(name, given[name] ?? defaults[name], {off: true});
  const stdio = oneOf('stdio', given['stdio'] ?? defaults.stdio, ['pipe', 'inherit']);
  const forwards = resolveForwards(given['forwards'] ?? defaults.forwards);
  if (
    stdio === 'inherit' &&
    forwards.some((one) => one.type === 'remote' && 'port' in one.listen && one.listen.port === 0)
  ) {
    throw new TypeError(
      "Expected no remote forward with port 0 together with `stdio: 'inherit'`: ssh tells the chosen port on its stderr, which is then not read",
    );
  }
  return Object.freeze({
    host: raw === undefined ? operand('host', given['host']) : '',
    port: optional(given['port'], (value) => number('port', value, {min: 1, max: 65_535, integer: true})),
    username: optional(given['username'], (value) => operand('username', value)),
    forwards,
    heartbeat: resolveHeartbeat(given['heartbeat'] ?? (raw === undefined ? defaults.heartbeat : false), forwards),
    gateTime: time('gateTime'),
    restart: resolveRestart(given['restart'] ?? {}),
    connectTimeout: time('connectTimeout'),
    readyTimeout: time('readyTimeout') || Infinity,
    killTimeout: time('killTimeout'),
    maxLifetime: time('maxLifetime') || Infinity,
    sshPath: text('sshPath', given['sshPath'] ?? (environment['AUTOSSH_PATH'] || defaults.sshPath)),
    configFile: optional(given['configFile'], (value) => text('configFile', value)),
    identityFiles: texts('identityFile', given['identityFile'] ?? defaults.identityFile),
    sshOptions: resolveSSHOptions(given['sshOptions'] ?? defaults.sshOptions),
    extraArgs: list('extraArgs', given['extraArgs'] ?? defaults.extraArgs),
    env: optional(given['env'], resolveEnvironment),
    cwd: optional(given['cwd'], (value) => text('cwd', value)),
    sshArguments: raw,
    stdio,
    signal: optional(given['signal'], (value) => {
      if (value instanceof AbortSignal) return value;
      throw unexpected('signal', 'an AbortSignal', value);
    }),
  });
}

/** A field that is there but `undefined` counts as absent, as everywhere in JavaScript. */
function without(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function optional<Value>(value: unknown, check: (value: unknown) => Value): Value | undefined {
  return value === undefined ? undefined : check(value);
}

function list(option: string, value: unknown): readonly string[] {
  if (!Array.isArray(value)) throw unexpected(option, 'an array of strings', value);
  return texts(option, value);
}

function rawArguments(given: Readonly<Record<string, unknown>>): readonly string[] {
  const idle = [
    'host',
    'port',
    'username',
    'forwards',
    'configFile',
    'identityFile',
    'sshOptions',
    'extraArgs',
  ] as const;
  const second = idle.find((name) => name in given);
  if (second !== undefined)
    throw new TypeError(
      `Expected \`${second}\` to be absent where \`sshArguments\` is given: it says all that ssh gets`,
    );
  if (given['heartbeat'] !== undefined && given['heartbeat'] !== false) {
    throw unexpected(
      'heartbeat',
      'false or absent where `sshArguments` is given: nothing may be added to them',
      given['heartbeat'],
    );
  }
  return list('sshArguments', given['sshArguments']);
}

function resolveForwards(value: unknown): readonly Forward[] {
  if (!Array.isArray(value)) throw unexpected('forwards', 'an array', value);
  const forwards = value.map((one: unknown, index) => resolveForward(one as ForwardOption, index));
  const names = new Map<string, number>();
  forwards.forEach(({name}, index) => {
    const first = names.get(name);
    if (first !== undefined)
      throw new TypeError(
        `Expected \`forwards[${String(index)}].name\` to be unique, but \`forwards[${String(first)}]\` is called '${name}' too`,
      );
    names.set(name, index);
  });
  return Object.freeze(forwards);
}

function resolveHeartbeat(value: unknown, forwards: readonly Forward[]): HeartbeatSettings | false {
  if (value === false) return false;
  const given = without(record('heartbeat', value, heartbeatFields));
  const mode = oneOf('heartbeat.mode', given['mode'] ?? defaults.heartbeat.mode, [
    'forward-loop',
    'echo-port',
    'server-alive',
  ]);
  for (const [name, owner] of [
    ['remotePort', 'forward-loop'],
    ['echoHost', 'echo-port'],
    ['echoPort', 'echo-port'],
  ] as const) {
    if (name in given && mode !== owner)
      throw new TypeError(
        `Expected \`heartbeat.${name}\` to be absent with \`heartbeat.mode\` '${mode}': only '${owner}' has it`,
      );
  }
  const message = given['message'] ?? defaults.heartbeat.message;
  if (typeof message !== 'string' || Buffer.byteLength(message) > 64 || !/^[^\p{Cc}]*$/u.test(message)) {
    throw unexpected('heartbeat.message', 'a string of at most 64 bytes without control characters', message);
  }
  const interval = number('heartbeat.interval', given['interval'] ?? defaults.heartbeat.interval, {off: true});
  if (interval === 0) return false;
  const remotePort = optional(given['remotePort'], (port) =>
    number('heartbeat.remotePort', port, {min: 1, max: 65_535, integer: true}),
  );
  if (forwards.some((one) => one.type === 'remote' && 'port' in one.listen && one.listen.port === remotePort)) {
    throw new TypeError(
      `Expected \`heartbeat.remotePort\` to be a port of its own, but a remote forward listens on ${String(remotePort)} too`,
    );
  }
  return Object.freeze({
    mode,
    interval,
    firstInterval: number('heartbeat.firstInterval', given['firstInterval'] ?? interval, {off: true}),
    timeout: number('heartbeat.timeout', given['timeout'] ?? defaults.heartbeat.timeout, {off: true}) || Infinity,
    maxMisses:
      number('heartbeat.maxMisses', given['maxMisses'] ?? defaults.heartbeat.maxMisses, {integer: true, off: true}) ||
      Infinity,
    message,
    remotePort,
    echoHost: operand('heartbeat.echoHost', given['echoHost'] ?? defaults.heartbeat.echoHost),
    echoPort: number('heartbeat.echoPort', given['echoPort'] ?? defaults.heartbeat.echoPort, {
      min: 1,
      max: 65_535,
      integer: true,
    }),
  });
}

function resolveRestart(value: unknown): RestartSettings {
  const given = without(record('restart', value, restartFields));
  const {restart} = defaults;
  const field = (
    name: keyof typeof restart & keyof RestartOptions,
    bounds: Parameters<typeof number>[2] = {},
  ): number => number(`restart.${name}`, given[name] ?? restart[name], bounds);
  const minTimeout = field('minTimeout', {max: 2 ** 31 - 1, off: true});
  const maxTimeout = number('restart.maxTimeout', given['maxTimeout'] ?? Math.max(restart.maxTimeout, minTimeout), {
    max: 2 ** 31 - 1,
  });
  if (maxTimeout < minTimeout) {
    throw unexpected(
      'restart.maxTimeout',
      `at least \`restart.minTimeout\`, which is ${String(minTimeout)}`,
      maxTimeout,
    );
  }
  const {randomize = restart.randomize, shouldRestart} = given;
  if (typeof randomize !== 'boolean') throw unexpected('restart.randomize', 'a boolean', randomize);
  if (shouldRestart !== undefined && typeof shouldRestart !== 'function')
    throw unexpected('restart.shouldRestart', 'a function', shouldRestart);
  return Object.freeze({
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

function resolveSSHOptions(value: unknown): Settings['sshOptions'] {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw unexpected('sshOptions', 'an object', value);
  return Object.freeze(
    Object.entries(value).flatMap(([name, one]: [string, unknown]) => {
      const path = `sshOptions.${name}`;
      if (!/^[A-Za-z][A-Za-z0-9]*$/.test(name))
        throw new TypeError(`Expected \`sshOptions\` to have names as in ssh_config(5), got \`'${name}'\``);
      if (typeof one === 'boolean') return [[name, one ? 'yes' : 'no'] as const];
      if (typeof one === 'number') return [[name, String(number(path, one, {min: -Infinity}))] as const];
      if (typeof one !== 'string' && !Array.isArray(one))
        throw unexpected(path, 'a string, a number, a boolean or an array of strings', one);
      return texts(path, one).map((entry) => [name, entry] as const);
    }),
  );
}

function resolveEnvironment(value: unknown): NodeJS.ProcessEnv {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw unexpected('env', 'an object', value);
  for (const [name, one] of Object.entries(value)) {
    // The value stays out of the message: secrets live in environments.
    if (one !== undefined && (typeof one !== 'string' || one.includes('\0'))) {
      throw new TypeError(`Expected \`env.${name}\` to be a string without NUL, got another ${typeof one}`);
    }
  }
  return Object.freeze({...value});
}
