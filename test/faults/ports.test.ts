import {describe, expect, test} from 'vitest';
import {
  Relay,
  alive,
  canListen,
  decoy,
  exchange,
  freePort,
  holdersOf,
  listeningPorts,
  pollUntil,
  readAll,
} from '../support/index.js';
import {once, begin, placeOf, quickHeartbeat, quickRestart, rejection, setScene, starts, talk} from './scene.js';

const scene = setScene();
const hasIPv6 = await canListen(0, '::1');

describe('the local port is taken', () => {
  test('127.0.0.1, before the start: fatal at once, with port and holder', async () => {
    const stranger = scene.use(await decoy());
    const subject = scene.tunnel({
      forwards: [{type: 'local', listen: {port: stranger.port}, target: {port: scene.echo.port}}],
      gateTime: 0,
    });
    const error = await rejection(subject.tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_FORWARD'});
    expect(error.message).toContain(`127.0.0.1:${stranger.port}`);
    expect(error.message).toContain(String(process.pid));
    expect(subject.events.count('connect')).toBe(0);
    expect(subject.events.count('restart')).toBe(0);
    expect(starts(subject)).toBeLessThanOrEqual(1);
    // What is in somebody else's hands is never handed out.
    expect(subject.tunnel.forwards).toEqual([]);
    expect(await readAll(stranger)).toBe('DECOY');
  });

  test.skipIf(!hasIPv6)('::1 only, forward on 127.0.0.1: no concern of ours', async () => {
    const port = await freePort();
    const stranger = scene.use(await decoy(port, '::1'));
    const {tunnel} = await scene.tunnelUp({
      forwards: [{type: 'local', listen: {port}, target: {port: scene.echo.port}}],
    });
    expect(tunnel.forward().listen).toEqual({host: '127.0.0.1', port});
    expect(await talk(tunnel, 'not the decoy')).toBe('not the decoy');
    expect(await readAll(stranger)).toBe('DECOY');
  });

  test.skipIf(!hasIPv6)('127.0.0.1 only, forward on ::1: no concern of ours either', async () => {
    const stranger = scene.use(await decoy());
    const {port} = stranger;
    const {tunnel} = await scene.tunnelUp({
      forwards: [{type: 'local', listen: {host: '::1', port}, target: {port: scene.echo.port}}],
    });
    expect(tunnel.forward().listen).toEqual({host: '::1', port});
    expect(await exchange({host: '::1', port}, 'not the decoy')).toBe('not the decoy');
  });

  test.skipIf(!hasIPv6).each(['127.0.0.1', '::1'])(
    '%s only, forward on "localhost", which is both: never half of it',
    async (host) => {
      const port = await freePort();
      scene.use(await decoy(port, host));
      const subject = scene.tunnel({forwards: [`-L localhost:${port}:127.0.0.1:${scene.echo.port}`]});
      const outcome = await subject.tunnel.start().then(
        () => 'up',
        (error: unknown) => (error as {code: string}).code,
      );
      if (outcome === 'up') {
        // Then the one address that is said to be bound is really ours.
        const place = placeOf(subject.tunnel);
        expect(place).not.toEqual({host, port});
        expect(await exchange(place)).toBe('ping');
      } else expect(outcome).toBe('ERR_AUTOSSH_FORWARD');
    },
  );

  test.skipIf(!hasIPv6)('both: fatal at once', async () => {
    const stranger = scene.use(await decoy());
    scene.use(await decoy(stranger.port, '::1'));
    const {tunnel} = scene.tunnel({forwards: [`-L localhost:${stranger.port}:127.0.0.1:${scene.echo.port}`]});
    const error = await rejection(tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_FORWARD'});
    expect(error.message).toContain(String(stranger.port));
  });

  test('one of several forwards: none of them is left bound', async () => {
    const stranger = scene.use(await decoy());
    const free = await freePort();
    const {tunnel} = scene.tunnel({
      forwards: [
        {type: 'local', listen: {port: free}, target: {port: scene.echo.port}},
        {type: 'local', listen: {port: stranger.port}, target: {port: scene.echo.port}},
      ],
    });
    const error = await rejection(tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_FORWARD'});
    expect(error.message).toContain(String(stranger.port));
    expect(holdersOf(free)).toEqual([]);
  });

  // Without a beat there is less to prove it by: ssh binds what it can before it ends for what it could not.
  test.each([false, {mode: 'server-alive'}] as const)(
    '127.0.0.1, with the heartbeat %j: never said to be up, however often it is tried',
    async (heartbeat) => {
      const stranger = scene.use(await decoy());
      const subjects = await Promise.all(
        Array.from({length: 12}, async () => {
          const subject = scene.tunnel({
            forwards: [{type: 'local', listen: {port: stranger.port}, target: {port: scene.echo.port}}],
            heartbeat,
          });
          expect(await rejection(subject.tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_FORWARD'});
          return subject;
        }),
      );
      expect(subjects.map(({events}) => events.count('connect'))).toEqual(Array(12).fill(0));
    },
  );

  test('by a SOCKS forward: the same', async () => {
    const stranger = scene.use(await decoy());
    const {tunnel} = scene.tunnel({forwards: [{type: 'dynamic', listen: {port: stranger.port}}]});
    const error = await rejection(tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_FORWARD'});
    expect(error.message).toContain(String(stranger.port));
  });

  test.each(['given by the user', 'chosen for the user'])(
    '127.0.0.1 of a direct forward, during a backoff, %s: retried, the decoy is never handed out, the port stays the same',
    async (origin) => {
      const fixed = await freePort();
      const {tunnel, events} = await scene.tunnelUp({
        forwards: [
          {
            type: 'local',
            steady: false,
            ...(origin === 'given by the user' && {listen: {port: fixed}}),
            target: {port: scene.echo.port},
          },
        ],
        restart: {...quickRestart, quickFor: 0},
      });
      const place = placeOf(tunnel) as {host: string; port: number};
      const waits = once(tunnel, 'restart', {where: ({attempt}) => attempt === 2, unless: ['stop']});
      await scene.sshd.halt();
      await waits;
      const stranger = await decoy(place.port);
      const taken = once(tunnel, 'restart', {
        where: ({outcome}) => outcome.code === 'ERR_AUTOSSH_FORWARD',
        unless: ['connect', 'stop'],
      });
      await scene.sshd.restart();
      const {outcome} = await taken;
      expect(outcome).toMatchObject({retryable: true, uptime: 0});
      expect(outcome.message).toContain(String(place.port));
      expect(outcome.message).toContain(String(process.pid));
      await once(tunnel, 'restart', {unless: ['connect', 'stop']});
      expect(events.count('connect')).toBe(1);
      expect(await readAll(place)).toBe('DECOY');
      const again = once(tunnel, 'connect', {unless: ['stop']});
      await stranger.close();
      const {forwards} = await again;
      expect(forwards[0]?.listen).toEqual(place);
      expect(await talk(tunnel)).toBe('ping');
    },
  );

  test('127.0.0.1 of a steady forward, during a backoff: nobody else can have it', async () => {
    const {tunnel} = await scene.tunnelUp();
    const place = placeOf(tunnel) as {host: string; port: number};
    const waits = once(tunnel, 'restart', {where: ({attempt}) => attempt === 2, unless: ['stop']});
    await scene.sshd.halt();
    await waits;
    await expect(decoy(place.port)).rejects.toThrow('EADDRINUSE');
    const again = once(tunnel, 'connect', {unless: ['stop']});
    await scene.sshd.restart();
    await again;
    expect(await talk(tunnel)).toBe('ping');
  });

  test.skipIf(!hasIPv6)('::1, during a backoff: no concern of ours', async () => {
    const {tunnel} = await scene.tunnelUp();
    const place = placeOf(tunnel) as {host: string; port: number};
    const waits = once(tunnel, 'restart', {where: ({attempt}) => attempt === 2, unless: ['stop']});
    await scene.sshd.halt();
    await waits;
    scene.use(await decoy(place.port, '::1'));
    const again = once(tunnel, 'connect', {unless: ['stop']});
    await scene.sshd.restart();
    await again;
    expect(tunnel.forward().listen).toEqual(place);
    expect(await talk(tunnel)).toBe('ping');
  });

  test('many at once: every ephemeral port is another one, and all of them are bound on 127.0.0.1 alone', async () => {
    const {tunnel} = await scene.tunnelUp({
      forwards: Array.from({length: 10}, () => ({type: 'local' as const, target: {port: scene.echo.port}})),
    });
    const ports = tunnel.forwards.map(({listen}) => listen.port ?? 0);
    expect(new Set(ports).size).toBe(10);
    for (const port of ports) {
      const addresses = listeningPorts().filter((listener) => listener.port === port);
      expect(addresses.map(({address}) => address)).toEqual(['127.0.0.1']);
    }
  });
});

describe('the remote port is taken', () => {
  test('by a stranger, before the start: a clear error, fatal inside the gate', async () => {
    const stranger = scene.use(await decoy());
    const subject = scene.tunnel({
      forwards: [{type: 'remote', listen: {port: stranger.port}, target: {port: scene.echo.port}}],
    });
    const error = await rejection(subject.tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_GATE', cause: {code: 'ERR_AUTOSSH_FORWARD'}});
    expect(error.message).toContain(String(stranger.port));
    expect(subject.events.count('connect')).toBe(0);
  });

  test.each([false, {mode: 'server-alive'}] as const)(
    'by a stranger, with heartbeat %j: never said to be ready',
    async (heartbeat) => {
      const stranger = scene.use(await decoy());
      const subject = scene.tunnel({
        forwards: [{type: 'remote', listen: {port: stranger.port}, target: {port: scene.echo.port}}],
        heartbeat,
      });
      expect(await rejection(subject.tunnel.start())).toMatchObject({
        code: 'ERR_AUTOSSH_GATE',
        cause: {code: 'ERR_AUTOSSH_FORWARD'},
      });
      expect(subject.events.count('connect')).toBe(0);
    },
  );

  test('by a stranger, without a gate: retried with backoff until it is free', async () => {
    const stranger = await decoy();
    const {port} = stranger;
    const {tunnel, events} = scene.tunnel({
      forwards: [{type: 'remote', listen: {port}, target: {port: scene.echo.port}}],
      gateTime: 0,
    });
    const fourth = once(tunnel, 'restart', {where: ({attempt}) => attempt === 4, unless: ['stop']});
    const up = begin(tunnel);
    await fourth;
    expect(events.of('restart').map(({delay}) => delay)).toEqual([50, 100, 200, 400]);
    expect(events.of('restart').every(({outcome}) => outcome.code === 'ERR_AUTOSSH_FORWARD')).toBe(true);
    await stranger.close();
    await up;
    expect(await exchange({port})).toBe('ping');
  });

  test('by our own dead predecessor, whose death the server has not noticed: retried without a storm', async () => {
    const port = await freePort();
    const relay = scene.use(await Relay.start(scene.sshd));
    const {tunnel, events} = await scene.tunnelUp({
      configFile: scene.sshd.config(relay),
      forwards: [{type: 'remote', listen: {port}, target: {port: scene.echo.port}}],
      heartbeat: quickHeartbeat,
      restart: {...quickRestart, quickFor: 0},
    });
    expect(await exchange({port})).toBe('ping');
    const old = scene.sshd.sessions();
    const fifth = once(tunnel, 'restart', {where: ({attempt}) => attempt === 5, unless: ['connect', 'stop']});
    relay.forgetOld();
    await fifth;
    const restarts = events.of('restart');
    expect(restarts.map(({delay}) => delay)).toEqual([0, 50, 100, 200, 400]);
    expect(restarts[0]?.outcome.code).toBe('ERR_AUTOSSH_HEARTBEAT');
    expect(restarts.slice(1).every(({outcome}) => outcome.code === 'ERR_AUTOSSH_FORWARD')).toBe(true);
    expect(restarts[4]?.outcome.message).toContain(String(port));
    expect(old.filter(alive)).toEqual(old);
    // The server gives it up at last.
    const again = once(tunnel, 'connect', {unless: ['stop']});
    for (const pid of old) process.kill(pid, 'SIGKILL');
    await again;
    expect(await exchange({port})).toBe('ping');
  });

  test('port 0: the server chooses, the choice is told, after a restart too', async () => {
    const {tunnel} = await scene.tunnelUp({
      forwards: [{type: 'remote', listen: {port: 0}, target: {port: scene.echo.port}}],
    });
    const port = (): number => (placeOf(tunnel) as {port: number}).port;
    expect(await exchange({port: port()})).toBe('ping');
    const again = once(tunnel, 'connect', {unless: ['stop']});
    await scene.sshd.killSessions();
    await again;
    expect(await exchange({port: port()})).toBe('ping');
  });

  test("by a stranger, and it is the heartbeat's own fixed one: another is used, with a warning", async () => {
    const stranger = scene.use(await decoy());
    const subject = scene.tunnel({heartbeat: {...quickHeartbeat, remotePort: stranger.port}});
    const warning = once(subject.tunnel, 'warning', {unless: ['stop']});
    await subject.tunnel.start();
    expect((await warning).code).toBe('WARN_AUTOSSH_HEARTBEAT_PORT');
    expect(await talk(subject.tunnel)).toBe('ping');
    await once(subject.tunnel, 'heartbeat');
    expect(starts(subject)).toBeLessThanOrEqual(2);
  });
});

describe('a socket file is in the way', () => {
  test('one that a killed ssh has left behind: replaced', async () => {
    const path = `${scene.sshd.folder}/forward.sock`;
    const {tunnel} = await scene.tunnelUp({
      forwards: [{type: 'local', listen: {path}, target: {port: scene.echo.port}}],
    });
    const again = once(tunnel, 'connect', {unless: ['stop']});
    process.kill(tunnel.pid ?? 0, 'SIGKILL');
    await again;
    await pollUntil('the forward', () => tunnel.state === 'up');
    expect(await exchange({path})).toBe('ping');
  });
});
