import {createHash} from 'node:crypto';
import {once as nodeOnce} from 'node:events';
import {rmSync} from 'node:fs';
import {describe, expect, test} from 'vitest';
import {patience, pollUntil, serve, signal, temporaryEntries, within} from '../support/index.js';
import {once, patientHeartbeat, placeOf, setScene, starts, talk, type Subject} from '../faults/scene.js';
import {Client, client, open, traffic, waiting} from './client.js';

const scene = setScene();

/** A tunnel whose server has gone away. */
async function outage(options: Parameters<typeof scene.tunnel>[0] = {}): Promise<Subject> {
  const subject = await scene.tunnelUp(options);
  await open(subject.tunnel, 0);
  const lost = once(subject.tunnel, 'disconnect');
  await scene.sshd.halt();
  await lost;
  return subject;
}

async function comeBack({tunnel}: Subject): Promise<void> {
  const again = once(tunnel, 'connect', {unless: ['stop']});
  await scene.sshd.restart();
  await again;
}

describe('a connection that comes while there is no ssh', () => {
  test('is accepted, waits, and is served by the next one, with all it has said', async () => {
    const subject = await outage();
    const {tunnel, events} = subject;
    const one = await client(tunnel);
    one.socket.write('said ');
    await waiting(tunnel, 1);
    one.socket.write('before');
    await comeBack(subject);
    await one.until('said before');
    await one.echo(' and after');
    const told = events.of('connection').at(-1);
    expect(told?.forward).toBe('local-0');
    expect(told?.held).toBeGreaterThan(0);
    expect(traffic(tunnel)).toMatchObject({waiting: 0, held: 1, refused: 0, failed: 0, open: 1});
    expect(traffic(tunnel).longestHold).toBeGreaterThanOrEqual(told?.held ?? Infinity);
    one.socket.destroy();
  });

  test('says all and closes its side: it is served for that', async () => {
    const subject = await outage();
    const one = await client(subject.tunnel);
    one.socket.end('all there is');
    await waiting(subject.tunnel, 1);
    await comeBack(subject);
    expect(await one.ending).toEqual({text: 'all there is', ended: true, error: undefined});
  });

  test('says nothing: it is served as well, and the server may speak first', async () => {
    const greeter = scene.use(await serve({}, (socket) => socket.end('welcome')));
    const subject = scene.tunnel({forwards: [`-L 0:127.0.0.1:${String(greeter.port)}`]});
    await subject.tunnel.start();
    const lost = once(subject.tunnel, 'disconnect');
    await scene.sshd.halt();
    await lost;
    const one = await client(subject.tunnel);
    await waiting(subject.tunnel, 1);
    await comeBack(subject);
    await one.until('welcome');
    one.socket.end();
    expect(await one.ending).toEqual({text: 'welcome', ended: true, error: undefined});
  });

  test('in the order they came, when many wait', async () => {
    const came: string[] = [];
    const recorder = scene.use(
      await serve({}, (socket) => {
        socket.once('data', (chunk: Buffer) => {
          came.push(chunk.toString());
          socket.end();
        });
      }),
    );
    const subject = scene.tunnel({forwards: [`-L 0:127.0.0.1:${String(recorder.port)}`]});
    await subject.tunnel.start();
    const lost = once(subject.tunnel, 'disconnect');
    await scene.sshd.halt();
    await lost;
    const clients: Client[] = [];
    for (let n = 0; n < 50; n++) {
      const one = await client(subject.tunnel);
      one.socket.end(`${String(n)};`);
      clients.push(one);
      await waiting(subject.tunnel, n + 1);
    }
    await comeBack(subject);
    for (const one of clients) expect(await one.ending).toMatchObject({ended: true, error: undefined});
    expect([...came].sort()).toEqual(Array.from({length: 50}, (_, n) => `${String(n)};`).sort());
    expect(traffic(subject.tunnel)).toMatchObject({held: 50, failed: 0, refused: 0, total: 50});
  });
});

