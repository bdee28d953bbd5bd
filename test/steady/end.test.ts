import {describe, expect, test} from 'vitest';
import {
  canListen,
  expectNothingLeft,
  openFds,
  patience,
  pollUntil,
  serve,
  signal,
  snapshot,
  temporaryEntries,
  within,
} from '../support/index.js';
import {begin, once, patientHeartbeat, placeOf, rejection, setScene, talk, type Subject} from '../faults/scene.js';
import {client, open, traffic, waiting} from './client.js';

const scene = setScene();

function portOf({tunnel}: Subject): number {
  const place = placeOf(tunnel);
  return place.port ?? 0;
}

describe('stop({drain})', () => {
  test('takes no new connection at once; open ones finish, and then it resolves', async () => {
    const subject = await scene.tunnelUp({heartbeat: patientHeartbeat});
    const {tunnel, events} = subject;
    const port = portOf(subject);
    const one = await client(tunnel);
    await one.echo('one ');
    let isStopped = false;
    const stopped = tunnel.stop({drain: 30_000}).then(() => (isStopped = true));
    await pollUntil('nobody listens', () => tunnel.stats().forwards.length > 0);
    expect(await canListen(port)).toBe(true);
    await one.echo('two');
    expect(isStopped).toBe(false);
    one.socket.end();
    expect(await one.ending).toEqual({text: 'one two', ended: true, error: undefined});
    await within(patience, 'stop()', stopped);
    expect(events.of('connection-end').at(-1)).toMatchObject({end: 'finished'});
    expect(events.of('stop')).toEqual([{reason: 'stopped'}]);
  });

  test('the time is over: what is left is cut', async () => {
    const {tunnel} = await scene.tunnelUp({heartbeat: patientHeartbeat});
    const one = await client(tunnel);
    await one.echo('x');
    await tunnel.stop({drain: 200});
    expect(await one.ending).toEqual({text: 'x', ended: false, error: 'ECONNRESET'});
  });

  test('nothing is open: at once', async () => {
    const {tunnel} = await scene.tunnelUp();
    await open(tunnel, 0);
    await within(5_000, 'stop()', tunnel.stop({drain: 60_000}));
  });

  test('stop() without it wins', async () => {
    const {tunnel, events} = await scene.tunnelUp();
    const one = await client(tunnel);
    await one.echo('x');
    const draining = tunnel.stop({drain: 60_000});
    await tunnel.stop();
    await within(5_000, 'the other stop()', draining);
    expect(await one.ending).toMatchObject({ended: false, error: 'ECONNRESET'});
    expect(events.count('stop')).toBe(1);
  });

  test('one that waits for ssh is served while it drains', async () => {
    const {tunnel} = await scene.tunnelUp();
    const lost = once(tunnel, 'disconnect');
    await scene.sshd.halt();
    await lost;
    const one = await client(tunnel);
    one.socket.write('late');
    await waiting(tunnel, 1);
    const stopped = tunnel.stop({drain: 60_000});
    await scene.sshd.restart();
    await one.until('late');
    one.socket.end();
    await within(patience, 'stop()', stopped);
  });

  test('connect() is no way in either', async () => {
    const {tunnel} = await scene.tunnelUp();
    await open(tunnel, 0);
    const one = await client(tunnel);
    await one.echo('one');
    const stopped = tunnel.stop({drain: 20_000});
    expect(() => tunnel.connect()).toThrow(expect.objectContaining({code: 'ERR_AUTOSSH_STOPPED'}));
    one.socket.end();
    await stopped;
  });

  test('before the listeners are there: it ends, and so does start()', async () => {
    const {tunnel, events} = scene.tunnel();
    const started = rejection(tunnel.start());
    await tunnel.stop({drain: 100});
    expect(await started).toMatchObject({code: 'ERR_AUTOSSH_STOPPED'});
    expect(events.of('stop')).toEqual([{reason: 'stopped'}]);
  });

  test('a wrong one is a TypeError', async () => {
    const {tunnel} = await scene.tunnelUp();
    await expect(tunnel.stop({drain: -1})).rejects.toThrow(TypeError);
    await expect(tunnel.stop({drain: '1' as unknown as number})).rejects.toThrow('Expected `drain` to be a number');
    expect(tunnel.state).toBe('up');
  });
});

