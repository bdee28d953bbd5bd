import {once as nodeOnce} from 'node:events';
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {
  Relay,
  alive,
  connectTo,
  exchange,
  freePort,
  holdersOf,
  listeningPorts,
  pollUntil,
  readAll,
  silentServer,
} from '../support/index.js';
import {
  once,
  begin,
  patientHeartbeat,
  placeOf,
  quickHeartbeat,
  quickRestart,
  rejection,
  setScene,
  starts,
  talk,
} from './scene.js';

const scene = setScene();

describe('the server session', () => {
  test('killed: a new one at once', async () => {
    const {tunnel, events} = await scene.tunnelUp({heartbeat: patientHeartbeat});
    const lost = once(tunnel, 'disconnect');
    const restart = once(tunnel, 'restart');
    const again = once(tunnel, 'connect', {unless: ['stop']});
    await scene.sshd.killSessions();
    expect((await lost).outcome).toMatchObject({reason: 'exit', retryable: true, stage: 'up'});
    expect(await restart).toMatchObject({attempt: 1, delay: 0});
    await again;
    expect(await talk(tunnel)).toBe('ping');
    expect(events.count('heartbeat-miss')).toBe(0);
  });

  test('ended politely (TERM): the same', async () => {
    const {tunnel} = await scene.tunnelUp({heartbeat: patientHeartbeat});
    const again = once(tunnel, 'connect', {unless: ['stop']});
    await scene.sshd.killSessions('SIGTERM');
    await again;
    expect(await talk(tunnel)).toBe('ping');
  });

  test('frozen: seen by the heartbeat, a new one works beside it', async () => {
    const {tunnel} = await scene.tunnelUp();
    const lost = once(tunnel, 'disconnect');
    const again = once(tunnel, 'connect', {unless: ['stop']});
    const frozen = await scene.sshd.freezeSessions();
    expect((await lost).outcome).toMatchObject({reason: 'heartbeat', code: 'ERR_AUTOSSH_HEARTBEAT'});
    await again;
    expect(await talk(tunnel)).toBe('ping');
    expect(frozen.filter(alive)).toEqual(frozen);
  });

  test('frozen, in the mode server-alive: seen by ssh itself', async () => {
    const {tunnel} = await scene.tunnelUp({heartbeat: {mode: 'server-alive', interval: 1_000, maxMisses: 1}});
    const lost = once(tunnel, 'disconnect');
    const again = once(tunnel, 'connect', {unless: ['stop']});
    await scene.sshd.freezeSessions();
    expect((await lost).outcome).toMatchObject({reason: 'exit', retryable: true});
    await again;
    expect(await talk(tunnel)).toBe('ping');
  });

  test('frozen, in the mode echo-port: seen by the heartbeat', async () => {
    const {tunnel} = await scene.tunnelUp({
      heartbeat: {...quickHeartbeat, mode: 'echo-port', echoPort: scene.echo.port},
    });
    const lost = once(tunnel, 'disconnect');
    const again = once(tunnel, 'connect', {unless: ['stop']});
    await scene.sshd.freezeSessions();
    expect((await lost).outcome).toMatchObject({reason: 'heartbeat', code: 'ERR_AUTOSSH_HEARTBEAT'});
    await again;
    expect(await talk(tunnel)).toBe('ping');
  });

  test('frozen and thawed again before the bound: nothing happens', async () => {
    const subject = await scene.tunnelUp({heartbeat: {interval: 100, timeout: 1_000, maxMisses: 3}});
    const {tunnel} = subject;
    const miss = once(tunnel, 'heartbeat-miss');
    await scene.sshd.freezeSessions();
    expect(await miss).toMatchObject({misses: 1, maxMisses: 3, reason: 'timeout'});
    const beat = once(tunnel, 'heartbeat', {unless: ['disconnect', 'stop']});
    scene.sshd.thawSessions();
    await beat;
    expect(await talk(tunnel)).toBe('ping');
    expect(starts(subject)).toBe(1);
  });
});