describe('no ssh comes in time', () => {
  test('holdTimeout 0: reset at once, and told', async () => {
    const {tunnel, events} = await outage({holdTimeout: 0});
    const ended = once(tunnel, 'connection-end', {where: ({end}) => end === 'refused'});
    const one = await client(tunnel);
    expect(await one.ending).toEqual({text: '', ended: false, error: 'ECONNRESET'});
    expect(await ended).toMatchObject({end: 'refused', forward: 'local-0', bytesSent: 0, bytesReceived: 0});
    expect(events.of('connection')).toHaveLength(1);
    expect(traffic(tunnel)).toMatchObject({refused: 1, held: 0, waiting: 0});
  });

  test('holdTimeout over: reset then, not before', async () => {
    const {tunnel} = await outage({holdTimeout: 400});
    const ended = once(tunnel, 'connection-end', {where: ({end}) => end === 'refused'});
    const one = await client(tunnel);
    one.socket.write('for nobody');
    await waiting(tunnel, 1);
    expect(await one.ending).toEqual({text: '', ended: false, error: 'ECONNRESET'});
    expect((await ended).duration).toBeGreaterThanOrEqual(398);
    expect(traffic(tunnel)).toMatchObject({refused: 1, held: 1, waiting: 0});
  });

  test('holdTimeout over for one: those that came later still wait', async () => {
    const subject = await outage({holdTimeout: 1_500});
    const first = await client(subject.tunnel);
    await waiting(subject.tunnel, 1);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const second = await client(subject.tunnel);
    await waiting(subject.tunnel, 2);
    expect(await first.ending).toMatchObject({error: 'ECONNRESET'});
    expect(traffic(subject.tunnel).waiting).toBe(1);
    second.socket.destroy();
  });

  test('maxHeld wait: the next is reset at once, the others are served', async () => {
    const subject = await outage({maxHeld: 2});
    const {tunnel} = subject;
    const [first, second] = [await client(tunnel), await client(tunnel)];
    await waiting(tunnel, 2);
    const third = await client(tunnel);
    expect(await third.ending).toMatchObject({ended: false, error: 'ECONNRESET'});
    expect(traffic(tunnel)).toMatchObject({waiting: 2, refused: 1});
    await comeBack(subject);
    await first.echo('one');
    await second.echo('two');
    first.socket.destroy();
    second.socket.destroy();
  });

  test('maxHeld 0: none waits', async () => {
    const {tunnel} = await outage({maxHeld: 0});
    expect(await (await client(tunnel)).ending).toMatchObject({error: 'ECONNRESET'});
  });
});

describe('a client that gives up', () => {
  test.each([
    ['by a reset', (one: Client) => one.socket.resetAndDestroy()],
    ['by a close', (one: Client) => one.socket.destroy()],
    ['by closing its side without a word', (one: Client) => one.socket.end()],
  ])('%s: leaves the queue, and makes room', async (_, giveUp) => {
    const subject = await outage({maxHeld: 1});
    const {tunnel} = subject;
    const ended = once(tunnel, 'connection-end', {where: ({end}) => end === 'gave-up'});
    const one = await client(tunnel);
    await waiting(tunnel, 1);
    giveUp(one);
    await ended;
    expect(traffic(tunnel)).toMatchObject({waiting: 0, refused: 0, failed: 0});
    const other = await client(tunnel);
    await waiting(tunnel, 1);
    await comeBack(subject);
    await other.echo('served');
    expect(scene.echo.accepted).toBe(2);
    other.socket.destroy();
  });

  test('after it has said something: the same for a reset', async () => {
    const {tunnel} = await outage();
    const one = await client(tunnel);
    await waiting(tunnel, 1);
    one.socket.write('never mind');
    // libuv takes a reset that it finds together with data for an end, so the data has to have been read.
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    const ended = once(tunnel, 'connection-end', {where: ({end}) => end === 'gave-up'});
    one.socket.resetAndDestroy();
    await ended;
    expect(traffic(tunnel)).toMatchObject({waiting: 0});
  });
});