describe('stop() and abort', () => {
  const states: [string, (subject: Subject) => Promise<unknown>][] = [
    ['in the moment of the start', () => Promise.resolve()],
    ['while ssh logs in', ({tunnel}) => once(tunnel, 'start')],
    ['when it is up', ({tunnel}) => once(tunnel, 'connect')],
    [
      'with connections open',
      async ({tunnel}) => {
        await once(tunnel, 'connect');
        await Promise.all(Array.from({length: 10}, async () => (await client(tunnel)).echo('x')));
      },
    ],
    [
      'during a replacement',
      async ({tunnel}) => {
        await once(tunnel, 'connect');
        await (await client(tunnel)).echo('x');
        const again = once(tunnel, 'start');
        tunnel.restart().catch(() => undefined);
        await again;
      },
    ],
    [
      'while an old ssh drains',
      async ({tunnel}) => {
        await once(tunnel, 'connect');
        await (await client(tunnel)).echo('x');
        await tunnel.restart();
      },
    ],
    [
      'with connections waiting',
      async ({tunnel}) => {
        await once(tunnel, 'connect');
        const lost = once(tunnel, 'disconnect', {where: () => tunnel.state === 'waiting'});
        await scene.sshd.halt();
        await lost;
        await Promise.all(Array.from({length: 10}, () => client(tunnel)));
        tunnel.connect().on('error', () => undefined);
        await waiting(tunnel, 11);
      },
    ],
  ];

  test.each(
    states.flatMap(([name, bring]) =>
      (['stop', 'abort'] as const).flatMap((how) => [false, true].map((standby) => ({name, how, standby, bring}))),
    ),
  )('$how $name (standby: $standby): no listener, descriptor or file is left', async ({bring, how, standby}) => {
    const before = snapshot();
    const fds = openFds(process.pid).length;
    const controller = new AbortController();
    const subject = scene.tunnel({heartbeat: patientHeartbeat, standby, signal: controller.signal});
    const {tunnel, events} = subject;
    const brought = bring(subject);
    void begin(tunnel);
    await brought;
    const stopped = once(tunnel, 'stop');
    if (how === 'stop') await within(5_000, 'stop()', tunnel.stop());
    else controller.abort();
    expect(await stopped).toEqual({reason: how === 'stop' ? 'stopped' : 'aborted'});
    expect(tunnel.state).toBe('stopped');
    expect(temporaryEntries()).toEqual([]);
    // Those of clients and of the server close when they have heard of it.
    await scene.sshd.killSessions();
    await pollUntil('no descriptor more than before', () => openFds(process.pid).length <= fds);
    await expectNothingLeft({...before, processes: snapshot().processes}, {within: 2_000, resources: false});
    expect(events.count('stop')).toBe(1);
  });

  test('start() twice at once is one start; stop() right after it leaves nothing', async () => {
    const fds = openFds(process.pid).length;
    const subject = scene.tunnel();
    const {tunnel, events} = subject;
    await Promise.all([tunnel.start(), tunnel.start()]);
    expect(await talk(tunnel)).toBe('ping');
    expect(events.count('start')).toBe(1);
    const other = scene.tunnel();
    const up = begin(other.tunnel);
    await other.tunnel.stop();
    expect(await rejection(up)).toMatchObject({code: 'ERR_AUTOSSH_STOPPED'});
    expect(other.events.of('stop')).toEqual([{reason: 'stopped'}]);
    await tunnel.stop();
    expect(temporaryEntries()).toEqual([]);
    await pollUntil('no descriptor more than before', () => openFds(process.pid).length <= fds);
  });
});

test('who connects anew at every end is turned away at the last', async () => {
  const {tunnel, events} = scene.tunnel({restart: {shouldRestart: () => false}});
  await tunnel.start();
  const refusals: unknown[] = [];
  tunnel.on('connection-end', () => {
    try {
      tunnel.connect().on('error', () => undefined);
    } catch (error) {
      refusals.push(error);
    }
  });
  const one = await client(tunnel);
  await one.echo('x');
  const fatal = once(tunnel, 'fatal');
  signal(tunnel.pid ?? 0, 'SIGKILL');
  await fatal;
  expect(refusals).not.toEqual([]);
  expect(events.count('stop')).toBe(1);
});

