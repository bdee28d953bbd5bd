import {execFile} from 'node:child_process';
import {existsSync, mkdirSync, readFileSync, symlinkSync} from 'node:fs';
import {join} from 'node:path';
import {promisify} from 'node:util';
import {
  Terminal,
  alive,
  children,
  commandLine,
  descendants,
  pollUntil,
  processFacts,
  signal,
  temporaryFolder,
  waitForExit,
} from '../support/index.js';
import {entry} from './command.js';

const run = promisify(execFile);

export interface ShellOptions {
  /** Of the shell, and so of all that is started in it. */
  readonly env?: Readonly<Record<string, string>>;
  readonly columns?: number;
  readonly rows?: number;
}

/** What would ask in a window, or would give ssh a key. */
const strange = ['DISPLAY', 'SSH_ASKPASS', 'SSH_ASKPASS_REQUIRE', 'SSH_AUTH_SOCK', 'NO_COLOR', 'FORCE_COLOR'];

/** Somebody's shell on a terminal, with the command in its `PATH`, as npm links it there. */
export class Shell {
  readonly terminal: Terminal;
  readonly #pidFile: string;
  #commands = 0;

  static async open({env = {}, columns = 120, rows = 40}: ShellOptions = {}): Promise<Shell> {
    const folder = temporaryFolder('shell-');
    const bin = join(folder, 'bin');
    mkdirSync(bin);
    symlinkSync(entry, join(bin, 'autossh'));
    const pidFile = join(folder, 'pid');
    // One that does not edit its line leaves the settings of the terminal to be looked at.
    const bash = ['bash', '--noprofile', '--norc', '--noediting', '-i'];
    // tmux itself has another opinion of `PATH`.
    const path = `PATH=${bin}:${process.env['PATH'] ?? ''}`;
    const terminal = await Terminal.open(['env', ...strange.flatMap((name) => ['-u', name]), path, ...bash], {
      columns,
      rows,
      env: {
        PS1: 'local> ',
        AUTOSSH_AGENT: 'no',
        AUTOSSH_GATETIME: '0',
        AUTOSSH_PIDFILE: pidFile,
        ...env,
      },
    });
    const shell = new Shell(terminal, pidFile);
    await terminal.shows(/^local>\n*$/);
    return shell;
  }

  private constructor(terminal: Terminal, pidFile: string) {
    this.terminal = terminal;
    this.#pidFile = pidFile;
  }

  /** Of the autossh that is at work. */
  get autossh(): number {
    return existsSync(this.#pidFile) ? Number(readFileSync(this.#pidFile, 'utf8')) : 0;
  }

  /** The ssh that autossh has started last. */
  get ssh(): number {
    const {autossh} = this;
    const found = autossh > 0 ? children(autossh).find((pid) => processFacts(pid)?.name === 'ssh') : undefined;
    return found ?? 0;
  }

  /** Until there is an ssh, another one than that. */
  async nextSSH(old = 0): Promise<number> {
    await pollUntil('the next ssh', () => this.ssh > 0 && this.ssh !== old);
    return this.ssh;
  }

  /** Types a command, and returns how to wait for its exit code. */
  async start(command: string): Promise<() => Promise<number>> {
    const number = String(++this.#commands);
    await this.type(`${command}; echo "=${number}=$?"`, 'Enter');
    return async () => {
      const [, code] = await this.terminal.shows(new RegExp(`=${number}=(\\d+)\\n(?:.*\\n)*? *local>`, 'm'));
      return Number(code);
    };
  }

  async run(command: string): Promise<number> {
    const ended = await this.start(command);
    return ended();
  }

  async type(...keys: string[]): Promise<void> {
    await this.terminal.type(...keys);
  }

  async shows(pattern: RegExp): Promise<RegExpExecArray> {
    return this.terminal.shows(pattern);
  }

  /** How often this stands on the screen. */
  async count(pattern: RegExp): Promise<number> {
    return [...(await this.terminal.screen()).matchAll(new RegExp(pattern, 'gm'))].length;
  }

  /** The settings of its terminal, as for stty(1). */
  async settings(): Promise<string> {
    const {stdout} = await run('stty', ['-F', await this.terminal.ask('pane_tty'), '-a']);
    return stdout;
  }

  /** Ends it with all that was started in it, in the background too. */
  async [Symbol.asyncDispose](): Promise<void> {
    const shell = Number(await this.terminal.ask('pane_pid'));
    const roots = [this.autossh, shell].filter((pid) => pid > 0 && alive(pid));
    const all = roots.flatMap((pid) => [pid, ...descendants(pid)]);
    // What autossh leaves for this case ends by itself, when it has cleared up.
    const wardens = all.filter((pid) => commandLine(pid).at(-1) === 'autossh-warden');
    for (const pid of all) if (!wardens.includes(pid)) signal(pid, 'SIGKILL');
    for (const pid of all) await waitForExit(pid);
    await this.terminal[Symbol.asyncDispose]();
  }
}
