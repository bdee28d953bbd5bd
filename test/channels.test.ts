import {randomBytes} from 'node:crypto';
import {once} from 'node:events';
import {existsSync, readdirSync, renameSync, rmSync, writeFileSync} from 'node:fs';
import {type Server, type Socket, connect, createServer} from 'node:net';
import {join} from 'node:path';
import {afterEach, beforeEach, describe, expect, test} from 'vitest';
import {EchoPort} from '../src/heartbeat/echo-port.js';
import type {BeatChannel} from '../src/heartbeat/channel.js';
import {ForwardLoop} from '../src/heartbeat/forward-loop.js';
import {openFds, pollUntil, temporaryFolder} from './support/index.js';

let folder: string;
let wayOut: string;
let wayBack: string;
let openBefore: number;
const ends: (() => void)[] = [];

function openSockets(): number {
  return openFds(process.pid).filter((one) => one.startsWith('socket:')).length;
}

beforeEach(() => {
  folder = temporaryFolder('c-');
  [wayOut, wayBack] = [join(folder, 'out.sock'), join(folder, 'back.sock')];
  openBefore = openSockets();
});

afterEach(async () => {
  for (const end of ends.splice(0)) end();
  await pollUntil('every socket closed', () => openSockets() <= openBefore);
  rmSync(folder, {recursive: true});
});

/** What a channel has told, and promises for what it has not told yet. */
class Ear {
  readonly lines: string[] = [];
  readonly closes: boolean[] = [];
  /** Lines that count as beats of ours. */
  readonly ours = new Set<string>();
  #wake: (() => void)[] = [];

  readonly listener = {
    onLine: (line: string): boolean => {
      this.lines.push(line);
      this.#ring();
      return this.ours.has(line);
    },
    onClose: (absent: boolean): void => {
      this.closes.push(absent);
      this.#ring();
    },
  };

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  #ring(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

/** The part of ssh: what listens at the way out, with every connection it has taken. */
class Listener {
  readonly connections: Socket[] = [];
  readonly #server: Server;

  private constructor(onConnection: (socket: Socket) => void) {
    this.#server = createServer((socket) => {
      this.connections.push(socket);
      socket.on('error', () => undefined);
      onConnection(socket);
    });
    ends.push(() => {
      this.close();
    });
  }

  static async at(path: string, onConnection: (socket: Socket) => void): Promise<Listener> {
    const listener = new Listener(onConnection);
    listener.#server.listen(path);
    await once(listener.#server, 'listening');
    return listener;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.connections) socket.destroy();
  }
}

/** ssh with its `-L` and `-R`: what comes in at one end goes out at the other. */
function playSSH(): Promise<Listener> {
  return Listener.at(wayOut, (socket) => {
    const onward = connect(wayBack);
    onward.on('error', () => undefined);
    socket.pipe(onward).pipe(socket);
    const end = (): void => {
      socket.destroy();
      onward.destroy();
    };
    socket.once('close', end);
    onward.once('close', end);
    ends.push(end);
  });
}

function open(make: () => BeatChannel): BeatChannel {
  const channel = make();
  ends.push(() => {
    channel.close();
  });
  return channel;
}

function openLoop(ear: Ear): BeatChannel {
  return open(() => new ForwardLoop(wayOut, wayBack, ear.listener));
}

/** A connection of a stranger to the way back, and whether it has been closed. */
async function stranger(text?: string | Buffer): Promise<Socket & {gone: Promise<void>}> {
  const socket = connect(wayBack);
  socket.on('error', () => undefined);
  socket.resume();
  const gone = new Promise<void>((resolve) => {
    socket.once('close', () => {
      resolve();
    });
  });
  ends.push(() => socket.destroy());
  await once(socket, 'connect');
  if (text !== undefined) socket.write(text);
  return Object.assign(socket, {gone});
}

