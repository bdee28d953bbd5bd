import type {CommandLine} from './command-line.js';
import {CommandLineError} from './error.js';
import {longOptions} from './long-options.js';
import {wholeNumber, wrong} from './numbers.js';
import {type Sorted, sortTokens} from './sort-tokens.js';

/** autossh's defaults, in seconds. */
const pollTime = 600;
const gateTime = 30;

/** Milliseconds for one answer to a beat. */
const netTimeout = 15_000;

/** syslog's LOG_INFO and LOG_DEBUG. */
const info = 6;
const debug = 7;

const actions = ['help', 'completion', 'doctor', 'status'] as const;

/**
 * Reads a command line of autossh 1.4g, as Debian has it: `-M` wins over `AUTOSSH_PORT`, and without both a free port is
 * taken.
 *
 * @param tokens - without the name of the program
 * @param environment - where the `AUTOSSH_…` variables are
 * @param choosePort - finds a port that is free on this machine, with the one above it
 * @throws CommandLineError if it cannot be read
 */
export function readCommandLine(
  tokens: readonly string[],
  environment: NodeJS.ProcessEnv,
  choosePort: () => number,
): CommandLine {
  const sorted = sort(tokens, environment);
  const action = sorted.version ? 'version' : (actions.find((name) => sorted.long.has(name)) ?? 'run');
  const merged = override(environment, sorted);
  // autossh fails for what is wrong there whatever it is asked for, but has no such options.
  const times = readTimes(action === 'help' || action === 'completion' ? {} : merged);
  const needsDestination = action === 'run' || action === 'status' || action === 'doctor';
  if (needsDestination && sorted.operands.length === 0) throw new CommandLineError('no destination is given', true);
  if (action === 'status' && sorted.background)
    throw new CommandLineError('--status needs the terminal that -f gives up', true);
  const monitor = needsDestination
    ? readMonitor(sorted.monitor ?? filled(merged['AUTOSSH_PORT']), choosePort)
    : undefined;
  // autossh, which sends it as it is, reads as many bytes as it has sent, and no lines.
  if (monitor && /[\n\0]/.test(times.message))
    throw new CommandLineError('echo message may have no line break: a beat is one line', false, true);
  const shell = sorted.long.get('completion');
  if (shell !== undefined && shell !== 'bash' && shell !== 'zsh' && shell !== 'fish')
    throw new CommandLineError(`no completions for "${shell}": bash, zsh and fish have some`, true);
  const halfPoll = (times.poll * 1000) / 2;
  const isShort = halfPoll < netTimeout;
  return {
    action,
    sshPath: filled(merged['AUTOSSH_PATH']) ?? 'ssh',
    // autossh drops empty arguments.
    sshArguments: [...forwardsOf(monitor), ...sorted.options, ...sorted.operands].filter((token) => token !== ''),
    destination: sorted.operands[0] ?? '',
    remoteCommand: sorted.operands.slice(1),
    ...(monitor && {monitor}),
    background: sorted.background,
    poll: times.poll * 1000,
    firstPoll: times.firstPoll * 1000,
    netTimeout: isShort ? Math.floor(halfPoll) : netTimeout,
    gateTime: sorted.background ? 0 : times.gate * 1000,
    maxStart: times.maxStart,
    maxLifetime: times.maxLifetime * 1000,
    message: times.message,
    ...(merged['AUTOSSH_PIDFILE'] && {pidFile: merged['AUTOSSH_PIDFILE']}),
    ...(merged['AUTOSSH_LOGFILE'] && {logFile: merged['AUTOSSH_LOGFILE']}),
    logLevel: times.logLevel,
    debug: merged['AUTOSSH_DEBUG'] !== undefined,
    jsonLog: sorted.long.has('json-log'),
    agent: merged['AUTOSSH_AGENT'] !== 'no',
    ...(shell !== undefined && {shell}),
    notes: [
      ...times.notes,
      ...(needsDestination && !monitor ? ['port set to 0, monitoring disabled'] : []),
      ...(isShort ? [`short poll time: adjusting net timeouts to ${String(Math.floor(halfPoll))}`] : []),
    ],
  };
}

/** autossh reads its environment first, so what is wrong there is said first. */
function sort(tokens: readonly string[], environment: NodeJS.ProcessEnv): Sorted {
  try {
    return sortTokens(tokens, environment['POSIXLY_CORRECT'] !== undefined);
  } catch (error) {
    readTimes(environment);
    throw error;
  }
}

