import {mkdtempSync, rmSync} from 'node:fs';
import {once} from 'node:events';
import {type AddressInfo, type Server, type Socket, connect, createServer} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterEach, beforeEach, describe, expect, test} from 'vitest';
import type {Connection} from '../src/front/connection.js';
import {type ConnectionEnd, Exchange, type ExchangeSettings} from '../src/front/exchange.js';
import {makeStream} from '../src/front/stream.js';
import type {Way} from '../src/front/way.js';
import {openFds, pollUntil} from './support/index.js';
import {Client} from './steady/client.js';

/** What plays ssh: a server on a Unix socket, whose life is the test's to decide about. */
class FakeWay implements Way {
  lost = (): void => undefined;
  given = 0;
  stuck = 0;
  releases = 0;
  heardAt = 0;
  alive: boolean | undefined = true;
  /** In place of that, when it is known later. */
  verdict: Promise<boolean> | undefined;
  open = true;
  ending = false;
  hasBeats = true;
  probes = 0;
  accepted: Socket[] = [];
  readonly #path: string;
  readonly #server: Server;

  constructor(path: string, onConnection: (socket: Socket) => void) {
    this.#path = path;
    this.#server = createServer({allowHalfOpen: true}, (socket) => {
      this.accepted.push(socket);
      socket.on('error', () => undefined);
      onConnection(socket);
    });
  }

  async listen(): Promise<this> {
    this.#server.listen(this.#path);
    await once(this.#server, 'listening');
    return this;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.accepted) socket.destroy();
  }

  readonly socketOf = (): string => this.#path;
  readonly probe = (): Promise<boolean | undefined> => {
    this.probes++;
    return this.verdict ?? Promise.resolve(this.alive);
  };
  readonly isOpen = (): boolean => this.open;
  readonly beats = (): boolean => this.hasBeats;
  readonly isEnding = (): boolean => this.ending;
}

let folder = '';
const ways: FakeWay[] = [];
const exchanges: Exchange[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'x-'));
});
afterEach(() => {
  for (const exchange of exchanges.splice(0)) {
    exchange.close();
    exchange.cutAll();
  }
  for (const way of ways.splice(0)) way.close();
  rmSync(folder, {recursive: true, force: true});
});

async function makeWay(onConnection = (socket: Socket): void => void socket.pipe(socket)): Promise<FakeWay> {
  const way = new FakeWay(join(folder, `${String(ways.length)}.sock`), onConnection);
  ways.push(way);
  return way.listen();
}

interface Told {
  exchange: Exchange;
  ends: {end: ConnectionEnd; connection: Connection}[];
  opened: Connection[];
  held: Connection[];
}

function makeExchange(settings: Partial<ExchangeSettings> = {}): Told {
  const told: Omit<Told, 'exchange'> = {ends: [], opened: [], held: []};
  const exchange = new Exchange(
    {holdTimeout: 20_000, maxHeld: 10, ...settings},
    {
      onOpen: (connection) => told.opened.push(connection),
      onReturn: () => undefined,
      onHold: (connection) => told.held.push(connection),
      onEnd: (connection, end) => told.ends.push({connection, end}),
    },
  );
  exchanges.push(exchange);
  return {exchange, ...told};
}

function come(exchange: Exchange): Client<ReturnType<typeof makeStream>['host']> {
  const {host, far} = makeStream();
  exchange.accept(0, far);
  return new Client(host);
}

describe('which way', () => {
  test('the first that was offered, as long as it is there', async () => {
    const {exchange} = makeExchange();
    const [first, second] = [await makeWay(), await makeWay()];
    exchange.offer(first);
    exchange.offer(second);
    await come(exchange).echo('a');
    expect([first.accepted.length, second.accepted.length]).toEqual([1, 0]);
    exchange.withdraw(first);
    await come(exchange).echo('b');
    expect([first.accepted.length, second.accepted.length]).toEqual([1, 1]);
  });

  test.each<[string, (way: FakeWay, exchange: Exchange) => void]>([
    ['has missed a beat', (way, exchange) => exchange.distrust(way)],
    ['is asked to end', (way) => (way.open = false)],
    ['does not answer when it is asked', (way) => (way.alive = false)],
    ['does not listen any more', (way) => way.close()],
  ])('not one that %s, if there is another', async (_, spoil) => {
    const {exchange} = makeExchange();
    const [first, second] = [await makeWay(), await makeWay()];
    exchange.offer(first);
    exchange.offer(second);
    spoil(first, exchange);
    const one = come(exchange);
    await one.echo('x');
    expect([first.accepted.length, second.accepted.length]).toEqual([0, 1]);
  });

  test('one that has just been heard is not asked', async () => {
    const {exchange} = makeExchange();
    const way = await makeWay();
    way.heardAt = Infinity;
    exchange.offer(way);
    await come(exchange).echo('x');
    expect(way.probes).toBe(0);
    way.heardAt = -Infinity;
    await come(exchange).echo('x');
    expect(way.probes).toBe(1);
  });

  test('the same again when it has answered: nobody who waits is forgotten', async () => {
    const {exchange, held} = makeExchange();
    const way = await makeWay();
    exchange.offer(way);
    exchange.distrust(way);
    const clients = [come(exchange), come(exchange), come(exchange)];
    await pollUntil('they wait', () => held.length === 3);
    exchange.trust(way);
    await Promise.all(clients.map((one, index) => one.echo(String(index))));
  });
});