describe('the server is down for a while', () => {
  test('retries with backoff, and is back with the first attempt after it', async () => {
    const {sshd} = scene;
    const {tunnel, events} = await scene.tunnelUp({restart: {...quickRestart, quickFor: 0}});
    const listen = tunnel.forward().listen;
    const lost = once(tunnel, 'disconnect');
    const fourth = once(tunnel, 'restart', {where: ({attempt}) => attempt === 5});
    await sshd.halt();
    await lost;
    await fourth;
    const restarts = events.of('restart');
    expect(restarts.map(({delay}) => delay)).toEqual([0, 50, 100, 200, 400]);
    expect(restarts.slice(1).map(({outcome}) => outcome.code)).toEqual(Array(4).fill('ERR_AUTOSSH_CONNECT'));
    expect(events.count('fatal')).toBe(0);
    const again = once(tunnel, 'connect', {unless: ['stop']});
    await sshd.restart();
    const tried = events.count('start');
    await again;
    // The one that was on its way when the server came back, and the next.
    expect(events.count('start') - tried).toBeLessThanOrEqual(2);
    expect(tunnel.forward().listen).toEqual(listen);
    expect(await talk(tunnel)).toBe('ping');
  });

  test('a tunnel that was up is quick about it: short waits at first', async () => {
    const {tunnel, events} = await scene.tunnelUp({restart: {...quickRestart, quickFor: 60_000}});
    const sixth = once(tunnel, 'restart', {where: ({attempt}) => attempt === 6});
    await scene.sshd.halt();
    await sixth;
    expect(events.of('restart').map(({delay}) => delay)).toEqual([0, 50, 50, 50, 50, 50]);
    const again = once(tunnel, 'connect', {unless: ['stop']});
    await scene.sshd.restart();
    await again;
  });

  test('restart() cuts the wait short', async () => {
    const {tunnel, events} = await scene.tunnelUp({
      restart: {minTimeout: 600_000, maxTimeout: 600_000, randomize: false, quickFor: 0},
    });
    const waits = once(tunnel, 'restart', {where: ({delay}) => delay === 600_000});
    await scene.sshd.halt();
    await waits;
    expect(tunnel.state).toBe('waiting');
    await scene.sshd.restart();
    await tunnel.restart();
    expect(await talk(tunnel)).toBe('ping');
    expect(events.count('fatal')).toBe(0);
  });

  test('from the beginning: fatal inside the gate, retried without one', async () => {
    await scene.sshd.halt();
    const gated = scene.tunnel();
    expect(await rejection(gated.tunnel.start())).toMatchObject({
      code: 'ERR_AUTOSSH_GATE',
      cause: {code: 'ERR_AUTOSSH_CONNECT'},
    });
    expect(starts(gated)).toBe(1);
    const {tunnel} = scene.tunnel({gateTime: 0});
    const second = once(tunnel, 'restart', {where: ({attempt}) => attempt === 2, unless: ['stop']});
    const up = begin(tunnel);
    await second;
    await scene.sshd.restart();
    await up;
    expect(await talk(tunnel)).toBe('ping');
  });

  test('and then gives up after so many retries', async () => {
    const {tunnel, events} = await scene.tunnelUp({restart: {...quickRestart, retries: 3}});
    const fatal = once(tunnel, 'fatal');
    await scene.sshd.halt();
    expect(await fatal).toMatchObject({code: 'ERR_AUTOSSH_GAVE_UP', cause: {code: 'ERR_AUTOSSH_CONNECT'}});
    await tunnel.stop();
    expect(events.count('restart')).toBe(3);
    expect(events.of('stop')).toMatchObject([{reason: 'fatal'}]);
  });
});

describe('a server that accepts and never speaks', () => {
  test('the connect deadline ends each attempt; the real server is found when it is back', async () => {
    const {sshd} = scene;
    await sshd.halt();
    const silent = await silentServer({port: sshd.port});
    const subject = scene.tunnel({gateTime: 0, connectTimeout: 1_000});
    const {tunnel} = subject;
    const second = once(tunnel, 'restart', {where: ({attempt}) => attempt === 2, unless: ['stop']});
    const up = begin(tunnel);
    const {outcome} = await second;
    expect(outcome).toMatchObject({code: 'ERR_AUTOSSH_CONNECT', retryable: true, stage: 'connect', uptime: 0});
    expect(silent.accepted).toBe(2);
    expect(subject.events.count('connect')).toBe(0);
    await silent.close();
    await sshd.restart();
    await up;
    expect(await talk(tunnel)).toBe('ping');
  });

  test('inside the gate that is fatal, and says so', async () => {
    await scene.sshd.halt();
    const silent = scene.use(await silentServer({port: scene.sshd.port}));
    const subject = scene.tunnel({connectTimeout: 1_000});
    expect(await rejection(subject.tunnel.start())).toMatchObject({
      code: 'ERR_AUTOSSH_GATE',
      cause: {code: 'ERR_AUTOSSH_CONNECT'},
    });
    expect(silent.accepted).toBe(1);
  });
});

