import {execFile} from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {promisify} from 'node:util';
import {describe, expect, test} from 'vitest';
import type {AutoSSHOptions} from '../../src/index.js';
import {
  alive,
  children,
  connectTo,
  descendants,
  environmentOf,
  exchange,
  exchangeOn,
  findProgram,
  fixture,
  holdersOf,
  patience,
  pollUntil,
  signal,
  temporaryEntries,
  temporaryFolder,
  waitForExit,
  waitForState,
  within,
} from '../support/index.js';
import {HostProcess, type HostSetup} from './host.js';
import {patientHeartbeat, quickHeartbeat, quickRestart, setScene} from './scene.js';

const run = promisify(execFile);
const scene = setScene();

const hostOptions = (options: Partial<AutoSSHOptions> = {}): AutoSSHOptions => ({
  host: 'tunnel',
  configFile: scene.sshd.configFile,
  forwards: [{type: 'local', target: {host: '127.0.0.1', port: scene.echo.port}}],
  heartbeat: quickHeartbeat,
  restart: quickRestart,
  ...options,
});

/** A host whose tunnel is up, with the port of its forward. */
async function hostUp(
  options: Partial<AutoSSHOptions> = {},
  setup: HostSetup = {},
): Promise<{host: HostProcess; port: number; ssh: number}> {
  const host = scene.use(await HostProcess.start(hostOptions(options), setup));
  const connected = host.next('connect', {unless: ['stop']});
  expect(await host.command('start')).toBeUndefined();
  const {forwards, pid} = await connected;
  const listen = forwards[0]?.listen;
  const port = listen?.port ?? 0;
  expect(await exchange({port})).toBe('ping');
  return {host, port, ssh: pid};
}

/** A PATH on which everything is but this one program. */
function pathWithout(missing: string): string {
  const folder = join(scene.sshd.folder, 'bin');
  mkdirSync(folder);
  for (const name of ['ssh', 'sh', 'sleep', 'nc', 'cat', 'env', 'rm', 'rmdir', 'kill', 'ps']) {
    const path = findProgram(name);
    if (path !== undefined && name !== missing) symlinkSync(path, join(folder, name));
  }
  symlinkSync(process.execPath, join(folder, 'node'));
  return folder;
}

describe('the host process is killed (KILL)', () => {
  const means = [
    {name: 'with setpriv', path: () => process.env['PATH'] ?? ''},
    {name: 'without setpriv', path: () => pathWithout('setpriv')},
  ];

  describe.each(means)('$name', ({path}) => {
    test.each([
      {open: false, steady: true},
      {open: true, steady: true},
      {open: false, steady: false},
      {open: true, steady: false},
    ])(
      'no ssh and no listener is left within a second (forwarded connection open: $open, steady: $steady)',
      async ({open, steady}) => {
        const forwards = [{type: 'local', target: {port: scene.echo.port}, steady}] as const;
        const {host, port, ssh} = await hostUp({forwards}, {env: {...process.env, PATH: path()}});
        const socket = open ? await connectTo({port}) : undefined;
        if (socket !== undefined) expect(await exchangeOn(socket, 'open')).toBe('open');
        expect(holdersOf(port)).toEqual([steady ? host.pid : ssh]);
        await host.kill();
        await pollUntil('ssh is gone', () => !alive(ssh), {timeout: 1_000});
        await pollUntil('the port is free', () => holdersOf(port).length === 0, {timeout: 1_000});
        await pollUntil('the temporary folder is gone', () => temporaryEntries().length === 0, {timeout: 2_000});
        socket?.destroy();
      },
    );

    test('nor is the process of a ProxyCommand', async () => {
      const lines = [`ProxyCommand ${process.execPath} ${fixture('stubborn-proxy.mjs')} %p`];
      const {host, ssh} = await hostUp({configFile: scene.sshd.config({lines})}, {env: {...process.env, PATH: path()}});
      const family = [ssh, ...descendants(ssh)];
      expect(family.length).toBeGreaterThan(1);
      await host.kill();
      await Promise.all(family.map((pid) => waitForExit(pid, {timeout: 2_000})));
    });
  });

  test.skipIf(findProgram('setpriv') === undefined)(
    'and its other children before it: ssh goes by the kernel alone',
    async () => {
      const {host, port, ssh} = await hostUp();
      // Stopped, it cannot replace what it has lost.
      signal(host.pid, 'SIGSTOP');
      await waitForState(host.pid, 'T');
      for (const pid of children(host.pid)) {
        if (pid === ssh) continue;
        signal(pid, 'SIGKILL');
        await waitForExit(pid);
      }
      await host.kill();
      await waitForExit(ssh, {timeout: 1_000});
      expect(holdersOf(port)).toEqual([]);
      for (const folder of temporaryEntries()) rmSync(folder, {recursive: true});
    },
  );

  test('while ssh is frozen: not even that is left', async () => {
    const {host, ssh} = await hostUp({heartbeat: patientHeartbeat});
    signal(ssh, 'SIGSTOP');
    await waitForState(ssh, 'T');
    await host.kill();
    await waitForExit(ssh, {timeout: 2_000});
  });

  test('while ssh still logs in: the same', async () => {
    const lines = ['ProxyCommand sleep 1000'];
    const host = scene.use(await HostProcess.start(hostOptions({configFile: scene.sshd.config({lines})})));
    const started = host.next('start');
    host.child.stdin?.write('start\n');
    const {pid} = await started;
    await pollUntil('the ProxyCommand', () => descendants(pid).length > 0);
    const family = [pid, ...descendants(pid)];
    await host.kill();
    await Promise.all(family.map((one) => waitForExit(one, {timeout: 2_000})));
  });
});

