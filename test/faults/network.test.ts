import {afterEach, beforeEach, describe, expect, test} from 'vitest';
import type {AutoSSHOptions} from '../../src/index.js';
import {
  Namespaces,
  PrivateSshd,
  Relay,
  canUseNamespaces,
  connectTo,
  decoy,
  echoServer,
  exchange,
  exchangeOn,
  findProgram,
  fixture,
  freePort,
  guard,
  listeningPorts,
  openFds,
  pollUntil,
  readAll,
  signal,
  waitForState,
  dyingWithUs,
} from '../support/index.js';
import {spawn, type ChildProcess} from 'node:child_process';
import {once as nodeOnce} from 'node:events';
import {join} from 'node:path';
import {createInterface} from 'node:readline';
import {
  once,
  begin,
  patientHeartbeat,
  placeOf,
  quickHeartbeat,
  rejection,
  setScene,
  starts,
  talk,
  type Subject,
} from './scene.js';

describe('through a relay', () => {
  const scene = setScene();
  let relay: Relay;
  beforeEach(async () => {
    relay = await Relay.start(scene.sshd);
  });
  afterEach(() => relay.close());
  const through = (): {configFile: string} => ({configFile: scene.sshd.config(relay)});

  test('the path forgets the flow: detected, and the new ssh works beside the old session', async () => {
    const {tunnel} = await scene.tunnelUp({...through(), heartbeat: quickHeartbeat});
    const old = scene.sshd.sessions();
    const oldPort = loopPort(old);
    expect(oldPort).toBeDefined();
    const lost = once(tunnel, 'disconnect');
    const again = once(tunnel, 'connect', {unless: ['stop']});
    relay.forgetOld();
    expect((await lost).outcome).toMatchObject({reason: 'heartbeat', code: 'ERR_AUTOSSH_HEARTBEAT'});
    await again;
    expect(await talk(tunnel)).toBe('ping');
    // The server does not know yet that the old one is dead, and still holds its port for it.
    expect(loopPort(old)).toBe(oldPort);
    const all = scene.sshd.sessions();
    expect(loopPort(all.filter((pid) => !old.includes(pid)))).not.toBe(oldPort);
  });

  test('nothing passes for a time shorter than the bound: no restart, connections in flight survive', async () => {
    const subject = await scene.tunnelUp({...through(), heartbeat: {interval: 200, timeout: 1_000, maxMisses: 3}});
    const {tunnel} = subject;
    const socket = await connectTo(placeOf(tunnel));
    expect(await exchangeOn(socket, 'before')).toBe('before');
    const miss = once(tunnel, 'heartbeat-miss');
    relay.stopPassing();
    const answer = exchangeOn(socket, 'during');
    expect(await miss).toMatchObject({misses: 1, maxMisses: 3});
    const beat = once(tunnel, 'heartbeat', {unless: ['disconnect', 'stop']});
    relay.resume();
    await beat;
    expect(await answer).toBe('during');
    expect(starts(subject)).toBe(1);
    expect(tunnel.state).toBe('up');
    socket.destroy();
  });

  test('nothing passes for longer: replaced, and no success is claimed before the path is proven', async () => {
    const subject = await scene.tunnelUp({...through(), heartbeat: quickHeartbeat, connectTimeout: 1_000});
    const {tunnel, events} = subject;
    const lost = once(tunnel, 'disconnect');
    relay.stopPassing();
    await lost;
    const attempt = await once(tunnel, 'restart', {where: ({attempt}) => attempt === 2, unless: ['connect', 'stop']});
    expect(attempt.outcome.retryable).toBe(true);
    expect(events.count('connect')).toBe(1);
    const again = once(tunnel, 'connect', {unless: ['stop']});
    relay.resume();
    await again;
    expect(await talk(tunnel)).toBe('ping');
  });

  test('a slow link, 400 ms give or take 100 each way: no false death', async () => {
    const subject = await scene.tunnelUp({...through(), heartbeat: {interval: 200, timeout: 3_000, maxMisses: 2}});
    const {tunnel, events} = subject;
    relay.delay(400, 100);
    await once(tunnel, 'heartbeat', {where: ({rtt}) => rtt > 600, unless: ['disconnect', 'stop']});
    for (let n = 0; n < 3; n++) await once(tunnel, 'heartbeat', {unless: ['disconnect', 'stop']});
    expect(await talk(tunnel)).toBe('ping');
    expect(events.count('heartbeat-miss')).toBe(0);
    expect(starts(subject)).toBe(1);
  });

  test('the connection is reset: a new one at once', async () => {
    const {tunnel} = await scene.tunnelUp({...through(), heartbeat: patientHeartbeat});
    const restart = once(tunnel, 'restart');
    const again = once(tunnel, 'connect', {unless: ['stop']});
    relay.cut();
    expect(await restart).toMatchObject({attempt: 1, delay: 0});
    await again;
    expect(await talk(tunnel)).toBe('ping');
  });
});

