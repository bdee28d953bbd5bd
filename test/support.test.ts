import {spawn, type ChildProcess} from 'node:child_process';
import {once as nodeOnce} from 'node:events';
import {existsSync} from 'node:fs';
import {EventEmitter} from 'eventemitter3';
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from 'vitest';
import {
  Namespaces,
  PrivateSshd,
  Relay,
  alive,
  canUseNamespaces,
  collect,
  connectTo,
  decoy,
  descendants,
  dyingWithUs,
  echoServer,
  exchange,
  exchangeOn,
  expectNothingLeft,
  freePort,
  guard,
  holdersOf,
  listeningPorts,
  once,
  ownTemporaryFolder,
  pollUntil,
  readAll,
  snapshot,
  waitForExit,
  type SmallServer,
  type Snapshot,
} from './support/index.js';

let before: Snapshot;
let sshd: PrivateSshd;
let echo: SmallServer;
const started: ChildProcess[] = [];

// The guardian starts with the first thing that is guarded, and stays.
guard('folder', '/nonexistent');

let restoreTemporaryFolder: () => void;
beforeAll(() => {
  restoreTemporaryFolder = ownTemporaryFolder();
});
afterAll(() => {
  restoreTemporaryFolder();
});

beforeEach(async () => {
  before = snapshot();
  [sshd, echo] = await Promise.all([PrivateSshd.start(), echoServer()]);
});

afterEach(async () => {
  await Promise.all(started.splice(0).map((child) => end(child)));
  await Promise.all([sshd.stop(), echo.close()]);
  await expectNothingLeft(before, {within: 2_000, resources: false});
});

/** A plain ssh with one local forward to the echo server; resolves when it says it is in. */
async function plainSsh(configFile = sshd.configFile, ssh = 'ssh'): Promise<{child: ChildProcess; port: number}> {
  const port = await freePort();
  const [command = '', ...args] = dyingWithUs([
    ...[ssh, '-v', '-F', configFile, '-o', 'BatchMode=yes', '-o', 'ExitOnForwardFailure=yes', '-N'],
    ...['-L', `127.0.0.1:${port}:127.0.0.1:${echo.port}`, 'tunnel'],
  ]);
  const child = spawn(command, args, {stdio: ['ignore', 'ignore', 'pipe']});
  started.push(child);
  let said = '';
  await new Promise<void>((resolve, reject) => {
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes('Entering interactive session')) resolve();
    });
    child.once('close', () => {
      reject(new Error(said));
    });
  });
  return {child, port};
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}

describe('the private sshd', () => {
  test('lets ssh -F configFile tunnel in and forwards', async () => {
    const {port} = await plainSsh();
    expect(await exchange({port}, 'through the tunnel')).toBe('through the tunnel');
    expect(sshd.log.join('\n')).toContain(`Accepted publickey for ${sshd.user}`);
  });

  test('knows its sessions and ends them', async () => {
    const {child} = await plainSsh();
    const pids = sshd.sessions();
    expect(pids.length).toBeGreaterThan(0);
    const gone = new Promise((resolve) => child.once('exit', resolve));
    await sshd.killSessions();
    await gone;
    expect(pids.filter(alive)).toEqual([]);
    expect(sshd.sessions()).toEqual([]);
  });

  test('freezes its sessions and thaws them', async () => {
    const {port} = await plainSsh();
    const socket = await connectTo({port});
    expect(await exchangeOn(socket, 'one')).toBe('one');
    await sshd.freezeSessions();
    const answer = exchangeOn(socket, 'two');
    await expect(Promise.race([answer, exchange({port}, 'x', {timeout: 300})])).rejects.toThrow('within 300 ms');
    sshd.thawSessions();
    expect(await answer).toBe('two');
    socket.destroy();
  });

  test('finds its sessions when their listener is gone, and comes back on the same port', async () => {
    const {child, port} = await plainSsh();
    await sshd.stopListening();
    expect(holdersOf(sshd.port)).toEqual([]);
    expect(await exchange({port}, 'still here')).toBe('still here');
    await sshd.restart({keepSessions: true});
    expect(await exchange({port}, 'still here')).toBe('still here');
    const gone = new Promise((resolve) => child.once('exit', resolve));
    await sshd.killSessions();
    await gone;
    const again = await plainSsh();
    expect(await exchange({port: again.port}, 'again')).toBe('again');
  });

  test('stops with a frozen session', async () => {
    await plainSsh();
    const pids = await sshd.freezeSessions();
    await sshd.stop();
    expect(pids.filter(alive)).toEqual([]);
  });

  test('has another key after swapHostKey, which ssh refuses', async () => {
    await sshd.swapHostKey();
    await expect(plainSsh()).rejects.toThrow('Host key verification failed');
  });

  test('takes its extra lines first', async () => {
    const strict = await PrivateSshd.start({config: ['AllowTcpForwarding remote']});
    try {
      const {port} = await plainSsh(strict.configFile);
      await expect(exchange({port})).rejects.toThrow('ended');
    } finally {
      await strict.stop();
    }
  });
});

