import {execFile} from 'node:child_process';
import {rmSync} from 'node:fs';
import {join} from 'node:path';
import {promisify} from 'node:util';
import {patience} from './events.js';
import {findProgram, guard, temporaryFolder, waitForExit} from './processes.js';

const run = promisify(execFile);

/** Whether there are terminals for tests. */
export const hasTmux = findProgram('tmux') !== undefined;

/** A real terminal with a program in it, that is looked at and typed into: a window of a tmux that is nobody else's. */
export class Terminal {
  readonly #socket: string;
  readonly #folder: string;

  static async open(
    argv: readonly string[],
    {columns = 80, rows = 24, env = {}}: {columns?: number; rows?: number; env?: Record<string, string>} = {},
  ): Promise<Terminal> {
    const folder = temporaryFolder('tmux-');
    const terminal = new Terminal(folder);
    const variables = Object.entries(env).flatMap(([name, value]) => ['-e', `${name}=${value}`]);
    await terminal.#tmux(
      ...['new-session', '-d', '-x', String(columns), '-y', String(rows), ...variables, ...argv],
      // A program that has ended leaves its last words to be looked at.
      ...[';', 'set-option', '-g', 'remain-on-exit', 'on', ';', 'set-option', '-g', 'window-size', 'manual'],
    );
    guard('process', Number(await terminal.ask('pid')));
    return terminal;
  }

  private constructor(folder: string) {
    this.#folder = folder;
    this.#socket = join(folder, 'socket');
  }

  /** What stands on it, without blanks at the ends of its lines. */
  async screen(): Promise<string> {
    return this.#tmux('capture-pane', '-p');
  }

  /** The same with its colours. */
  async colours(): Promise<string> {
    return this.#tmux('capture-pane', '-p', '-e');
  }

  /** One of tmux's variables of the window: `alternate_on`, `cursor_flag`, `wrap_flag`, `pane_dead_status`, `pid` … */
  async ask(variable: string): Promise<string> {
    return (await this.#tmux('display-message', '-p', `#{${variable}}`)).trim();
  }

  /** Waits until this stands on it. */
  async shows(pattern: RegExp, {timeout = patience}: {timeout?: number} = {}): Promise<RegExpExecArray> {
    const deadline = performance.now() + timeout;
    for (;;) {
      const seen = await this.screen();
      const found = pattern.exec(seen);
      if (found) return found;
      if (performance.now() > deadline) throw new Error(`Not within ${timeout} ms: ${String(pattern)} on\n${seen}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async type(...keys: string[]): Promise<void> {
    await this.#tmux('send-keys', ...keys);
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.#tmux('resize-window', '-x', String(columns), '-y', String(rows));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const pid = Number(await this.ask('pid'));
    await this.#tmux('kill-server').catch(() => undefined);
    await waitForExit(pid);
    rmSync(this.#folder, {recursive: true, force: true});
  }

  async #tmux(...args: string[]): Promise<string> {
    // UTF-8 whatever the locale, and nothing of its owner's.
    const {stdout} = await run('tmux', ['-u', '-f', '/dev/null', '-S', this.#socket, ...args], {timeout: patience});
    return stdout;
  }
}
