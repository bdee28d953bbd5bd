import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test} from 'vitest';
import {
  Namespaces,
  PrivateSshd,
  canUseNamespaces,
  findProgram,
  freePort,
  listeningPorts,
  openFds,
  pollUntil,
  processFacts,
  signal,
  waitForExit,
  waitForState,
} from '../support/index.js';
import {Command} from './command.js';

const socat = findProgram('socat');

/** Both ends of autossh's loop have the same port number, so it takes two hosts. */
describe.skipIf(!canUseNamespaces())('between two hosts (skipped: network namespaces need root)', () => {
  let namespaces: Namespaces;
  let sshd: PrivateSshd;

  beforeAll(async () => {
    namespaces = await Namespaces.create();
    const {server} = namespaces;
    sshd = await PrivateSshd.start({listenAddress: server.address, wrapper: namespaces.enter(server)});
  });
  afterAll(async () => {
    await sshd.stop();
    await namespaces.close();
  });

  function start(monitor: string, env: Record<string, string> = {}): Command {
    return new Command(['-M', monitor, '-N', '-F', sshd.configFile, 'tunnel'], {
      wrapper: namespaces.enter(namespaces.client),
      env: {AUTOSSH_POLL: '1', ...env},
    });
  }

  /** A real echo service at the server, where autossh's manual has it. */
  async function startEcho(): Promise<number> {
    const service = ['TCP-LISTEN:7,bind=127.0.0.1,fork,reuseaddr', 'EXEC:cat'];
    const {pid = 0} = namespaces.spawn(namespaces.server, ['socat', '-d', '-d', ...service], {stdio: 'ignore'});
    onTestFinished(() => end(pid));
    return pid;
  }

  async function end(pid: number): Promise<void> {
    signal(pid, 'SIGTERM');
    await waitForExit(pid);
  }

  async function stop(command: Command): Promise<void> {
    command.signal('SIGTERM');
    expect(await command.ended).toEqual({code: 1, signal: null});
  }

  test('-M 20000 goes round over ports 20000 and 20001, beat after beat', async () => {
    const command = start('20000');
    await command.says(/connection ok/, {times: 3});
    expect(command.count(/starting ssh/)).toBe(1);
    await stop(command);
  });

  test.skipIf(!socat)(
    'what others send to the port that the beats come back to is no beat (skipped: needs socat)',
    async () => {
      const command = start('20000');
      await command.says(/connection ok/);
      const strangers = ['socat', '-u', 'EXEC:echo nothing of yours', 'TCP:127.0.0.1:20001'];
      for (let count = 0; count < 20; count++) await namespaces.run(namespaces.client, strangers);
      const beats = command.count(/connection ok/);
      await command.says(/connection ok/, {times: beats + 2});
      expect(command.count(/starting ssh/)).toBe(1);
      await stop(command);
    },
  );

  test.skipIf(!socat)('-M 20000:7 is answered by a real echo service (skipped: needs socat)', async () => {
    await startEcho();
    const command = start('20000:7');
    await command.says(/connection ok/, {times: 3});
    expect(command.count(/starting ssh/)).toBe(1);
    await stop(command);
  });

  test.skipIf(!socat)('without its echo service the connection counts as dead (skipped: needs socat)', async () => {
    const echo = await startEcho();
    const command = start('20000:7');
    await command.says(/connection ok/);
    await end(echo);
    await command.says(/port down, restarting ssh/);
    await command.says(/starting ssh \(count 2\)/);
    await stop(command);
  });

  for (const monitor of ['20000', '20000:7']) {
    const echoes = monitor.endsWith(':7');
    const what = `-M ${monitor}: a server that is frozen is found out, and a new ssh is as well as the first`;
    test.skipIf(echoes && !socat)(echoes ? `${what} (skipped: needs socat)` : what, async () => {
      if (echoes) await startEcho();
      const command = start(monitor);
      await command.says(/connection ok/);
      const frozen = sshd.sessions();
      for (const pid of frozen) {
        signal(pid, 'SIGSTOP');
        await waitForState(pid, 'T');
      }
      await command.says(/port down, restarting ssh/);
      const beats = command.count(/connection ok/);
      await command.says(/connection ok/, {times: beats + 2});
      for (const pid of frozen) signal(pid, 'SIGCONT');
      await stop(command);
    });
  }

  test('an ssh that is frozen is found out', async () => {
    const command = start('20000');
    await command.says(/connection ok/);
    const {ssh} = command;
    signal(ssh, 'SIGSTOP');
    await command.says(/port down, restarting ssh/);
    await waitForExit(ssh);
    const beats = command.count(/connection ok/);
    await command.says(/connection ok/, {times: beats + 1});
    await stop(command);
  });

  test('a shell that is started again is watched too, though its dead predecessor holds the port', async () => {
    const command = new Command(['-M', '20000', '-T', '-F', sshd.configFile, 'tunnel'], {
      wrapper: namespaces.enter(namespaces.client),
      env: {AUTOSSH_POLL: '1'},
      stdin: true,
    });
    await command.says(/connection ok/);
    await sshd.freezeSessions();
    await command.says(/port down, restarting ssh/);
    const beats = command.count(/connection ok/);
    await command.says(/connection ok/, {times: beats + 2});
    await command.kill();
    await sshd.killSessions();
  });

  test.skipIf(!socat)(
    'somebody who has the port at the server, for 127.0.0.1 alone, is given way to (skipped: needs socat)',
    async () => {
      const service = ['TCP-LISTEN:20000,bind=127.0.0.1,fork,reuseaddr', 'OPEN:/dev/null'];
      const {pid = 0} = namespaces.spawn(namespaces.server, ['socat', '-u', ...service], {stdio: 'ignore'});
      onTestFinished(() => end(pid));
      await pollUntil('the stranger', () => listeningPorts(pid).some(({port}) => port === 20_000));
      const command = start('20000');
      await command.says(/connection ok/, {times: 2});
      expect(command.count(/ starting ssh/)).toBe(2);
      await stop(command);
    },
  );

  test('a server that lets no beat through gets no restart loop', async () => {
    const strict = await PrivateSshd.start({
      listenAddress: namespaces.server.address,
      wrapper: namespaces.enter(namespaces.server),
      config: ['PermitOpen 127.0.0.1:9'],
    });
    onTestFinished(() => strict.stop());
    const command = new Command(['-M', '20000', '-N', '-F', strict.configFile, 'tunnel'], {
      wrapper: namespaces.enter(namespaces.client),
      env: {AUTOSSH_POLL: '1'},
    });
    await command.says(/There is no heartbeat from now on, because the server lets no beat through/);
    command.signal('SIGUSR1');
    await command.says(/starting ssh \(count 2\)/);
    await pollUntil(
      'the second login',
      () => strict.log.filter((line) => line.includes('Accepted publickey')).length === 2,
    );
    await stop(command);
    expect(command.count(/port down/)).toBe(0);
  });

  test('a server that allows no remote forward gets no restart loop', async () => {
    const strict = await PrivateSshd.start({
      listenAddress: namespaces.server.address,
      wrapper: namespaces.enter(namespaces.server),
      config: ['AllowTcpForwarding local'],
    });
    onTestFinished(() => strict.stop());
    const command = new Command(['-M', '20000', '-N', '-F', strict.configFile, 'tunnel'], {
      wrapper: namespaces.enter(namespaces.client),
      env: {AUTOSSH_POLL: '1'},
    });
    await command.says(/There is no heartbeat from now on/);
    command.signal('SIGUSR1');
    // One to give the loop another port, and the one that was asked for.
    await command.says(/starting ssh \(count 3\)/);
    const logins = (): number => strict.log.filter((line) => line.includes('Accepted publickey')).length;
    await pollUntil('the third login', () => logins() === 3);
    await stop(command);
    expect(command.count(/starting ssh/)).toBe(3);
    expect(command.count(/port down/)).toBe(0);
  });
});

