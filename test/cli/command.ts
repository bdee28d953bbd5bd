import {type ChildProcess, type StdioOptions, spawn} from 'node:child_process';
import {existsSync} from 'node:fs';
import {fileURLToPath} from 'node:url';
import {onTestFinished} from 'vitest';
import {
  alive,
  children,
  commandLine,
  descendants,
  guard,
  patience,
  pollUntil,
  processFacts,
  signal,
  waitForExit,
  within,
} from '../support/index.js';

/** The command as `npm run build` makes it. */
export const entry = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** A program that is called autossh, as a command line. */
export const ours: readonly string[] = [process.execPath, entry];
/** Debian's, without the script before it that chooses a port. */
export const original: readonly string[] = ['/usr/lib/autossh/autossh'];
export const hasOriginal = original.every((path) => existsSync(path));

export interface CommandOptions {
  readonly program?: readonly string[];
  /** Added to this process's; `undefined` takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Has a stdin that has no end. */
  readonly stdin?: boolean;
  /** What is put before it, and execs it. */
  readonly wrapper?: readonly string[];
}

/** The command at work. It logs all it can on its stderr. */
export class Command {
  /** Its stderr, by lines. */
  readonly lines: string[] = [];
  stdout = '';
  readonly ended: Promise<{readonly code: number | null; readonly signal: NodeJS.Signals | null}>;
  readonly #child: ChildProcess;
  readonly #waiting = new Set<() => void>();

  /** It is ended with the test. */
  constructor(
    args: readonly string[],
    {program = ours, env = {}, cwd, stdin = false, wrapper = []}: CommandOptions = {},
  ) {
    const [command = '', ...rest] = [...wrapper, ...program, ...args];
    const stdio: StdioOptions = [stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'];
    const quiet = {AUTOSSH_AGENT: 'no', AUTOSSH_DEBUG: '1', AUTOSSH_GATETIME: '0'};
    this.#child = spawn(command, rest, {stdio, cwd, env: {...process.env, ...quiet, ...env}});
    if (this.#child.pid !== undefined) guard('process', this.#child.pid);
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    let partial = '';
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (partial + text).split('\n');
      partial = lines.pop() ?? '';
      this.lines.push(...lines.map((line) => line.trimEnd()));
      for (const look of this.#waiting) look();
    });
    this.ended = new Promise((resolve, reject) => {
      this.#child.once('error', reject);
      this.#child.once('close', (code, name) => {
        resolve({code, signal: name});
        for (const look of this.#waiting) look();
      });
    });
    onTestFinished(() => this.kill());
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The ssh that it has started last. */
  get ssh(): number {
    const line = this.lines.findLast((one) => one.includes('ssh child pid is '));
    return Number(line?.split('ssh child pid is ')[1]);
  }

  /** Whether a child of it has this name. */
  hasChild(name: string): boolean {
    return children(this.pid).some((pid) => commandLine(pid)[0] === name);
  }

  /** How many lines so far match. */
  count(pattern: RegExp): number {
    return this.lines.filter((line) => pattern.test(line)).length;
  }

  /** Until so many lines match. */
  async says(
    pattern: RegExp,
    {times = 1, timeout = patience}: {times?: number; timeout?: number} = {},
  ): Promise<string> {
    let look: () => void = () => undefined;
    const said = new Promise<string>((resolve) => {
      look = () => {
        const found = this.lines.filter((line) => pattern.test(line));
        if (found.length >= times) resolve(found[times - 1] ?? '');
      };
      this.#waiting.add(look);
      look();
    });
    try {
      return await within(timeout, () => `${String(pattern)} in:\n${this.lines.join('\n')}`, said);
    } finally {
      this.#waiting.delete(look);
    }
  }

  /** Nobody reads any more what it says. */
  closeStderr(): void {
    this.#child.stderr?.destroy();
  }

  signal(name: NodeJS.Signals): void {
    signal(this.pid, name);
  }

  /** Ends it with what it has started, whatever state they are in. */
  async kill(): Promise<void> {
    if (this.pid > 0 && alive(this.pid)) {
      // Stopped, it starts no ssh that nobody has heard of yet: an orphan keeps the ports of the next test.
      signal(this.pid, 'SIGSTOP');
      await pollUntil('it is stopped', () => !alive(this.pid) || processFacts(this.pid)?.state === 'T');
    }
    const family = [this.pid, this.ssh, ...descendants(this.pid)].filter((pid) => pid > 0);
    for (const pid of family) signal(pid, 'SIGKILL');
    await Promise.all(family.map((pid) => waitForExit(pid)));
  }
}