/** A variable that is set to nothing is as good as none. */
function filled(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}

/** The environment as the long options would have it. */
function override(environment: NodeJS.ProcessEnv, {long}: Sorted): NodeJS.ProcessEnv {
  const given = longOptions.flatMap(({name, variable}) => {
    const value = long.get(name);
    return variable === undefined || value === undefined
      ? []
      : [[variable, name === 'no-agent' ? 'no' : value] as const];
  });
  return given.length === 0 ? environment : {...environment, ...Object.fromEntries(given)};
}

interface Times {
  readonly poll: number;
  readonly firstPoll: number;
  readonly gate: number;
  readonly maxStart: number;
  readonly maxLifetime: number;
  readonly message: string;
  readonly logLevel: number;
  readonly notes: readonly string[];
}

function readTimes(environment: NodeJS.ProcessEnv): Times {
  const {AUTOSSH_LOGLEVEL, AUTOSSH_POLL, AUTOSSH_FIRST_POLL, AUTOSSH_GATETIME, AUTOSSH_MAXSTART} = environment;
  const {AUTOSSH_MAXLIFETIME, AUTOSSH_MESSAGE: message = '', AUTOSSH_DEBUG} = environment;
  const read = (
    what: string,
    text: string | undefined,
    absent: number,
    isWrong: (value: number) => boolean,
  ): number => {
    if (text === undefined) return absent;
    const value = wholeNumber(what, text);
    if (isWrong(value)) throw wrong(what, text);
    return value;
  };
  // With AUTOSSH_DEBUG autossh does not look at the level.
  const logLevel =
    AUTOSSH_DEBUG === undefined
      ? read('log level', AUTOSSH_LOGLEVEL, info, (level) => level < 0 || level > debug)
      : debug;
  // A negative time is as good as none.
  const timeOr = (absent: number, time: number): number => (time < 0 ? absent : time);
  const poll = timeOr(
    pollTime,
    read('poll time', AUTOSSH_POLL, pollTime, (time) => time === 0),
  );
  const firstPoll = timeOr(
    pollTime,
    read('first poll time', AUTOSSH_FIRST_POLL, poll, (time) => time === 0),
  );
  const gate = read('gate time', AUTOSSH_GATETIME, gateTime, (time) => time < 0);
  const maxStart = read('max start number', AUTOSSH_MAXSTART, -1, (count) => count < -1);
  if (Buffer.byteLength(message) > 64) throw new CommandLineError('echo message may only be 64 bytes long');
  const maxLifetime = timeOr(
    0,
    read('max lifetime', AUTOSSH_MAXLIFETIME, 0, () => false),
  );
  const bound = maxLifetime === 0 ? Infinity : maxLifetime;
  const notes = [
    ...(poll > bound ? [`poll time is greater than lifetime, dropping poll time to ${String(bound)}`] : []),
    ...(firstPoll > bound
      ? [`first poll time is greater than lifetime, dropping first poll time to ${String(bound)}`]
      : []),
  ];
  return {
    poll: Math.min(poll, bound),
    firstPoll: Math.min(firstPoll, bound),
    gate,
    maxStart,
    maxLifetime,
    message,
    logLevel,
    notes,
  };
}

function readMonitor(text: string | undefined, choosePort: () => number): CommandLine['monitor'] {
  if (text === undefined) return {port: choosePort(), chosen: true};
  const [portText = '', echoText] = text.split(/:(.*)/s);
  const echoPort = echoText === undefined ? undefined : wholeNumber('echo port ', echoText, true);
  if (echoPort !== undefined && (echoPort < 1 || echoPort > 65_535)) throw wrong('echo port ', echoText ?? '', true);
  const port = wholeNumber('port', portText, true);
  if (port < 0 || port > 65_534) throw new CommandLineError(`monitor port (${String(port)}) out of range`, false, true);
  if (port === 0) return undefined;
  return {port, ...(echoPort !== undefined && {echoPort}), chosen: false};
}

/** What autossh has ssh forward for its beats. */
function forwardsOf(monitor: CommandLine['monitor']): readonly string[] {
  if (!monitor) return [];
  const {port, echoPort} = monitor;
  const out = ['-L', `${String(port)}:127.0.0.1:${String(echoPort ?? port)}`];
  return echoPort === undefined ? [...out, '-R', `${String(port)}:127.0.0.1:${String(port + 1)}`] : out;
}
