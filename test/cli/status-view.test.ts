import {spawn, type ChildProcess} from 'node:child_process';
import {fileURLToPath} from 'node:url';
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from 'vitest';
import type {AutoSSHOptions} from '../../src/index.js';
import {
  PrivateSshd,
  Terminal,
  alive,
  children,
  compiled,
  expectNothingLeft,
  hasTmux,
  ownTemporaryFolder,
  pollUntil,
  signal,
  snapshot,
  waitForExit,
} from '../support/index.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

let sshd: PrivateSshd;
let before = snapshot();
let restoreTemporaryFolder = (): void => undefined;
const running: ChildProcess[] = [];

beforeAll(async () => {
  restoreTemporaryFolder = ownTemporaryFolder();
  sshd = await PrivateSshd.start();
});

beforeEach(() => {
  before = snapshot();
});

afterEach(async () => {
  for (const {pid} of running.splice(0)) {
    if (pid === undefined || !alive(pid)) continue;
    signal(pid, 'SIGKILL');
    await waitForExit(pid);
  }
  await pollUntil('the end of all sessions', () => sshd.sessions().length === 0);
  await expectNothingLeft(before, {within: 3_000, resources: false});
});

afterAll(async () => {
  await sshd.stop();
  restoreTemporaryFolder();
});

