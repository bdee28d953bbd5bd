import {createHash} from 'node:crypto';
import {Agent, createServer as createHTTPServer, get, request} from 'node:http';
import {once as nodeOnce} from 'node:events';
import type {AddressInfo, Socket} from 'node:net';
import {describe, expect, test} from 'vitest';
import {type SmallServer, alive, openFds, patience, pollUntil, serve, signal, within} from '../support/index.js';
import {once, patientHeartbeat, setScene, type Subject} from '../faults/scene.js';
import {Client, client, open, traffic, waiting} from './client.js';

const scene = setScene();

/** A tunnel to a server that does as it is told. */
async function tunnelTo(
  onConnection: (socket: Socket) => void,
  options: Parameters<typeof scene.tunnel>[0] = {},
): Promise<Subject & {target: SmallServer}> {
  const target = scene.use(await serve({}, onConnection));
  const subject = scene.tunnel({
    forwards: [`-L 0:127.0.0.1:${String(target.port)}`],
    heartbeat: patientHeartbeat,
    ...options,
  });
  await subject.tunnel.start();
  return {...subject, target};
}

/** Writes until it is told to stop, and then no further than the buffers go. */
function flood(socket: Socket): {sent: () => number; settled: () => Promise<void>} {
  let sent = 0;
  const chunk = Buffer.alloc(65_536, 'flood');
  const more = (): void => {
    while (!socket.destroyed && sent < 512 * 2 ** 20) {
      sent += chunk.length;
      if (!socket.write(chunk)) return;
    }
  };
  socket.on('drain', more);
  more();
  return {
    sent: () => sent,
    settled: async () => {
      for (let before = -1; before !== sent;) {
        before = sent;
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
    },
  };
}

describe('half-closed', () => {
  test('by the client: the server has read all, and still answers', async () => {
    const {tunnel, events} = await tunnelTo((socket) => {
      let text = '';
      socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
      socket.on('end', () => socket.write(`got ${text}`, () => setImmediate(() => socket.end(', goodbye'))));
    });
    const one = await client(tunnel);
    one.socket.end('the question');
    expect(await one.ending).toEqual({text: 'got the question, goodbye', ended: true, error: undefined});
    await open(tunnel, 0);
    expect(events.of('connection-end')).toMatchObject([{id: 1, end: 'finished', bytesSent: 12, bytesReceived: 25}]);
  });

  test('by the server: the client has read all, and still sends', async () => {
    let text = '';
    let ended = false;
    const {tunnel} = await tunnelTo((socket) => {
      socket.end('that was all');
      socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
      socket.on('end', () => (ended = true));
    });
    const one = await client(tunnel);
    await one.until('that was all');
    await pollUntil('the end of the server', () => one.ended);
    one.socket.write('not from ');
    one.socket.end('this side');
    expect(await one.ending).toEqual({text: 'that was all', ended: true, error: undefined});
    await pollUntil('the end of the client', () => ended);
    expect(text).toBe('not from this side');
  });
});

describe('backpressure', () => {
  const bounded = 40 * 2 ** 20;

  test('a target that does not read stops the client, and gets all of it in the end', async () => {
    let target: Socket | undefined;
    const {tunnel} = await tunnelTo((socket) => {
      target = socket.pause();
    });
    const one = await client(tunnel);
    const {sent, settled} = flood(one.socket);
    await settled();
    expect(sent()).toBeLessThan(bounded);
    one.socket.removeAllListeners('drain');
    one.socket.end();
    let received = 0;
    target?.on('data', (chunk: Buffer) => (received += chunk.length));
    target?.on('end', () => target?.end('done'));
    target?.resume();
    expect(await within(patience, 'the rest', one.ending)).toEqual({text: 'done', ended: true, error: undefined});
    expect(received).toBe(sent());
  });

  test('a client that does not read stops the target, and gets all of it in the end', async () => {
    const hash = createHash('sha256');
    let flooding: ReturnType<typeof flood> | undefined;
    let target: Socket | undefined;
    const {tunnel} = await tunnelTo((socket) => {
      target = socket;
      flooding = flood(socket);
    });
    const one = await client(tunnel);
    one.socket.removeAllListeners('data');
    one.socket.pause();
    await pollUntil('the flood', () => flooding !== undefined);
    await flooding?.settled();
    expect(flooding?.sent()).toBeLessThan(bounded);
    target?.removeAllListeners('drain');
    target?.end();
    let received = 0;
    one.socket.on('data', (chunk: Buffer) => {
      received += chunk.length;
      hash.update(chunk);
    });
    one.socket.resume();
    await pollUntil('the end', () => one.ended);
    one.socket.end();
    await one.ending;
    expect(received).toBe(flooding?.sent());
    const expected = createHash('sha256');
    for (let n = 0; n < received; n += 65_536) expected.update(Buffer.alloc(65_536, 'flood'));
    expect(hash.digest('hex')).toBe(expected.digest('hex'));
  });
});

describe('cut off', () => {
  test('by the client (RST): the target sees its end, and it is told so', async () => {
    const ends: string[] = [];
    const {tunnel, target} = await tunnelTo((socket) => {
      socket.on('close', () => ends.push('closed'));
      socket.on('data', () => socket.write('hello'));
      socket.on('end', () => socket.end());
    });
    const told = once(tunnel, 'connection-end');
    const one = await client(tunnel);
    one.socket.write('hi');
    await one.until('hello');
    one.socket.resetAndDestroy();
    expect(await told).toMatchObject({end: 'client-gone', bytesSent: 2, bytesReceived: 5});
    await pollUntil('the end at the target', () => ends.length === 1);
    expect(target.open).toBe(0);
  });

  test.each([
    ['ssh is killed', ({tunnel}: Subject) => signal(tunnel.pid ?? 0, 'SIGKILL')],
    ['ssh is asked to end', ({tunnel}: Subject) => signal(tunnel.pid ?? 0, 'SIGTERM')],
    ['the session of the server is killed', () => scene.sshd.killSessions()],
    ['the tunnel is stopped', ({tunnel}: Subject) => tunnel.stop()],
  ] as const)('%s: every open connection sees a reset, and none a clean end', async (_, cut) => {
    const subject = await tunnelTo((socket) => {
      // Some idle, some in the middle of a transfer.
      socket.once('data', (chunk: Buffer) => (chunk.toString() === 'flood' ? flood(socket) : socket.write(chunk)));
    });
    const {tunnel, events} = subject;
    const clients = await Promise.all(Array.from({length: 20}, () => client(tunnel)));
    await Promise.all(
      clients.map(async (one, index) => {
        one.socket.write(index % 2 ? 'flood' : 'idle');
        await pollUntil('the first bytes', () => one.text.length > 0);
      }),
    );
    await cut(subject);
    const endings = await Promise.all(clients.map((one) => one.ending));
    expect(endings.map(({ended, error}) => ({ended, error}))).toEqual(
      clients.map(() => ({ended: false, error: 'ECONNRESET'})),
    );
    await pollUntil('all told', () => events.count('connection-end') === 20);
    expect(new Set(events.of('connection-end').map(({end}) => end))).toEqual(new Set(['cut']));
  });

  test('while a client is too slow to take what has ended for it: no descriptor is left', async () => {
    const fds = openFds(process.pid).length;
    const {tunnel, target} = await tunnelTo((socket) => socket.end(Buffer.alloc(8 * 2 ** 20)));
    const one = await client(tunnel);
    one.socket.removeAllListeners('data');
    one.socket.pause();
    await pollUntil('the target has sent all', () => target.open === 0 || traffic(tunnel).bytesReceived > 2 ** 20);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await tunnel.stop();
    one.socket.destroy();
    await one.ending;
    await target.close();
    await pollUntil('its descriptors', () => openFds(process.pid).length <= fds);
    expect(alive(process.pid)).toBe(true);
  });
});

describe('connect()', () => {
  test('a stream without any port: there and back, half-closed, and told like the others', async () => {
    const {tunnel, events} = await tunnelTo((socket) => socket.pipe(socket));
    const one = new Client(tunnel.connect());
    await one.echo('no port ');
    one.socket.end('at all');
    expect(await one.ending).toEqual({text: 'no port at all', ended: true, error: undefined});
    await open(tunnel, 0);
    expect(events.of('connection')).toMatchObject([{id: 1, forward: 'local-0'}]);
    expect(events.of('connection-end')).toMatchObject([
      {id: 1, forward: 'local-0', end: 'finished', bytesSent: 14, bytesReceived: 14},
    ]);
  });

  test('by name or index; and what there is not is a RangeError', async () => {
    const to = `127.0.0.1:${String(scene.echo.port)}`;
    const {tunnel} = await scene.tunnelUp({
      forwards: [{type: 'local', target: to, name: 'db'}, '-D 0', {type: 'local', target: to, steady: false}],
    });
    for (const name of ['db', 0, undefined]) {
      const one = new Client(tunnel.connect(name));
      await one.echo('x');
      one.socket.destroy();
    }
    for (const name of ['nobody', 1, 2, 3, -1]) expect(() => tunnel.connect(name)).toThrow(RangeError);
  });

  test('as pg uses it: connect() with an address, then the calls of a socket', async () => {
    const {tunnel} = await tunnelTo((socket) => socket.pipe(socket));
    const stream = tunnel.connect();
    const one = new Client(stream);
    stream.setNoDelay(true);
    const connected = nodeOnce(stream, 'connect');
    expect(stream.connect(5432, 'db.internal')).toBe(stream);
    await connected;
    stream.setKeepAlive(true, 1_000);
    await one.echo('SELECT 1');
    expect(stream.ref()).toBe(stream);
    expect(stream.unref()).toBe(stream);
    stream.end();
    expect(await one.ending).toMatchObject({ended: true, error: undefined});
  });

  test('for an http.Agent: many requests over few kept connections', async () => {
    const server = createHTTPServer((incoming, response) => {
      let body = '';
      incoming.on('data', (chunk: Buffer) => (body += chunk.toString()));
      incoming.on('end', () => response.end(`${incoming.url ?? ''} ${body}`));
    }).listen(0, '127.0.0.1');
    await nodeOnce(server, 'listening');
    try {
      const {port} = server.address() as AddressInfo;
      const {tunnel} = scene.tunnel({forwards: [`-L 0:127.0.0.1:${String(port)}`]});
      await tunnel.start();
      const agent = new Agent({keepAlive: true, maxSockets: 4});
      agent.createConnection = () => tunnel.connect();
      const ask = async (path: string): Promise<string> =>
        new Promise((resolve, reject) => {
          request({agent, path, method: 'POST', host: 'web.internal'}, (response) => {
            let text = '';
            response.on('data', (chunk: Buffer) => (text += chunk.toString()));
            response.on('end', () => {
              resolve(text);
            });
          })
            .on('error', reject)
            .end(`body of ${path}`);
        });
      const paths = Array.from({length: 40}, (_, n) => `/${String(n)}`);
      expect(await Promise.all(paths.map(ask))).toEqual(paths.map((path) => `${path} body of ${path}`));
      expect(traffic(tunnel).total).toBeLessThanOrEqual(5);
      agent.destroy();
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });

  test('its timeout, as an http.Agent sets it for a request', async () => {
    const silent = scene.use(await serve({}, (socket) => socket.resume()));
    const {tunnel} = scene.tunnel({forwards: [`-L 0:127.0.0.1:${String(silent.port)}`]});
    await tunnel.start();
    const agent = new Agent();
    agent.createConnection = () => tunnel.connect();
    const asked = get({agent, host: 'db.internal', path: '/', timeout: 200});
    await nodeOnce(asked, 'timeout');
    const failed = nodeOnce(asked, 'error');
    asked.destroy(new Error('too slow'));
    await failed;
    agent.destroy();
    const one = tunnel.connect();
    const called: string[] = [];
    one.setTimeout(50, () => called.push('first'));
    await nodeOnce(one, 'timeout');
    one.setTimeout(0);
    expect(called).toEqual(['first']);
    one.destroy();
  });

  test('during an outage it waits, with what was written', async () => {
    const {tunnel} = await tunnelTo((socket) => socket.pipe(socket));
    const lost = once(tunnel, 'disconnect');
    await scene.sshd.halt();
    await lost;
    const one = new Client(tunnel.connect());
    one.socket.write('early');
    const gone = new Client(tunnel.connect());
    await waiting(tunnel, 2);
    gone.socket.destroy();
    await waiting(tunnel, 1);
    await scene.sshd.restart();
    await one.until('early');
    one.socket.destroy();
  });

  test('before the end of start() it waits too; before start() and after stop() it throws', async () => {
    const {tunnel} = scene.tunnel();
    expect(() => tunnel.connect()).toThrow('not started');
    const up = tunnel.start();
    const one = new Client(tunnel.connect());
    await one.echo('early');
    one.socket.destroy();
    await up;
    await tunnel.stop();
    expect(() => tunnel.connect()).toThrow(expect.objectContaining({code: 'ERR_AUTOSSH_STOPPED'}) as Error);
  });

  test('cut off: an error, and never a clean end', async () => {
    const {tunnel} = await tunnelTo((socket) => socket.pipe(socket));
    const one = new Client(tunnel.connect());
    await one.echo('x');
    signal(tunnel.pid ?? 0, 'SIGKILL');
    expect(await one.ending).toMatchObject({ended: false, error: 'ECONNRESET'});
  });

  test('destroyed by its user: the target sees the end', async () => {
    const {tunnel, target} = await tunnelTo((socket) => {
      socket.on('data', () => socket.write('x'));
      socket.on('end', () => socket.end());
    });
    const one = new Client(tunnel.connect());
    one.socket.write('?');
    await one.until('x');
    one.socket.destroy();
    await pollUntil('the end at the target', () => target.open === 0);
    await open(tunnel, 0);
  });

  test('a target that does not read stops it', async () => {
    const {tunnel} = await tunnelTo((socket) => socket.pause());
    const stream = tunnel.connect();
    const {sent, settled} = flood(stream as unknown as Socket);
    await settled();
    expect(sent()).toBeLessThan(40 * 2 ** 20);
    stream.destroy();
  });
});