describe('the relay', () => {
  let relay: Relay;
  beforeEach(async () => {
    relay = await Relay.start(sshd);
  });
  afterEach(() => relay.close());
  const through = (): string => sshd.config(relay);

  test('carries ssh, with delay and rate', async () => {
    const {port} = await plainSsh(through());
    expect(relay.connections).toBe(1);
    relay.delay(50, 20);
    const begin = performance.now();
    expect(await exchange({port})).toBe('ping');
    expect(performance.now() - begin).toBeGreaterThan(100);
    relay.delay(0);
    relay.rate(64 * 1024);
    const passed = relay.passed.up;
    const large = 'x'.repeat(32 * 1024);
    const slow = performance.now();
    expect(await exchange({port}, large)).toBe(large);
    expect(relay.passed.up - passed).toBeGreaterThan(large.length);
    expect(performance.now() - slow).toBeGreaterThan(400);
  });

  test('stops passing and resumes without a loss', async () => {
    const {port} = await plainSsh(through());
    const socket = await connectTo({port});
    expect(await exchangeOn(socket, 'one')).toBe('one');
    relay.stopPassing();
    const answer = exchangeOn(socket, 'two');
    await expect(exchange({port}, 'x', {timeout: 300})).rejects.toThrow('within 300 ms');
    relay.resume();
    expect(await answer).toBe('two');
    socket.destroy();
  });

  test('forgets old connections and carries new ones', async () => {
    const old = await plainSsh(through());
    relay.forgetOld();
    await expect(exchange({port: old.port}, 'x', {timeout: 300})).rejects.toThrow('within 300 ms');
    const young = await plainSsh(through());
    expect(await exchange({port: young.port})).toBe('ping');
  });

  test('cuts, refuses and accepts again', async () => {
    const {child} = await plainSsh(through());
    const gone = new Promise((resolve) => child.once('exit', resolve));
    relay.cut();
    await gone;
    await pollUntil('the server notices', () => sshd.sessions().length === 0);
    await relay.refuse();
    await expect(plainSsh(through())).rejects.toThrow('Connection refused');
    await relay.accept();
    const {port} = await plainSsh(through());
    expect(await exchange({port})).toBe('ping');
  });

  test('holds new connections in the middle of a login', async () => {
    relay.holdNewAfter(1_250);
    const held = nodeOnce(relay, 'held');
    const login = plainSsh(through());
    await held;
    expect(sshd.log.join('\n')).not.toContain('Accepted');
    relay.resume();
    const {port} = await login;
    expect(await exchange({port})).toBe('ping');
  });
});

describe('processes', () => {
  test('are seen with their children, and what is left is told', async () => {
    const child = spawn('sh', ['-c', 'sleep 1000 & wait'], {stdio: 'ignore'});
    const pid = child.pid ?? 0;
    await pollUntil('the grandchild', () => descendants(pid).length === 1);
    const [grandchild = 0] = descendants(pid);
    await end(child);
    // An orphan by now, found by its mark.
    await expect(expectNothingLeft(before, {resources: false})).rejects.toThrow('sleep 1000');
    process.kill(grandchild, 'SIGKILL');
    await waitForExit(grandchild);
  });

  test('listeners are seen with address and holder', async () => {
    const stranger = await decoy();
    expect(holdersOf(stranger.port)).toEqual([process.pid]);
    expect(listeningPorts().find((listener) => listener.port === stranger.port)?.address).toBe('127.0.0.1');
    expect(await readAll(stranger)).toBe('DECOY');
    await stranger.close();
    expect(holdersOf(stranger.port)).toEqual([]);
  });

  test('an interrupted test run leaves neither sshd nor sessions nor folders', async () => {
    const script = `
      import {PrivateSshd, Namespaces, canUseNamespaces} from './test/support/index.ts';
      import {spawn} from 'node:child_process';
      const sshd = await PrivateSshd.start();
      const namespaces = canUseNamespaces() ? await Namespaces.create() : undefined;
      spawn('ssh', ['-F', sshd.configFile, '-N', 'tunnel'], {stdio: 'ignore', detached: true});
      await sshd.waitForLine(/Accepted publickey/, {after: 0});
      await sshd.restart({keepSessions: true});
      const old = sshd.sessions();
      console.log(JSON.stringify({folder: sshd.folder, pids: [sshd.pid, ...old], name: namespaces?.client.name}));
      setInterval(() => {}, 1000);
    `;
    const runner = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    started.push(runner);
    const line = await new Promise<string>((resolve) => {
      runner.stdout.once('data', (chunk: Buffer) => {
        resolve(chunk.toString());
      });
    });
    const {folder, pids, name} = JSON.parse(line) as {folder: string; pids: number[]; name?: string};
    // The listener and the session; the process that logged it in may end by itself at any time.
    const living = pids.filter(alive);
    expect(living).toContain(pids[0]);
    expect(living.length).toBeGreaterThan(1);
    await end(runner);
    await Promise.all(pids.map((pid) => waitForExit(pid)));
    await pollUntil('the folder is gone', () => !existsSync(folder));
    if (name !== undefined) expect(existsSync(`/run/netns/${name}`)).toBe(false);
  });
});