test('a client that sends 100 MB while it is held is stopped by backpressure, and nothing of it is lost', async () => {
  const hash = createHash('sha256');
  let received = 0;
  const target = scene.use(
    await serve({}, (socket) => {
      socket.on('data', (chunk: Buffer) => {
        hash.update(chunk);
        received += chunk.length;
      });
      socket.on('end', () => socket.end('done'));
    }),
  );
  const subject = scene.tunnel({forwards: [`-L 0:127.0.0.1:${String(target.port)}`]});
  await subject.tunnel.start();
  const lost = once(subject.tunnel, 'disconnect');
  await scene.sshd.halt();
  await lost;
  const one = await client(subject.tunnel);
  const megabyte = 2 ** 20;
  const sent = createHash('sha256');
  let taken = 0;
  const sending = (async () => {
    for (let n = 0; n < 100; n++) {
      const chunk = Buffer.alloc(megabyte, `chunk ${String(n)} `);
      sent.update(chunk);
      if (!one.socket.write(chunk)) await nodeOnce(one.socket, 'drain');
      taken += chunk.length;
    }
    one.socket.end();
  })();
  await waiting(subject.tunnel, 1);
  // Nothing announces that nothing happens. A machine too slow for this wait can only make the test more lenient.
  for (let before = -1; before !== taken;) {
    before = taken;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  // What is gone is in the kernel's buffers, on both sides of the loopback, and a little in the stream's.
  expect(taken).toBeLessThan(30 * megabyte);
  await comeBack(subject);
  await within(patience, 'all is sent', sending);
  expect(await one.ending).toEqual({text: 'done', ended: true, error: undefined});
  expect(received).toBe(100 * megabyte);
  expect(hash.digest('hex')).toBe(sent.digest('hex'));
});

test('an outage that begins while nothing is open disturbs nobody', async () => {
  const subject = await scene.tunnelUp();
  const {tunnel} = subject;
  await open(tunnel, 0);
  const lost = once(tunnel, 'disconnect');
  await scene.sshd.killSessions();
  const texts = Array.from({length: 20}, (_, n) => `text ${String(n)}`);
  expect(await Promise.all(texts.map((text) => talk(tunnel, text)))).toEqual(texts);
  await lost;
  await pollUntil('all ended', () => traffic(tunnel).open === 0);
  expect(traffic(tunnel)).toMatchObject({failed: 0, refused: 0});
  expect(placeOf(tunnel)).toEqual(tunnel.forward().listen);
});

test('the private sockets are removed by something that clears temporary files: ssh is replaced, nobody is lost', async () => {
  const subject = await scene.tunnelUp({heartbeat: patientHeartbeat});
  const {tunnel, events} = subject;
  const [folder = ''] = temporaryEntries();
  rmSync(folder, {recursive: true});
  const texts = ['one', 'two', 'three'];
  expect(await Promise.all(texts.map((text) => talk(tunnel, text)))).toEqual(texts);
  expect(starts(subject)).toBe(2);
  expect(events.of('disconnect')).toMatchObject([{outcome: {message: 'The private socket of ssh was removed'}}]);
});

test('more come at once than ssh lets wait: each has its turn, and none waits for the next regular beat', async () => {
  const subject = await scene.tunnelUp({heartbeat: {interval: 60_000, timeout: 30_000}});
  const {tunnel} = subject;
  await open(tunnel, 0);
  signal(tunnel.pid ?? 0, 'SIGKILL');
  const texts = Array.from({length: 400}, (_, n) => `text ${String(n)}`);
  expect(await within(patience, 'all of them', Promise.all(texts.map((text) => talk(tunnel, text))))).toEqual(texts);
  await open(tunnel, 0);
  expect(traffic(tunnel)).toMatchObject({failed: 0, refused: 0});
});
