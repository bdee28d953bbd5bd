import {spawn, type ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import {setTimeout as delay} from 'node:timers/promises';
import {alive, descendants, processFacts} from '../../../test/support/processes.js';
import type {Program} from './programs.js';

/** From TERM to KILL, in milliseconds. */
const patience = 15_000;

/** Starts a program; a session of its own, so that an interrupt from the terminal is the bench's to handle. */
export function run({command: [file = '', ...before], env}: Program, args: readonly string[], more = {}): ChildProcess {
  const child = spawn(file, [...before, ...args], {env: {...env, ...more}, stdio: 'ignore', detached: true});
  child.on('error', () => undefined);
  return child;
}

/** Resolves when a child has ended, and throws if not well. */
export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  if (child.exitCode !== 0) throw new Error(`${child.spawnfile} ended with ${child.signalCode ?? child.exitCode}`);
}

/** Asks processes to end, and kills them with all that they have started if they do not. */
export async function end(pids: readonly number[]): Promise<void> {
  const all = [...new Set(pids)].filter((pid) => pid > 0);
  // Of what has ended meanwhile the number may be somebody else's.
  const left = [...all, ...all.flatMap(descendants)].map((pid) => ({pid, startTime: processFacts(pid)?.startTime}));
  const remaining = (): number[] =>
    left.filter(({pid, startTime}) => alive(pid) && processFacts(pid)?.startTime === startTime).map(({pid}) => pid);
  for (const pid of remaining().filter((one) => all.includes(one))) signal(pid, 'SIGTERM');
  for (const due = performance.now() + patience; remaining().length > 0 && performance.now() < due;) await delay(5);
  for (const pid of remaining()) signal(pid, 'SIGKILL');
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has just ended.
  }
}