describe('events', () => {
  test('are waited for, with a condition, a bound and an obstacle', async () => {
    const emitter = new EventEmitter<{
      beat: (payload: {n: number}) => void;
      stop: (payload: {reason: string}) => void;
    }>();
    const journal = collect(emitter, ['beat', 'stop']);
    const second = once(emitter, 'beat', {where: ({n}) => n === 2});
    const blocked = once(emitter, 'beat', {where: ({n}) => n === 3, unless: ['stop']});
    emitter.emit('beat', {n: 1});
    emitter.emit('beat', {n: 2});
    expect(await second).toEqual({n: 2});
    emitter.emit('stop', {reason: 'enough'});
    await expect(blocked).rejects.toThrow(`'stop' came before 'beat': {"reason":"enough"}`);
    await expect(once(emitter, 'beat', {timeout: 20})).rejects.toThrow(`No 'beat' within 20 ms`);
    expect(journal.of('beat')).toEqual([{n: 1}, {n: 2}]);
    expect(journal.count('stop')).toBe(1);
    journal.end();
    expect(emitter.eventNames()).toEqual([]);
  });
});

describe.skipIf(!canUseNamespaces())('two hosts on a cable (needs root)', () => {
  let namespaces: Namespaces;
  let remote: PrivateSshd;
  beforeEach(async () => {
    namespaces = await Namespaces.create();
    remote = await PrivateSshd.start({
      listenAddress: namespaces.server.address,
      port: 22,
      wrapper: namespaces.enter(namespaces.server),
    });
  });
  afterEach(async () => {
    await remote.stop();
    await namespaces.close();
  });

  async function tunnel(): Promise<{path: string; child: ChildProcess}> {
    const path = `${namespaces.folder}/${Math.random().toString(36).slice(2)}.sock`;
    const target = `${path}.target`;
    const server = await echoServer({path: target});
    const child = namespaces.spawn(
      namespaces.client,
      ['ssh', '-F', remote.configFile, '-o', 'BatchMode=yes', '-N', '-L', `${path}:${target}`, 'tunnel'],
      {stdio: 'ignore'},
    );
    started.push(child);
    child.once('exit', () => void server.close());
    // The file is there an instant before ssh listens on it.
    let listens = false;
    await pollUntil('the forward', () => {
      if (existsSync(path)) {
        void connectTo({path}).then(
          (socket) => {
            listens = true;
            socket.destroy();
          },
          () => undefined,
        );
      }
      return listens;
    });
    return {path, child};
  }

  test('talk, lose everything, heal', async () => {
    const {path} = await tunnel();
    const socket = await connectTo({path});
    let received = '';
    socket.on('data', (chunk: Buffer) => (received += chunk.toString()));
    socket.write('before');
    await pollUntil('the answer', () => received === 'before');
    expect(namespaces.flows()).toHaveLength(1);
    for (const drop of [
      () => namespaces.dropBoth(),
      () => namespaces.dropOneWay(namespaces.client),
      () => namespaces.dropOneWay(namespaces.server),
    ]) {
      received = '';
      await drop();
      socket.write('during');
      await expect(exchange({path}, 'x', {timeout: 300})).rejects.toThrow('within 300 ms');
      expect(received).toBe('');
      await namespaces.heal();
      // TCP sends again what was lost, on its own timer.
      await pollUntil('the answer', () => received === 'during');
    }
    socket.destroy();
  });

  test('forget one flow and carry others', async () => {
    const old = await tunnel();
    await namespaces.forgetFlow(...namespaces.flows());
    await expect(exchange({path: old.path}, 'x', {timeout: 300})).rejects.toThrow('within 300 ms');
    const young = await tunnel();
    expect(await exchange({path: young.path})).toBe('ping');
  });

  test('have their own resolver and can lose their interface', async () => {
    namespaces.resolveWith(namespaces.client, 'nameserver 10.9.9.9\n');
    expect(await namespaces.run(namespaces.client, ['cat', '/etc/resolv.conf'])).toBe('nameserver 10.9.9.9\n');
    await namespaces.interface(namespaces.client, 'down');
    await expect(namespaces.run(namespaces.client, ['ssh', '-F', remote.configFile, 'tunnel', 'true'])).rejects.toThrow(
      'unreachable',
    );
  });
});
