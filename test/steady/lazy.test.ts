import {describe, expect, test} from 'vitest';
import {alive, canListen, holdersOf, signal, waitForExit} from '../support/index.js';
import {once, patientHeartbeat, placeOf, quickRestart, rejection, setScene, starts, talk} from '../faults/scene.js';
import {Client, client, open, traffic} from './client.js';

const scene = setScene();

describe('lazy', () => {
  test('start() listens and starts no ssh; the first connection does, and is served', async () => {
    const subject = scene.tunnel({lazy: true});
    const {tunnel} = subject;
    await tunnel.start();
    expect(tunnel.state).toBe('waiting');
    expect(tunnel.pid).toBeUndefined();
    expect(starts(subject)).toBe(0);
    const place = placeOf(tunnel);
    expect(holdersOf(place.port ?? 0)).toEqual([process.pid]);
    expect(await talk(tunnel)).toBe('ping');
    expect(starts(subject)).toBe(1);
    expect(placeOf(tunnel)).toEqual(place);
    expect(traffic(tunnel)).toMatchObject({held: 1, total: 1});
  });

  test('connect() and ready() start it too', async () => {
    const first = scene.tunnel({lazy: true});
    await first.tunnel.start();
    const one = new Client(first.tunnel.connect());
    await one.echo('x');
    one.socket.destroy();
    const second = scene.tunnel({lazy: true});
    await second.tunnel.start();
    await second.tunnel.ready();
    expect(second.tunnel.state).toBe('up');
    expect(starts(second)).toBe(1);
  });

  test('many first connections: one ssh', async () => {
    const subject = scene.tunnel({lazy: true});
    await subject.tunnel.start();
    const texts = Array.from({length: 30}, (_, n) => `text ${String(n)}`);
    expect(await Promise.all(texts.map((text) => talk(subject.tunnel, text)))).toEqual(texts);
    expect(starts(subject)).toBe(1);
  });

  test('stop() while nobody has come: nothing was started, and nothing is left', async () => {
    const {tunnel, events} = scene.tunnel({lazy: true});
    await tunnel.start();
    const place = placeOf(tunnel);
    await tunnel.stop();
    expect(events.count('start')).toBe(0);
    expect(events.of('stop')).toEqual([{reason: 'stopped'}]);
    expect(await canListen(place.port ?? 0)).toBe(true);
  });

  test('the first ssh fails for good: who waits is reset, and the tunnel has ended', async () => {
    const {tunnel} = scene.tunnel({lazy: true, sshOptions: {NoSuchOption: 'yes'}});
    await tunnel.start();
    const fatal = once(tunnel, 'fatal');
    const one = await client(tunnel);
    expect(await fatal).toMatchObject({code: 'ERR_AUTOSSH_USAGE'});
    expect(await one.ending).toMatchObject({ended: false, error: 'ECONNRESET'});
    expect(await rejection(tunnel.ready())).toMatchObject({code: 'ERR_AUTOSSH_USAGE'});
  });
});

describe('lazy, wanted before it listens', () => {
  test('by ready()', async () => {
    const {tunnel} = scene.tunnel({lazy: true});
    const started = tunnel.start();
    await Promise.all([tunnel.ready(), started]);
    expect(await talk(tunnel)).toBe('ping');
  });

  test('by connect()', async () => {
    const {tunnel} = scene.tunnel({lazy: true});
    const started = tunnel.start();
    const one = new Client(tunnel.connect());
    await one.echo('early');
    await started;
    one.socket.destroy();
  });
});

test('lazy knows no gate: a server that is away when the first connection comes is waited for', async () => {
  const subject = scene.tunnel({lazy: true, restart: quickRestart});
  const {tunnel} = subject;
  await tunnel.start();
  await scene.sshd.halt();
  const failed = once(tunnel, 'restart');
  const one = await client(tunnel);
  one.socket.write('patience');
  await failed;
  await scene.sshd.restart();
  await one.until('patience');
  one.socket.destroy();
});

