import {type ChildProcess, spawn} from 'node:child_process';
import {once} from 'node:events';
import {existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {type Interface, createInterface} from 'node:readline';
import {afterEach, beforeEach, describe, expect, test} from 'vitest';
import {Warden} from '../src/ssh/warden.js';
import {
  alive,
  children,
  commandLine,
  compiled,
  guard,
  pollUntil,
  signal,
  temporaryFolder,
  waitForExit,
  waitForState,
} from './support/index.js';

const hosts: Host[] = [];
let folder: string;

beforeEach(() => {
  folder = temporaryFolder('w-');
});
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.kill();
  rmSync(folder, {recursive: true, force: true});
});

/** Another process that has a warden: see the fixture. */
class Host {
  readonly #child: ChildProcess;
  readonly #answers: Interface;
  readonly exited: Promise<unknown>;

  constructor() {
    const child = spawn(process.execPath, [compiled('warden-host.ts')], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child = child;
    this.#answers = createInterface({input: child.stdout});
    this.exited = once(child, 'exit');
    guard('process', child.pid ?? 0);
    hosts.push(this);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async tell(line: string): Promise<string> {
    const answer = once(this.#answers, 'line') as Promise<[string]>;
    this.#child.stdin?.write(`${line}\n`);
    return (await answer)[0];
  }

  /** Has it start something, which stays under the guardian's care. */
  async run(command: string, how: 'run' | 'alone' = 'run'): Promise<number> {
    const pid = Number(await this.tell(`${how} ${command}`));
    guard('process', pid);
    expect(alive(pid)).toBe(true);
    return pid;
  }

  /** Does not wait for an answer. */
  command(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.exited;
  }
}

const sleeper = 'echo; exec sleep 1000';
const stubborn = 'trap "" TERM HUP INT; echo; while :; do sleep 1000; done';
const family = 'sleep 1000 & sleep 1000 & echo; wait';

describe('when the host is killed', () => {
  test.each([
    ['a process', sleeper],
    ['one that ignores TERM', stubborn],
  ])('%s that it watches ends', async (_what, command) => {
    const host = new Host();
    const pid = await host.run(command);
    await host.kill();
    await waitForExit(pid);
  });

  test('so does the whole group', async () => {
    const host = new Host();
    const pid = await host.run(family);
    const members = children(pid);
    expect(members).toHaveLength(2);
    await host.kill();
    await Promise.all([pid, ...members].map((one) => waitForExit(one)));
  });

  test.each([
    ['stopped', sleeper],
    ['stopped, and ignores TERM', stubborn],
  ])('so does one that is %s', async (_what, command) => {
    const host = new Host();
    const pid = await host.run(command);
    signal(pid, 'SIGSTOP');
    await waitForState(pid, 'T');
    await host.kill();
    await waitForExit(pid);
  });

  test('so does one that has no group of its own, and nothing else of that group', async () => {
    const host = new Host();
    const pid = await host.run(sleeper, 'alone');
    const bystander = await host.run(sleeper);
    await host.tell(`forget ${bystander}`);
    await host.kill();
    await waitForExit(pid);
    expect(alive(bystander)).toBe(true);
    signal(bystander, 'SIGKILL');
  });

  test('so do all that it still watches, and those it has forgotten do not', async () => {
    const host = new Host();
    const all: number[] = [];
    for (let n = 0; n < 7; n++) all.push(await host.run(sleeper));
    // First, last, and between: the others have to remain.
    const forgotten = [all[0], all[3], all[6]] as number[];
    for (const pid of forgotten) await host.tell(`forget ${pid}`);
    await host.kill();
    const watched = all.filter((pid) => !forgotten.includes(pid));
    try {
      await Promise.all(watched.map((pid) => waitForExit(pid)));
      expect(forgotten.map(alive)).toEqual([true, true, true]);
    } finally {
      for (const pid of forgotten) signal(pid, 'SIGKILL');
    }
  });

  test('the private folder goes with the sockets that are in it', async () => {
    const host = new Host();
    const path = join(folder, 'autossh-a1B2c3');
    mkdirSync(path);
    writeFileSync(join(path, '1-out.sock'), '');
    writeFileSync(join(path, '2-back.sock'), '');
    await host.tell(`folder ${path}`);
    const pid = await host.run(sleeper);
    await host.kill();
    await waitForExit(pid);
    await pollUntil('no folder', () => !existsSync(path));
  });

  test('nothing goes but the sockets, and what ssh reads to log in', async () => {
    const host = new Host();
    const [path, other] = [join(folder, 'one'), join(folder, 'two')];
    mkdirSync(path);
    mkdirSync(other);
    writeFileSync(join(path, 'precious'), '');
    for (const name of ['1-out.sock', 'login.pub', 'login.known_hosts', 'hop-1.config', 'askpass.sh'])
      writeFileSync(join(path, name), '');
    await host.tell(`folder ${path}`);
    await host.tell(`folder ${other}`);
    await host.kill();
    await pollUntil('no second folder', () => !existsSync(other));
    expect(readdirSync(path)).toEqual(['precious']);
  });

  test('processes end also where the folder was removed before', async () => {
    const host = new Host();
    const path = join(folder, 'gone');
    mkdirSync(path);
    await host.tell(`folder ${path}`);
    const pid = await host.run(sleeper);
    rmSync(path, {recursive: true});
    await host.kill();
    await waitForExit(pid);
  });

  test('its shell ends as well', async () => {
    const host = new Host();
    await host.run(stubborn);
    const shell = Number(await host.tell('shell'));
    expect(alive(shell)).toBe(true);
    await host.kill();
    await waitForExit(shell);
  });

  test('processes end also where its shell was killed: another takes its place', async () => {
    const host = new Host();
    const pid = await host.run(sleeper);
    const murdered = Number(await host.tell('murder'));
    expect(murdered).toBeGreaterThan(0);
    await pollUntil('another shell', () => shells(host.pid).some((shell) => shell !== murdered));
    // It is there an instant before it is told what to watch.
    await host.tell('shell');
    await host.kill();
    await waitForExit(pid);
  });

  test('processes end also where its shell was killed again and again, once it has been told of another', async () => {
    const host = new Host();
    const first = await host.run(sleeper);
    for (let n = 0; n < 6; n++) {
      await host.tell('murder');
      if (n < 5) await pollUntil('another shell', () => shells(host.pid).length > 0);
    }
    // It has lost patience: whatever does that will do it again.
    expect(shells(host.pid)).toEqual([]);
    const second = await host.run(sleeper);
    expect(shells(host.pid)).toHaveLength(1);
    await host.kill();
    await Promise.all([waitForExit(first), waitForExit(second)]);
  });
});

describe('when the host ends', () => {
  test('without a word: what it watches ends, too', async () => {
    const host = new Host();
    const pid = await host.run(sleeper);
    host.command('end');
    await host.exited;
    await waitForExit(pid);
  });

  test('it is not kept by its warden', async () => {
    const host = new Host();
    const pid = await host.run(sleeper);
    host.command('rest');
    expect(await host.exited).toEqual([0, null]);
    await waitForExit(pid);
  });
});

describe('its shell', () => {
  test('is there once there is something to watch, one for all of a process, and ends with the last release', async () => {
    const [one, two] = [Warden.acquire(), Warden.acquire()];
    expect(one).toBe(two);
    expect(shells()).toEqual([]);
    one.forget(1);
    one.forgetFolder('/nonexistent');
    expect(shells()).toEqual([]);
    one.watchFolder('/nonexistent/a');
    two.watchFolder('/nonexistent/b');
    const [shell = 0, ...others] = shells();
    expect(others).toEqual([]);
    await one.release();
    expect(alive(shell)).toBe(true);
    await two.release();
    expect(alive(shell)).toBe(false);
  });

  test('is another after the last release', async () => {
    const first = Warden.acquire();
    first.watchFolder('/nonexistent');
    await first.release();
    const second = Warden.acquire();
    expect(second).not.toBe(first);
    expect(shells()).toEqual([]);
    second.watchFolder('/nonexistent');
    expect(shells()).toHaveLength(1);
    await second.release();
    expect(shells()).toEqual([]);
  });

  test('was never there: release() resolves all the same', async () => {
    await Warden.acquire().release();
  });

  test('was killed: release() resolves all the same', async () => {
    const warden = Warden.acquire();
    warden.watchFolder('/nonexistent');
    for (const shell of shells()) signal(shell, 'SIGKILL');
    await warden.release();
    expect(shells()).toEqual([]);
  });

  test('ends what was never forgotten at the last release, and is not replaced', async () => {
    const warden = Warden.acquire();
    const child = spawn('sleep', ['1000'], {stdio: 'ignore', detached: true});
    guard('process', child.pid ?? 0);
    const ended = once(child, 'exit');
    warden.watch(-(child.pid ?? 0));
    await warden.release();
    expect(await ended).toEqual([null, 'SIGTERM']);
    expect(shells()).toEqual([]);
  });

  test('does not die of what is sent to the group of the host, nor of a terminal that hangs up', async () => {
    const warden = Warden.acquire();
    warden.watchFolder('/nonexistent');
    const [shell = 0] = shells();
    expect(groupOf(shell)).not.toBe(groupOf(process.pid));
    // It reads a line, so it has set its traps.
    await pollUntil('its traps', () => /^SigIgn:\s*0*[1-9a-f]/m.test(readFileSync(`/proc/${shell}/status`, 'utf8')));
    for (const name of ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM'] as const) signal(shell, name);
    warden.watchFolder('/nonexistent/more');
    expect(alive(shell)).toBe(true);
    await warden.release();
  });

  test('is told of no folder whose name it would split', async () => {
    const warden = Warden.acquire();
    for (const name of ['/tmp/a b', '/tmp/a\nd /etc', '/tmp/*', '/tmp/$HOME', '']) warden.watchFolder(name);
    expect(shells()).toEqual([]);
    await warden.release();
  });
});

function shells(host = process.pid): number[] {
  return children(host).filter((pid) => commandLine(pid).includes('autossh-warden'));
}

/** The process group, from `/proc`. */
function groupOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2]);
}
