import {spawn} from 'node:child_process';
import {join} from 'node:path';
import {rmSync} from 'node:fs';
import {setImmediate as turn} from 'node:timers/promises';
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from 'vitest';
import {Notifier, withoutNotify} from '../../src/cli/notifier.js';
import {AutoSSH, type AutoSSHOptions} from '../../src/index.js';
import {
  children,
  commandLine,
  expectNothingLeft,
  findProgram,
  fixture,
  guard,
  ownTemporaryFolder,
  pollUntil,
  signal,
  snapshot,
  temporaryFolder,
} from '../support/index.js';

const missing = ['systemd-notify', 'perl'].filter((name) => findProgram(name) === undefined);
const skipped = missing.length > 0 ? ` (skipped: ${missing.join(' and ')} missing)` : '';

const raw = {
  sshPath: '/bin/sleep',
  sshArguments: ['1000'],
  killTimeout: 2_000,
  restart: {minTimeout: 10, maxTimeout: 10, randomize: false},
} as const;

let before = snapshot();
let restoreTemporaryFolder = (): void => undefined;
const tunnels: AutoSSH[] = [];

beforeAll(() => {
  restoreTemporaryFolder = ownTemporaryFolder();
});

beforeEach(() => {
  before = snapshot();
});

afterEach(async () => {
  await Promise.all(tunnels.splice(0).map((tunnel) => tunnel.stop()));
  await expectNothingLeft(before, {within: 3_000, resources: false});
});

afterAll(() => {
  restoreTemporaryFolder();
});

describe.skipIf(missing.length > 0)(`with systemd-notify${skipped}`, () => {
  test('systemd hears of the start, the first connect, every restart with its reason, and the end, in this order', async () => {
    await using systemd = await listen();
    const {notifier, tunnel} = scene(systemd.env);
    await tunnel.start();
    await systemd.hears(/^STATUS=ssh runs since/, 1);
    signal(tunnel.pid ?? 0, 'SIGKILL');
    await systemd.hears(/^STATUS=ssh runs since/, 2);
    await tunnel.stop();
    await notifier.close();

    expect(systemd.all).toEqual([
      'STATUS=starting ssh (1)',
      'READY=1',
      expect.stringMatching(/^STATUS=ssh runs since \d\d:\d\d:\d\d, pid \d+, restarts: 0$/),
      'STATUS=restarting ssh at once because ssh was ended by SIGKILL',
      'STATUS=starting ssh (2)',
      expect.stringMatching(/^STATUS=ssh runs since \d\d:\d\d:\d\d, pid \d+, restarts: 1$/),
      'STOPPING=1',
      'STATUS=stopping',
    ]);
  });

  test('a wait is told with its length and its reason', async () => {
    await using systemd = await listen();
    const {notifier, tunnel} = scene(systemd.env, {
      restart: {minTimeout: 90_000, maxTimeout: 90_000, randomize: false},
    });
    await tunnel.start();
    for (const times of [1, 2]) {
      await systemd.hears(/^STATUS=ssh runs since/, times);
      signal(tunnel.pid ?? 0, 'SIGKILL');
    }
    await systemd.hears(/^STATUS=restarting ssh in 1 min 30 s because ssh was ended by SIGKILL$/);
    await tunnel.stop();
    await notifier.close();
  });

  test('a fatal end is told with its reason', async () => {
    await using systemd = await listen();
    const {notifier, tunnel} = scene(systemd.env, {sshPath: '/no/such/ssh'});
    await expect(tunnel.start()).rejects.toThrow();
    await notifier.close();
    expect(systemd.all).not.toContain('READY=1');
    expect(systemd.all).toContain('STOPPING=1');
    expect(systemd.all.at(-1)).toMatch(/^STATUS=ended: .*\/no\/such\/ssh/);
  });

  test('a watchdog hears twice in its time that this process goes on, and nothing from one that hangs', async () => {
    await using systemd = await listen();
    const {notifier, tunnel} = scene({...systemd.env, WATCHDOG_USEC: '400000', WATCHDOG_PID: String(process.pid)});
    const begun = performance.now();
    await tunnel.start();
    await systemd.hears(/^WATCHDOG=1$/, 5);
    // One second, if all is quick; at two systemd would have had to wait for its whole time.
    expect(performance.now() - begun).toBeGreaterThan(950);
    expect(performance.now() - begun).toBeLessThan(2_000);
    const heard = systemd.all.length;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
    await turn();
    await turn();
    // One may have been on its way.
    expect(systemd.all.slice(heard).filter((one) => one === 'WATCHDOG=1').length).toBeLessThan(2);
    await systemd.hears(/^WATCHDOG=1$/, 7);
    await tunnel.stop();
    await notifier.close();
  });

  test('a watchdog of another process hears nothing', async () => {
    await using systemd = await listen();
    const {notifier, tunnel} = scene({...systemd.env, WATCHDOG_USEC: '2000', WATCHDOG_PID: String(process.pid + 1)});
    await tunnel.start();
    await systemd.hears(/^STATUS=ssh runs since/);
    await tunnel.stop();
    await notifier.close();
    expect(systemd.all).not.toContain('WATCHDOG=1');
  });

  test('nothing is told after close, and nothing is left of it while the tunnel goes on', async () => {
    await using systemd = await listen();
    const {notifier, tunnel} = scene({...systemd.env, WATCHDOG_USEC: '20000'});
    await tunnel.start();
    await systemd.hears(/^STATUS=ssh runs since/);
    await notifier.close();
    await pollUntil('the end of systemd-notify', () => helpers(systemd.pid, tunnel.pid).length === 0);
    const heard = systemd.all.length;
    await tunnel.restart();
    await tunnel.stop();
    expect(systemd.all.slice(heard)).toEqual([]);
  });

  test('a socket that nobody listens on any more harms nothing', async () => {
    const systemd = await listen();
    const {notifier, tunnel, said} = scene(systemd.env);
    await systemd[Symbol.asyncDispose]();
    await tunnel.start();
    await tunnel.stop();
    await notifier.close();
    expect(said).toEqual([]);
  });
});

