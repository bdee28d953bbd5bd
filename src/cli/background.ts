import {type ChildProcessByStdio, spawn} from 'node:child_process';
import {once} from 'node:events';
import {closeSync, fstatSync, openSync, readSync, readdirSync, writeSync} from 'node:fs';
import {devNull} from 'node:os';
import type {Readable, Writable} from 'node:stream';
import {isatty} from 'node:tty';
import type {AutoSSH, CommandLine} from '../index.js';
import {addKeysTo} from './add-keys-to.js';
import type {Elsewhere} from './log.js';
import {openLogFile} from './log-file.js';
import type {Signal, Signals} from './signals.js';

/**
 * By this a process knows that it is the one in the background: the process that has started it, and the descriptor of its
 * log file or 0. Of another than its parent it is somebody's remainder.
 */
const marker = 'AUTOSSH_BACKGROUND';

/** Milliseconds between two looks whether the keys are there, where the system does not wait for it. */
const lookAgain = 20;

/** Descriptors above this one are left alone: each below it is taken up. */
const most = 63;

/** What the process in the background tells the one on the terminal, a line of JSON each. */
type News =
  | {readonly type: 'agent'; readonly socket: string}
  | {readonly type: 'complaint'; readonly message: string}
  | {readonly type: 'failed'; readonly message: string | undefined}
  | {readonly type: 'up'};

/**
 * Starts this program once more, detached from the terminal (setsid(2)), and stays until ssh has been started there: what
 * goes wrong before is told on the terminal. Node cannot fork.
 *
 * The two talk over the new one's standard input and output, so that no descriptor is taken but that of the log file.
 */
export async function goToBackground(line: CommandLine, signals: Signals): Promise<number> {
  const [program = ''] = process.argv.slice(1);
  const files = handedOn();
  const log = openLog(line);
  const child = spawn(process.execPath, [...process.execArgv, program, ...process.argv.slice(2)], {
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore', ...files, ...(log === undefined ? [] : [log])],
    env: {...process.env, [marker]: `${String(process.pid)}:${log === undefined ? '0' : String(files.length + 3)}`},
  }) as ChildProcessByStdio<Writable, Readable, null>;
  // Where there was no descriptor left to start it with, Node gives it no streams.
  if (child.pid === undefined) {
    const [{message}] = (await once(child, 'error')) as [Error];
    complain(`run as daemon failed: ${message}`);
    return 1;
  }
  // Whoever gives up here gives up the whole.
  const passOn = (signal: Signal): void => void child.kill(signal);
  signals.handle(passOn);
  child.stdin.on('error', ignore);
  const answer = async (socket: string): Promise<void> => {
    if (isatty(0) && isatty(2)) await addKeysTo(socket, line, signals);
    signals.handle(passOn);
    child.stdin.end();
  };
  let last: News | undefined;
  let partial = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (partial + chunk).split('\n');
    partial = lines.pop() ?? '';
    for (const line of lines) {
      last = JSON.parse(line) as News;
      if (last.type === 'agent') void answer(last.socket);
      else if (last.type === 'complaint') complain(last.message);
    }
  });
  return new Promise((resolve) => {
    const end = (code: number, message?: string): void => {
      if (message !== undefined) complain(message);
      resolve(code);
    };
    child.once('error', ({message}) => {
      end(1, `run as daemon failed: ${message}`);
    });
    child.stdout.once('close', () => {
      if (last?.type === 'up') end(0);
    });
    child.once('close', (code, signal) => {
      // Not before: it takes its pid file away.
      if (last?.type === 'failed') {
        end(1, last.message);
        return;
      }
      const how = signal ?? `status ${String(code)}`;
      end(code ?? 1, code === 0 ? undefined : `it ended in the background with ${how}, before ssh was started`);
    });
  });
}

function complain(message: string): void {
  process.stderr.write(`autossh: ${message}\n`);
}

/**
 * The files that this process was started with beside the three, for the same descriptors of the other: a lock of flock(1)
 * lasts as long as one is open. Node itself hands on none.
 */
function handedOn(): ('ignore' | number)[] {
  const files = new Set<number>();
  try {
    for (const name of readdirSync('/proc/self/fd')) {
      const descriptor = Number(name);
      if (descriptor >= 3 && descriptor <= most && isFile(descriptor)) files.add(descriptor);
    }
  } catch {
    // Only Linux shows them.
  }
  const last = Math.max(2, ...files);
  return Array.from({length: last - 2}, (_, index) => (files.has(index + 3) ? index + 3 : 'ignore'));
}

/** `undefined`: there is none, or why it cannot be opened will be told by the process in the background. */
function openLog({logFile}: CommandLine): number | undefined {
  try {
    return logFile === undefined ? undefined : openLogFile(logFile);
  } catch {
    return undefined;
  }
}

function isFile(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isFile();
  } catch {
    return false;
  }
}

/** The process in the background, and its line to the one on the terminal. */
export class Background implements Elsewhere {
  readonly logDescriptor: number | undefined;
  #isTalking = true;
  #hasComplained = false;

  /** `undefined`: this process is not in the background. */
  static ofThisProcess(): Background | undefined {
    const mark = process.env[marker];
    if (mark === undefined) return undefined;
    Reflect.deleteProperty(process.env, marker);
    const [parent, descriptor] = mark.split(':');
    return Number(parent) === process.ppid ? new Background(Number(descriptor)) : undefined;
  }

  private constructor(descriptor: number) {
    this.logDescriptor = descriptor >= 3 ? descriptor : undefined;
  }

  /** Has the keys added to an agent by somebody who can ask for their passphrases, and waits for that. */
  addKeys(socket: string): void {
    this.#tell({type: 'agent', socket});
    // Its end is the answer, also where nobody is there any more to give one.
    while (!hasEnded()) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, lookAgain);
  }

  /** Has something said on the terminal, as long as there is one. */
  complain(message: string): void {
    this.#hasComplained = true;
    if (this.#isTalking) this.#tell({type: 'complaint', message});
  }

  /** Tells the process on the terminal why there will never be a tunnel. */
  fail(message: string): void {
    this.#part({type: 'failed', message});
  }

  /** Lets the process on the terminal go once ssh has been started, or tells it why that will never be, if nobody has yet. */
  accompany(tunnel: AutoSSH): void {
    this.#hasComplained = false;
    tunnel.once('start', () => {
      this.#part({type: 'up'});
    });
    tunnel.once('fatal', ({message}) => {
      this.#part({type: 'failed', message: this.#hasComplained ? undefined : message});
    });
  }

  /** The last word; from then on nothing leads back to where it was started. */
  #part(news: News): void {
    if (!this.#isTalking) return;
    this.#isTalking = false;
    this.#tell(news);
    for (const [descriptor, flags] of [
      [0, 'r'],
      [1, 'w'],
    ] as const) {
      closeSync(descriptor);
      openSync(devNull, flags);
    }
  }

  #tell(news: News): void {
    try {
      writeSync(1, `${JSON.stringify(news)}\n`);
    } catch {
      // Nobody is there to hear it.
    }
  }
}

function hasEnded(): boolean {
  try {
    return readSync(0, Buffer.alloc(1)) === 0;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'EAGAIN';
  }
}

function ignore(): void {
  // It is gone, which its exit tells.
}