describe('who waits', () => {
  test('goes on waiting when a beat comes back from one that is asked to end', async () => {
    const {exchange, ends} = makeExchange();
    const [first, second] = [await makeWay(), await makeWay()];
    exchange.offer(first);
    first.open = false;
    const one = come(exchange);
    one.socket.write('patience');
    exchange.trust(first);
    await new Promise((resolve) => setImmediate(resolve));
    expect(ends).toEqual([]);
    exchange.offer(second);
    await one.until('patience');
  });

  test('is refused in the end also where the only way leads nowhere and no beat says so', async () => {
    const {exchange, ends} = makeExchange({holdTimeout: 100});
    const way = await makeWay();
    way.hasBeats = false;
    way.alive = undefined;
    way.close();
    exchange.offer(way);
    expect(await come(exchange).ending).toMatchObject({ended: false, error: 'ECONNRESET'});
    expect(ends.map(({end}) => end)).toEqual(['refused']);
  });

  test('and gives up there is forgotten', async () => {
    const {exchange, ends} = makeExchange();
    const way = await makeWay();
    way.hasBeats = false;
    way.alive = undefined;
    way.close();
    exchange.offer(way);
    come(exchange).socket.destroy();
    await pollUntil('it is forgotten', () => ends.length === 1);
    expect(ends.map(({end}) => end)).toEqual(['gave-up']);
    expect([...exchange.connections]).toEqual([]);
  });

  test('is refused when it is closed, and so is who comes later', async () => {
    const {exchange, ends} = makeExchange();
    const one = come(exchange);
    exchange.close();
    expect(await one.ending).toMatchObject({error: 'ECONNRESET'});
    exchange.offer(await makeWay());
    expect(await come(exchange).ending).toMatchObject({error: 'ECONNRESET'});
    expect(ends.map(({end}) => end)).toEqual(['refused', 'refused']);
  });
});

test('holdTimeout is counted from when there was no ready ssh, not while one had to prove that it was none', async () => {
  const {exchange, ends} = makeExchange({holdTimeout: 300});
  const [first, second] = [await makeWay(), await makeWay()];
  let judge = (_alive: boolean): void => undefined;
  first.verdict = new Promise((resolve) => (judge = resolve));
  exchange.offer(first);
  const one = come(exchange);
  const echoed = one.echo('x');
  await new Promise((resolve) => setTimeout(resolve, 400));
  judge(false);
  await new Promise(setImmediate);
  exchange.offer(second);
  await echoed;
  expect(ends).toEqual([]);
});

test('maxHeld counts those that wait for a proof too, once that takes suspiciously long', async () => {
  const {exchange, ends} = makeExchange({maxHeld: 3});
  const way = await makeWay();
  let judge = (_alive: boolean): void => undefined;
  way.verdict = new Promise((resolve) => (judge = resolve));
  exchange.offer(way);
  const first = Array.from({length: 5}, () => come(exchange));
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  expect(ends).toEqual([]);
  expect(await come(exchange).ending).toMatchObject({error: 'ECONNRESET'});
  judge(true);
  for (const one of first) await one.echo('x');
  expect(ends.map(({end}) => end)).toEqual(['refused']);
});

