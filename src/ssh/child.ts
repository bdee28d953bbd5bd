import {type ChildProcess, spawn} from 'node:child_process';
import type {Socket} from 'node:net';
import type {Duplex} from 'node:stream';
import {Alarm, now} from '../clock.js';
import {LineSplitter} from './lines.js';

/** How a process ended. */
export interface ChildExit {
  readonly exitCode: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
}

/** What a child is started with. */
export interface ChildOptions {
  /** The program and its arguments. */
  readonly command: readonly string[];
  readonly env: NodeJS.ProcessEnv | undefined;
  readonly cwd: string | undefined;
  /** `'inherit'`: the terminal is the child's, and it then has no process group of its own. */
  readonly stdio: 'pipe' | 'inherit';
  /** With `'inherit'`: where its stderr is passed on to; absent: nothing of it is read. */
  readonly stderr?: NodeJS.WritableStream | undefined;
  /**
   * With `'pipe'`: is given a socket whose other end is the standard input of the process, and of what that starts. Nobody else
   * has it, and it has no name.
   */
  readonly onQuestions?: ((questions: Duplex) => void) | undefined;
  /** With `'pipe'`: it becomes the command only when it is told to {@link Child.begin}, and ends if its host is gone before. */
  readonly isHeld?: boolean;
  /** Only the process itself is ended, and what it has started is left alone. */
  readonly isAlone?: boolean;
  readonly onLine: (line: string) => void;
}

/** ssh's last words are read for so long after its exit, if something else still holds its stderr. */
const lastWords = 250;

/** And for so many times that at most, if it goes on to speak. */
const mostWaits = 40;

/**
 * Becomes the command that follows, with the socket in place of its standard input: what Node itself connects with that can
 * only be written to, and of all others ssh closes its copies (`closefrom` in ssh.c).
 */
const withQuestions = ['/bin/sh', '-c', 'exec "$@" <&3 3<&-', 'sh'];

/** The same, once a line has come: whoever is killed as it starts a process has told nobody of it yet, who could end it. */
const held = ['/bin/sh', '-c', 'read -r _ && exec "$@" </dev/null', 'sh'];

/** One ssh process, from spawn to exit. */
export class Child {
  /** `undefined`: it could not be started. */
  readonly pid: number | undefined;
  /** Whom a signal to it goes to: its process group as a negative number, or where it has none of its own its pid. */
  readonly target: number | undefined;
  /** When it has ended and its stderr has been read; rejects with the system's error if it could not be started. */
  readonly exited: Promise<ChildExit>;

  readonly #process: ChildProcess;
  readonly #grouped: boolean;
  readonly #questions: Duplex | undefined;
  readonly #patience = new Alarm();
  #gone = false;
  #killAt: number | undefined;

  constructor({command, env, cwd, stdio, stderr, onQuestions, isHeld = false, isAlone = false, onLine}: ChildOptions) {
    this.#grouped = stdio === 'pipe' && !isAlone;
    const [program = 'ssh', ...argv] = [...(onQuestions ? withQuestions : isHeld ? held : []), ...command];
    this.#process = spawn(program, argv, {
      stdio:
        stdio === 'inherit'
          ? ['inherit', 'inherit', stderr ? 'pipe' : 'inherit']
          : [isHeld ? 'pipe' : 'ignore', 'ignore', 'pipe', ...(onQuestions ? ['pipe' as const] : [])],
      // A session and process group of its own: nothing in it can ask on a terminal, and it can be ended as a whole.
      detached: stdio === 'pipe',
      ...(env && {env}),
      ...(cwd !== undefined && {cwd}),
    });
    this.pid = this.#process.pid;
    this.target = this.pid === undefined || !this.#grouped ? this.pid : -this.pid;
    if (stderr) this.#passOn(stderr);
    // Where there was no descriptor left for its pipes, Node has not even the list of them.
    const pipes = this.#process.stdio as ChildProcess['stdio'] | undefined;
    const questions = pipes?.[3] as (Duplex & {unref?: () => void}) | undefined;
    questions?.unref?.();
    this.#questions = questions;
    if (questions) onQuestions?.(questions);
    this.exited = this.#watch(onLine);
    this.#process.unref();
  }

  /** Lets one that is held become its command. */
  begin(): void {
    const {stdin} = this.#process;
    stdin?.on('error', () => {
      // It has ended before.
    });
    stdin?.end('\n');
  }

  /**
   * Asks it to end (TERM), and kills it after so many milliseconds. A stopped process would act on neither before it
   * is continued, so it is continued.
   */
  end(grace: number): void {
    if (this.#gone) return;
    // Asked again, it is not given more time than it has.
    const due = now() + grace;
    if (this.#killAt !== undefined && this.#killAt <= due && grace > 0) return;
    this.#killAt = due;
    if (grace > 0) {
      this.#signal('SIGTERM');
      this.#signal('SIGCONT');
      this.#patience.set(grace, () => {
        this.#signal('SIGKILL');
      });
    } else {
      this.#patience.stop();
      this.#signal('SIGKILL');
    }
  }

  /** No faster than it is taken. */
  #passOn(to: NodeJS.WritableStream): void {
    const {stderr} = this.#process;
    stderr?.on('data', (chunk: Buffer) => {
      // What could not be written is done with too: ssh is not to wait for a terminal that is gone.
      if (!to.write(chunk, () => stderr.resume())) stderr.pause();
    });
  }

  async #watch(onLine: (line: string) => void): Promise<ChildExit> {
    const {stderr} = this.#process;
    const lines = new LineSplitter();
    stderr?.on('data', (chunk: Buffer) => {
      lines.feed(chunk).forEach(onLine);
    });
    (stderr as {unref?: () => void} | null)?.unref?.();
    const silent = new Promise<void>((resolve) => {
      if (stderr) stderr.once('close', resolve);
      else resolve();
    });
    const exit = await new Promise<ChildExit>((resolve, reject) => {
      this.#process.once('error', (error) => {
        if (this.pid === undefined) reject(error);
      });
      // Its death is `exit`, not `close`: a grandchild may hold stderr for long after.
      this.#process.once('exit', (exitCode, signal) => {
        resolve({exitCode: exitCode ?? undefined, signal: signal ?? undefined});
      });
    }).finally(() => {
      this.#patience.stop();
    });
    // What is left of its group, a ProxyCommand for one, has nobody left to serve.
    if (this.#grouped) this.#signal('SIGKILL');
    this.#gone = true;
    await this.#hearOut(silent);
    stderr?.destroy();
    this.#questions?.destroy();
    lines.end().forEach(onLine);
    return exit;
  }

  /** Waits for its last words. As long as more of them come, or wait to be passed on, there is no reason to cut them off. */
  async #hearOut(silent: Promise<void>): Promise<void> {
    const stderr = this.#process.stderr as Socket | null;
    const patience = new Alarm();
    await new Promise<void>((resolve) => {
      let isOver = false;
      const finish = (): void => {
        isOver = true;
        resolve();
      };
      void silent.then(finish);
      let heard = stderr?.bytesRead;
      const wait = (times: number): void => {
        patience.set(lastWords, () => {
          // Where this process has been busy for so long, nobody has looked yet whether something is there.
          setImmediate(() => {
            if (isOver) return;
            const isBusy = stderr?.bytesRead !== heard || stderr?.isPaused();
            heard = stderr?.bytesRead;
            if (isBusy && times > 0) wait(times - 1);
            else finish();
          });
        });
      };
      wait(mostWaits);
    });
    patience.stop();
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.target === undefined || this.#gone) return;
    try {
      process.kill(this.target, signal);
    } catch {
      // It has just ended.
    }
  }
}
