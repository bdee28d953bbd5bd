import {getEventListeners, once} from 'node:events';
import {mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {type Server, type Socket, createServer} from 'node:net';
import {join} from 'node:path';
import {afterEach, beforeEach, describe, expect, test, vi} from 'vitest';
import {answered, appeared, nudge, serving} from '../src/ssh/marker.js';
import {openFds, pollUntil, temporaryFolder} from './support/index.js';

let folder: string;
let path: string;
let openBefore: number;
const ends: (() => void)[] = [];

/** Sockets, and what is watched in inotify(7), whose descriptor itself Node keeps. */
function opened(): number {
  const watches = readdirSync('/proc/self/fdinfo').flatMap((fd) => {
    try {
      return readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')
        .split('\n')
        .filter((line) => line.startsWith('inotify'));
    } catch {
      return [];
    }
  });
  return watches.length + openFds(process.pid).filter((one) => one.startsWith('socket:')).length;
}

beforeEach(() => {
  folder = temporaryFolder('m-');
  path = join(folder, '1-out.sock');
  openBefore = opened();
});
afterEach(async () => {
  for (const end of ends.splice(0)) end();
  await pollUntil('everything closed', () => opened() <= openBefore);
  rmSync(folder, {recursive: true, force: true});
});

async function listen(onConnection: (socket: Socket) => void): Promise<Server> {
  const server = createServer((socket) => {
    ends.push(() => socket.destroy());
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  ends.push(() => server.close());
  server.listen(path);
  await once(server, 'listening');
  return server;
}

function ignore(): void {
  // Only the answer matters.
}

/** Whether a promise is still open when everything that could settle it has had its turn. */
async function isOpen(promise: Promise<unknown>): Promise<boolean> {
  let open = true;
  const settled = (): void => {
    open = false;
  };
  promise.then(settled, settled);
  await turns();
  return open;
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
}

describe('a file', () => {
  const never = new AbortController().signal;

  test('that is there has appeared', async () => {
    writeFileSync(path, '');
    expect(await appeared(path, never)).toBe(true);
  });

  test('is seen when it comes, and not for another that comes before', async () => {
    const seen = appeared(path, never);
    expect(opened()).toBe(openBefore + 1);
    writeFileSync(join(folder, '2-out.sock'), '');
    expect(await isOpen(seen)).toBe(true);
    writeFileSync(path, '');
    expect(await seen).toBe(true);
  });

  test('is seen when it is a socket', async () => {
    const seen = appeared(path, never);
    await listen(() => undefined);
    expect(await seen).toBe(true);
  });

  test('is no longer waited for when the signal is aborted', async () => {
    const controller = new AbortController();
    const seen = appeared(path, controller.signal);
    expect(await isOpen(seen)).toBe(true);
    controller.abort();
    expect(await seen).toBe(false);
    expect(await appeared(path, controller.signal)).toBe(false);
  });

  test('is seen also where nothing can be watched', async () => {
    // Nothing is there to be watched, as little as where the system has no watches to give.
    path = join(folder, 'later', '1-out.sock');
    const seen = appeared(path, never);
    expect(await isOpen(seen)).toBe(true);
    mkdirSync(join(folder, 'later'));
    writeFileSync(path, '');
    expect(await seen).toBe(true);
  });

  test('leaves no timer of those looks behind', async () => {
    const controller = new AbortController();
    const [set, clear] = [vi.spyOn(globalThis, 'setInterval'), vi.spyOn(globalThis, 'clearInterval')];
    const seen = appeared(join(folder, 'later', '1-out.sock'), controller.signal);
    controller.abort();
    expect(await seen).toBe(false);
    expect(set).toHaveBeenCalledOnce();
    expect(clear).toHaveBeenCalledWith(set.mock.results[0]?.value);
    vi.restoreAllMocks();
  });
});

describe('a socket', () => {
  const never = new AbortController().signal;

  test.each([
    ['ended', (socket: Socket) => socket.end()],
    ['ended with words', (socket: Socket) => socket.end('hello')],
    ['reset', (socket: Socket) => socket.destroy()],
  ])('has answered when the connection is %s', async (_what, end) => {
    await listen(end);
    const count = vi.fn();
    expect(await answered(path, never, count)).toBe(true);
    expect(count.mock.calls).toEqual([[1], [1]]);
  });

  test('has not answered before that', async () => {
    const connections: Socket[] = [];
    await listen((socket) => connections.push(socket));
    const answer = answered(path, never, ignore);
    for (const count of [1, 2]) {
      await pollUntil('the connection', () => connections.length === count);
      expect(await isOpen(answer)).toBe(true);
      connections.at(-1)?.end();
    }
    expect(await answer).toBe(true);
  });

  test('has not answered when ssh ends, which closes the connection too', async () => {
    const server = await listen((socket) => {
      server.close();
      socket.end();
    });
    const controller = new AbortController();
    const answer = answered(path, controller.signal, ignore);
    await once(server, 'close');
    expect(await isOpen(answer)).toBe(true);
    controller.abort();
    expect(await answer).toBe(false);
  });

  test('is asked again as long as nobody listens', async () => {
    const answer = answered(path, never, ignore);
    expect(await isOpen(answer)).toBe(true);
    await listen((socket) => socket.end());
    expect(await answer).toBe(true);
  });

  test('is asked any number of times, and none of them goes on to listen to the signal', async () => {
    const controller = new AbortController();
    const warned = vi.fn();
    process.on('warning', warned);
    ends.push(() => process.off('warning', warned));
    let tries = 0;
    const answer = answered(path, controller.signal, (by) => (tries += Math.max(by, 0)));
    await pollUntil('many tries', () => tries > 20);
    await listen((socket) => socket.end());
    expect(await answer).toBe(true);
    nudge(path, controller.signal, ignore);
    await pollUntil('the end of all of them', () => getEventListeners(controller.signal, 'abort').length === 0, {
      timeout: 5_000,
    });
    expect(warned).not.toHaveBeenCalled();
  });

  test('is no longer waited for when the signal is aborted, connected or not', async () => {
    const [early, late] = [new AbortController(), new AbortController()];
    const refused = answered(path, early.signal, ignore);
    expect(await isOpen(refused)).toBe(true);
    early.abort();
    expect(await refused).toBe(false);

    let connection: Socket | undefined;
    await listen((socket) => (connection = socket));
    const answer = answered(path, late.signal, ignore);
    await pollUntil('the connection', () => connection !== undefined);
    late.abort();
    expect(await answer).toBe(false);
    expect(await answered(path, late.signal, ignore)).toBe(false);
  });
});

describe('ssh', () => {
  const never = new AbortController().signal;

  test('serves as soon as it answers on its own SOCKS socket', async () => {
    const greetings: string[] = [];
    await listen((socket) => {
      socket.on('data', (chunk) => {
        greetings.push(chunk.toString('hex'));
        socket.write(Buffer.from([5, 0]));
      });
    });
    expect(await serving(path, never)).toBe(true);
    // Version 5, one method, no authentication.
    expect(greetings).toEqual(['050100']);
  });

  test('does not serve yet when its socket only accepts', async () => {
    let connection: Socket | undefined;
    await listen((socket) => {
      connection = socket;
      socket.resume();
    });
    const served = serving(path, never);
    await pollUntil('the connection', () => connection !== undefined);
    expect(await isOpen(served)).toBe(true);
    connection?.write(Buffer.from([5, 0]));
    expect(await served).toBe(true);
  });

  test('does not serve when it closes without a word, and is asked again', async () => {
    let connections = 0;
    await listen((socket) => {
      // As when it ends over a forward that it could not bind, and then another one comes.
      if (++connections < 3) socket.destroy();
      else socket.once('data', () => socket.write(Buffer.from([5, 0])));
    });
    expect(await serving(path, never)).toBe(true);
    expect(connections).toBe(3);
  });

  test('is asked again as long as nobody listens', async () => {
    const served = serving(path, never);
    expect(await isOpen(served)).toBe(true);
    await listen((socket) => socket.once('data', () => socket.write(Buffer.from([5, 0]))));
    expect(await served).toBe(true);
  });

  test('is no longer waited for when the signal is aborted', async () => {
    const controller = new AbortController();
    const served = serving(path, controller.signal);
    expect(await isOpen(served)).toBe(true);
    controller.abort();
    expect(await served).toBe(false);
  });

  test('is nudged by a connection that comes and goes', async () => {
    const came = new Promise<Socket>((resolve) => void listen(resolve));
    await pollUntil('the socket', () => readdirSync(folder).length > 0);
    const count = vi.fn();
    nudge(path, never, count);
    expect(count.mock.calls).toEqual([[1]]);
    const socket = await came;
    socket.resume();
    await once(socket, 'close');
    expect(count).toHaveBeenCalledOnce();
  });

  test('is not nudged where nobody listens, and nobody is told', async () => {
    const count = vi.fn();
    nudge(path, never, count);
    nudge(path, AbortSignal.abort(), count);
    // An error that nobody hears of would be an uncaught exception by now.
    await turns();
    expect(opened()).toBe(openBefore);
    expect(count.mock.calls.flat().reduce((sum: number, by: number) => sum + by, 0)).toBe(0);
  });
});