/** Everything that has happened is heard of. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
}

describe('a loop of forwards', () => {
  test('listens from the beginning, so that ssh finds it', async () => {
    openLoop(new Ear());
    expect(existsSync(wayBack)).toBe(true);
    await stranger();
  });

  test('brings back what it sends, on one kept connection', async () => {
    const ear = new Ear();
    const loop = openLoop(ear);
    const ssh = await playSSH();
    for (let n = 0; n < 5; n++) {
      const line = randomBytes(16).toString('hex');
      ear.ours.add(line);
      loop.send(line);
      await ear.until(() => ear.lines.length > n);
      expect(ear.lines.at(-1)).toBe(line);
    }
    expect(ssh.connections).toHaveLength(1);
    expect(ear.closes).toEqual([]);
  });

  test('brings back every byte as it was', async () => {
    const ear = new Ear();
    const loop = openLoop(ear);
    await playSSH();
    const line = Buffer.from('0123 hé €').toString('latin1');
    ear.ours.add(line);
    loop.send(line);
    await ear.until(() => ear.lines.length > 0);
    expect(ear.lines).toEqual([line]);
  });

  test('tells when its connection is closed, and opens another for the next beat', async () => {
    const ear = new Ear();
    const loop = openLoop(ear);
    const ssh = await playSSH();
    ear.ours.add('a').add('b');
    loop.send('a');
    await ear.until(() => ear.lines.length === 1);
    ssh.connections[0]?.destroy();
    await ear.until(() => ear.closes.length === 1);
    expect(ear.closes).toEqual([false]);
    loop.send('b');
    await ear.until(() => ear.lines.length === 2);
    expect(ssh.connections).toHaveLength(2);
  });

  test.each([
    ['nothing is there', () => undefined],
    [
      'the file of a killed ssh is left, and nobody listens',
      async () => {
        const server = createServer().listen(join(folder, 'ssh.sock'));
        await once(server, 'listening');
        // What closes takes its file along, if it finds it; what is killed leaves it.
        renameSync(join(folder, 'ssh.sock'), wayOut);
        server.close();
        await once(server, 'close');
        expect(existsSync(wayOut)).toBe(true);
      },
    ],
  ])('tells that nobody listens at this end: %s', async (_what, prepare) => {
    await prepare();
    const ear = new Ear();
    openLoop(ear).send('a');
    await ear.until(() => ear.closes.length === 1);
    expect(ear.closes).toEqual([true]);
  });

  test('believes no stranger: a wrong line ends its connection', async () => {
    const ear = new Ear();
    openLoop(ear);
    const {gone} = await stranger('00112233445566778899aabbccddeeff\n');
    await gone;
    expect(ear.lines).toEqual(['00112233445566778899aabbccddeeff']);
  });

  test('believes no replay: it is asked each time, and one who is not believed again is put out', async () => {
    const ear = new Ear();
    openLoop(ear);
    ear.ours.add('once');
    const socket = await stranger('once\n');
    await ear.until(() => ear.lines.length === 1);
    ear.ours.delete('once');
    socket.write('once\n');
    await socket.gone;
    expect(ear.lines).toEqual(['once', 'once']);
  });

  test('reads of one stranger no more than up to the first wrong line', async () => {
    const ear = new Ear();
    openLoop(ear);
    const {gone} = await stranger('\n'.repeat(50_000));
    await gone;
    expect(ear.lines).toEqual(['']);
  });

  test('reads no endless data: a stranger is put out once it cannot be a beat', async () => {
    const ear = new Ear();
    openLoop(ear);
    const socket = await stranger();
    const pour = (): void => {
      while (!socket.destroyed && socket.write(Buffer.alloc(65_536, 'x')));
    };
    socket.on('drain', pour);
    pour();
    await socket.gone;
    expect(ear.lines).toEqual([]);
  });

  test('lets 8 strangers wait and no more: the one who has waited longest goes', async () => {
    openLoop(new Ear());
    const gone: number[] = [];
    const waiting: (Socket & {gone: Promise<void>})[] = [];
    const arrive = async (): Promise<void> => {
      const socket = await stranger();
      const number = waiting.push(socket);
      void socket.gone.then(() => gone.push(number));
    };
    for (let n = 0; n < 8; n++) await arrive();
    await turns();
    expect(gone).toEqual([]);
    await arrive();
    await waiting[0]?.gone;
    await arrive();
    await waiting[1]?.gone;
    await turns();
    expect(gone).toEqual([1, 2]);
    waiting[5]?.destroy();
    await waiting[5]?.gone;
  });

  test('keeps the connection that has brought a beat, however many strangers come', async () => {
    const ear = new Ear();
    const loop = openLoop(ear);
    const ssh = await playSSH();
    ear.ours.add('a').add('b');
    loop.send('a');
    await ear.until(() => ear.lines.length === 1);
    const strangers = [];
    for (let n = 0; n < 20; n++) strangers.push(await stranger());
    await Promise.all(strangers.slice(0, 12).map(({gone}) => gone));
    loop.send('b');
    await ear.until(() => ear.lines.length === 2);
    expect(ssh.connections).toHaveLength(1);
    expect(ear.closes).toEqual([]);
  });

  test('leaves nothing behind', async () => {
    const ear = new Ear();
    const loop = openLoop(ear);
    const ssh = await playSSH();
    ear.ours.add('a');
    loop.send('a');
    await ear.until(() => ear.lines.length === 1);
    const one = await stranger();
    const [connection] = ssh.connections;
    if (!connection) throw new Error('Expected a connection');
    const closed = once(connection, 'close');
    loop.close();
    await Promise.all([one.gone, closed]);
    expect(readdirSync(folder)).toEqual(['out.sock']);
    // Its own end was no loss that anyone has to hear of.
    expect(ear.closes).toEqual([]);
    ssh.close();
    await pollUntil('every socket closed', () => openSockets() <= openBefore);
  });

  test('tells nothing of a connection that it closes before it is there', async () => {
    const ear = new Ear();
    const loop = openLoop(ear);
    loop.send('a');
    loop.close();
    await pollUntil('every socket closed', () => openSockets() <= openBefore);
    expect(ear.closes).toEqual([]);
    expect(ear.lines).toEqual([]);
  });

  test('that cannot listen says nothing, and its beats do not come back', async () => {
    writeFileSync(wayBack, '');
    const ear = new Ear();
    const loop = openLoop(ear);
    await playSSH();
    loop.send('a');
    await ear.until(() => ear.closes.length === 1);
    expect(ear.lines).toEqual([]);
  });
});

describe('an echo service', () => {
  function openEcho(ear: Ear): BeatChannel {
    return open(() => new EchoPort(wayOut, ear.listener));
  }

  test('brings back what it was sent, on one kept connection', async () => {
    const server = await Listener.at(wayOut, (socket) => socket.pipe(socket));
    const ear = new Ear();
    const echo = openEcho(ear);
    ear.ours.add('a').add('b');
    echo.send('a');
    await ear.until(() => ear.lines.length === 1);
    echo.send('b');
    await ear.until(() => ear.lines.length === 2);
    expect(ear.lines).toEqual(['a', 'b']);
    expect(server.connections).toHaveLength(1);
    expect(readdirSync(folder)).toEqual(['out.sock']);
  });

  test('that says something else is left, and told as closed', async () => {
    await Listener.at(wayOut, (socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'));
    const ear = new Ear();
    openEcho(ear).send('a');
    await ear.until(() => ear.closes.length === 1);
    expect(ear.lines).toEqual(['SSH-2.0-OpenSSH_9.2\r']);
    expect(ear.closes).toEqual([false]);
  });

  test('that never stops talking is left', async () => {
    const ear = new Ear();
    await Listener.at(wayOut, (socket) => {
      const pour = (): void => {
        while (!socket.destroyed && socket.write(Buffer.alloc(65_536, 'x')));
      };
      socket.on('drain', pour);
      pour();
    });
    openEcho(ear).send('a');
    await ear.until(() => ear.closes.length === 1);
    expect(ear.lines).toEqual([]);
  });

  test('that is not there is told as closed, by ssh and not by this end', async () => {
    // ssh accepts, and closes when the server could not connect.
    await Listener.at(wayOut, (socket) => socket.end());
    const ear = new Ear();
    openEcho(ear).send('a');
    await ear.until(() => ear.closes.length === 1);
    expect(ear.closes).toEqual([false]);
  });

  test('leaves nothing behind', async () => {
    const server = await Listener.at(wayOut, (socket) => socket.pipe(socket));
    const ear = new Ear();
    const echo = openEcho(ear);
    ear.ours.add('a');
    echo.send('a');
    await ear.until(() => ear.lines.length === 1);
    const [connection] = server.connections;
    if (!connection) throw new Error('Expected a connection');
    const closed = once(connection, 'close');
    echo.close();
    await closed;
    server.close();
    await pollUntil('every socket closed', () => openSockets() <= openBefore);
    expect(ear.closes).toEqual([]);
  });
});
