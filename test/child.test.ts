import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {readFileSync, readlinkSync, realpathSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {afterEach, beforeEach, describe, expect, test} from 'vitest';
import {Child, type ChildOptions} from '../src/ssh/child.js';
import {
  type Snapshot,
  alive,
  compiled,
  expectNothingLeft,
  fixture,
  guard,
  patience,
  pollUntil,
  programOf,
  signal,
  snapshot,
  temporaryFolder,
  waitForExit,
  waitForState,
  within,
} from './support/index.js';

const children: Child[] = [];
let before: Snapshot;

// The guardian starts with the first thing that is guarded, and stays.
guard('folder', '/nonexistent');

beforeEach(() => {
  before = snapshot();
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    child.end(0);
    await child.exited.catch(() => undefined);
  }
  await expectNothingLeft(before, {within: 3_000, resources: false});
});

interface Heard {
  child: Child;
  lines: string[];
  /** Until a line has come that passes. */
  until: (condition: (line: string) => boolean) => Promise<string>;
}

function start(command: string, environment: NodeJS.ProcessEnv = {}, options: Partial<ChildOptions> = {}): Heard {
  const lines: string[] = [];
  const waiting: {condition: (line: string) => boolean; resolve: (line: string) => void}[] = [];
  const child = new Child({
    command: command.endsWith('.mjs') ? [fixture(command)] : command.split(' '),
    env: {...process.env, ...environment},
    cwd: undefined,
    stdio: 'pipe',
    onLine: (line) => {
      lines.push(line);
      for (const {condition, resolve} of waiting) if (condition(line)) resolve(line);
    },
    ...options,
  });
  children.push(child);
  if (child.pid !== undefined) guard('process', child.pid);
  return {
    child,
    lines,
    until: (condition) =>
      new Promise((resolve) => {
        const found = lines.find(condition);
        if (found === undefined) waiting.push({condition, resolve});
        else resolve(found);
      }),
  };
}

