import {describe, expect, test} from 'vitest';
import type {AutoSSH, AutoSSHOptions} from '../../src/index.js';
import {
  Relay,
  connectTo,
  exchangeOn,
  freePort,
  pollUntil,
  signal,
  silentServer,
  sink,
  waitForState,
} from '../support/index.js';
import {HostProcess} from './host.js';
import {once, placeOf, quickHeartbeat, quickRestart, setScene, starts, talk, type Subject} from './scene.js';

/**
 * What clients of a steady forward see of each fault: a connection that comes after it is served, late perhaps, but
 * always; and none that was there before it ends as if all had been said.
 */

const scene = setScene();

/** Clients that come one after the other, all the time. */
class Visitors {
  /** How it went with those that came after the fault, and that were answered. */
  served = 0;
  readonly failures: string[] = [];
  #isAfter = false;
  #isOver = false;
  readonly #runs: Promise<void>[];

  constructor(tunnel: AutoSSH, atOnce = 3) {
    this.#runs = Array.from({length: atOnce}, (_, index) => this.#come(tunnel, index));
  }

  /** The fault is there: from now on nothing may fail. */
  async afterTheFault(): Promise<void> {
    // What has just been heard of ssh counts as proof that it lives, for some milliseconds.
    await new Promise((resolve) => setTimeout(resolve, 20));
    this.#isAfter = true;
  }

  /** Waits until so many have been served since the fault, and ends. */
  async end(count = 30): Promise<void> {
    await pollUntil(`${String(count)} visitors served`, () => this.failures.length > 0 || this.served >= count, {
      timeout: 40_000,
    });
    this.#isOver = true;
    await Promise.all(this.#runs);
    expect(this.failures).toEqual([]);
  }

  async #come(tunnel: AutoSSH, index: number): Promise<void> {
    for (let n = 0; !this.#isOver; n++) {
      const isAfter = this.#isAfter;
      const text = `visitor ${String(index)}-${String(n)}`;
      try {
        const answer = await talk(tunnel, text);
        if (answer !== text) this.failures.push(`'${answer}' instead of '${text}'`);
        if (isAfter) this.served++;
      } catch (error) {
        if (isAfter) this.failures.push(String(error));
      }
    }
  }
}

