import {spawn} from 'node:child_process';
import type {Readable} from 'node:stream';
import {text} from 'node:stream/consumers';
import type {CommandLine} from '../index.js';

/** A forward that ssh was asked for, on the command line or in the configuration. */
export interface AskedForward {
  readonly kind: 'L' | 'R' | 'D';
  /** Where it listens: a path, or a port of an address. No host: ssh chooses, and `GatewayPorts` decides. */
  readonly listen: {readonly path: string} | {readonly host?: string; readonly port: number};
  /** As ssh prints it; none for a SOCKS proxy. */
  readonly target?: string;
  readonly origin: 'monitor' | 'command line' | 'configuration';
}

/** What ssh will do with a command line, as `ssh -G` tells. */
export interface EffectiveConfiguration {
  /** Every keyword that ssh printed, in lower case. One that is not set is often not printed at all. */
  readonly values: ReadonlyMap<string, readonly string[]>;
  /** Those that `ClearAllForwardings` takes away too. */
  readonly forwards: readonly AskedForward[];
  /** Whether the command line names a command for the server. `ssh -G` does not tell. */
  readonly command: boolean;
  /** What ssh said while it read all this. */
  readonly warnings: readonly string[];
}

/** ssh was not there, or refused what it read. */
export interface Refusal {
  readonly refused: 'not-found' | 'no-answer' | 'configuration';
  readonly message: string;
}

/** Has ssh read a command line and its configuration files. It connects to nothing. */
export async function effectiveConfiguration(
  {
    sshPath,
    sshArguments,
    monitor,
  }: {sshPath: string; sshArguments: readonly string[]; monitor?: CommandLine['monitor']},
  env: NodeJS.ProcessEnv,
): Promise<EffectiveConfiguration | Refusal> {
  const {end, command, logFile} = landmarks(sshArguments);
  const ask = async (inFront: readonly string[], behind: readonly string[]): Promise<Answer> => {
    // What ssh complains of is not to be written into the log file of the tunnel.
    const options = logFile ? ['-E', '/dev/stderr', ...behind] : behind;
    const rest = [...sshArguments.slice(0, end), ...options, ...sshArguments.slice(end)];
    return run(sshPath, [...inFront, '-G', ...rest], env);
  };
  // ssh clears the forwards before it prints them. The first value of an option wins, of -F the last.
  const uncleared = ['-o', 'ClearAllForwardings=no'];
  const [answer, withForwards, withoutFiles] = await Promise.all([
    ask([], []),
    ask(uncleared, []),
    ask(uncleared, ['-F', '/dev/null']),
  ]);
  if (answer.missing !== undefined) {
    return {refused: answer.late ? 'no-answer' : 'not-found', message: answer.missing};
  }
  const warnings = answer.stderr.split(/\r?\n/).filter((line) => line !== '' && !line.startsWith('Pseudo-terminal'));
  if (answer.code !== 0) {
    return {
      refused: 'configuration',
      message: warnings.join('\n') || `ssh -G exited with ${answer.code ?? 'a signal'}`,
    };
  }
  const own = withoutFiles.code === 0 ? forwardLines(withoutFiles.stdout) : undefined;
  const forwards = forwardLines(withForwards.stdout).flatMap((line): AskedForward[] => {
    const forward = parseForward(line);
    if (!forward) return [];
    if (monitor && isMonitors(forward, monitor)) return [{...forward, origin: 'monitor'}];
    return [{...forward, origin: !own || own.includes(line) ? 'command line' : 'configuration'}];
  });
  return {values: parseConfiguration(answer.stdout), forwards, command, warnings};
}

/** What `ssh -G` printed, keyword by keyword. */
export function parseConfiguration(stdout: string): ReadonlyMap<string, readonly string[]> {
  const values = new Map<string, string[]>();
  for (const line of stdout.split('\n')) {
    const [, keyword, value = ''] = /^(\S+)(?: (.*))?$/.exec(line) ?? [];
    if (keyword === undefined) continue;
    const key = keyword.toLowerCase();
    values.set(key, [...(values.get(key) ?? []), value]);
  }
  return values;
}

