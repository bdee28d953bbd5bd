import {spawn} from 'node:child_process';
import type {Duplex} from 'node:stream';
import {text} from 'node:stream/consumers';
import {AutoSSHError} from '../errors.js';
import {isShortage, shortage} from '../shortage.js';
import {answerQuestions} from './askpass.js';

/** An ssh-agent, and how ssh-add gets to it. */
export interface AgentKeys {
  /** ssh-add. */
  readonly program: string;
  /** With `SSH_AUTH_SOCK`, and the variables of its helper. */
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
}

/** What ssh-add said and how it ended. */
interface Ending {
  readonly exitCode: number | undefined;
  readonly output: string;
  readonly complaints: readonly string[];
}

/**
 * Adds a private key. It goes in by ssh-add's standard input.
 *
 * @param passphrase - is called when the key needs one; a second time when that was wrong
 * @returns what ssh-add complained of; `undefined`: it is in
 */
export async function addKey(
  keys: AgentKeys,
  key: string,
  passphrase: () => Promise<string | undefined>,
): Promise<readonly string[] | undefined> {
  const ending = await run(keys, ['-'], key, passphrase);
  // It has not got to the key: ssh-add(1), "2 if ssh-add is unable to contact the authentication agent".
  if (ending.exitCode === undefined || ending.exitCode === 2) throw unheard(ending);
  return ending.exitCode === 0 ? undefined : ending.complaints;
}

/** The public keys of an agent, `ssh-ed25519 AAAA…` each. */
export async function listKeys(keys: AgentKeys): Promise<readonly string[]> {
  const ending = await run(keys, ['-L']);
  const {exitCode, output} = ending;
  // With 1 it says that there are none.
  if (exitCode !== 0 && exitCode !== 1) throw unheard(ending);
  const words = output.split('\n').map((line) => line.split(' '));
  return words.flatMap(([type = '', blob]) =>
    blob !== undefined && /^[\w+/]+=*$/.test(blob) ? [`${type} ${blob}`] : [],
  );
}

/** Has an agent forget all its keys, which a living one always does. */
export async function removeKeys(keys: AgentKeys): Promise<void> {
  const ending = await run(keys, ['-D']);
  if (ending.exitCode !== 0) throw unheard(ending);
}

/** Its end says nothing of any key. */
function unheard({exitCode, complaints}: Ending): AutoSSHError {
  const how = exitCode === undefined ? 'was killed' : `exited with code ${String(exitCode)}`;
  const last = complaints.at(-1);
  return new AutoSSHError('ERR_AUTOSSH_SPAWN', `ssh-add ${how}${last === undefined ? '' : `: ${last}`}`, {
    retryable: true,
    hint: 'The ssh-agent was lost, or this machine is out of memory; both are started again.',
    stderr: complaints,
  });
}

async function run(
  {program, env, signal}: AgentKeys,
  argv: readonly string[],
  input = '',
  answer?: () => Promise<string | undefined>,
): Promise<Ending> {
  signal.throwIfAborted();
  const child = spawn(program, argv, {
    env,
    cwd: '/',
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
    // Without a terminal, so that it asks its helper and nobody else.
    detached: true,
  });
  const ended = new Promise<number | undefined>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      if (child.pid === undefined) reject(unstarted(error));
    });
    child.once('exit', (code) => {
      resolve(code ?? undefined);
    });
  });
  // Where there was no descriptor left to start it with, Node gives it no streams.
  if (child.pid === undefined) await ended;
  const end = (): void => {
    // With what it has started, which may hold its output open.
    if (child.pid !== undefined) kill(-child.pid);
  };
  signal.addEventListener('abort', end, {once: true});
  const questions = child.stdio[3] as Duplex;
  let failure: unknown;
  answerQuestions(questions, async () => {
    try {
      return await answer?.();
    } catch (error) {
      failure = error;
      return undefined;
    }
  });
  child.stdin.on('error', () => {
    // It has ended before it has read all.
  });
  child.stdin.end(input);
  try {
    const [exitCode, output, complaints] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
    signal.throwIfAborted();
    if (failure !== undefined) throw failure as Error;
    return {exitCode, output, complaints: complaints.split(/\r?\n/).filter((line) => line !== '')};
  } finally {
    signal.removeEventListener('abort', end);
    questions.destroy();
  }
}

function unstarted(error: NodeJS.ErrnoException): AutoSSHError {
  return new AutoSSHError('ERR_AUTOSSH_SPAWN', `ssh-add could not be started: ${error.message}`, {
    cause: error,
    ...(isShortage(error) && shortage),
  });
}

function kill(target: number): void {
  try {
    process.kill(target, 'SIGKILL');
  } catch {
    // It has just ended.
  }
}