describe.skipIf(!hasTmux)(`on a terminal${hasTmux ? '' : ' (skipped: tmux is missing)'}`, () => {
  test('what becomes of ssh is seen: up, beats, its death, the next one', async () => {
    await using terminal = await watch();
    const first = await pidOf(terminal, / ● up +deploy@tunnel +ssh pid (\d+)$/m);
    await terminal.shows(/ heartbeats +\d+ sent +[1-9]\d* answered +0 missed/);
    await terminal.shows(/^─ rtt ─+ min \d.* ms {2}now \d.*s {2}max \d.*s ─$/m);
    await terminal.shows(/ ·+[▁▂▃▄▅▆▇█]{3,}$/m);

    signal(first, 'SIGKILL');
    await terminal.shows(/✕ disconnected +ssh was ended by SIGKILL \(after .*\)\n.*↻ restart +at once \(attempt 1\)/);
    const second = await pidOf(terminal, new RegExp(` ● up +deploy@tunnel +ssh pid (?!${first}$)(\\d+)$`, 'm'));
    await terminal.shows(new RegExp(`● running +ssh 2, pid ${second}`));
    await terminal.shows(/ restarts +1$/m);
  });

  test('a frozen ssh is doubtful before it is replaced, and its misses stay in the chart', async () => {
    await using terminal = await watch(
      {heartbeat: {interval: 100, timeout: 300, maxMisses: 4}},
      {},
      {columns: 120, rows: 40},
    );
    const pid = await pidOf(terminal, / ● up .*ssh pid (\d+)$/m);
    signal(pid, 'SIGSTOP');
    await terminal.shows(/ ◑ doubtful +deploy@tunnel/);
    await terminal.shows(/× missed +1 of 4: nothing came for 3\d\d ms/);
    await terminal.shows(/✕ disconnected +The tunnel was dead: 4 beats in a row did not come back/);
    await terminal.shows(/ ● up /);
    await terminal.shows(/╎╎╎╎/);
    await terminal.shows(/××××/);
  });

  test('a wait is counted down, with its reason, and r cuts it short', async () => {
    await using terminal = await watch({restart: {minTimeout: 60_000, maxTimeout: 60_000, randomize: false}});
    for (const starts of [1, 2]) {
      const [, pid = ''] = await terminal.shows(new RegExp(`● running +ssh ${starts}, pid (\\d+)`));
      signal(Number(pid), 'SIGKILL');
    }
    await terminal.shows(/ ○ waiting +deploy@tunnel$/m);
    await terminal.shows(/ because +ssh was ended by SIGKILL$/m);
    const seconds = async () => {
      const [, minutes, rest] = await terminal.shows(/ next ssh in +(?:(\d) min)? ?(?:(\d+) s)? +━+─* +attempt 2$/m);
      return Number(minutes ?? 0) * 60 + Number(rest ?? 0);
    };
    const begun = await seconds();
    await terminal.shows(new RegExp(` next ssh in +${begun - 1} s`));
    await terminal.type('r');
    await terminal.shows(/● running +ssh 3,/);
  });

  test('r replaces a ready ssh', async () => {
    await using terminal = await watch();
    const pid = await pidOf(terminal, / ● up .*ssh pid (\d+)$/m);
    await terminal.type('r');
    await terminal.shows(/✕ disconnected +r was pressed/);
    await terminal.shows(new RegExp(` ● up .*ssh pid (?!${pid}$)\\d+$`, 'm'));
  });

  test('the frame follows the size of the window, line by line', async () => {
    await using terminal = await watch();
    await terminal.shows(/ ● up +deploy@tunnel/);
    await terminal.resize(40, 12);
    await terminal.shows(/^● up 00:00:\d\d +ssh \d+\ndeploy@tunnel\nrestarts 0 {2}beats \d+ \d+ ok 0 missed\n/);
    expect((await terminal.screen()).split('\n').at(11)).toBe(' q  end the tunnel    r  restart ssh');
    await terminal.resize(100, 30);
    await terminal.shows(/^ ● up +deploy@tunnel {20,}ssh pid \d+\n/);
    const lines = (await terminal.screen()).split('\n');
    expect(lines.find((line) => line.startsWith('─ events'))).toHaveLength(100);
    expect(lines.at(29)).toBe(' q  end the tunnel    r  restart ssh');
    expect(lines.filter((line) => line.includes('restart ssh'))).toHaveLength(1);
  });

  test.each([
    ['q', 'q'],
    ['Ctrl-C', 'C-c'],
  ])('%s ends it, and the shell has its terminal back as it was', async (_, key) => {
    await using terminal = await shell();
    const modes = await modesOf(terminal);
    await terminal.type(`echo still here; ${command()}`, 'Enter');
    const pid = await pidOf(terminal, / ● up .*ssh pid (\d+)$/m);
    expect(await facts(terminal)).toEqual({alternate: '1', cursor: '0', wrap: '0'});
    await terminal.type(key);
    await terminal.shows(/still here\nautossh: deploy@tunnel: ended: it was asked to\n[$#]/);
    expect(alive(pid)).toBe(false);
    expect(await facts(terminal)).toEqual({alternate: '0', cursor: '1', wrap: '1'});
    await terminal.type('echo status $?', 'Enter');
    await terminal.shows(/^(?:[$#] )?status 0$/m);
    expect(await modesOf(terminal)).toBe(modes);
  });

  test('a fatal end gives the terminal back, and says why and what to do', async () => {
    await using terminal = await shell();
    const modes = await modesOf(terminal);
    await terminal.type(command({host: 'nowhere.invalid', configFile: '/dev/null'}), 'Enter');
    await terminal.shows(/autossh: deploy@tunnel: ended: The first ssh ended before .* nowhere\.invalid could/s);
    await terminal.shows(/autossh: hint: Check the spelling of the host name/);
    await terminal.type('echo status $?', 'Enter');
    await terminal.shows(/^(?:[$#] )?status 1$/m);
    expect(await facts(terminal)).toEqual({alternate: '0', cursor: '1', wrap: '1'});
    expect(await modesOf(terminal)).toBe(modes);
  });

  test.each([
    ['a signal that the program listens to', [], /autossh: deploy@tunnel: ended: it was asked to/],
    ['an uncaught exception', ['throw'], /Error: thrown by the host/],
  ])('so does %s', async (_, args, lastWords) => {
    await using terminal = await shell();
    const modes = await modesOf(terminal);
    await terminal.type(command({}, ...args), 'Enter');
    if (args.length === 0) {
      await terminal.shows(/ ● up /);
      signal(await childOf(terminal), 'SIGTERM');
    }
    await terminal.shows(lastWords);
    await terminal.type('echo back', 'Enter');
    await terminal.shows(/^(?:[$#] )?back$/m);
    expect(await facts(terminal)).toEqual({alternate: '0', cursor: '1', wrap: '1'});
    expect(await modesOf(terminal)).toBe(modes);
  });

  test('it has colours, and none with NO_COLOR', async () => {
    await using terminal = await watch();
    await terminal.shows(/ ● up +deploy@tunnel/);
    expect(await terminal.colours()).toContain('\u001B[32m● up');
    await using plain = await watch({}, {NO_COLOR: '1'});
    await plain.shows(/ ● up +deploy@tunnel/);
    expect(await plain.colours()).not.toContain('\u001B');
  });

  test('an arrow key is no key of ours', async () => {
    await using terminal = await watch();
    await terminal.shows(/ ● up +deploy@tunnel/);
    await terminal.type('Up', 'M-q', 'M-r', 'x');
    await terminal.type('r');
    await terminal.shows(/✕ disconnected +r was pressed/);
    await terminal.shows(/ restarts +1$/m);
  });
});

describe('elsewhere', () => {
  test('in a pipe it is one plain line for each event, keys are not read, and the terminal is not touched', async () => {
    const {child, text, exit} = pipe({});
    await pollUntil('three beats', () => text().split(' beat: ').length > 3);
    child.stdin.write('q');
    const [, pid = ''] = /started: ssh 1, pid (\d+)/.exec(text()) ?? [];
    signal(Number(pid), 'SIGKILL');
    await pollUntil('the second', () => /started: ssh 2,[^]* beat: /.test(text()));
    child.kill('SIGTERM');
    expect(await exit).toBe(0);
    const lines = text().trimEnd().split('\n');
    for (const line of lines)
      expect(line).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (started|ssh|beat|missed|disconnected|restart|ended): /);
    const told = lines.map((line) => line.slice(20)).filter((line) => !/^(beat|ssh|missed):/.test(line));
    expect(told).toEqual([
      `started: ssh 1, pid ${pid}`,
      expect.stringMatching(/^disconnected: ssh was ended by SIGKILL \(after /),
      'restart: at once (attempt 1)',
      expect.stringMatching(/^started: ssh 2, pid \d+$/),
      expect.stringMatching(/^disconnected: The tunnel was stopped/),
      'ended: it was asked to',
    ]);
  });

  test('a reader of the pipe that goes away ends the tunnel', async () => {
    const {child, text, exit} = pipe({});
    await pollUntil('the connect', () => text().includes('beat: '));
    child.stdout.destroy();
    expect(await exit).toBe(0);
  });
});

const quick: Partial<AutoSSHOptions> = {
  heartbeat: {interval: 100, timeout: 5_000, maxMisses: 3},
  restart: {minTimeout: 50, maxTimeout: 400, randomize: false},
  killTimeout: 1_000,
};

function argv(options: Partial<AutoSSHOptions>, ...args: string[]): string[] {
  const all = {host: 'tunnel', configFile: sshd.configFile, ...quick, ...options};
  return [process.execPath, compiled('status-host.ts'), JSON.stringify(all), ...args];
}

function watch(
  options: Partial<AutoSSHOptions> = {},
  env: Record<string, string> = {},
  size: {columns?: number; rows?: number} = {},
): Promise<Terminal> {
  return Terminal.open(argv(options), {env, ...size});
}

function shell(): Promise<Terminal> {
  return Terminal.open(['sh'], {env: {ENV: ''}});
}

/** As it is typed into a shell. */
function command(options: Partial<AutoSSHOptions> = {}, ...args: string[]): string {
  return argv(options, ...args)
    .map((word) => `'${word}'`)
    .join(' ');
}

async function pidOf(terminal: Terminal, pattern: RegExp): Promise<number> {
  const [, pid = ''] = await terminal.shows(pattern);
  return Number(pid);
}

async function facts(terminal: Terminal) {
  const [alternate, cursor, wrap] = await Promise.all(
    ['alternate_on', 'cursor_flag', 'wrap_flag'].map((variable) => terminal.ask(variable)),
  );
  return {alternate, cursor, wrap};
}

let questions = 0;

/** What the kernel does with the keys of this terminal. */
async function modesOf(terminal: Terminal): Promise<string> {
  const mark = `modes-${++questions}`;
  await terminal.type(`echo ${mark} $(stty -g)`, 'Enter');
  const [, modes = ''] = await terminal.shows(new RegExp(`^(?:[$#] )?${mark} ([0-9a-f:\\s]+)[$#]`, 'm'));
  return modes.replace(/\s/g, '');
}

/** The program that the shell waits for. */
async function childOf(terminal: Terminal): Promise<number> {
  return children(Number(await terminal.ask('pane_pid')))[0] ?? 0;
}

function pipe(options: Partial<AutoSSHOptions>) {
  const [program = '', ...args] = argv(options);
  const child = spawn(program, args, {cwd: root, stdio: ['pipe', 'pipe', 'inherit']});
  running.push(child);
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  const exit = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once('close', (code, name) => resolve(code ?? name));
  });
  return {child, text: () => output, exit};
}