/** A forward as `ssh -G` prints it: `localforward [127.0.0.1]:80 [db]:5432`, `dynamicforward 1080`. */
export function parseForward(line: string): Omit<AskedForward, 'origin'> | undefined {
  const [, keyword = '', listen = '', target] =
    /^(local|remote|dynamic)forward (\[[^\]]*\]:\d+|\d+|\/.*?)(?: (\[[^\]]*\]:\d+|\/.*))?$/i.exec(line) ?? [];
  if (listen === '') return undefined;
  const kind = ({local: 'L', remote: 'R', dynamic: 'D'} as const)[keyword.toLowerCase()];
  if (!kind) return undefined;
  // `-R 1080`, without a target, is a SOCKS proxy on the server.
  const where = target === undefined || target === '[socks]:0' ? {} : {target};
  if (listen.startsWith('/')) return {kind, listen: {path: listen}, ...where};
  const [, host, port] = /^(?:\[([^\]]*)\]:)?(\d+)$/.exec(listen) ?? [];
  return {kind, listen: {...(host === undefined ? {} : {host}), port: Number(port)}, ...where};
}

function forwardLines(stdout: string): string[] {
  return stdout.split('\n').filter((line) => /^(local|remote|dynamic)forward /i.test(line));
}

/** Whether it is one that autossh asks for; one of the user's may have the same port and lead elsewhere. */
function isMonitors(
  {kind, listen, target}: Omit<AskedForward, 'origin'>,
  {port, echoPort}: NonNullable<CommandLine['monitor']>,
): boolean {
  const bare = 'port' in listen && listen.host === undefined && listen.port === port;
  const leadsTo = {L: echoPort ?? port, R: echoPort === undefined ? port + 1 : undefined, D: undefined}[kind];
  return bare && leadsTo !== undefined && target === `[127.0.0.1]:${String(leadsTo)}`;
}

/** Letters of ssh's options that have an argument: `getopt` in ssh.c. */
const letterWithArgument = /[BDEFIJLOPQRSWbceilmopw]/;

/** Where in the arguments more options can be put behind all the others, and what comes after. */
function landmarks(args: readonly string[]): {end: number; command: boolean; logFile: boolean} {
  let destination = false;
  let logFile = false;
  let index = 0;
  while (index < args.length) {
    const word = args[index] ?? '';
    // Behind it there is no option any more, only the destination and a command.
    if (word === '--') return {end: index, command: index + (destination ? 1 : 2) < args.length, logFile};
    if (word === '-' || !word.startsWith('-')) {
      // ssh reads on for options behind its destination.
      if (destination) return {end: index, command: true, logFile};
      destination = true;
      index += 1;
      continue;
    }
    const taker = word.slice(1).search(letterWithArgument) + 1;
    if (taker > 0 && word[taker] === 'E') logFile = true;
    index += taker === word.length - 1 ? 2 : 1;
  }
  return {end: args.length, command: false, logFile};
}

interface Answer {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Why there was no answer. */
  readonly missing?: string;
  /** Whether there was no patience left. */
  readonly late: boolean;
}

/** In milliseconds: a `Match exec` may run for ever. */
const patience = 10_000;

/** Runs a program that asks nobody anything, and ends by itself. */
export async function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Answer> {
  const signal = AbortSignal.timeout(patience);
  const child = spawn(program, args, {env, stdio: ['ignore', 'pipe', 'pipe'], signal, killSignal: 'SIGKILL'});
  const ended = new Promise<{code: number | null; missing?: string}>((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) => resolve({code: null, missing: reason(program, error)}));
    child.once('close', (code) => resolve({code}));
  });
  signal.addEventListener('abort', () => {
    // A child of the child's may hold them still.
    child.stdout.destroy();
    child.stderr.destroy();
  });
  const [end, stdout, stderr] = await Promise.all([ended, textOf(child.stdout), textOf(child.stderr)]);
  return {...end, stdout, stderr, late: signal.aborted};
}

async function textOf(stream: Readable): Promise<string> {
  return text(stream).catch(() => '');
}

function reason(program: string, {code, message}: NodeJS.ErrnoException): string {
  if (code === 'ENOENT') return `${program} was not found`;
  if (code === 'EACCES') return `${program} may not be executed`;
  return code === 'ABORT_ERR' ? `${program} did not answer within ${patience / 1_000} s` : message;
}
