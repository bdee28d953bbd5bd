import {describe, expect, test} from 'vitest';
import {createHash} from 'node:crypto';
import {Relay, patience, pollUntil, serve, signal, sink, waitForState, within} from '../support/index.js';
import {once, quickHeartbeat, setScene, starts, talk} from '../faults/scene.js';
import {client, open, traffic, waiting} from './client.js';

const scene = setScene();

describe('a beat is missed', () => {
  test('new connections wait until ssh is given up, and are served by the next; none is lost', async () => {
    const subject = await scene.tunnelUp({heartbeat: quickHeartbeat});
    const {tunnel, events} = subject;
    await open(tunnel, 0);
    const old = tunnel.pid ?? 0;
    signal(old, 'SIGSTOP');
    await waitForState(old, 'T');
    const texts = Array.from({length: 30}, (_, n) => `text ${String(n)}`);
    expect(await Promise.all(texts.map((text) => talk(tunnel, text)))).toEqual(texts);
    expect(starts(subject)).toBe(2);
    await open(tunnel, 0);
    expect(traffic(tunnel)).toMatchObject({held: 30, failed: 0, refused: 0});
    expect(events.of('connection-end').map(({end}) => end)).not.toContain('cut');
  });

  test('and the next comes back: they go on through the same ssh', async () => {
    const subject = await scene.tunnelUp({heartbeat: {interval: 200, timeout: 300, maxMisses: 100}});
    const {tunnel} = subject;
    const pid = tunnel.pid ?? 0;
    const missed = once(tunnel, 'heartbeat-miss');
    signal(pid, 'SIGSTOP');
    await missed;
    const one = await client(tunnel);
    one.socket.write('patience');
    await waiting(tunnel, 1);
    signal(pid, 'SIGCONT');
    await one.until('patience');
    expect(tunnel.pid).toBe(pid);
    expect(starts(subject)).toBe(1);
    one.socket.destroy();
  });

  test('a connection that is open is not cut by it, and goes on when the tunnel does', async () => {
    const subject = await scene.tunnelUp({heartbeat: {interval: 200, timeout: 300, maxMisses: 100}});
    const {tunnel} = subject;
    const pid = tunnel.pid ?? 0;
    const one = await client(tunnel);
    await one.echo('before ');
    const missed = once(tunnel, 'heartbeat-miss');
    signal(pid, 'SIGSTOP');
    await missed;
    one.socket.write('meanwhile');
    signal(pid, 'SIGCONT');
    await one.until('before meanwhile');
    one.socket.destroy();
  });

  test('without a heartbeat a frozen ssh is entered as it is, and nothing is lost when it goes on', async () => {
    const {tunnel} = await scene.tunnelUp({heartbeat: false});
    const pid = tunnel.pid ?? 0;
    signal(pid, 'SIGSTOP');
    await waitForState(pid, 'T');
    const one = await client(tunnel);
    one.socket.write('later');
    await open(tunnel, 1);
    signal(pid, 'SIGCONT');
    await one.until('later');
    one.socket.destroy();
  });
});