describe('authentication hangs', () => {
  test('AuthorizedKeysCommand sleeps: the ready deadline, with the stage named', async () => {
    const {sshd} = scene;
    await sshd.restart({
      config: [
        'AuthorizedKeysFile none',
        'AuthorizedKeysCommand /bin/sleep 1000',
        `AuthorizedKeysCommandUser ${sshd.user}`,
      ],
    });
    const {tunnel, events} = scene.tunnel({gateTime: 0, connectTimeout: 1_000, readyTimeout: 2_500});
    const restart = once(tunnel, 'restart', {unless: ['stop']});
    const up = begin(tunnel);
    const {outcome} = await restart;
    expect(outcome).toMatchObject({
      reason: 'timeout',
      code: 'ERR_AUTOSSH_TIMEOUT',
      stage: 'authenticate',
      retryable: true,
    });
    expect(outcome.message).toContain('2500 ms');
    expect(outcome.message).toMatch(/logging in|authenticat/);
    expect(events.count('connect')).toBe(0);
    await sshd.restart({config: []});
    await up;
    expect(await talk(tunnel)).toBe('ping');
  });

  test('the line goes dead in the middle of the login: the same', async () => {
    const relay = scene.use(await Relay.start(scene.sshd));
    // Past the banner and the key exchange begun; the login is some 3000 bytes long.
    relay.holdNewAfter(1_250);
    const {tunnel} = scene.tunnel({
      configFile: scene.sshd.config(relay),
      gateTime: 0,
      connectTimeout: 10_000,
      readyTimeout: 2_500,
    });
    const restart = once(tunnel, 'restart', {unless: ['stop']});
    const up = begin(tunnel);
    const {outcome} = await restart;
    expect(outcome).toMatchObject({reason: 'timeout', code: 'ERR_AUTOSSH_TIMEOUT', stage: 'authenticate'});
    relay.resume();
    await up;
    expect(await talk(tunnel)).toBe('ping');
  });

  test('inside the gate that is fatal, and stop() does not wait for it', async () => {
    const relay = scene.use(await Relay.start(scene.sshd));
    relay.holdNewAfter(1_250);
    const configFile = scene.sshd.config(relay);
    const gated = scene.tunnel({configFile, readyTimeout: 2_000});
    expect(await rejection(gated.tunnel.start())).toMatchObject({
      code: 'ERR_AUTOSSH_GATE',
      cause: {code: 'ERR_AUTOSSH_TIMEOUT'},
    });
    const {tunnel} = scene.tunnel({configFile, readyTimeout: 0});
    const ended = rejection(tunnel.start());
    await nodeOnce(relay, 'held');
    await tunnel.stop();
    expect(await ended).toMatchObject({code: 'ERR_AUTOSSH_STOPPED'});
  });
});

test('a banner that speaks of an allocated port is not taken for one', async () => {
  const banner = join(scene.sshd.folder, 'banner');
  const target = '127.0.0.1:9';
  writeFileSync(banner, `Allocated port 22 for remote forward to ${target}\n`);
  await scene.sshd.restart({config: [`Banner ${banner}`]});
  const {tunnel, events} = await scene.tunnelUp({forwards: [{type: 'remote', listen: '127.0.0.1:0', target}]});
  expect(events.of('stderr').map(({line}) => line)).toContain(`Allocated port 22 for remote forward to ${target}`);
  const port = tunnel.stats().forwards[0]?.listen.port ?? 0;
  expect(port).not.toBe(22);
  expect(holdersOf(port)).not.toEqual([]);
});

