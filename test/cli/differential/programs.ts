import {spawn} from 'node:child_process';
import {closeSync, existsSync, openSync, readdirSync, readFileSync, rmSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {
  alive,
  canListen,
  fixture,
  guard,
  pollUntil,
  signal,
  temporaryFolder,
  waitForExit,
} from '../../support/index.js';

/** A program that is called autossh. */
export interface Program {
  readonly command: readonly string[];
}

/** Debian's: a script that chooses a port, and the program behind it. */
export const original: Program = {command: ['/usr/bin/autossh']};

const entry = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));

/** The one this package brings, as `npm run build` makes it. */
export const ours: Program = {command: [process.execPath, entry]};

export function isInstalled({command}: Program): boolean {
  return [...command, ...(command === original.command ? ['/usr/lib/autossh/autossh'] : [])].every(existsSync);
}

/** What is run with either program. */
export interface Scenario {
  readonly args: readonly string[];
  /** `undefined` takes one away that is there otherwise. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** What ssh does at its starts, in the words of `test/fixtures/told-ssh.mjs`; absent: it exits with 0. */
  readonly play?: readonly string[];
}

/** What came of it. */
export interface Observed {
  /** The arguments of every ssh that was started. */
  readonly starts: readonly (readonly string[])[];
  /** The exit code of the process that was started, or the signal that ended it. */
  readonly exit: number | NodeJS.Signals | 'too late';
  /** The lines of the log file. */
  readonly log: readonly string[];
  readonly stdout: Outline;
  readonly stderr: Outline;
  /** How many processes have outlived it. */
  readonly orphans: number;
}

/** What was said, in outline. */
export type Outline = 'nothing' | 'usage' | 'version' | 'something';

/** What is filled into the words of a scenario, and is put back into what is observed. */
export type Names = Readonly<Record<string, string>>;

/**
 * In a scenario, 20000 and the three ports after it stand for ports of the run's own, so that many can run at the same
 * time; in octal and hexadecimal too.
 */
const firstPort = 20_000;
const portsOfARun = 4;

/**
 * What either notes of how it works, not of what happens to ssh: in which way a beat went wrong is among it, that the port
 * is down is not.
 */
const inner = [
  /^check on child /,
  /^clear alarm timer /,
  /^set alarm for /,
  /^child of \d+ execing /,
  /^expired child, /,
  /^received SIGALRM /,
  /^127\.0\.0\.1:\d+: Connection refused$/,
  /^timeout (on io poll|polling to accept)/,
  /^tried connection \d+ times and failed$/,
  /^not what I sent: |^" : "/,
  /^error on poll: /,
  /^no answer to a beat after /,
];

/** One run of one program. */
export class Run {
  /** Its files are `{folder}` in a scenario. */
  readonly folder = temporaryFolder('differential-');
  readonly #scenario: Scenario;
  readonly #names: Names;
  readonly #port: number;
  readonly #ended: Promise<Observed['exit']>;
  /** Whether what was started has, but for a daemon. */
  hasEnded = false;

  static async start(program: Program, scenario: Scenario, prepare?: (port: number) => Promise<Names>): Promise<Run> {
    const port = await nextPorts();
    return new Run(program, scenario, port, await prepare?.(port));
  }

