import {once as nodeOnce} from 'node:events';
import {describe, expect, test} from 'vitest';
import {canListen, connectTo, decoy, exchangeOn, freePort, holdersOf, serve, signal} from '../support/index.js';
import {begin, once, patientHeartbeat, placeOf, rejection, setScene, talk} from '../faults/scene.js';
import {client, traffic} from './client.js';

const scene = setScene();

describe('a steady forward', () => {
  test('port 0: the kernel chooses, and this process listens; ssh has no port at all', async () => {
    const {tunnel} = await scene.tunnelUp();
    const {listen} = tunnel.forward();
    const port = listen.port ?? 0;
    expect(port).toBeGreaterThan(0);
    expect(listen).toEqual({host: '127.0.0.1', port});
    expect(tunnel.forward()).toMatchObject({steady: true, type: 'local'});
    expect(holdersOf(port)).toEqual([process.pid]);
  });

  test('two of them have two ports', async () => {
    const to = `127.0.0.1:${String(scene.echo.port)}`;
    const {tunnel} = await scene.tunnelUp({forwards: [`-L 0:${to}`, `-L 0:${to}`, '-D 0']});
    expect(new Set(tunnel.forwards.map(({listen}) => JSON.stringify(listen))).size).toBe(3);
    expect(await Promise.all([talk(tunnel, 'one', 0), talk(tunnel, 'two', 1)])).toEqual(['one', 'two']);
  });

  test('the port is held from start() to stop(), whatever becomes of ssh', async () => {
    const port = await freePort();
    const {tunnel, events} = scene.tunnel({
      forwards: [`-L ${String(port)}:127.0.0.1:${String(scene.echo.port)}`],
      heartbeat: patientHeartbeat,
    });
    const held: boolean[] = [];
    tunnel.on('state', ({from, to}) => {
      if (from !== 'idle' && to !== 'stopping' && to !== 'stopped')
        held.push(holdersOf(port).join() === String(process.pid));
    });
    expect(await canListen(port)).toBe(true);
    await tunnel.start();
    for (const fault of ['SIGKILL', 'SIGTERM', 'restart'] as const) {
      const again = once(tunnel, 'connect', {unless: ['stop']});
      if (fault === 'restart') void tunnel.restart();
      else signal(tunnel.pid ?? 0, fault);
      await again;
      expect(placeOf(tunnel)).toEqual({host: '127.0.0.1', port});
      expect(await talk(tunnel)).toBe('ping');
    }
    const lost = once(tunnel, 'disconnect', {where: () => tunnel.state === 'waiting'});
    await scene.sshd.halt();
    await lost;
    expect(holdersOf(port)).toEqual([process.pid]);
    expect(events.count('state')).toBeGreaterThan(6);
    expect(held.every(Boolean)).toBe(true);
    await tunnel.stop();
    expect(holdersOf(port)).toEqual([]);
    expect(await canListen(port)).toBe(true);
  });

  test('the port is there before ssh is ready, and who comes then is served', async () => {
    const port = await freePort();
    const {tunnel} = scene.tunnel({forwards: [`-L ${String(port)}:127.0.0.1:${String(scene.echo.port)}`]});
    const started = once(tunnel, 'start');
    const up = begin(tunnel);
    await started;
    const socket = await connectTo({port});
    expect(tunnel.state).toBe('starting');
    expect(await exchangeOn(socket, 'early')).toBe('early');
    socket.destroy();
    await up;
    expect(traffic(tunnel)).toMatchObject({held: 1, total: 1});
  });

  test('on IPv6', async () => {
    const {tunnel} = await scene.tunnelUp({
      forwards: [{type: 'local', listen: {host: '::1', port: 0}, target: {port: scene.echo.port}}],
    });
    expect(tunnel.forward().listen).toMatchObject({host: '::1'});
  });

  test('its port is taken: fatal at once, with the holder, and no ssh is started', async () => {
    const stranger = scene.use(await decoy());
    const {tunnel, events} = scene.tunnel({
      forwards: ['-D 0', `-L ${String(stranger.port)}:127.0.0.1:${String(scene.echo.port)}`],
      gateTime: 0,
    });
    const error = await rejection(tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_FORWARD', retryable: false});
    expect(error.message).toContain(`127.0.0.1:${String(stranger.port)}`);
    expect(error.message).toContain(`pid ${String(process.pid)}`);
    expect(events.count('start')).toBe(0);
    expect(events.of('stop')).toMatchObject([{reason: 'fatal'}]);
  });

  test('to a Unix socket of the server', async () => {
    const path = `${scene.sshd.folder}/target.sock`;
    scene.use(await serve({path}, (socket) => socket.pipe(socket)));
    const {tunnel} = await scene.tunnelUp({forwards: [{type: 'local', target: {path}}]});
    expect(await talk(tunnel)).toBe('ping');
  });
});

test('a dynamic one speaks SOCKS, over a restart too', async () => {
  const {tunnel} = scene.tunnel({forwards: [{type: 'dynamic'}], heartbeat: patientHeartbeat});
  await tunnel.start();
  for (const text of ['first', 'second']) {
    const one = await client(tunnel);
    one.socket.write(Buffer.from([5, 1, 0]));
    await one.until('\x05\x00');
    const port = [scene.echo.port >> 8, scene.echo.port & 0xff];
    one.socket.write(Buffer.from([5, 1, 0, 1, 127, 0, 0, 1, ...port]));
    await one.until('\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00');
    await one.echo(text);
    one.socket.end();
    expect(await one.ending).toMatchObject({ended: true, error: undefined});
    await tunnel.restart();
  }
});

test('steady: false: ssh listens itself, as before', async () => {
  const {tunnel} = await scene.tunnelUp({
    forwards: [{type: 'local', target: {port: scene.echo.port}, steady: false}, {type: 'dynamic'}],
  });
  const {listen} = tunnel.forward();
  expect(tunnel.forward()).toMatchObject({steady: false});
  expect(holdersOf(listen.port ?? 0)).toEqual([tunnel.pid]);
  expect(tunnel.stats().forwards.map(({connections}) => connections?.total)).toEqual([undefined, 0]);
  expect(() => tunnel.connect(0)).toThrow(RangeError);
});

test('the library keeps no process alive by a listener or a connection once it is told so', async () => {
  const {tunnel} = await scene.tunnelUp();
  const before = process.getActiveResourcesInfo().filter((kind) => kind === 'TCPServerWrap').length;
  tunnel.unref();
  const one = await client(tunnel);
  await one.echo('x');
  // Listeners and sockets of the library are unreferenced at all times; its anchor is the one that counts.
  expect(process.getActiveResourcesInfo().filter((kind) => kind === 'TCPServerWrap').length).toBe(before);
  const closed = nodeOnce(one.socket, 'close');
  one.socket.destroy();
  await closed;
});