describe('its end', () => {
  test.each([
    [{FAKE_EXIT: '0'}, {exitCode: 0, signal: undefined}],
    [{FAKE_EXIT: '255'}, {exitCode: 255, signal: undefined}],
    [{FAKE_SIGNAL: 'SIGKILL'}, {exitCode: undefined, signal: 'SIGKILL'}],
    [{FAKE_SIGNAL: 'SIGTERM'}, {exitCode: undefined, signal: 'SIGTERM'}],
  ])('%j is told as %j', async (environment, exit) => {
    expect(await start('die-at-once.mjs', environment).child.exited).toEqual(exit);
  });

  test('comes after its last words', async () => {
    const {child, lines} = start('exit-with.mjs', {FAKE_STDERR: 'one\ntwo', FAKE_EXIT: '3'});
    expect(await child.exited).toMatchObject({exitCode: 3});
    expect(lines).toEqual(['one', 'two']);
  });

  test('comes after its last words where this process was too busy to read them', async () => {
    const folder = temporaryFolder('busy-');
    const script = (name: string, text: string): string => {
      writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`, {mode: 0o700});
      return join(folder, name);
    };
    const other = start(script('other', `until [ -e ${folder}/go ]; do sleep 0.01; done; echo other >&2`));
    // That both have ended is found out at once, and only of the first one has it been seen before that it has said something.
    const first = start(script('first', 'echo first >&2'), undefined, {
      onLine: () => {
        writeFileSync(join(folder, 'go'), '');
        block(() => !isAlive(other.child));
        // The first one that is due after that is the time for last words.
        setImmediate(() => {
          const until = performance.now() + 400;
          block(() => performance.now() > until);
        });
      },
    });
    block(() => !isAlive(first.child));
    expect(await other.child.exited).toEqual({exitCode: 0, signal: undefined});
    expect(other.lines).toEqual(['other']);
  });

  test('comes after its last words also where they end without a line break', async () => {
    const {child, lines} = start('unused', {}, {command: ['sh', '-c', 'printf "half a line" >&2']});
    await child.exited;
    expect(lines).toEqual(['half a line']);
  });

  test('is not delayed by what holds its stderr, and takes that along', async () => {
    const {child, until} = start('grandchild.mjs');
    const grandchild = Number(/\d+/.exec(await until((line) => line.startsWith('grandchild ')))?.[0]);
    guard('process', grandchild);
    await within(5_000, 'the exit', child.exited);
    await waitForExit(grandchild);
  });

  test('is not delayed for long by what holds its stderr and has left its group', async () => {
    const {child, until} = start(
      'unused',
      {},
      {
        command: [
          ...[
            'sh',
            '-c',
            'mkfifo "$0"; setsid sh -c \'echo "pid $$" >&2; echo > "$0"; exec sleep 1000\' "$0" & read -r _ < "$0"; exit 4',
          ],
          join(temporaryFolder('f-'), 'fifo'),
        ],
      },
    );
    const pid = Number(/\d+/.exec(await until((line) => line.startsWith('pid ')))?.[0]);
    guard('process', pid);
    try {
      expect(await within(5_000, 'the exit', child.exited)).toMatchObject({exitCode: 4});
      expect(alive(pid)).toBe(true);
    } finally {
      signal(pid, 'SIGKILL');
    }
  });

  test('is its exit, not the close of its stderr', async () => {
    const {child} = start('close-stderr.mjs');
    await pollUntil('the close of stderr', () => !/^(socket|pipe):/.test(stderrOf(child.pid ?? 0)));
    expect(alive(child.pid ?? 0)).toBe(true);
    child.end(1_000);
    expect(await child.exited).toMatchObject({signal: 'SIGTERM'});
  });

  test('that never began rejects with the system’s error', async () => {
    const {child} = start('/nonexistent/ssh');
    expect(child.pid).toBeUndefined();
    expect(child.target).toBeUndefined();
    await expect(child.exited).rejects.toMatchObject({code: 'ENOENT'});
    child.end(5);
  });
});

describe('to end it', () => {
  test('it is asked', async () => {
    const {child} = start('silent.mjs');
    child.end(60_000);
    expect(await child.exited).toEqual({exitCode: undefined, signal: 'SIGTERM'});
  });

  test('it is killed when it does not listen', async () => {
    const {child, until} = start('ignore-term.mjs');
    await until((line) => line === 'ignoring every signal');
    child.end(50);
    expect(await child.exited).toEqual({exitCode: undefined, signal: 'SIGKILL'});
  });

  test('it is killed at once with no time given', async () => {
    const {child, until} = start('ignore-term.mjs');
    await until((line) => line === 'ignoring every signal');
    child.end(0);
    expect(await child.exited).toEqual({exitCode: undefined, signal: 'SIGKILL'});
  });

  test('it is killed at once when there is no more time after all', async () => {
    const {child, until} = start('ignore-term.mjs');
    await until((line) => line === 'ignoring every signal');
    child.end(60_000);
    child.end(0);
    expect(await child.exited).toEqual({exitCode: undefined, signal: 'SIGKILL'});
  });

  test('it is given no more time when it is asked again', async () => {
    const {child, until} = start('ignore-term.mjs');
    await until((line) => line === 'ignoring every signal');
    child.end(50);
    child.end(1e9);
    expect(await within(patience, 'the exit', child.exited)).toEqual({exitCode: undefined, signal: 'SIGKILL'});
  });

  test('it is given less time when it is asked again with less', async () => {
    const {child, until} = start('ignore-term.mjs');
    await until((line) => line === 'ignoring every signal');
    child.end(1e9);
    child.end(50);
    expect(await within(patience, 'the exit', child.exited)).toEqual({exitCode: undefined, signal: 'SIGKILL'});
  });

  test('it is continued when it is stopped, so that it can hear', async () => {
    const {child} = start('silent.mjs');
    const pid = child.pid ?? 0;
    signal(pid, 'SIGSTOP');
    await waitForState(pid, 'T');
    child.end(60_000);
    expect(await child.exited).toEqual({exitCode: undefined, signal: 'SIGTERM'});
  });

  test('its whole group is asked, and a hung ProxyCommand goes with it', async () => {
    const {child, until} = start('unused', {}, {command: ['sh', '-c', 'sleep 1000 & echo "pid $!" >&2; wait']});
    const pid = Number(/\d+/.exec(await until((line) => line.startsWith('pid ')))?.[0]);
    child.end(60_000);
    await child.exited;
    await waitForExit(pid);
  });

  test('what is left of its group is killed after it has ended by itself', async () => {
    const {child, until} = start(
      'unused',
      {},
      {
        command: ['sh', '-c', 'trap "" TERM; (while :; do sleep 1000; done) & echo "pid $!" >&2; exit 5'],
      },
    );
    const pid = Number(/\d+/.exec(await until((line) => line.startsWith('pid ')))?.[0]);
    expect(await child.exited).toMatchObject({exitCode: 5});
    await waitForExit(pid);
  });

  test('nothing is done when it has ended: its pid may be another’s', async () => {
    const {child} = start('die-at-once.mjs');
    await child.exited;
    const kills: unknown[] = [];
    const {kill} = process;
    process.kill = (...parameters) => {
      kills.push(parameters);
      return true;
    };
    try {
      child.end(10);
      child.end(0);
    } finally {
      process.kill = kill;
    }
    expect(kills).toEqual([]);
  });
});

describe('its process', () => {
  test('has a group and a session of its own', () => {
    const {child} = start('silent.mjs');
    expect(child.target).toBe(-(child.pid ?? 0));
    expect(groupOf(child.pid ?? 0)).toBe(child.pid);
  });

  test('is in the group of this one where it has the terminal, and is not read', async () => {
    const {child, lines} = start('unused', {}, {stdio: 'inherit', command: ['sleep', '1000']});
    expect(child.target).toBe(child.pid);
    expect(groupOf(child.pid ?? 0)).toBe(groupOf(process.pid));
    child.end(1_000);
    expect(await child.exited).toMatchObject({signal: 'SIGTERM'});
    expect(lines).toEqual([]);
  });

  test('has the environment and the folder that it is given, and no stdin', async () => {
    const {child, lines} = start(
      'unused',
      {},
      {
        command: ['sh', '-c', 'cat; echo "$PWD $WORD ${HOME-none}" >&2'],
        env: {WORD: 'a b', PATH: process.env['PATH'] ?? ''},
        cwd: '/',
      },
    );
    await child.exited;
    expect(lines).toEqual(['/ a b none']);
  });
});

describe('its lines', () => {
  test('of a megabyte are cut, and the next one is read', async () => {
    const {until, lines} = start('megabyte-line.mjs', {FAKE_MEGABYTES: '4'});
    await until((line) => line === 'the line after the long one');
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatch(/^x+…$/);
    expect(lines[0]?.length).toBeLessThan(3_000);
  });

  test('of random bytes are text without control characters', async () => {
    const {child, lines} = start('garbage.mjs');
    expect(await child.exited).toMatchObject({exitCode: 255});
    expect(lines.length).toBeGreaterThan(1_000);
    expect(lines.filter((line) => /\p{Cc}|\p{Cs}/u.test(line))).toEqual([]);
  });
});

/** The process group, from `/proc`. */
function isAlive({pid = 0}: Child): boolean {
  return alive(pid);
}

/** Keeps this process from everything else, its events too. */
function block(until: () => boolean): void {
  const latest = performance.now() + 10_000;
  while (!until()) if (performance.now() > latest) throw new Error('Blocked for too long');
}

function groupOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2]);
}

function stderrOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/2`);
  } catch {
    return '';
  }
}

describe('one that is held', () => {
  test('becomes its command when it is told to, and keeps its pid', async () => {
    const {child, until} = start('die-later.mjs', {}, {isHeld: true});
    await waitForState(child.pid ?? 0, 'S');
    expect(programOf(child.pid ?? 0)).toBe(realpathSync('/bin/sh'));
    child.begin();
    await until((line) => line !== '');
    expect(programOf(child.pid ?? 0)).toBe(realpathSync(process.execPath));
  });

  test('ends without it when its host is gone', async () => {
    const host = spawn(process.execPath, [compiled('held-host.ts')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [said] = (await once(host.stdout, 'data')) as [Buffer];
    const pid = Number(String(said));
    guard('process', pid);
    expect(alive(pid)).toBe(true);
    host.kill('SIGKILL');
    await waitForExit(pid);
  });
});