  private constructor(program: Program, scenario: Scenario, port: number, names: Names = {}) {
    this.#scenario = scenario;
    this.#port = port;
    this.#names = {...names, '{folder}': this.folder};
    const [command = '', ...before] = program.command;
    const output = ['stdout', 'stderr'].map((name) => openSync(join(this.folder, name), 'a', 0o600));
    const child = spawn(command, [...before, ...scenario.args.map((word) => this.#fill(word))], {
      cwd: this.folder,
      stdio: ['ignore', ...output],
      env: this.#environment(),
    });
    for (const descriptor of output) closeSync(descriptor);
    this.#ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, name) => {
        this.hasEnded = code !== 0 || !scenario.args.includes('-f');
        resolve(code ?? name ?? 'too late');
      });
    });
    if (child.pid !== undefined) guard('process', child.pid);
  }

  /** The process that starts ssh: with `-f` another one than was started. */
  get pid(): number {
    return Number(/autossh\[(\d+)\]: starting ssh/.exec(this.read('log'))?.[1]);
  }

  /** The ssh that was started last. */
  get ssh(): number {
    return Number(this.read('log').split('ssh child pid is ').at(-1)?.split('\n')[0]);
  }

  get starts(): string[][] {
    const lines = this.read('starts').split('\n').slice(0, -1);
    return lines.map((line) => (JSON.parse(line) as string[]).map((word) => this.empty(word)));
  }

  get log(): string[] {
    const lines = this.read('log').split('\n').slice(0, -1);
    const said = lines.map((line) => line.replace(/^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d autossh\[\d+\]: /, ''));
    const told = said.filter((line) => !inner.some((pattern) => pattern.test(line)));
    return told.map((line) => this.empty(line.replace(/^(ssh child pid is|started an ssh-agent, pid) \d+$/, '$1 N')));
  }

  /** What can be seen once the program has ended, and everything that it has left running. */
  async observe({within = 10_000}: {within?: number} = {}): Promise<Observed> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'too late'>((resolve) => {
      timer = setTimeout(() => resolve('too late'), within);
    });
    const exit = await Promise.race([this.#ended, late]);
    clearTimeout(timer);
    // With -f, what was started has ended long before.
    const timeout = exit === 0 ? within : exit === 'too late' ? 0 : 2_000;
    await pollUntil('the end of all', () => this.#left().length === 0, {timeout, every: 10}).catch(() => undefined);
    return {
      starts: this.starts,
      exit,
      log: this.log,
      stdout: outlineOf(this.read('stdout')),
      stderr: outlineOf(this.read('stderr')),
      orphans: exit === 'too late' ? 0 : this.#left().length,
    };
  }

  /** Ends all of it, and deletes its folder. */
  async end(): Promise<void> {
    for (let left = this.#left(); left.length > 0; left = this.#left()) {
      for (const pid of left) signal(pid, 'SIGKILL');
      await Promise.all(left.map((pid) => waitForExit(pid)));
    }
    rmSync(this.folder, {recursive: true, force: true});
  }

  /** A file of its folder; one that is not there is empty. */
  read(name: string): string {
    const path = join(this.folder, name);
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  /** With the names of the scenario for what is this run's own. */
  empty(text: string): string {
    const given = JSON.stringify(this.#scenario);
    const chosen = text.replace(/\b(\d{5}):127\.0\.0\.1:(\d+)$/, (whole, from: string, to: string) => {
      if (Number(from) < 32_768 || given.includes(from)) return whole;
      return `chosen:127.0.0.1:${['chosen', 'chosen+1'][Number(to) - Number(from)] ?? to}`;
    });
    // Of this length is no port of a run, and each that is given to a loop in place of one.
    const moved = chosen.replace(/(?<!\d)[123]\d{4}(?!\d)/g, (port) => (given.includes(port) ? port : 'another'));
    const named = Object.entries(this.#names).reduce((so, [name, value]) => so.replaceAll(value, name), moved);
    return named.replace(/(?<!\d)\d{4}(?!\d)/g, (number) => {
      const offset = Number(number) - this.#port;
      return offset >= 0 && offset < portsOfARun ? String(firstPort + offset) : number;
    });
  }

  #environment(): Record<string, string | undefined> {
    const {env = {}, play} = this.#scenario;
    const standing = {
      PATH: process.env['PATH'],
      HOME: this.folder,
      TMPDIR: this.folder,
      // Ours starts an agent where there is none; that is a row of its own.
      AUTOSSH_AGENT: 'no',
      AUTOSSH_PATH: fixture(play === undefined ? 'noted-ssh.sh' : 'told-ssh.mjs'),
      AUTOSSH_LOGFILE: join(this.folder, 'log'),
      FAKE_RECORD: join(this.folder, 'starts'),
      FAKE_PLAY: play && JSON.stringify(play),
    };
    const given = Object.entries(env).map(([name, value]) => [name, value && this.#fill(value)]);
    return {...standing, ...(Object.fromEntries(given) as Record<string, string | undefined>)};
  }

  /** Its processes that are still there: recognised by their environment, which daemons keep. */
  #left(): number[] {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    const mark = `FAKE_RECORD=${join(this.folder, 'starts')}\0`;
    return pids.map(Number).filter((pid) => environment(pid).includes(mark) && alive(pid));
  }

  #fill(word: string): string {
    const named = Object.entries(this.#names).reduce((so, [name, value]) => so.replaceAll(name, value), word);
    return Array.from({length: portsOfARun}, (_, offset) => offset).reduce((so, offset) => {
      const [from, to] = [firstPort + offset, this.#port + offset];
      return so
        .replaceAll(String(from), String(to))
        .replaceAll(`0x${from.toString(16)}`, `0x${to.toString(16)}`)
        .replaceAll(`0${from.toString(8)}`, `0${to.toString(8)}`);
    }, named);
  }
}

/** One run from its start to its end. */
export async function observe(program: Program, scenario: Scenario): Promise<Observed> {
  const run = await Run.start(program, scenario);
  try {
    return await run.observe();
  } finally {
    await run.end();
  }
}

function outlineOf(text: string): Outline {
  if (text === '') return 'nothing';
  if (/^usage: /im.test(text)) return 'usage';
  return /^autossh \d+\.\d+\S*( \(.+\))?\n$/.test(text) ? 'version' : 'something';
}

function environment(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1');
  } catch {
    return '';
  }
}

let last = 5_000 + Math.floor(Math.random() * 4_000);

/**
 * The first of four ports that are free. They are below those that other tests take theirs from, and no round numbers,
 * which could be times as well.
 */
async function nextPorts(): Promise<number> {
  for (;;) {
    last = last > 9_900 ? 5_001 : last + portsOfARun;
    const ports = Array.from({length: portsOfARun}, (_, offset) => last + offset);
    const first = last;
    if (ports.some((port) => port % 50 === 0)) continue;
    const free = await Promise.all(ports.map((port) => canListen(port)));
    if (free.every(Boolean)) return first;
  }
}
