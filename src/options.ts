import {inspect} from 'node:util';
import {
  abortSignal,
  defined,
  fields,
  isRecord,
  kind,
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
import {type LoginOptions, type LoginSettings, isAnswered, resolveLogin} from './ssh/credential-options.js';
import {type Forward, type ForwardOption, formatAddress, resolveForward} from './ssh/forward.js';
import {type HostKeyOptions, type HostKeySettings, decidedOptions, resolveHostKey} from './ssh/host-key.js';
import {type Hop, type JumpHost, resolveJump} from './ssh/jump.js';
import {readRawLetters, readRawOption} from './ssh/raw-option.js';

/** What a tunnel is made of. All times are milliseconds; `0` or `false` switches a thing off. */
export interface AutoSSHOptions extends FrontOptions, LoginOptions, HostKeyOptions {
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
  /**
   * The way to the server: hosts where ssh logs in and goes on from there (`-J`), as a string for ssh or one by one, the one
   * that is connected to directly first. Where they, or the tunnel, have a key, a host key or an agent of their own, they are
   * given a configuration file in a private folder. A password is for the server alone: hops log in with keys.
   * @default as configured for ssh
   */
  readonly jump?: string | JumpHost | readonly (string | JumpHost)[];
  /** More `-o Name=value`; they win over the library's own. `true` and `false` are written `yes` and `no`. */
  readonly sshOptions?: Readonly<Record<string, string | number | boolean | readonly string[]>>;
  /** Raw arguments of ssh, put in front of the library's own. */
  readonly extraArgs?: readonly string[];
  /** The whole environment of ssh. @default the host's */
  readonly env?: NodeJS.ProcessEnv;
  /** The working directory of ssh. @default the host's */
  readonly cwd?: string;
  /**
   * A raw command line of ssh, destination included, in place of `host` and `forwards`; passed on untouched, but for
   * the port of autossh's loop where the server refuses it. Nothing is added that could prove the tunnel ready: `connect`
   * then means that ssh was started. It may be one of autossh's: see {@link optionsFromCommandLine},
   * `heartbeat.monitorPort` and `restart.policy`.
   */
  readonly sshArguments?: readonly string[];
  /** `'inherit'` hands the terminal to ssh; its stderr is then not read, unless `stderr` is given. @default 'pipe' */
  readonly stdio?: 'pipe' | 'inherit';
  /**
   * With `stdio: 'inherit'`: ssh's stderr is read, and passed on as it is to this stream, such as `process.stderr`. Its
   * `'error'` events are the host's to listen to.
   */
  readonly stderr?: NodeJS.WritableStream;
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
  readonly login: LoginSettings;
  readonly hostKey: HostKeySettings;
  readonly jump: readonly Hop[] | 'none';
  readonly sshOptions: readonly (readonly [name: string, value: string])[];
  readonly extraArgs: readonly string[];
  readonly env: NodeJS.ProcessEnv | undefined;
  readonly cwd: string | undefined;
  readonly sshArguments: readonly string[] | undefined;
  readonly stdio: 'pipe' | 'inherit';
  readonly stderr: NodeJS.WritableStream | undefined;
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
  privateKey: true,
  passphrase: true,
  certificate: true,
  password: true,
  keyboardInteractive: true,
  agent: true,
  hostKey: true,
  hostKeyCheck: true,
  jump: true,
  sshOptions: true,
  extraArgs: true,
  env: true,
  cwd: true,
  sshArguments: true,
  stdio: true,
  stderr: true,
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
    heartbeat: raw === undefined ? {} : false,
    restart: {},
    sshPath: pathFrom(environment) ?? defaults.sshPath,
    ...own,
  };
  const time = (name: 'gateTime' | 'connectTimeout' | 'readyTimeout' | 'killTimeout' | 'maxLifetime'): number =>
    number(name, given[name], {off: true});
  const stdio = oneOf('stdio', given['stdio'], ['pipe', 'inherit']);
  const stderr = optional(given['stderr'], (value) => passedOn(value, stdio));
  const forwards = resolveForwards(given['forwards']);
  const sshOptions = resolveSSHOptions(given['sshOptions']);
  const extraArgs = list('extraArgs', given['extraArgs']);
  const login = resolveLogin(options as Readonly<Record<string, unknown>>);
  if (isAnswered(login) && stdio === 'inherit')
    throw new TypeError(
      "Expected `password` and `keyboardInteractive` to be absent with `stdio: 'inherit'`: there ssh asks on the terminal",
    );
  const hostKey = resolveHostKey('', options as Readonly<Record<string, unknown>>);
  const jump = given['jump'] === undefined ? Object.freeze([]) : resolveJump(given['jump']);
  refuseUndoing({login, hostKey, hops: given['jump'] !== undefined, sshOptions, extraArgs});
  const silence = silencer(stdio === 'inherit' && !stderr, sshOptions);
  if (
    silence !== undefined &&
    forwards.some((one) => one.type === 'remote' && one.listen.port !== undefined && one.listen.port === 0)
  ) {
    throw new TypeError(
      `Expected no remote forward with port 0 together with \`${silence}\`: ssh tells the chosen port on its stderr, which is then not read`,
    );
  }
  const heartbeat = resolveHeartbeat(given['heartbeat'], forwards, raw !== undefined);
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
    login,
    hostKey,
    jump,
    sshOptions,
    extraArgs,
    env: optional(given['env'], resolveEnvironment),
    cwd: optional(given['cwd'], (value) => text('cwd', value)),
    sshArguments: raw,
    stdio,
    stderr,
    signal: optional(given['signal'], (value) => abortSignal('signal', value)),
  });
}