describe('the link is saturated', () => {
  test('a bulk transfer holds the beats up: what arrives counts as life, and nothing is replaced', async () => {
    const relay = scene.use(await Relay.start({port: scene.sshd.port}));
    const bytes = 1_500_000;
    const chunk = Buffer.alloc(bytes, 'bulk data that has to come out as it went in; ');
    const source = scene.use(await serve({}, (socket) => socket.end(chunk)));
    const subject = scene.tunnel({
      configFile: scene.sshd.config({port: relay.port}),
      forwards: [`-L 0:127.0.0.1:${String(source.port)}`],
      heartbeat: {interval: 100, timeout: 400, maxMisses: 1},
    });
    const {tunnel, events} = subject;
    await tunnel.start();
    relay.rate(300_000);
    const one = await client(tunnel);
    one.socket.end();
    const {text, ended} = await within(patience, 'the transfer', one.ending);
    expect(ended).toBe(true);
    const digest = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex');
    expect(digest(Buffer.from(text, 'latin1'))).toBe(digest(chunk));
    expect(events.count('disconnect')).toBe(0);
    expect(starts(subject)).toBe(1);
    // Or else nothing was saturated, and nothing is shown by this.
    expect(Math.max(...events.of('heartbeat').map(({rtt}) => rtt))).toBeGreaterThan(400);
  });

  test('an upload holds the beats up: that its queue moves counts as life, and nothing is replaced', async () => {
    const relay = scene.use(await Relay.start({port: scene.sshd.port}));
    const target = scene.use(await sink());
    const subject = scene.tunnel({
      configFile: scene.sshd.config({port: relay.port}),
      forwards: [`-L 0:127.0.0.1:${String(target.port)}`],
      heartbeat: {interval: 200, timeout: 1_000, maxMisses: 1},
    });
    const {tunnel, events} = subject;
    await tunnel.start();
    relay.rate(256_000);
    const one = await client(tunnel);
    const bytes = 1_500_000;
    one.socket.end(Buffer.alloc(bytes));
    expect(await within(patience, 'the transfer', one.ending)).toMatchObject({text: String(bytes), ended: true});
    expect(events.count('disconnect')).toBe(0);
    expect(starts(subject)).toBe(1);
    // Or else nothing was saturated, and nothing is shown by this.
    expect(Math.max(...events.of('heartbeat').map(({rtt}) => rtt))).toBeGreaterThan(1_000);
  });

  test('an upload holds the beats up, and then nothing is taken any more: that is found out', async () => {
    const relay = scene.use(await Relay.start({port: scene.sshd.port}));
    const target = scene.use(await sink());
    const {tunnel} = scene.tunnel({
      configFile: scene.sshd.config({port: relay.port}),
      forwards: [`-L 0:127.0.0.1:${String(target.port)}`],
      heartbeat: {interval: 200, timeout: 1_000, maxMisses: 1},
    });
    await tunnel.start();
    relay.rate(256_000);
    const one = await client(tunnel);
    one.socket.end(Buffer.alloc(3_000_000));
    await once(tunnel, 'heartbeat', {where: ({rtt}) => rtt > 1_000});
    const lost = once(tunnel, 'disconnect');
    relay.stopPassing();
    expect((await lost).outcome).toMatchObject({code: 'ERR_AUTOSSH_HEARTBEAT'});
    expect(await one.ending).toMatchObject({ended: false, error: 'ECONNRESET'});
    relay.resume();
  });

  test('clients go on sending to a server that is frozen: that is found out, although ssh takes it all', async () => {
    const target = scene.use(await sink());
    const {tunnel} = scene.tunnel({
      forwards: [`-L 0:127.0.0.1:${String(target.port)}`],
      heartbeat: {interval: 200, timeout: 600, maxMisses: 2},
    });
    await tunnel.start();
    const one = await client(tunnel);
    const trickle = setInterval(() => one.socket.write(Buffer.alloc(20_000)), 20);
    await pollUntil('it arrives', () => traffic(tunnel).bytesSent > 100_000);
    const lost = once(tunnel, 'disconnect');
    await scene.sshd.freezeSessions();
    const {outcome} = await lost;
    clearInterval(trickle);
    expect(outcome).toMatchObject({code: 'ERR_AUTOSSH_HEARTBEAT'});
    expect(await one.ending).toMatchObject({error: 'ECONNRESET'});
  });

  test('and then nothing comes any more: that is found out', async () => {
    const relay = scene.use(await Relay.start({port: scene.sshd.port}));
    const source = scene.use(
      await serve({}, (socket) => {
        const more = (): void => {
          while (!socket.destroyed && socket.write(Buffer.alloc(65_536)));
        };
        socket.on('drain', more);
        more();
      }),
    );
    const subject = scene.tunnel({
      configFile: scene.sshd.config({port: relay.port}),
      forwards: [`-L 0:127.0.0.1:${String(source.port)}`],
      heartbeat: {interval: 100, timeout: 400, maxMisses: 1},
    });
    const {tunnel, events} = subject;
    await tunnel.start();
    relay.rate(300_000);
    const one = await client(tunnel);
    await once(tunnel, 'heartbeat', {where: ({rtt}) => rtt > 400});
    expect(events.count('disconnect')).toBe(0);
    const lost = once(tunnel, 'disconnect');
    relay.stopPassing();
    expect((await lost).outcome).toMatchObject({code: 'ERR_AUTOSSH_HEARTBEAT'});
    expect(await one.ending).toMatchObject({ended: false, error: 'ECONNRESET'});
    relay.resume();
  });
});