describe('the host process ends', () => {
  test('by itself, when the tunnel is stopped and nothing else is there to do', async () => {
    const {host} = await hostUp();
    expect(await host.command('stop')).toBeUndefined();
    host.closeInput();
    await host.exited;
    expect(host.child.exitCode).toBe(0);
    expect(host.events.of('stop')).toEqual([{reason: 'stopped'}]);
  });

  test('by a signal it does not handle: its ssh goes too', async () => {
    const {host, port, ssh} = await hostUp();
    signal(host.pid, 'SIGTERM');
    await host.exited;
    expect(host.child.signalCode).toBe('SIGTERM');
    await waitForExit(ssh, {timeout: 2_000});
    expect(holdersOf(port)).toEqual([]);
  });
});

describe('suspend and wake', () => {
  /** Longer than every bound of the heartbeat: the time itself is the fault, there is nothing to wait for. */
  const sleepWell = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 2_200));

  async function suspend(host: HostProcess, ssh: number): Promise<void> {
    for (const pid of [host.pid, ssh]) {
      signal(pid, 'SIGSTOP');
      await waitForState(pid, 'T');
    }
  }

  test.each(['the host first', 'ssh first'])(
    '%s: asks before it judges, and restarts nothing that works',
    async (order) => {
      const {host, port, ssh} = await hostUp({heartbeat: {interval: 300, timeout: 700, maxMisses: 2}});
      await host.next('heartbeat');
      await suspend(host, ssh);
      await sleepWell();
      const beats = host.events.count('heartbeat');
      const pids = order === 'the host first' ? [host.pid, ssh] : [ssh, host.pid];
      for (const pid of pids) signal(pid, 'SIGCONT');
      await pollUntil('three beats', () => host.events.count('heartbeat') >= beats + 3);
      expect(host.events.count('start')).toBe(1);
      expect(host.events.count('disconnect')).toBe(0);
      expect(await exchange({port})).toBe('ping');
    },
  );

  test.each(['the host first', 'ssh first'])('with a beat on its way, %s: that one does not count', async (order) => {
    const {host, port, ssh} = await hostUp({heartbeat: {interval: 200, timeout: 2_000, maxMisses: 1}});
    await host.next('heartbeat');
    signal(ssh, 'SIGSTOP');
    await waitForState(ssh, 'T');
    // The next beat goes out meanwhile, and is still waited for at the end of this.
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    signal(host.pid, 'SIGSTOP');
    await waitForState(host.pid, 'T');
    await sleepWell();
    const beats = host.events.count('heartbeat');
    const pids = order === 'the host first' ? [host.pid, ssh] : [ssh, host.pid];
    for (const pid of pids) signal(pid, 'SIGCONT');
    await pollUntil('three beats', () => host.events.count('heartbeat') >= beats + 3);
    expect(host.events.count('start')).toBe(1);
    expect(host.events.count('heartbeat-miss')).toBe(0);
    expect(await exchange({port})).toBe('ping');
  });

  test('the server has gone meanwhile: one restart, no storm', async () => {
    const {host, port, ssh} = await hostUp();
    await host.next('heartbeat');
    await suspend(host, ssh);
    await scene.sshd.killSessions();
    await sleepWell();
    const again = host.next('connect', {unless: ['stop']});
    for (const pid of [host.pid, ssh]) signal(pid, 'SIGCONT');
    await again;
    await host.next('heartbeat');
    expect(host.events.count('start')).toBe(2);
    expect(await exchange({port})).toBe('ping');
  });

  test('the path has forgotten the connection meanwhile: noticed after waking, one restart', async () => {
    const {host, port, ssh} = await hostUp();
    await host.next('heartbeat');
    await suspend(host, ssh);
    await scene.sshd.freezeSessions();
    await sleepWell();
    const again = host.next('connect', {unless: ['stop']});
    for (const pid of [host.pid, ssh]) signal(pid, 'SIGCONT');
    await again;
    expect(host.events.of('restart').map(({outcome}) => outcome.code)).toEqual(['ERR_AUTOSSH_HEARTBEAT']);
    expect(host.events.count('start')).toBe(2);
    expect(await exchange({port})).toBe('ping');
  });

  test('in the middle of a backoff: one attempt when it wakes, not all those it has missed', async () => {
    const {host} = await hostUp({
      restart: {minTimeout: 400, maxTimeout: 400, factor: 1, randomize: false, quickFor: 0},
    });
    const waits = host.next('restart', {where: ({attempt}) => attempt === 2});
    await scene.sshd.halt();
    await waits;
    signal(host.pid, 'SIGSTOP');
    await waitForState(host.pid, 'T');
    await sleepWell();
    await scene.sshd.restart();
    const tried = host.events.count('start');
    const again = host.next('connect', {unless: ['stop']});
    signal(host.pid, 'SIGCONT');
    await again;
    expect(host.events.count('start') - tried).toBeLessThanOrEqual(2);
  });
});