describe.each([{standby: false}, {standby: true}])('with %j', ({standby}) => {
  /** A tunnel through a relay, with its spare if it has one. */
  async function up(options: Partial<AutoSSHOptions> = {}): Promise<Subject & {relay: Relay}> {
    const relay = scene.use(await Relay.start({port: scene.sshd.port}));
    const subject = scene.tunnel({
      standby,
      heartbeat: quickHeartbeat,
      configFile: scene.sshd.config({port: relay.port}),
      ...options,
    });
    const all = once(subject.tunnel, 'connect', {where: ({starts: number}) => number === (standby ? 2 : 1)});
    await subject.tunnel.start();
    await all;
    return {...subject, relay};
  }

  test.each(['SIGKILL', 'SIGTERM', 'SIGSEGV'] as const)('ssh dies (%s)', async (name) => {
    const {tunnel} = await up();
    const visitors = new Visitors(tunnel);
    const again = once(tunnel, 'connect', {unless: ['stop']});
    signal(tunnel.pid ?? 0, name);
    await visitors.afterTheFault();
    await visitors.end();
    await again;
  });

  test('ssh freezes', async () => {
    const {tunnel} = await up();
    const visitors = new Visitors(tunnel);
    const {pid = 0} = tunnel;
    const lost = once(tunnel, 'disconnect', {unless: ['stop']});
    signal(pid, 'SIGSTOP');
    await waitForState(pid, 'T');
    await visitors.afterTheFault();
    await visitors.end();
    expect((await lost).outcome).toMatchObject({code: 'ERR_AUTOSSH_HEARTBEAT'});
    expect(tunnel.pid).not.toBe(pid);
  });

  test('the sessions of the server are killed', async () => {
    const {tunnel} = await up();
    const visitors = new Visitors(tunnel);
    const again = once(tunnel, 'connect', {unless: ['stop']});
    await scene.sshd.killSessions();
    await visitors.afterTheFault();
    await visitors.end();
    await again;
  });

  test('the sessions of the server freeze', async () => {
    const {tunnel} = await up();
    const visitors = new Visitors(tunnel);
    const lost = once(tunnel, 'disconnect', {unless: ['stop']});
    await scene.sshd.freezeSessions();
    await visitors.afterTheFault();
    await visitors.end();
    await lost;
    scene.sshd.thawSessions();
  });

  test('the server is down for a while', async () => {
    const {tunnel, events} = await up();
    const visitors = new Visitors(tunnel);
    await scene.sshd.halt();
    await visitors.afterTheFault();
    await once(tunnel, 'restart', {where: ({attempt}) => attempt >= 3, unless: ['stop']});
    expect(visitors.served).toBe(0);
    expect(visitors.failures).toEqual([]);
    await scene.sshd.restart();
    await visitors.end();
    expect(events.count('fatal')).toBe(0);
    expect(tunnel.state).toBe('up');
  });

  test('nothing passes, for longer than the bound', async () => {
    const {tunnel, relay} = await up();
    const visitors = new Visitors(tunnel);
    const lost = once(tunnel, 'disconnect', {unless: ['stop']});
    relay.stopPassing();
    await visitors.afterTheFault();
    await lost;
    expect(visitors.served).toBe(0);
    relay.resume();
    await visitors.end();
  });

  test('nothing passes, for less than the bound: nothing is replaced, and what is open goes on', async () => {
    const subject = await up({heartbeat: {interval: 100, timeout: 400, maxMisses: 50}});
    const {tunnel, relay, events} = subject;
    const before = starts(subject);
    const socket = await connectTo(placeOf(tunnel));
    expect(await exchangeOn(socket, 'before')).toBe('before');
    const visitors = new Visitors(tunnel);
    const missed = once(tunnel, 'heartbeat-miss');
    relay.stopPassing();
    const answer = exchangeOn(socket, 'meanwhile');
    await missed;
    relay.resume();
    expect(await answer).toBe('meanwhile');
    await visitors.afterTheFault();
    await visitors.end();
    expect(starts(subject)).toBe(before);
    expect(events.count('disconnect')).toBe(0);
    socket.destroy();
  });

  test('the path forgets the flow', async () => {
    const {tunnel, relay} = await up();
    const visitors = new Visitors(tunnel);
    const lost = once(tunnel, 'disconnect', {unless: ['stop']});
    relay.forgetOld();
    await visitors.afterTheFault();
    await visitors.end();
    await lost;
  });

  test('the target is silent: nothing is restarted, and the other forward works', async () => {
    const silent = scene.use(await silentServer());
    const subject = await up({
      forwards: [`-L 0:127.0.0.1:${String(scene.echo.port)}`, `-L 0:127.0.0.1:${String(silent.port)}`],
    });
    const {tunnel, events} = subject;
    const socket = await connectTo(placeOf(tunnel, 1));
    socket.write('anybody there?');
    await pollUntil('it has arrived', () => silent.open === 1);
    const visitors = new Visitors(tunnel);
    await visitors.afterTheFault();
    for (let beats = 0; beats < 5; beats++) await once(tunnel, 'heartbeat', {unless: ['disconnect']});
    await visitors.end();
    expect(tunnel.stats().forwards[1]?.connections).toMatchObject({open: 1, bytesSent: 14, bytesReceived: 0});
    expect(starts(subject)).toBe(standby ? 2 : 1);
    expect(events.count('disconnect')).toBe(0);
    socket.destroy();
  });

  test('the link is saturated by an upload and slow: no false death', async () => {
    const target = scene.use(await sink());
    const subject = await up({
      forwards: [`-L 0:127.0.0.1:${String(target.port)}`],
      // What queues in front of the beat takes several times as long as that.
      heartbeat: {interval: 200, timeout: 1_000, maxMisses: 1},
    });
    const {tunnel, relay, events} = subject;
    relay.rate(1_000_000);
    const socket = await connectTo(placeOf(tunnel));
    const bytes = 6 * 2 ** 20;
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.end(Buffer.alloc(bytes));
    await closed;
    expect(text).toBe(String(bytes));
    expect(events.count('disconnect')).toBe(0);
    expect(starts(subject)).toBe(standby ? 2 : 1);
  });

  test.each(['the host first', 'ssh first'])(
    'suspend and wake, %s: who came meanwhile is served, and nothing that works is replaced',
    async (order) => {
      const port = await freePort();
      const host = scene.use(
        await HostProcess.start({
          host: 'tunnel',
          configFile: scene.sshd.configFile,
          forwards: [`-L ${String(port)}:127.0.0.1:${String(scene.echo.port)}`],
          heartbeat: {interval: 200, timeout: 400, maxMisses: 2},
          restart: quickRestart,
          standby,
        }),
      );
      const all = host.next('connect', {where: ({starts: number}) => number === (standby ? 2 : 1)});
      await host.command('start');
      await all;
      const pids = host.events.of('start').map(({pid}) => pid);
      for (const pid of [host.pid, ...pids]) {
        signal(pid, 'SIGSTOP');
        await waitForState(pid, 'T');
      }
      const socket = await connectTo({port});
      const answer = exchangeOn(socket, 'meanwhile');
      // Longer than every bound of the heartbeat: the time itself is the fault.
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      const beats = host.events.count('heartbeat');
      for (const pid of order === 'the host first' ? [host.pid, ...pids] : [...pids, host.pid]) signal(pid, 'SIGCONT');
      expect(await answer).toBe('meanwhile');
      socket.destroy();
      await pollUntil('some beats', () => host.events.count('heartbeat') >= beats + 4);
      expect(host.events.count('disconnect')).toBe(0);
      expect(host.events.count('start')).toBe(pids.length);
    },
  );
});