describe('how it ended', () => {
  test.each<[ConnectionEnd, boolean]>([
    ['finished', false],
    ['cut', true],
  ])('%s where the way closes it while its ssh is ending: %s', async (expected, ending) => {
    const {exchange, ends} = makeExchange();
    const way = await makeWay((socket) => {
      socket.once('data', (chunk: Buffer) => socket.end(chunk));
    });
    exchange.offer(way);
    const one = come(exchange);
    way.ending = ending;
    one.socket.end('x');
    expect(await one.ending).toEqual({
      text: expect.stringMatching(ending ? /^x?$/ : /^x$/) as string,
      ended: !ending,
      error: ending ? 'ECONNRESET' : undefined,
    });
    await pollUntil('it is told', () => ends.length === 1);
    expect(ends.map(({end}) => end)).toEqual([expected]);
  });

  test('target-failed: the one that is closed without a word has the cause, whatever was opened before it', async () => {
    const {exchange, ends, opened} = makeExchange();
    const way = await makeWay((socket) => socket.resume());
    exchange.offer(way);
    const [idle, failing] = [come(exchange), come(exchange)];
    await pollUntil('both are open', () => way.accepted.length === 2 && opened.length === 2);
    exchange.targetFailed(way, 'connect failed: Connection refused');
    way.accepted[1]?.destroy();
    await pollUntil('its end', () => failing.ended);
    failing.socket.end();
    expect(await failing.ending).toMatchObject({text: '', ended: true});
    await pollUntil('it is told', () => ends.length === 1);
    idle.socket.end();
    way.accepted[0]?.end();
    await pollUntil('both are told', () => ends.length === 2);
    expect(ends.map(({end, connection}) => [connection.id, end, connection.refusal])).toEqual([
      [2, 'target-failed', 'connect failed: Connection refused'],
      [1, 'finished', undefined],
    ]);
  });

  test('target-failed: closed first, and told why after that', async () => {
    const {exchange, ends} = makeExchange();
    const way = await makeWay((socket) => socket.destroy());
    exchange.offer(way);
    const one = come(exchange);
    one.socket.once('end', () => {
      exchange.targetFailed(way, 'connect failed: Connection refused');
      one.socket.end();
    });
    await one.ending;
    await pollUntil('it is told', () => ends.length === 1);
    expect(ends).toMatchObject([{end: 'target-failed'}]);
  });

  test('finished: closed without a word by a target that was there, although another’s failed long ago', async () => {
    const {exchange, ends} = makeExchange();
    const way = await makeWay((socket) => socket.end());
    exchange.offer(way);
    exchange.targetFailed(way, 'connect failed: Connection refused');
    await new Promise((resolve) => setTimeout(resolve, 100));
    const one = come(exchange);
    one.socket.end();
    await one.ending;
    await pollUntil('it is told', () => ends.length === 1);
    expect(ends).toMatchObject([{end: 'finished', connection: {refusal: undefined}}]);
  });

  test('drained(): when the last connection of a way has ended, and at once where there is none', async () => {
    const {exchange} = makeExchange();
    const way = await makeWay();
    exchange.offer(way);
    const [first, second] = [come(exchange), come(exchange)];
    await Promise.all([first.echo('x'), second.echo('x')]);
    exchange.withdraw(way);
    let isDrained = false;
    const drained = exchange.drained(way).then(() => (isDrained = true));
    first.socket.end();
    await first.ending;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(isDrained).toBe(false);
    second.socket.end();
    await drained;
    await exchange.drained(await makeWay());
  });
});

test('cut off while its client is too slow for what has ended already: a reset, and no descriptor is left', async () => {
  const {exchange, ends, opened} = makeExchange();
  const way = await makeWay(() => undefined);
  exchange.offer(way);
  const server = createServer({allowHalfOpen: true, pauseOnConnect: true}, (socket) => {
    exchange.accept(0, socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const before = openFds(process.pid).length;
  const slow = connect({port: (server.address() as AddressInfo).port, allowHalfOpen: true}).pause();
  const one = new Client(slow);
  slow.removeAllListeners('data').pause();
  await pollUntil('it is open', () => opened.length === 1 && way.accepted.length === 1);
  const [connection] = opened;
  const [source] = way.accepted;
  if (!connection || !source) throw new Error('Nobody came');
  // Little by little, until the kernel takes no more and the rest waits in the stream, but does not stop it yet.
  for (let sent = 0; connection.client.writableLength === 0;) {
    sent += 8_192;
    source.write(Buffer.alloc(8_192));
    await pollUntil('it has come so far', () => connection.bytesReceived === sent, {every: 0});
  }
  source.end();
  await pollUntil('its end has come so far', () => connection.upstream?.readableEnded === true);
  exchange.cutAll();
  await pollUntil('it is told', () => ends.length === 1);
  expect(ends).toMatchObject([{end: 'cut'}]);
  slow.resume();
  expect(await one.ending).toMatchObject({ended: false, error: 'ECONNRESET'});
  source.destroy();
  await pollUntil('nothing is left of it', () => openFds(process.pid).length <= before);
  server.close();
});