describe.skipIf(findProgram('prlimit') === undefined)('out of file descriptors', () => {
  test('ssh cannot be started for a while: transient, recovers', async () => {
    const {host, port, ssh} = await hostUp({restart: {...quickRestart, quickFor: 0}});
    const restore = await limit(host, 'nofile', 10);
    const failed = host.next('restart', {where: ({attempt}) => attempt === 2, unless: ['stop']});
    signal(ssh, 'SIGKILL');
    expect((await failed).outcome).toMatchObject({code: 'ERR_AUTOSSH_SPAWN', retryable: true, reason: 'spawn'});
    await host.next('restart', {unless: ['stop']});
    const again = host.next('connect', {unless: ['stop']});
    await restore();
    await again;
    expect(await exchange({port})).toBe('ping');
    expect(host.events.count('fatal')).toBe(0);
  });

  test.each([false, true])(
    'whichever of them it is that is missing, with a key (%j): transient, recovers',
    async (hasKey) => {
      const {host, port} = await hostUp({
        restart: {...quickRestart, quickFor: 0},
        readyTimeout: 2_000,
        ...(hasKey && {privateKey: readFileSync(scene.sshd.identityFile, 'utf8')}),
      });
      const ssh = (): number => host.events.of('start').at(-1)?.pid ?? 0;
      const agent = environmentOf(ssh())['SSH_AUTH_SOCK'];
      // Numbers are given out from below: those above the first gap do not count.
      const open = new Set(readdirSync(`/proc/${host.pid}/fd`).map(Number));
      let used = 0;
      while (open.has(used)) used++;
      for (let most = used - 6; most <= used + 4; most++) {
        const restore = await limit(host, 'nofile', most);
        const decided = new Promise((resolve) => {
          host.once('connect', resolve);
          const onRestart = ({attempt}: {attempt: number}): void => {
            if (attempt > 1) resolve(host.off('restart', onRestart));
          };
          host.on('restart', onRestart);
        });
        expect(alive(ssh()), `with ${most} file descriptors`).toBe(true);
        signal(ssh(), 'SIGKILL');
        await within(patience, `an end or a connection with ${most} file descriptors`, decided);
        await restore();
        expect(await host.command('restart'), `after ${most} file descriptors`).toBeUndefined();
        expect(await exchange({port})).toBe('ping');
      }
      expect(host.events.count('fatal')).toBe(0);
      expect(host.events.count('stop')).toBe(0);
      // That one could not be asked is no reason to do away with it, and with the key in it.
      expect(environmentOf(ssh())['SSH_AUTH_SOCK']).toBe(agent);
    },
  );
});

