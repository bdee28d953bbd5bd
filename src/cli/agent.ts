import {execFile, spawn} from 'node:child_process';
import process from 'node:process';
import {SSHAgent, agentAnswers} from '../index.js';
import {readIdentities, type SSHCommand} from './identity-files.js';
import {readPrivateKey, type PrivateKey} from './private-key.js';

/**
 * An ssh-agent for this session, where none lives behind `SSH_AUTH_SOCK`. `undefined`: one does, or there can be none, which
 * hinders no tunnel; why is then reported.
 */
export async function openSessionAgent(
  env: NodeJS.ProcessEnv,
  report: (reason: string) => void,
): Promise<SSHAgent | undefined> {
  const socket = env['SSH_AUTH_SOCK'];
  if (socket !== undefined && (await mayLive(socket))) return undefined;
  try {
    return await SSHAgent.open({env});
  } catch (error) {
    report((error as Error).message);
    return undefined;
  }
}

/** Milliseconds for a first answer. */
const patience = 300;

/** Whether an agent lives there. One that is slow, at the other end of a connection perhaps, is left to ssh to ask. */
async function mayLive(socket: string): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const slow = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => {
      resolve(true);
    }, patience);
  });
  const lives = await Promise.race([agentAnswers(socket), slow]);
  clearTimeout(timer);
  return lives;
}

/** An agent that was started for this session, and the ssh that will ask it for keys. */
export interface Keys extends SSHCommand {
  /** The agent's. */
  readonly socket: string;
  /** Ends the asking. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Gives the agent the keys with a passphrase that ssh would use for its destination: ssh-add asks for it on this terminal,
 * once, and no ssh does again. Those without a passphrase ssh reads by itself, each time.
 *
 * While it asks, a Ctrl-C ends the asking and not this process: whoever else listens for `SIGINT` should not yet.
 *
 * @param say - told in a sentence what ssh will have to ask for itself
 */
export async function addKeys(keys: Keys, say: (line: string) => void): Promise<void> {
  const identities = await readIdentities({...keys, env: environment(keys)});
  if (!identities?.asks || identities.adds || !asksAgentOf(keys.socket, identities.agent)) return;
  const locked = identities.files
    .map((file) => readPrivateKey(file))
    .filter((key) => key !== undefined)
    .filter((key) => key.encrypted && !key.onToken);
  const wanted = await missing(locked, keys);
  if (wanted.length === 0) return;
  const files = wanted.map(({path}) => path);
  const end = await ask(files, keys);
  if (end === 'done') return;
  const left = await missing(wanted, keys);
  if (left.length === 0) return;
  const names = left.map(({path}) => path).join(', ');
  say(`ssh-add ${why[end]} and did not add ${names}: ssh will ask for the passphrase itself, or fail`);
}

/** How an asking ended. */
type End = 'done' | 'refused' | 'interrupted' | 'absent';

const why: Readonly<Record<Exclude<End, 'done'>, string>> = {
  refused: 'was not given the passphrase',
  interrupted: 'was interrupted',
  absent: 'could not be started',
};

/** Whether ssh takes keys from this agent, with that `IdentityAgent`, which may be the name of a variable. */
function asksAgentOf(socket: string, identityAgent: string | undefined): boolean {
  const own = [undefined, 'SSH_AUTH_SOCK', '$SSH_AUTH_SOCK', socket];
  return own.includes(identityAgent);
}

/** Those that the agent does not have, each once. */
async function missing(locked: readonly PrivateKey[], keys: Keys): Promise<readonly PrivateKey[]> {
  if (locked.length === 0) return [];
  const held = new Set(await list(keys));
  return locked.filter(({publicKey}) => {
    if (publicKey === undefined) return true;
    const here = held.has(publicKey);
    held.add(publicKey);
    return !here;
  });
}

/** The public keys of those that the agent has. */
async function list(keys: Keys): Promise<readonly string[]> {
  const output = await new Promise<string>((resolve) => {
    // It exits with 1 where there are none.
    execFile('ssh-add', ['-L'], {env: environment(keys)}, (_error, stdout) => resolve(stdout));
  });
  return output.split('\n').map((line) => line.split(' ', 2).join(' '));
}

/** Has ssh-add ask. All keys at once: it tries the passphrase of one on the next before it asks again. */
async function ask(files: readonly string[], keys: Keys): Promise<End> {
  // The terminal sends the signal to ssh-add and to this process alike.
  process.on('SIGINT', ignore);
  try {
    return await new Promise<End>((resolve) => {
      const child = spawn('ssh-add', ['--', ...files], {
        env: environment(keys),
        stdio: 'inherit',
        ...(keys.signal && {signal: keys.signal}),
      });
      // It is an error also that it is told to end; what counts then is its exit, after which the terminal is as it was.
      child.on('error', () => {
        if (child.pid === undefined) resolve('absent');
      });
      child.once('exit', (code, signal) => {
        resolve(code === 0 ? 'done' : signal === null ? 'refused' : 'interrupted');
      });
    });
  } finally {
    process.off('SIGINT', ignore);
  }
}

function environment({env, socket}: Keys): NodeJS.ProcessEnv {
  return {...env, SSH_AUTH_SOCK: socket};
}

function ignore(): void {
  // ssh-add acts on it.
}