describe('idleTimeout', () => {
  test('is no matter while ssh is being replaced', async () => {
    const subject = scene.tunnel({idleTimeout: 50});
    const {tunnel} = subject;
    await tunnel.start();
    // Shorter than any login: it rings while the next ssh is on its way.
    for (let n = 0; n < 5; n++) await tunnel.restart();
    expect(starts(subject)).toBeGreaterThanOrEqual(6);
  });

  test('ends ssh after the last connection, keeps the port, and starts it again for the next', async () => {
    const subject = scene.tunnel({idleTimeout: 150, heartbeat: patientHeartbeat});
    const {tunnel, events} = subject;
    await tunnel.start();
    const place = placeOf(tunnel);
    const {pid = 0} = tunnel;
    const parked = once(tunnel, 'disconnect');
    expect(await talk(tunnel)).toBe('ping');
    expect((await parked).outcome).toMatchObject({
      reason: 'requested',
      message: expect.stringContaining('idleTimeout') as string,
    });
    await waitForExit(pid);
    expect(holdersOf(place.port ?? 0)).toEqual([process.pid]);
    const again = once(tunnel, 'disconnect');
    expect(await talk(tunnel)).toBe('ping');
    expect(placeOf(tunnel)).toEqual(place);
    await again;
    expect(starts(subject)).toBe(2);
    expect(events.count('fatal')).toBe(0);
    await open(tunnel, 0);
    expect(traffic(tunnel)).toMatchObject({failed: 0, refused: 0});
  });

  test('never with one open, however long it says nothing', async () => {
    const subject = scene.tunnel({idleTimeout: 100, heartbeat: patientHeartbeat});
    const {tunnel} = subject;
    await tunnel.start();
    const one = await client(tunnel);
    await one.echo('x');
    // Longer than idleTimeout by as many beats as come meanwhile.
    for (let beats = 0; beats < 5; beats++) await once(tunnel, 'heartbeat');
    expect(starts(subject)).toBe(1);
    expect(tunnel.state).toBe('up');
    await one.echo('y');
    const parked = once(tunnel, 'disconnect');
    one.socket.end();
    await parked;
  });

  test('where nobody ever comes it ends too', async () => {
    const {tunnel} = scene.tunnel({idleTimeout: 100});
    const parked = once(tunnel, 'disconnect');
    await tunnel.start();
    expect((await parked).outcome.reason).toBe('requested');
    expect(tunnel.state).toBe('waiting');
  });

  test('again and again: no backoff, no limit', async () => {
    const subject = scene.tunnel({lazy: true, idleTimeout: 20, restart: {...quickRestart, retries: 1}});
    const {tunnel} = subject;
    await tunnel.start();
    for (let n = 0; n < 5; n++) {
      const parked = once(tunnel, 'disconnect', {unless: ['stop']});
      expect(await talk(tunnel)).toBe('ping');
      await parked;
    }
    expect(starts(subject)).toBe(5);
    expect(tunnel.state).toBe('waiting');
  });

  test('a connection at the moment of parking is served by the next', async () => {
    const subject = scene.tunnel({idleTimeout: 30});
    const {tunnel} = subject;
    await tunnel.start();
    let n = 0;
    tunnel.on('disconnect', () => {
      if (n++ < 3) void talk(tunnel).then((text) => expect(text).toBe('ping'));
    });
    for (let round = 0; round < 4; round++) await once(tunnel, 'disconnect', {unless: ['stop']});
    expect(starts(subject)).toBeGreaterThanOrEqual(4);
  });

  test('ssh is lost while it is wanted: started again as ever; lost while it is not: parked', async () => {
    const subject = scene.tunnel({lazy: true, idleTimeout: 60_000, heartbeat: patientHeartbeat});
    const {tunnel} = subject;
    await tunnel.start();
    await tunnel.ready();
    const {pid = 0} = tunnel;
    const again = once(tunnel, 'connect', {unless: ['stop']});
    signal(pid, 'SIGKILL');
    await again;
    expect(alive(pid)).toBe(false);
    expect(await talk(tunnel)).toBe('ping');
  });
});