describe('the target', () => {
  const scene = setScene({env: {...process.env, RES_OPTIONS: 'timeout:1 attempts:1'}});

  /** A tunnel with a forward to that target beside the one to the echo server. */
  const tunnelTo = (target: {host?: string; port: number}): Promise<Subject> =>
    scene.tunnelUp({
      heartbeat: patientHeartbeat,
      forwards: [
        {type: 'local', name: 'echo', target: {port: scene.echo.port}},
        {type: 'local', name: 'target', target},
      ],
    });

  /** The tunnel itself has noticed nothing: beats go on, the other forward works, ssh is the same. */
  const expectUnmoved = async (subject: Subject): Promise<void> => {
    await once(subject.tunnel, 'heartbeat', {unless: ['disconnect', 'stop']});
    expect(await talk(subject.tunnel, 'beside it', 'echo')).toBe('beside it');
    expect(subject.tunnel.state).toBe('up');
    expect(starts(subject)).toBe(1);
    expect(subject.events.count('restart')).toBe(0);
  };

  test('is down (refused): the tunnel stays up, with a notice, and serves it when it is there', async () => {
    const gone = await decoy();
    await gone.close();
    const subject = await tunnelTo({port: gone.port});
    const warning = once(subject.tunnel, 'warning');
    expect(await readAll(placeOf(subject.tunnel, 'target'))).toBe('');
    const {code, message} = await warning;
    expect(code).toBe('WARN_AUTOSSH_TARGET');
    expect(message).toContain('Connection refused');
    await expectUnmoved(subject);
    scene.use(await decoy(gone.port));
    expect(await readAll(placeOf(subject.tunnel, 'target'))).toBe('DECOY');
  });

  // What proves a tunnel ready there is a request that the server refuses.
  test('is told of where there is no heartbeat, and no other failure is told before it', async () => {
    const gone = await decoy();
    await gone.close();
    const {tunnel} = await scene.tunnelUp({
      heartbeat: false,
      forwards: [
        {type: 'remote', listen: {port: await freePort()}, target: {port: scene.echo.port}},
        {type: 'local', name: 'target', target: {port: gone.port}},
      ],
    });
    const warning = once(tunnel, 'warning');
    expect(await readAll(placeOf(tunnel, 'target'))).toBe('');
    expect((await warning).message).toContain('Connection refused');
    expect(tunnel.stats().targetFailures).toBe(1);
  });

  test('has a wrong name: the same', async () => {
    const subject = await tunnelTo({host: 'no-such-host.invalid', port: 80});
    const warning = once(subject.tunnel, 'warning');
    expect(await readAll(placeOf(subject.tunnel, 'target'))).toBe('');
    expect((await warning).code).toBe('WARN_AUTOSSH_TARGET');
    await expectUnmoved(subject);
  });

  test('is stopped, so it accepts and is silent: the tunnel stays up, answers come when it goes on', async () => {
    const [command = '', ...args] = dyingWithUs([process.execPath, fixture('echo-server.mjs')]);
    const child = spawn(command, args, {stdio: ['ignore', 'pipe', 'inherit']});
    const pid = child.pid ?? 0;
    guard('process', pid);
    scene.use({close: () => end(child)});
    const [line] = (await nodeOnce(createInterface({input: child.stdout}), 'line')) as [string];
    const subject = await tunnelTo({port: Number(line)});
    expect(await talk(subject.tunnel, 'alive', 'target')).toBe('alive');
    signal(pid, 'SIGSTOP');
    await waitForState(pid, 'T');
    const socket = await connectTo(placeOf(subject.tunnel, 'target'));
    const answer = exchangeOn(socket, 'patience');
    for (let n = 0; n < 3; n++) await once(subject.tunnel, 'heartbeat', {unless: ['disconnect', 'stop']});
    await expectUnmoved(subject);
    signal(pid, 'SIGCONT');
    expect(await answer).toBe('patience');
    socket.destroy();
  });
});