test('outside of systemd it listens to nothing', async () => {
  const {notifier, tunnel} = scene({WATCHDOG_USEC: '1000'});
  expect(notifier.isWanted).toBe(false);
  expect(tunnel.eventNames()).toEqual([]);
  await notifier.close();
});

test('without systemd-notify it says so once, and the tunnel goes on', async () => {
  const {notifier, tunnel, said} = scene({
    NOTIFY_SOCKET: '/no/such/socket',
    PATH: '/no/such/folder',
    WATCHDOG_USEC: '2000',
  });
  await tunnel.start();
  await pollUntil('a word', () => said.length > 0);
  await tunnel.restart();
  await tunnel.stop();
  await notifier.close();
  expect(said).toEqual(['systemd is told nothing: systemd-notify is not there (ENOENT)']);
});

test('a systemd-notify that hangs delays neither the tunnel nor, for long, its end', async () => {
  const {notifier, tunnel} = scene({...process.env, NOTIFY_SOCKET: '/no/such/socket'}, {}, fixture('silent.mjs'));
  await tunnel.start();
  await tunnel.restart();
  await tunnel.stop();
  expect(helpers()).toHaveLength(1);
  await notifier.close();
  await pollUntil('the end of what hangs', () => helpers().length === 0, {timeout: 3_000});
});

test('ssh gets an environment without what is for the service alone', () => {
  const env = {NOTIFY_SOCKET: '@s', WATCHDOG_USEC: '1', WATCHDOG_PID: '2', PATH: '/bin', SSH_AUTH_SOCK: '/a'};
  expect(withoutNotify(env)).toEqual({PATH: '/bin', SSH_AUTH_SOCK: '/a'});
  expect(env).toHaveProperty('NOTIFY_SOCKET', '@s');
});

function scene(env: NodeJS.ProcessEnv, options: AutoSSHOptions = {}, program?: string) {
  const said: string[] = [];
  const tunnel = new AutoSSH({...raw, ...options, env: withoutNotify(process.env)});
  tunnels.push(tunnel);
  const notifier = new Notifier(env, {debug: (message) => said.push(message), ...(program !== undefined && {program})});
  notifier.attach(tunnel);
  if (notifier.isWanted) tunnel.on('start', ({pid}) => guard('process', pid));
  return {tunnel, notifier, said};
}

/** What this process has started, but for these and the harness's own. */
function helpers(...known: (number | undefined)[]): number[] {
  const names = ['systemd-notify', 'silent.mjs'];
  return children(process.pid).filter((pid) => !known.includes(pid) && isOne(pid, names));
}

function isOne(pid: number, names: readonly string[]): boolean {
  return commandLine(pid).some((word) => names.some((name) => word.endsWith(name)));
}

/** A socket as systemd has one, and all that was sent to it, without the barriers by which systemd-notify waits. */
async function listen() {
  const folder = temporaryFolder('notify-');
  const path = join(folder, 'socket');
  const child = spawn('perl', [fixture('datagrams.pl'), path], {stdio: ['ignore', 'pipe', 'inherit']});
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const pid = child.pid ?? 0;
  guard('process', pid);
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  await pollUntil('a socket', () => output.startsWith('listening\n'));
  const systemd = {
    pid,
    env: {...process.env, NOTIFY_SOCKET: path} as NodeJS.ProcessEnv,
    get all(): string[] {
      const words = output
        .split('\n')
        .slice(1, -1)
        .flatMap((line) => line.split('\t'));
      return words.filter((word) => word !== '' && word !== 'BARRIER=1');
    },
    hears: (pattern: RegExp, times = 1) =>
      pollUntil(`${times} × ${String(pattern)}`, () => systemd.all.filter((one) => pattern.test(one)).length >= times),
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await exited;
      rmSync(folder, {recursive: true, force: true});
    },
  };
  return systemd;
}