test('nothing but loopback is listened on, and only the port above the one of -M', async () => {
  const port = await freePort();
  const command = new Command(['-M', String(port), 'host'], {
    env: {AUTOSSH_PATH: new URL('../fixtures/sleeping-ssh', import.meta.url).pathname},
  });
  await command.says(/ssh child pid/);
  const sockets = new Set(openFds(command.pid));
  const own = listeningPorts(command.pid).filter(({inode}) => sockets.has(`socket:[${inode}]`));
  expect(own.map(({address, port: listened}) => ({address, port: listened}))).toEqual([
    {address: '127.0.0.1', port: port + 1},
  ]);
});

/** A server that refuses the loop of the heartbeat, because it refuses all remote forwards or because both are one machine. */
describe.each([
  ['allows no remote forward', ['AllowTcpForwarding local']],
  ['has the port already', []],
])('where the server %s', (_why, config) => {
  let sshd: PrivateSshd;
  let monitor: string;

  beforeAll(async () => {
    sshd = await PrivateSshd.start({config});
  });
  beforeEach(async () => {
    monitor = String(await freePort());
  });
  afterAll(() => sshd.stop());

  test('a remote command runs once, and its exit code counts', async () => {
    const runs = join(sshd.folder, `runs-${monitor}`);
    const remote = `echo run >> '${runs}'; sleep 0.5; exit 7`;
    const command = new Command(['-M', monitor, '-F', sshd.configFile, 'tunnel', remote]);
    expect(await command.ended).toEqual({code: 1, signal: null});
    expect(readFileSync(runs, 'utf8')).toBe('run\n');
    expect(command.count(/ssh exited with status 7; autossh exiting/)).toBe(1);
  });

  test('the last start that is allowed is not given up', async () => {
    const args = ['-M', monitor, '-N', '-F', sshd.configFile, 'tunnel'];
    const command = new Command(args, {env: {AUTOSSH_MAXSTART: '1'}});
    await command.says(/could not be listened on/);
    command.signal('SIGTERM');
    expect(await command.ended).toEqual({code: 1, signal: null});
    expect(command.count(/starting ssh/)).toBe(1);
  });

  test('the gate is there for the ssh that only got another port', async () => {
    const args = ['-M', monitor, '-N', '-F', sshd.configFile, 'tunnel'];
    const command = new Command(args, {env: {AUTOSSH_GATETIME: '30', AUTOSSH_POLL: '1'}});
    await command.says(/starting ssh \(count 2\)/);
    await command.says(/connection ok|There is no heartbeat from now on/);
    // What an ssh does that is asked to end: it exits, with 0 or 255.
    signal(command.ssh, 'SIGTERM');
    expect(await command.ended).toEqual({code: 1, signal: null});
    expect(command.count(/ssh exited prematurely/)).toBe(1);
  });
});

test('each dead predecessor that holds the port at the server is given way to, also when no beat came between them', async () => {
  const sshd = await PrivateSshd.start();
  onTestFinished(() => sshd.stop());
  const args = ['-M', String(await freePort()), '-N', '-F', sshd.configFile, 'tunnel'];
  const command = new Command(args);
  // Server and client are one machine, so the first is refused as well.
  for (const refusals of [1, 2]) {
    await command.says(/could not be listened on for the heartbeat/, {times: refusals});
    await pollUntil('the listener of the loop at the server', () => {
      const listening = new Set(listeningPorts().map(({inode}) => `socket:[${inode}]`));
      const awake = sshd.sessions().filter((pid) => processFacts(pid)?.state !== 'T');
      return awake.some((pid) => openFds(pid).some((file) => listening.has(file)));
    });
    await sshd.freezeSessions();
    signal(command.ssh, 'SIGKILL');
  }
  await command.says(/could not be listened on for the heartbeat/, {times: 3});
  expect(command.count(/There is no heartbeat from now on/)).toBe(0);
});