describe.skipIf(!canUseNamespaces())('between two hosts (skipped: network namespaces need root)', () => {
  const scene = setScene();
  let namespaces: Namespaces;
  let remote: PrivateSshd;

  beforeEach(async () => {
    namespaces = await Namespaces.create();
    remote = await PrivateSshd.start({
      listenAddress: namespaces.server.address,
      wrapper: namespaces.enter(namespaces.server),
    });
  });
  afterEach(async () => {
    await remote.stop();
    await namespaces.close();
  });

  /** From one host to the other. The forward listens on a socket file, which the test can reach from outside. */
  const apart = async (options: Partial<AutoSSHOptions> = {}): Promise<Partial<AutoSSHOptions>> => {
    const target = join(namespaces.folder, 'target.sock');
    scene.use(await echoServer({path: target}));
    return {
      sshPath: namespaces.launcher(namespaces.client, findProgram('ssh') ?? 'ssh'),
      configFile: remote.configFile,
      forwards: [{type: 'local', listen: {path: join(namespaces.folder, 'forward.sock')}, target: {path: target}}],
      ...options,
    };
  };

  test('the path forgets the flow: detected, and the new ssh works beside the old session', async () => {
    const {tunnel} = await scene.tunnelUp(await apart());
    const old = remote.sessions();
    const oldPort = loopPort(old);
    expect(oldPort).toBeDefined();
    const lost = once(tunnel, 'disconnect');
    const again = once(tunnel, 'connect', {unless: ['stop']});
    await namespaces.forgetFlow(...namespaces.flows());
    expect((await lost).outcome).toMatchObject({reason: 'heartbeat', code: 'ERR_AUTOSSH_HEARTBEAT'});
    await again;
    expect(await talk(tunnel)).toBe('ping');
    expect(loopPort(old)).toBe(oldPort);
  });

  test.each(['both ways', 'from the client', 'from the server'])(
    'nothing passes %s: detected, back when it passes again',
    async (way) => {
      const {tunnel, events} = await scene.tunnelUp(await apart({connectTimeout: 1_000}));
      const lost = once(tunnel, 'disconnect');
      if (way === 'both ways') await namespaces.dropBoth();
      else await namespaces.dropOneWay(way === 'from the client' ? namespaces.client : namespaces.server);
      expect((await lost).outcome).toMatchObject({reason: 'heartbeat', code: 'ERR_AUTOSSH_HEARTBEAT'});
      const attempt = await once(tunnel, 'restart', {where: ({attempt}) => attempt === 2, unless: ['connect', 'stop']});
      expect(attempt.outcome).toMatchObject({code: 'ERR_AUTOSSH_CONNECT', retryable: true});
      expect(events.count('connect')).toBe(1);
      const again = once(tunnel, 'connect', {unless: ['stop']});
      await namespaces.heal();
      await again;
      expect(await talk(tunnel)).toBe('ping');
    },
  );

  test('packets are lost for less than the bound: no restart, connections in flight survive', async () => {
    // TCP sends again after 0.2, 0.6, 1.4, 3.0, 6.2 s: after an outage of t it is back by 2t.
    const subject = await scene.tunnelUp(await apart({heartbeat: {interval: 200, timeout: 2_500, maxMisses: 4}}));
    const {tunnel} = subject;
    const socket = await connectTo(placeOf(tunnel));
    expect(await exchangeOn(socket, 'before')).toBe('before');
    const miss = once(tunnel, 'heartbeat-miss', {unless: ['disconnect']});
    await namespaces.dropBoth();
    const answer = exchangeOn(socket, 'during');
    await miss;
    const beat = once(tunnel, 'heartbeat', {unless: ['disconnect', 'stop']});
    await namespaces.heal();
    await beat;
    expect(await answer).toBe('during');
    expect(starts(subject)).toBe(1);
    socket.destroy();
  });

  test('an interface goes down and comes up: reconnects or survives, but serves', async () => {
    const {tunnel} = await scene.tunnelUp(await apart());
    const lost = once(tunnel, 'disconnect');
    await namespaces.interface(namespaces.client, 'down');
    await lost;
    const attempt = await once(tunnel, 'restart', {where: ({attempt}) => attempt === 2, unless: ['stop']});
    expect(attempt.outcome).toMatchObject({code: 'ERR_AUTOSSH_CONNECT', retryable: true});
    const again = once(tunnel, 'connect', {unless: ['stop']});
    await namespaces.interface(namespaces.client, 'up');
    await again;
    expect(await talk(tunnel)).toBe('ping');
  });

  test('a target is filtered: its connections hang, the tunnel stays up', async () => {
    // An address whose packets go out and are never answered: its hardware address belongs to nobody.
    const nobody = namespaces.server.address.replace(/\d+$/, '77');
    const {name, device} = namespaces.server;
    await namespaces.run(namespaces.server, [
      ...['ip', 'neigh', 'replace', nobody, 'lladdr', '02:00:00:00:00:77', 'dev', device, 'nud', 'permanent'],
    ]);
    const subject = await scene.tunnelUp(
      await apart({
        heartbeat: patientHeartbeat,
        forwards: [
          {
            type: 'local',
            listen: {path: join(namespaces.folder, 'a.sock')},
            target: {path: join(namespaces.folder, 'target.sock')},
          },
          {type: 'local', listen: {path: join(namespaces.folder, 'b.sock')}, target: {host: nobody, port: 80}},
        ],
      }),
    );
    const {tunnel} = subject;
    const socket = await connectTo({path: join(namespaces.folder, 'b.sock')});
    const tables = (): string => namespaces.connections(namespaces.server);
    await pollUntil(`a connection attempt in ${name}`, () => tables().includes(':0050 02 '));
    for (let n = 0; n < 3; n++) await once(tunnel, 'heartbeat', {unless: ['disconnect', 'stop']});
    expect(await exchange({path: join(namespaces.folder, 'a.sock')})).toBe('ping');
    expect(starts(subject)).toBe(1);
    socket.destroy();
  });

  describe('DNS', () => {
    /** A name server that does what it is told: drop, fail, or answer. */
    const nameServer = async (): Promise<(behaviour: 'drop' | 'fail' | 'answer') => Promise<void>> => {
      const {address} = namespaces.server;
      const child = namespaces.spawn(
        namespaces.server,
        [process.execPath, fixture('name-server.mjs'), address, address],
        {
          stdio: ['pipe', 'pipe', 'inherit'],
        },
      );
      scene.use({close: () => end(child)});
      if (child.stdout === null || child.stdin === null) throw new Error('No pipes');
      const lines = createInterface({input: child.stdout});
      const {stdin} = child;
      await nodeOnce(lines, 'line');
      return async (behaviour) => {
        const done = nodeOnce(lines, 'line');
        stdin.write(`${behaviour}\n`);
        await done;
      };
    };
    const byName = async (options: Partial<AutoSSHOptions> = {}): Promise<Partial<AutoSSHOptions>> =>
      apart({
        configFile: remote.config({host: 'server.test'}),
        gateTime: 0,
        ...options,
      });

    test('drops, then fails, then answers: retried, bounded, recovers', async () => {
      const behave = await nameServer();
      await behave('drop');
      namespaces.resolveWith(
        namespaces.client,
        `nameserver ${namespaces.server.address}\noptions timeout:1 attempts:1\n`,
      );
      const {tunnel, events} = scene.tunnel(await byName());
      const dropped = once(tunnel, 'restart', {unless: ['stop']});
      const up = begin(tunnel);
      expect((await dropped).outcome).toMatchObject({code: 'ERR_AUTOSSH_RESOLVE', retryable: true, stage: 'connect'});
      await behave('fail');
      await pollUntil('two failures more', () => events.count('restart') >= 3);
      expect(events.of('restart').at(-1)?.outcome).toMatchObject({code: 'ERR_AUTOSSH_RESOLVE', retryable: true});
      await behave('answer');
      await up;
      expect(await talk(tunnel)).toBe('ping');
    });

    test('fails while the tunnel is up: that changes nothing until it has to reconnect, then it waits for it', async () => {
      const behave = await nameServer();
      await behave('answer');
      namespaces.resolveWith(
        namespaces.client,
        `nameserver ${namespaces.server.address}\noptions timeout:1 attempts:1\n`,
      );
      const subject = await scene.tunnelUp(await byName({heartbeat: patientHeartbeat}));
      const {tunnel} = subject;
      await behave('fail');
      await once(tunnel, 'heartbeat', {unless: ['disconnect', 'stop']});
      expect(starts(subject)).toBe(1);
      const failed = once(tunnel, 'restart', {where: ({attempt}) => attempt === 2, unless: ['stop']});
      await remote.killSessions();
      expect((await failed).outcome).toMatchObject({code: 'ERR_AUTOSSH_RESOLVE'});
      const again = once(tunnel, 'connect', {unless: ['stop']});
      await behave('answer');
      await again;
      expect(await talk(tunnel)).toBe('ping');
    });

    test('hangs: the ready deadline, with the stage named', async () => {
      const behave = await nameServer();
      await behave('drop');
      namespaces.resolveWith(
        namespaces.client,
        `nameserver ${namespaces.server.address}\noptions timeout:30 attempts:5\n`,
      );
      const {tunnel} = scene.tunnel(await byName({gateTime: 30_000, connectTimeout: 1_000, readyTimeout: 2_500}));
      const error = await rejection(tunnel.start());
      expect(error).toMatchObject({code: 'ERR_AUTOSSH_GATE', cause: {code: 'ERR_AUTOSSH_TIMEOUT'}});
      expect(error.message).toMatch(/looking up/);
    });
  });
});

/** The port that the heartbeat of these sessions comes back from. */
function loopPort(sessions: readonly number[]): number | undefined {
  const mine = new Set(sessions);
  return listeningPorts(sessions[0] ?? 'self').find(({inode}) =>
    [...mine].some((pid) => openSockets(pid).includes(inode)),
  )?.port;
}

function openSockets(pid: number): string[] {
  return openFds(pid).flatMap((target) => /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? []);
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = nodeOnce(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}