/** The option, if there is one, that keeps from us what ssh says. */
function silencer(isUnread: boolean, sshOptions: Settings['sshOptions']): string | undefined {
  if (isUnread) return "stdio: 'inherit'";
  const level = sshOptions.find(([name]) => name.toLowerCase() === 'loglevel')?.[1];
  return level !== undefined && /^(?:quiet|fatal|error)$/i.test(level) ? `sshOptions.LogLevel: '${level}'` : undefined;
}

/** A pin that ssh's own options could undo would be none: of those that are set twice ssh takes one without a word. */
function refuseUndoing({
  login,
  hostKey,
  hops,
  sshOptions,
  extraArgs,
}: Pick<Settings, 'login' | 'hostKey' | 'sshOptions' | 'extraArgs'> & {readonly hops: boolean}): void {
  const {letters, operand} = readRawLetters(extraArgs);
  const refuse = (decided: readonly string[], raw: readonly string[], by: string): void => {
    const option = sshOptions.find(([name]) => decided.some((one) => one.toLowerCase() === name.toLowerCase()))?.[0];
    if (option !== undefined)
      throw new TypeError(`Expected \`sshOptions.${option}\` to be absent where \`${by}\` is given, which decides it`);
    const index = extraArgs.findIndex((word) => readRawOption(word, decided));
    if (index !== -1)
      throw new TypeError(
        `Expected \`extraArgs[${String(index)}]\` to be absent where \`${by}\` is given, which decides ${readRawOption(extraArgs[index] ?? '', decided)?.[0] ?? ''}`,
      );
    const letter = raw.find((one) => letters.has(one));
    if (letter !== undefined)
      throw new TypeError(
        `Expected \`extraArgs[${String(letters.get(letter))}]\` to be absent where \`${by}\` is given: it has -${letter}, which goes another way`,
      );
    if (operand !== undefined)
      throw new TypeError(
        `Expected \`extraArgs[${String(operand)}]\` to be absent where \`${by}\` is given: what is no option would be the destination, and what follows it no options any more`,
      );
  };
  const decided = decidedOptions(hostKey);
  if (decided.length > 0) refuse(decided, ['S'], hostKey.pins ? 'hostKey' : 'hostKeyCheck');
  if (hops) refuse(['ProxyJump', 'ProxyCommand', 'ControlPath'], ['S', 'J'], 'jump');
  if (login.privateKey !== undefined) refuse(['IdentityAgent'], [], 'privateKey');
  if (isAnswered(login)) refuse(['BatchMode'], [], login.password === undefined ? 'keyboardInteractive' : 'password');
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
    'privateKey',
    'passphrase',
    'certificate',
    'password',
    'keyboardInteractive',
    'agent',
    'hostKey',
    'hostKeyCheck',
    'jump',
    'sshOptions',
    'extraArgs',
  ] as const;
  const second = idle.find((name) => name in given);
  if (second !== undefined)
    throw new TypeError(
      `Expected \`${second}\` to be absent where \`sshArguments\` is given: it says all that ssh gets`,
    );
  const words = given['sshArguments'];
  if (!Array.isArray(words)) throw unexpected('sshArguments', 'an array of strings', words);
  // A remote command may have empty words, and lines in one.
  const all = words.map((word: unknown, index) => {
    if (typeof word === 'string' && !word.includes('\0')) return word;
    throw unexpected(`sshArguments[${String(index)}]`, 'a string without NUL', word);
  });
  return Object.freeze(all);
}

function passedOn(value: unknown, stdio: 'pipe' | 'inherit'): NodeJS.WritableStream {
  if (stdio !== 'inherit')
    throw new TypeError("Expected `stderr` to be absent without `stdio: 'inherit'`: ssh's stderr is read anyway");
  if (!isRecord(value) || typeof value['write'] !== 'function') throw unexpected('stderr', 'a writable stream', value);
  return value as object as NodeJS.WritableStream;
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

/** A copy of variables that a process can be given; what is wrong with them is told without their values: secrets live there. */
export function resolveEnvironment(value: unknown): NodeJS.ProcessEnv {
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

function misnamed(option: string, name: string, wanted: string): TypeError {
  return new TypeError(`Expected the name \`${inspect(name)}\` in \`${option}\` to be ${wanted}`);
}

function pathFrom({AUTOSSH_PATH: path}: NodeJS.ProcessEnv): string | undefined {
  return path === '' ? undefined : path;
}
