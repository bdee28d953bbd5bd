import {randomBytes} from 'node:crypto';
import {spawn} from 'node:child_process';
import {statSync} from 'node:fs';
import {dirname} from 'node:path';
import {afterEach, beforeEach, describe, expect, test} from 'vitest';
import type {AutoSSH} from '../../src/index.js';
import {
  Relay,
  connectTo,
  decoy,
  exchange,
  expectNothingLeft,
  fixture,
  holdersOf,
  listeningPorts,
  openFds,
  patience,
  serve,
  snapshot,
  temporaryEntries,
  within,
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
  type Subject,
} from './scene.js';

const scene = setScene();

/** Runs something and tells how much memory it took to hold, in bytes, and for how long the event loop was held up. */
async function measure(action: () => Promise<unknown>): Promise<{memory: number; stall: number}> {
  globalThis.gc?.();
  const before = process.memoryUsage().rss;
  let peak = before;
  let last = performance.now();
  let stall = 0;
  const timer = setInterval(() => {
    const now = performance.now();
    stall = Math.max(stall, now - last);
    last = now;
    peak = Math.max(peak, process.memoryUsage().rss);
  }, 10);
  try {
    await action();
  } finally {
    clearInterval(timer);
  }
  return {memory: Math.max(peak, process.memoryUsage().rss) - before, stall};
}

const megabyte = 1024 * 1024;

describe('a flood on stderr', () => {
  test('300 000 lines as quickly as they are taken: bounded memory, no stall', async () => {
    const {tunnel} = scene.tunnel({
      sshPath: fixture('flood.mjs'),
      env: {...process.env, FAKE_LINES: '300000'},
      heartbeat: false,
    });
    // Nobody collects them here.
    tunnel.removeAllListeners('stderr');
    const ended = rejection(begin(tunnel));
    const {memory, stall} = await measure(() =>
      once(tunnel, 'stderr', {where: ({line}) => line === 'the flood is over'}),
    );
    // 45 MB have come through.
    expect(memory).toBeLessThan(100 * megabyte);
    expect(stall).toBeLessThan(1_000);
    await tunnel.stop();
    expect(((await ended)['stderr'] as string[]).length).toBeLessThan(1_000);
  });

  test('a line of 64 MB: cut, and the next one is read', async () => {
    const {tunnel} = scene.tunnel({
      sshPath: fixture('megabyte-line.mjs'),
      env: {...process.env, FAKE_MEGABYTES: '64'},
      heartbeat: false,
    });
    const longest = {length: 0};
    tunnel.on('stderr', ({line}) => (longest.length = Math.max(longest.length, line.length)));
    begin(tunnel).catch(() => undefined);
    const {memory} = await measure(() =>
      once(tunnel, 'stderr', {where: ({line}) => line.endsWith('the line after the long one')}),
    );
    expect(longest.length).toBeLessThanOrEqual(64 * 1024);
    expect(memory).toBeLessThan(48 * megabyte);
  });

  test('random bytes: an outcome like any other', async () => {
    const {tunnel} = scene.tunnel({sshPath: fixture('garbage.mjs'), heartbeat: false});
    const error = await rejection(begin(tunnel));
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_GATE', cause: {exitCode: 255}});
    expect(JSON.stringify(error['stderr']).length).toBeLessThan(megabyte);
  });

  test('ssh -vvv itself: ready all the same, and the heartbeat goes on', async () => {
    const subject = await scene.tunnelUp({
      extraArgs: ['-vvv'],
      sshOptions: {LogLevel: 'DEBUG3'},
      heartbeat: patientHeartbeat,
    });
    const data = randomBytes(256 * 1024).toString('hex');
    expect(await talk(subject.tunnel, data)).toBe(data);
    await once(subject.tunnel, 'heartbeat', {unless: ['disconnect', 'stop']});
    expect(subject.events.of('stderr').some(({line}) => line.startsWith('debug3:'))).toBe(true);
    expect(starts(subject)).toBe(1);
  });

  test('10 000 refused channels: bounded memory, a notice and not ten thousand, no restart', async () => {
    const gone = await decoy();
    await gone.close();
    const subject = await scene.tunnelUp({
      heartbeat: patientHeartbeat,
      forwards: [
        {type: 'local', name: 'echo', target: {port: scene.echo.port}},
        {type: 'local', name: 'gone', target: {port: gone.port}},
      ],
    });
    const place = placeOf(subject.tunnel, 'gone');
    const {memory} = await measure(async () => {
      for (let n = 0; n < 10_000; n += 100) {
        await Promise.all(
          Array.from({length: 100}, async () => {
            const socket = await connectTo(place);
            socket.resume();
            await new Promise((resolve) => socket.once('close', resolve));
          }),
        );
      }
    });
    expect(memory).toBeLessThan(100 * megabyte);
    const refused = subject.events.of('stderr').filter(({line}) => line.includes('open failed'));
    expect(refused.length).toBeGreaterThan(9_000);
    expect(subject.events.of('warning').length).toBeGreaterThanOrEqual(1);
    expect(subject.events.of('warning').length).toBeLessThan(100);
    expect(await talk(subject.tunnel, 'well', 'echo')).toBe('well');
    expect(starts(subject)).toBe(1);
  });

  test('stderr is closed while ssh lives on: nothing but silence', async () => {
    const {tunnel} = scene.tunnel({sshPath: fixture('close-stderr.mjs'), heartbeat: false, readyTimeout: 1_500});
    expect(await rejection(begin(tunnel))).toMatchObject({cause: {code: 'ERR_AUTOSSH_TIMEOUT'}});
  });
});

