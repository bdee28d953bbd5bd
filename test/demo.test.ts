import {spawn, type ChildProcess} from 'node:child_process';
import {randomUUID} from 'node:crypto';
import {chmodSync, readFileSync, readdirSync, rmSync} from 'node:fs';
import {fileURLToPath} from 'node:url';
import {afterEach, beforeEach, describe, expect, test} from 'vitest';
import {faults} from '../examples/demo/faults.js';
import {
  allProcesses,
  commandLine,
  findProgram,
  patience,
  pollUntil,
  signal,
  temporaryFolder,
  waitForExit,
} from './support/index.js';
import {listeningPorts} from './support/index.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const demo = ['--import', 'tsx', 'examples/demo/main.ts', '--pace', 'fast'];

let folder: string;
let run: string;
const running: ChildProcess[] = [];

beforeEach(() => {
  folder = temporaryFolder('autossh-test-demo-');
  // PostgreSQL, started by root, runs as somebody else.
  chmodSync(folder, 0o711);
  run = `DEMO_RUN_${randomUUID()}`;
});

afterEach(async () => {
  for (const {pid, exitCode, signalCode} of running.splice(0)) {
    if (pid === undefined || exitCode !== null || signalCode !== null) continue;
    signal(pid, 'SIGKILL');
    await waitForExit(pid);
  }
  rmSync(folder, {recursive: true, force: true});
});

describe('in a pipe', () => {
  test('every fault is told as broken, noticed, up and served, and every acknowledged row is there', async () => {
    const {text, exit} = start(process.execPath, demo);
    expect(await exit, text()).toBe(0);

    const [, alone = '', doubled = ''] = text().split(/^With .*$/m);
    for (const act of [alone, doubled]) {
      for (const [index, {title, isGentle = false}] of faults.entries()) {
        const story = act.split(`${index + 1}/${faults.length} ${title}: `)[1]?.split(`/${faults.length} `)[0];
        if (!isGentle) expect(story, title).toMatch(/noticed +after +\d+(\.\d+)? m?s +(disconnect|heartbeat-miss): /);
        expect(story, title).toMatch(/new ssh +after +\d+(\.\d+)? m?s +connect: ssh \d+/);
        expect(story, title).toMatch(/serves +after +\d+(\.\d+)? m?s +the first answer/);
        expect(story, title).toMatch(
          /caught up +after .* (\d+ queries waited, median \d.*, longest \d|no query waited)/,
        );
        expect(story, title).toMatch(/queries +\d+ in flight, \d+ of them lost; \d+ sent .*; 0 others failed/);
      }
    }
    expect(text().match(/✔ No query failed that was not in flight/g)).toHaveLength(2);
    expect(text()).toContain('server    is back after 3.');
    expect(text()).toMatch(/✔ [1-9]\d* rows acknowledged, and every one is in the table\./);
    // eslint-disable-next-line no-control-regex
    expect(text()).not.toMatch(/\u001B/);
    await nothingIsLeft(text());
  });

  test('interrupted while a server session is frozen, it puts everything away', async () => {
    const {child, text, exit} = start(process.execPath, demo);
    await pollUntil('the fourth fault', () => text().includes(`4/${faults.length} `), {timeout: 2 * patience});
    child.kill('SIGINT');
    expect(await exit, text()).toBe(130);
    expect(text()).toContain('demo: interrupted, everything is put away');
    await nothingIsLeft(text());
  });

  test('killed, it leaves nothing that lives on', async () => {
    const {child, text, exit} = start(process.execPath, demo);
    await pollUntil('the second fault', () => text().includes(`2/${faults.length} `));
    child.kill('SIGKILL');
    expect(await exit).toBe('SIGKILL');
    await noProcessIsLeft(text());
  });
});

// The program of util-linux that gives another one a terminal.
describe.runIf(findProgram('script') !== undefined)('on a terminal', () => {
  test('it redraws below what stays, and a Ctrl-C gives the cursor back and puts everything away', async () => {
    const command = [process.execPath, ...demo].join(' ');
    const {child, text, exit} = start('script', ['--quiet', '--flush', '--return', '--command', command, '/dev/null']);
    await pollUntil(
      'a fault that is over',
      () => text().includes('ssh killed') && text().includes(`2/${faults.length} `),
      {
        timeout: 40_000,
      },
    );
    child.stdin.write('\u0003');
    expect(await exit, text()).toBe(130);
    expect(text()).toContain('✔');
    const [hide, show] = [text().lastIndexOf('\u001B[?25l'), text().lastIndexOf('\u001B[?25h')];
    expect(hide).toBeGreaterThan(-1);
    expect(show).toBeGreaterThan(hide);
    await nothingIsLeft(text());
  });
});

test('a wrong pace is refused in one line', async () => {
  const {text, exit} = start(process.execPath, [...demo.slice(0, -1), 'lightning']);
  expect(await exit).toBe(1);
  expect(text()).toBe('demo: Expected --pace to be slow or fast, got lightning\n');
});

function start(command: string, args: readonly string[]) {
  const child = spawn(command, args, {cwd: root, env: {...process.env, TMPDIR: folder, [run]: 'yes', TERM: 'xterm'}});
  running.push(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  }
  const exit = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once('close', (code, name) => resolve(code ?? name));
  });
  return {child, text: () => output, exit};
}

async function nothingIsLeft(text: string): Promise<void> {
  await noProcessIsLeft(text);
  // The loader's cache is nobody's leftover.
  expect(readdirSync(folder).filter((entry) => !entry.startsWith('tsx-'))).toEqual([]);
}

async function noProcessIsLeft(text: string): Promise<void> {
  const ports = [...text.matchAll(/127\.0\.0\.1:(\d+)/g)].map(([, port]) => Number(port));
  expect(ports.length).toBeGreaterThan(2);
  await pollUntil('the end of all listeners', () => !listeningPorts().some(({port}) => ports.includes(port)));
  const left = () =>
    allProcesses().filter(({pid}) => environment(pid).includes(run) || commandLine(pid).join(' ').includes(folder));
  await pollUntil('the end of all processes', () => left().length === 0).catch((error: unknown) => {
    throw new Error(
      left()
        .map(({pid}) => commandLine(pid).join(' '))
        .join('\n'),
      {cause: error},
    );
  });
}

function environment(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1');
  } catch {
    return '';
  }
}