describe.skipIf(findProgram('prlimit') === undefined)('out of processes', () => {
  // The limit does not hold for root: the host runs as somebody else then.
  const stranger = process.getuid?.() === 0 ? accountForHost() : undefined;

  test.skipIf(process.getuid?.() === 0 && stranger === undefined)(
    'ssh cannot be started for a while: transient, recovers (as root it needs the account "games")',
    async () => {
      const key = join(temporaryFolder('key-'), 'key');
      copyFileSync(scene.sshd.identityFile, key);
      chmodSync(key, 0o600);
      const setup: HostSetup = {};
      // That somebody has to find the way.
      chmodSync(tmpdir(), 0o711);
      const options: Partial<AutoSSHOptions> = {restart: {...quickRestart, quickFor: 0}};
      if (stranger !== undefined) {
        const folder = dirname(key);
        const known = join(folder, 'known_hosts');
        copyFileSync(scene.sshd.knownHostsFile, known);
        const config = join(folder, 'ssh_config');
        writeFileSync(
          config,
          readFileSync(scene.sshd.configFile, 'utf8')
            .replace(scene.sshd.identityFile, key)
            .replace(scene.sshd.knownHostsFile, known),
        );
        const tmp = join(folder, 'tmp');
        mkdirSync(tmp);
        for (const path of [folder, key, known, config, tmp]) await run('chown', [`${stranger}:${stranger}`, path]);
        Object.assign(options, {configFile: config});
        setup.wrapper = ['setpriv', `--reuid=${stranger}`, `--regid=${stranger}`, '--clear-groups', '--'];
        setup.env = {...process.env, TMPDIR: tmp, HOME: tmp};
      }
      const {host, port, ssh} = await hostUp(options, setup);
      const restore = await limit(host, 'nproc', 1, setup.wrapper);
      const failed = host.next('restart', {
        where: ({outcome}) => outcome.code === 'ERR_AUTOSSH_SPAWN',
        unless: ['stop'],
      });
      signal(ssh, 'SIGKILL');
      expect((await failed).outcome).toMatchObject({retryable: true, reason: 'spawn'});
      const again = host.next('connect', {unless: ['stop']});
      await restore();
      await again;
      expect(await exchange({port})).toBe('ping');
      expect(host.events.count('fatal')).toBe(0);
    },
  );
});

/** Limits what the host may have of something; returns how to undo it. Only its own user may do that. */
async function limit(
  {pid}: HostProcess,
  resource: 'nofile' | 'nproc',
  most: number,
  wrapper: readonly string[] = [],
): Promise<() => Promise<void>> {
  const prlimit = async (...args: string[]): Promise<string> => {
    const [command = '', ...rest] = [...wrapper, 'prlimit', '--pid', String(pid), ...args];
    return (await run(command, rest)).stdout.trim();
  };
  const before = await prlimit(`--${resource}`, '--noheadings', '--raw', '--output', 'SOFT');
  // Without a number after the colon the hard limit stays, so that there is a way back.
  await prlimit(`--${resource}=${most}:`);
  return async () => {
    await prlimit(`--${resource}=${before}:`);
  };
}

/** An ordinary account that nothing runs as. */
function accountForHost(): number | undefined {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith('games:'));
  return line === undefined ? undefined : Number(line.split(':')[2]);
}