describe("somebody talks to the heartbeat's port", () => {
  /** The port at the server that leads to the heartbeat, which anybody there may connect to. */
  const heartbeatPort = (): number => {
    const mine = new Set(scene.sshd.sessions());
    const sockets = new Set([...mine].flatMap((pid) => openFds(pid)));
    const found = listeningPorts().find(({inode}) => sockets.has(`socket:[${inode}]`));
    if (found === undefined) throw new Error('The heartbeat listens on no port');
    return found.port;
  };

  /** Beats go on, none is missed, ssh is the same. */
  const expectUnmoved = async (
    tunnel: AutoSSH,
    events: {count: (name: 'heartbeat-miss' | 'start' | 'warning') => number},
  ): Promise<void> => {
    for (let n = 0; n < 3; n++) await once(tunnel, 'heartbeat', {unless: ['disconnect', 'stop']});
    expect(events.count('start')).toBe(1);
    expect(tunnel.state).toBe('up');
    expect(await talk(tunnel)).toBe('ping');
  };

  test.each([
    {what: 'nothing', data: () => ''},
    {what: 'a wrong line', data: () => 'hello\n'},
    {what: 'a beat with a made-up nonce', data: () => `${randomBytes(16).toString('hex')}\n`},
    {what: 'a line without an end', data: () => 'x'.repeat(100_000)},
    {what: 'random bytes', data: () => randomBytes(100_000)},
    {what: 'a thousand empty lines', data: () => '\n'.repeat(1_000)},
  ])('$what: ignored', async ({data}) => {
    const {tunnel, events} = await scene.tunnelUp({heartbeat: patientHeartbeat});
    const socket = await connectTo({port: heartbeatPort()});
    socket.resume();
    socket.write(data());
    await expectUnmoved(tunnel, events);
    expect(events.count('heartbeat-miss')).toBe(0);
    socket.destroy();
  });

  test('endless data: bounded memory, and the beats go on', async () => {
    const {tunnel, events} = await scene.tunnelUp({heartbeat: patientHeartbeat});
    const chunk = Buffer.alloc(megabyte, 'endless');
    let sent = 0;
    let ended = false;
    const socket = await connectTo({port: heartbeatPort()});
    socket.resume();
    socket.on('close', () => (ended = true));
    const pour = (): void => {
      while (!ended && sent < 200 * megabyte) {
        sent += chunk.length;
        if (!socket.write(chunk)) {
          socket.once('drain', pour);
          return;
        }
      }
    };
    const {memory} = await measure(async () => {
      pour();
      await expectUnmoved(tunnel, events);
    });
    expect(memory).toBeLessThan(100 * megabyte);
    socket.destroy();
  });

  test('two hundred connections that stay open: the beats go on', async () => {
    const {tunnel, events} = await scene.tunnelUp({heartbeat: patientHeartbeat});
    const port = heartbeatPort();
    const sockets = await Promise.all(Array.from({length: 200}, () => connectTo({port})));
    for (const socket of sockets) socket.resume();
    await expectUnmoved(tunnel, events);
    for (const socket of sockets) socket.destroy();
  });

  test('an old beat, replayed: only the exact echo of this one counts, and only once', async () => {
    const beats: Buffer[] = [];
    let replay = false;
    const service = scene.use(
      await serve({}, (socket) => {
        socket.on('data', (beat: Buffer) => {
          if (!replay) beats.push(beat);
          socket.write(replay ? (beats.at(-1) ?? beat) : beat);
        });
      }),
    );
    const {tunnel, events} = await scene.tunnelUp({
      heartbeat: {...quickHeartbeat, mode: 'echo-port', echoPort: service.port},
      restart: {...quickRestart, retries: 0},
    });
    await once(tunnel, 'heartbeat');
    const lost = once(tunnel, 'disconnect');
    replay = true;
    const honest = events.count('heartbeat');
    expect((await lost).outcome.code).toBe('ERR_AUTOSSH_HEARTBEAT');
    expect(events.count('heartbeat')).toBe(honest);
    // None is like another.
    expect(new Set(beats.map((beat) => beat.toString('latin1'))).size).toBe(beats.length);
  });

  test.each([
    {what: 'answers each beat with something as long', answer: (beat: Buffer) => randomBytes(beat.length)},
    {what: 'answers with endless data', answer: () => Buffer.alloc(10 * megabyte, 'x')},
    {what: 'answers with nothing', answer: () => Buffer.alloc(0)},
    {what: 'swallows the last byte', answer: (beat: Buffer) => beat.subarray(0, -1)},
  ])('an echo service that $what: no beat, and no harm', async ({answer}) => {
    let honest = true;
    const service = scene.use(
      await serve({}, (socket) => {
        socket.on('data', (beat: Buffer) => socket.write(honest ? beat : answer(beat)));
      }),
    );
    const {tunnel} = await scene.tunnelUp({heartbeat: {...quickHeartbeat, mode: 'echo-port', echoPort: service.port}});
    const lost = once(tunnel, 'disconnect');
    honest = false;
    const {memory} = await measure(() => lost);
    expect((await lost).outcome.code).toBe('ERR_AUTOSSH_HEARTBEAT');
    expect(memory).toBeLessThan(100 * megabyte);
  });

  test('on this side nobody else can: the sockets are in a folder of mode 0700, and no port listens', async () => {
    const {tunnel, events} = await scene.tunnelUp({
      forwards: [{type: 'remote', listen: {port: 0}, target: {port: scene.echo.port}}],
    });
    const command = events.of('start')[0]?.command ?? '';
    const [path = ''] = /\/[^\s:']*\.sock/.exec(command) ?? [];
    expect(statSync(dirname(path)).mode & 0o777).toBe(0o700);
    const pid = tunnel.pid ?? 0;
    expect(listeningPorts().filter(({port}) => holdersOf(port).includes(pid))).toEqual([]);
    if (process.getuid?.() !== 0) return;
    const child = spawn(
      'setpriv',
      [
        '--reuid=65534',
        '--regid=65534',
        '--clear-groups',
        '--',
        process.execPath,
        '-e',
        `require('net').connect('${path}').on('error', (error) => process.exit(error.code === 'EACCES' ? 7 : 1))`,
      ],
      {stdio: 'ignore'},
    );
    expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(7);
  });
});

describe('stop(), restart() and abort in every state', () => {
  const states = ['idle', 'starting', 'up', 'waiting', 'stopping', 'stopped'] as const;
  const actions = ['stop', 'abort', 'restart'] as const;

  let relay: Relay;
  beforeEach(async () => {
    relay = await Relay.start(scene.sshd);
  });
  afterEach(() => relay.close());

  interface InState extends Subject {
    controller: AbortController;
    /** Whatever was begun to get there. */
    running: Promise<unknown>[];
  }

  /** A tunnel in that state. */
  async function inState(state: (typeof states)[number]): Promise<InState> {
    const controller = new AbortController();
    const subject = scene.tunnel({
      configFile: scene.sshd.config(relay),
      signal: controller.signal,
      heartbeat: patientHeartbeat,
      gateTime: 0,
      restart: {minTimeout: 600_000, maxTimeout: 600_000},
    });
    const {tunnel} = subject;
    const running: Promise<unknown>[] = [];
    if (state === 'waiting') await relay.refuse();
    if (state !== 'idle') {
      const to = state === 'starting' || state === 'waiting' ? state : 'up';
      const reached = once(tunnel, 'state', {where: (change) => change.to === to});
      running.push(begin(tunnel).catch(() => undefined));
      await reached;
    }
    if (state === 'stopping') running.push(tunnel.stop());
    if (state === 'stopped') await tunnel.stop();
    expect(tunnel.state).toBe(state);
    return {...subject, controller, running};
  }

  test.each(states.flatMap((state) => actions.map((action) => ({state, action}))))(
    '$action in $state: ends as it should, with one stop event and nothing left',
    async ({state, action}) => {
      const before = snapshot();
      const {tunnel, events, controller, running} = await inState(state);
      if (action === 'abort') {
        controller.abort();
        // Before the start nothing is there that an abort could end. The start is what it forbids.
        if (state === 'idle') expect(await rejection(tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_ABORTED'});
      } else if (action === 'restart') {
        if (state === 'waiting') await relay.accept();
        const again = tunnel.restart().then(
          () => 'up',
          (error: unknown) => (error as {code?: string}).code,
        );
        const canStart = state === 'starting' || state === 'up' || state === 'waiting';
        expect(await within(patience, 'restart()', again)).toBe(canStart ? 'up' : 'ERR_AUTOSSH_STOPPED');
        if (canStart) expect(await talk(tunnel)).toBe('ping');
      }
      await within(8_000, 'stop()', tunnel.stop());
      expect(temporaryEntries()).toEqual([]);
      await Promise.all(running);
      expect(tunnel.state).toBe('stopped');
      expect(events.count('stop')).toBe(1);
      expect(events.all.at(-1)?.name).toBe('stop');
      expect(events.count('fatal')).toBe(0);
      const reason = action === 'abort' && state !== 'stopping' && state !== 'stopped' ? 'aborted' : 'stopped';
      expect(events.of('stop')[0]?.reason).toBe(reason);
      if (state === 'waiting') await relay.accept();
      await scene.sshd.killSessions();
      await expectNothingLeft(before, {within: 2_000});
    },
  );

  test('twice at once is the same stop', async () => {
    const {tunnel, events} = await scene.tunnelUp();
    await Promise.all([tunnel.stop(), tunnel.stop(), tunnel[Symbol.asyncDispose]()]);
    expect(events.count('stop')).toBe(1);
  });

  test('in a listener of any event', async () => {
    const names = ['start', 'connect', 'heartbeat', 'disconnect', 'restart', 'state', 'stderr'] as const;
    for (const name of names) {
      const {tunnel, events} = scene.tunnel({heartbeat: quickHeartbeat});
      const stopped = once(tunnel, 'stop');
      tunnel.once(name, () => void tunnel.stop());
      begin(tunnel).catch(() => undefined);
      if (name === 'disconnect' || name === 'restart') {
        await once(tunnel, 'connect');
        await scene.sshd.killSessions();
      }
      expect(await stopped).toMatchObject({reason: 'stopped'});
      await tunnel.stop();
      expect(events.count('stop')).toBe(1);
    }
  });

  // Each seed is a sequence of its own; a failure names it.
  const seeds = Array.from({length: 24}, (_, index) => 1000 + index);

  test.each(Array.from({length: 6}, (_, group) => ({group, mine: seeds.slice(group * 4, group * 4 + 4)})))(
    'at random, seeds $mine: nothing left, exactly one stop event',
    async ({mine}) => {
      const before = snapshot();
      await Promise.all(mine.map((seed) => sequence(seed)));
      await scene.sshd.killSessions();
      await expectNothingLeft(before, {within: 2_000, resources: false});
    },
  );

  /** Ten things that can be done to a tunnel, in an order that the seed decides, each at a moment that it decides. */
  async function sequence(seed: number): Promise<void> {
    const random = randomNumbers(seed);
    const controller = new AbortController();
    const {tunnel, events} = scene.tunnel({
      signal: controller.signal,
      gateTime: 0,
      killTimeout: random() < 0.2 ? 0 : 1_000,
      heartbeat: random() < 0.5 ? quickHeartbeat : false,
      restart: {minTimeout: 20, maxTimeout: 100},
      ...(random() < 0.2 && {sshPath: fixture('die-at-once.mjs')}),
      ...(random() < 0.3 && {standby: true}),
    });
    const pending: Promise<unknown>[] = [];
    const done: string[] = [];
    for (let n = 0; n < 10; n++) {
      const dice = random();
      if (dice < 0.25) act('start', () => tunnel.start());
      else if (dice < 0.5) act('restart', () => tunnel.restart());
      else if (dice < 0.6) act('ready', () => tunnel.ready());
      else if (dice < 0.75) kill('SIGKILL');
      else if (dice < 0.8) kill('SIGSTOP');
      else if (dice < 0.84) act('stop', () => tunnel.stop());
      else if (dice < 0.86) {
        done.push('abort');
        controller.abort();
      }
      // The moment is at random too: some of these are in the middle of a login, some in a backoff.
      await new Promise((resolve) => setTimeout(resolve, random() * 200));
    }
    await within(8_000, `stop() of seed ${seed} after ${done.join(', ')}`, tunnel.stop());
    await within(2_000, `every promise of seed ${seed} after ${done.join(', ')}`, Promise.all(pending));
    expect(tunnel.state, `seed ${seed}`).toBe('stopped');
    expect(events.count('stop'), `seed ${seed}: ${done.join(', ')}`).toBe(1);
    expect(events.all.at(-1)?.name, `seed ${seed}: ${done.join(', ')}`).toBe('stop');

    function act(name: string, action: () => Promise<unknown>): void {
      done.push(name);
      pending.push(
        action().catch((error: unknown) => {
          expect((error as {code?: string}).code, `seed ${seed}: ${name}`).toMatch(/^ERR_AUTOSSH_(STOPPED|ABORTED)$/);
        }),
      );
    }
    function kill(name: NodeJS.Signals): void {
      done.push(name);
      try {
        if (tunnel.pid !== undefined) process.kill(tunnel.pid, name);
      } catch {
        // It has ended at this moment.
      }
    }
  }
});

test('a tunnel that was stopped answers nobody', async () => {
  const {tunnel} = await scene.tunnelUp();
  const place = placeOf(tunnel);
  await tunnel.stop();
  await expect(exchange(place)).rejects.toThrow('ECONNREFUSED');
});

/** Mulberry32: the same numbers from 0 to 1 for the same seed. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
