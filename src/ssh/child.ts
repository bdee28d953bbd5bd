import {type ChildProcess, spawn} from 'node:child_process';
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
  /** `'inherit'`: the terminal is the child's; it then has no process group of its own, and no line is read. */
  readonly stdio: 'pipe' | 'inherit';
  readonly onLine: (line: string) => void;
}

/** ssh's last words are read for so long after its exit, if something else still holds its stderr. */
const lastWords = 250;

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
  readonly #patience = new Alarm();
  #gone = false;
  #killAt: number | undefined;

  constructor({command: [program = 'ssh', ...argv], env, cwd, stdio, onLine}: ChildOptions) {
    this.#grouped = stdio === 'pipe';
    this.#process = spawn(program, argv, {
      stdio: stdio === 'inherit' ? 'inherit' : ['ignore', 'ignore', 'pipe'],
      // A session and process group of its own: nothing in it can ask on a terminal, and it can be ended as a whole.
      detached: this.#grouped,
      ...(env && {env}),
      ...(cwd !== undefined && {cwd}),
    });
    this.pid = this.#process.pid;
    this.target = this.pid === undefined || !this.#grouped ? this.pid : -this.pid;
    this.exited = this.#watch(onLine);
    this.#process.unref();
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
    const patience = new Alarm();
    await Promise.race([
      silent,
      new Promise<void>((resolve) => {
        patience.set(lastWords, resolve);
      }),
    ]);
    patience.stop();
    stderr?.destroy();
    lines.end().forEach(onLine);
    return exit;
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