describe('the server refuses remote forwards', () => {
  const policies = [['AllowTcpForwarding local'], ['PermitListen none']];

  test.each(policies)(
    '%s: the heartbeat goes on with server-alive, with a warning and no restart loop',
    async (policy) => {
      await scene.sshd.restart({config: [policy]});
      const subject = scene.tunnel();
      const {tunnel, events} = subject;
      const warning = once(tunnel, 'warning', {unless: ['stop']});
      await tunnel.start();
      expect(await warning).toMatchObject({code: 'WARN_AUTOSSH_HEARTBEAT_DEGRADED'});
      expect(await talk(tunnel)).toBe('ping');
      const used = starts(subject);
      // ssh is told no reason for a refusal: another port is worth one more try.
      expect(used).toBeLessThanOrEqual(3);
      expect(events.count('restart')).toBe(0);
      // Not asked for again when there is another reason to start anew.
      const again = once(tunnel, 'connect', {unless: ['stop']});
      await scene.sshd.killSessions();
      await again;
      expect(starts(subject)).toBe(used + 1);
      expect(await talk(tunnel)).toBe('ping');
      expect(events.of('warning').filter(({code}) => code === 'WARN_AUTOSSH_HEARTBEAT_DEGRADED')).toHaveLength(1);
    },
  );

  test('AllowTcpForwarding local: after that a frozen session is still noticed, by ssh itself', async () => {
    await scene.sshd.restart({config: ['AllowTcpForwarding local']});
    const {tunnel} = await scene.tunnelUp({heartbeat: {interval: 1_000, timeout: 1_000, maxMisses: 1}});
    const lost = once(tunnel, 'disconnect');
    await scene.sshd.freezeSessions();
    expect((await lost).outcome).toMatchObject({retryable: true});
    await once(tunnel, 'connect', {unless: ['stop']});
    expect(await talk(tunnel)).toBe('ping');
  });

  test('AllowTcpForwarding no: neither heartbeat nor local forward, but no restart loop', async () => {
    await scene.sshd.restart({config: ['AllowTcpForwarding no']});
    const subject = scene.tunnel();
    await subject.tunnel.start();
    expect(await readAll(placeOf(subject.tunnel))).toBe('');
    expect(starts(subject)).toBeLessThanOrEqual(3);
    expect(subject.events.of('warning').map(({code}) => code)).toContain('WARN_AUTOSSH_HEARTBEAT_DEGRADED');
  });

  test.each(policies)('%s: a remote forward the user asked for is a clear error', async (policy) => {
    await scene.sshd.restart({config: [policy]});
    const port = await freePort();
    const subject = scene.tunnel({forwards: [{type: 'remote', listen: {port}, target: {port: scene.echo.port}}]});
    const error = await rejection(subject.tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_GATE', cause: {code: 'ERR_AUTOSSH_FORWARD'}});
    expect(error.message).toContain(String(port));
    expect(starts(subject)).toBeLessThanOrEqual(3);
    expect(holdersOf(port)).toEqual([]);
  });

  test('a remote forward is refused from some day on: retried with backoff, no storm', async () => {
    const port = await freePort();
    const {tunnel, events} = await scene.tunnelUp({
      forwards: [{type: 'remote', listen: {port}, target: {port: scene.echo.port}}],
      restart: {...quickRestart, quickFor: 0},
    });
    expect(await exchange({port})).toBe('ping');
    const fifth = once(tunnel, 'restart', {where: ({attempt}) => attempt === 5, unless: ['stop']});
    await scene.sshd.restart({config: ['AllowTcpForwarding local']});
    await fifth;
    expect(events.of('restart').map(({delay}) => delay)).toEqual([0, 50, 100, 200, 400]);
    const outcome = events.of('restart').at(-1)?.outcome;
    expect(outcome).toMatchObject({code: 'ERR_AUTOSSH_FORWARD', retryable: true});
    expect(outcome?.message).toContain(String(port));
    expect(events.count('connect')).toBe(1);
    const again = once(tunnel, 'connect', {unless: ['stop']});
    await scene.sshd.restart({config: []});
    await again;
    expect(await exchange({port})).toBe('ping');
  });
});

describe('the server has too many connections (MaxStartups 1:100:1)', () => {
  test('backs off longer than for a server that is away, and is back when there is room', async () => {
    const {sshd} = scene;
    await sshd.restart({config: ['MaxStartups 1:100:1']});
    const {tunnel, events} = await scene.tunnelUp({restart: {...quickRestart, maxTimeout: 60_000, quickFor: 0}});
    const idle = await connectTo({port: sshd.port});
    await sshd.waitForLine(/^Connection from/);
    const throttled = once(tunnel, 'restart', {where: ({outcome}) => outcome.throttled, unless: ['stop']});
    // Only those that are through their login: the idle one stays, and with it the door is shut.
    await pollUntil('both connections', () => sshd.sessions().length >= 2);
    const pid = tunnel.pid ?? 0;
    process.kill(pid, 'SIGKILL');
    const {outcome, delay} = await throttled;
    expect(outcome).toMatchObject({retryable: true, stage: 'connect', code: 'ERR_AUTOSSH_CONNECT'});
    expect(delay).toBeGreaterThanOrEqual(500);
    idle.destroy();
    await once(tunnel, 'connect', {unless: ['stop']});
    expect(await talk(tunnel)).toBe('ping');
    expect(events.count('fatal')).toBe(0);
  });
});

test('the heartbeat uses a port at the server that only its own host can reach, and gives it back', async () => {
  const {sshd} = scene;
  const {tunnel} = await scene.tunnelUp();
  const mine = new Set(sshd.sessions());
  const held = listeningPorts().filter(({port}) => holdersOf(port).some((pid) => mine.has(pid)));
  expect(held.map(({address}) => address)).toEqual(['127.0.0.1']);
  await tunnel.stop();
  await pollUntil('the port is free', () => held.every(({port}) => holdersOf(port).length === 0));
});