describe('figures and events', () => {
  test('are there for each forward by itself', async () => {
    const to = `127.0.0.1:${String(scene.echo.port)}`;
    const {tunnel, events} = await scene.tunnelUp({
      forwards: [{type: 'local', target: to, name: 'a'}, {type: 'local', target: to, name: 'b'}, '-D 0'],
      heartbeat: patientHeartbeat,
    });
    await open(tunnel, 0);
    const [one, two] = [await client(tunnel, 'b'), await client(tunnel, 'b')];
    await one.echo('12345');
    await two.echo('123');
    expect(traffic(tunnel, 0)).toMatchObject({total: 1, open: 0, bytesSent: 4, bytesReceived: 4});
    expect(traffic(tunnel, 1)).toEqual({
      ...{open: 2, waiting: 0, total: 2, held: 0, refused: 0, failed: 0},
      ...{bytesSent: 8, bytesReceived: 8, longestHold: 0},
    });
    expect(traffic(tunnel, 2)).toMatchObject({total: 0});
    for (const each of [one, two]) {
      each.socket.end();
      await each.ending;
    }
    await pollUntil('both have ended', () => traffic(tunnel, 1).open === 0);
    expect(traffic(tunnel, 1)).toMatchObject({total: 2, bytesSent: 8, bytesReceived: 8});
    expect(events.of('connection').map(({id, forward}) => [id, forward])).toEqual([
      [1, 'a'],
      [2, 'b'],
      [3, 'b'],
    ]);
    const ends = events.of('connection-end').filter(({forward}) => forward === 'b');
    expect(ends.map(({id, end, bytesSent}) => [id, end, bytesSent]).sort()).toEqual([
      [2, 'finished', 5],
      [3, 'finished', 3],
    ]);
    for (const {duration} of ends) expect(duration).toBeGreaterThanOrEqual(0);
  });

  test('every connection is told before the stop, and how it ended stays true', async () => {
    const target = scene.use(
      await serve({}, (socket) => {
        socket.resume();
        socket.end();
      }),
    );
    const {tunnel, events} = scene.tunnel({forwards: [`-L 0:127.0.0.1:${String(target.port)}`]});
    await tunnel.start();
    const one = await client(tunnel);
    await pollUntil('its end', () => one.ended);
    one.socket.end();
    await one.ending;
    await tunnel.stop();
    expect(traffic(tunnel)).toMatchObject({open: 0, total: 1});
    expect(events.all.map(({name}) => name).slice(-2)).not.toContain('connection-end');
    expect(events.count('connection-end')).toBe(1);
  });

  test('what a listener throws is no harm to the connection', async () => {
    const {tunnel} = await scene.tunnelUp();
    const thrown: unknown[] = [];
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', (error) => thrown.push(error.message));
    try {
      tunnel.on('connection', () => {
        throw new Error('of the host');
      });
      expect(await talk(tunnel)).toBe('ping');
      await pollUntil('it surfaces', () => thrown.length === 1);
      expect(thrown).toEqual(['of the host']);
    } finally {
      process.removeAllListeners('uncaughtException');
      for (const listener of listeners) process.on('uncaughtException', listener);
    }
  });
});

describe('the target', () => {
  test('is down: the connection is closed, counted and explained; ssh goes on, and it works once it is up', async () => {
    const place = await serve({}, (socket) => socket.end());
    const {port} = place;
    await place.close();
    const subject = scene.tunnel({forwards: [`-L 0:127.0.0.1:${String(port)}`], heartbeat: patientHeartbeat});
    const {tunnel, events} = subject;
    await tunnel.start();
    const {pid} = tunnel;
    for (let n = 1; n <= 3; n++) {
      const told = once(tunnel, 'connection-end');
      const one = await client(tunnel);
      one.socket.write('hello?');
      const {text} = await one.ending;
      expect(text).toBe('');
      expect(await told).toMatchObject({
        end: 'target-failed',
        bytesReceived: 0,
        cause: expect.stringContaining('refused') as string,
      });
      expect(traffic(tunnel)).toMatchObject({failed: n, open: 0});
    }
    expect(tunnel.stats().targetFailures).toBe(3);
    expect(events.of('warning')).toMatchObject([{code: 'WARN_AUTOSSH_TARGET'}]);
    expect(tunnel).toMatchObject({pid, state: 'up'});
    scene.use(await serve({port}, (socket) => socket.pipe(socket)));
    expect(await talk(tunnel)).toBe('ping');
    expect(events.count('disconnect')).toBe(0);
  });

  test('is a socket that is not there: the same', async () => {
    const {tunnel, events} = scene.tunnel({forwards: ['-L 0:/nonexistent/target.sock'], heartbeat: patientHeartbeat});
    await tunnel.start();
    const told = once(tunnel, 'connection-end');
    const one = await client(tunnel);
    await pollUntil('its end', () => one.ended);
    one.socket.end();
    expect(await told).toMatchObject({end: 'target-failed'});
    expect(events.count('disconnect')).toBe(0);
  });
});
