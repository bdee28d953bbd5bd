import {inspect} from 'node:util';
import {
  defined,
  fields,
  isRecord,
  number,
  oneOf,
  operand,
  optional,
  record,
  text,
  texts,
  unexpected,
} from './checks.js';
import {defaults} from './defaults.js';
import {type FrontOptions, type FrontSettings, resolveFront} from './front/options.js';
import {type HeartbeatOptions, type HeartbeatSettings, resolveHeartbeat} from './heartbeat/options.js';
import {type RestartOptions, type RestartSettings, resolveRestart} from './restart/options.js';
import {type Forward, type ForwardOption, formatAddress, resolveForward} from './ssh/forward.js';

/** What a tunnel is made of. All times are milliseconds; `0` or `false` switches a thing off. */
export interface AutoSSHOptions extends FrontOptions {
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

/** {@link AutoSSHOptions}, copied, checked, complete and frozen. */
export interface Settings extends FrontSettings {
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
  holdTimeout: true,
  maxHeld: true,
  drainTimeout: true,
  standby: true,
  lazy: true,
  idleTimeout: true,
});

/**
 * Copies, completes, checks and freezes the options.
 *
 * @param environment - the host's, for `AUTOSSH_PATH`
 * @throws TypeError that names the option and the value it has
 */
export function resolveOptions(options: AutoSSHOptions, environment: NodeJS.ProcessEnv): Settings {
  const own = defined(record('', options, optionFields));
  const raw = own['sshArguments'] === undefined ? undefined : rawArguments(own);
  const given: Readonly<Record<string, unknown>> = {
    ...defaults,
    heartbeat: raw === undefined && {},
    restart: {},
    sshPath: pathFrom(environment) ?? defaults.sshPath,
    ...own,
  };
  const time = (name: 'gateTime' | 'connectTimeout' | 'readyTimeout' | 'killTimeout' | 'maxLifetime'): number =>
    number(name, given[name], {off: true});
  const stdio = oneOf('stdio', given['stdio'], ['pipe', 'inherit']);
  const forwards = resolveForwards(given['forwards']);
  const sshOptions = resolveSSHOptions(given['sshOptions']);
  const silence = silencer(stdio, sshOptions);
  if (
    silence !== undefined &&
    forwards.some((one) => one.type === 'remote' && one.listen.port !== undefined && one.listen.port === 0)
  ) {
    throw new TypeError(
      `Expected no remote forward with port 0 together with \`${silence}\`: ssh tells the chosen port on its stderr, which is then not read`,
    );
  }
  const heartbeat = resolveHeartbeat(given['heartbeat'], forwards);
  return Object.freeze({
    ...resolveFront(given, forwards, heartbeat ? heartbeat.remotePort : undefined, raw !== undefined),
    host: raw === undefined ? destination(given['host']) : '',
    port: optional(given['port'], (value) => number('port', value, {min: 1, max: 65_535, integer: true})),
    username: optional(given['username'], (value) => operand('username', value)),
    forwards,
    heartbeat,
    gateTime: time('gateTime'),
    restart: resolveRestart(given['restart']),
    connectTimeout: time('connectTimeout'),
    readyTimeout: time('readyTimeout') || Infinity,
    killTimeout: time('killTimeout'),
    maxLifetime: time('maxLifetime') || Infinity,
    sshPath: text('sshPath', given['sshPath']),
    configFile: optional(given['configFile'], (value) => text('configFile', value)),
    identityFiles: texts('identityFile', given['identityFile']),
    sshOptions,
    extraArgs: list('extraArgs', given['extraArgs']),
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

/** The option, if there is one, that keeps from us what ssh says. */
function silencer(stdio: 'pipe' | 'inherit', sshOptions: Settings['sshOptions']): string | undefined {
  if (stdio === 'inherit') return "stdio: 'inherit'";
  const level = sshOptions.find(([name]) => name.toLowerCase() === 'loglevel')?.[1];
  return level !== undefined && /^(?:quiet|fatal|error)$/i.test(level) ? `sshOptions.LogLevel: '${level}'` : undefined;
}

/** Where ssh connects to. From its two parts ssh makes up the command line of a ProxyCommand. */
function destination(value: unknown): string {
  const given = operand('host', value);
  if (/^(?:ssh:\/\/)?-|@-/.test(given))
    throw unexpected('host', "a destination whose user and host do not start with '-'", value);
  return given;
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
  refuseTwins(forwards);
  return Object.freeze(forwards);
}

/** Two forwards that ssh could not have at once, or would silently take for one. */
function refuseTwins(forwards: readonly Forward[]): void {
  const seen = new Map<string, number>();
  forwards.forEach(({type, listen, target}, index) => {
    const chosen = listen.port !== undefined && listen.port === 0;
    if (chosen && type !== 'remote') return;
    const side = type === 'remote' ? 'server' : 'here';
    const twin = `${side} ${formatAddress(listen)} ${chosen && target ? formatAddress(target) : ''}`;
    const first = seen.get(twin);
    if (first !== undefined) {
      throw new TypeError(
        `Expected \`forwards[${String(index)}].listen\` to be free, but \`forwards[${String(first)}]\` has ${formatAddress(listen)}${chosen ? ' for the same target' : ''} already`,
      );
    }
    seen.set(twin, index);
  });
}

function resolveSSHOptions(value: unknown): Settings['sshOptions'] {
  if (!isRecord(value)) throw unexpected('sshOptions', 'an object', value);
  return Object.freeze(
    Object.entries(value).flatMap(([name, one]: [string, unknown]) => {
      const path = `sshOptions.${name}`;
      if (!/^[A-Za-z][A-Za-z0-9]*$/.test(name)) throw misnamed('sshOptions', name, 'as in ssh_config(5)');
      return sshOptionValues(path, one).map((entry) => Object.freeze([name, entry] as const));
    }),
  );
}

function sshOptionValues(path: string, value: unknown): readonly string[] {
  if (typeof value === 'boolean') return [value ? 'yes' : 'no'];
  if (typeof value === 'number' && Number.isFinite(value)) return [String(value)];
  if (typeof value === 'string' || Array.isArray(value)) return texts(path, value);
  throw unexpected(path, 'a string, a finite number, a boolean or an array of strings', value);
}

/** Values stay out of these messages: secrets live in environments. */
function resolveEnvironment(value: unknown): NodeJS.ProcessEnv {
  if (!isRecord(value)) throw new TypeError(`Expected \`env\` to be an object of strings, got ${kind(value)}`);
  for (const [name, one] of Object.entries(value)) {
    if (name === '' || /[\0=]/.test(name)) {
      throw misnamed('env', name.replace(/=.*/s, '=…'), "one without NUL and '='");
    }
    if (one !== undefined && (typeof one !== 'string' || one.includes('\0'))) {
      const found = typeof one === 'string' ? 'a string with one' : kind(one);
      throw new TypeError(`Expected \`env.${name}\` to be a string without NUL, got ${found}`);
    }
  }
  return Object.freeze({...(value as NodeJS.ProcessEnv)});
}

function kind(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}

function misnamed(option: string, name: string, wanted: string): TypeError {
  return new TypeError(`Expected the name \`${inspect(name)}\` in \`${option}\` to be ${wanted}`);
}

function pathFrom({AUTOSSH_PATH: path}: NodeJS.ProcessEnv): string | undefined {
  return path === '' ? undefined : path;
}
