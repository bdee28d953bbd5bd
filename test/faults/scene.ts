import {afterAll, afterEach, beforeAll, beforeEach, expect} from 'vitest';
import {
  type Address,
  AutoSSH,
  type AutoSSHEventPayloads,
  type AutoSSHEvents,
  type AutoSSHOptions,
} from '../../src/index.js';
import {
  PrivateSshd,
  alive,
  collect,
  echoServer,
  exchange,
  expectNothingLeft,
  guard,
  ownTemporaryFolder,
  snapshot,
  once as onceOf,
  type Collection,
  type SmallServer,
  type SshdOptions,
  type WaitOptions,
} from '../support/index.js';

/** A tunnel under test, and all it has said. */
export interface Subject {
  tunnel: AutoSSH;
  events: Collection<AutoSSHEvents>;
}

/**
 * What each of these tests begins with: a server of its own and something to talk to behind it. After each, every tunnel
 * is stopped, and nothing of it may be left.
 */
export interface Scene {
  readonly sshd: PrivateSshd;
  readonly echo: SmallServer;
  /** A tunnel with beats as quick as a test wants them, not started. */
  tunnel(options?: Partial<AutoSSHOptions>): Subject;
  /** The same, up and proven to carry data. */
  tunnelUp(options?: Partial<AutoSSHOptions>): Promise<Subject>;
  /** Registers what is to be closed after the test, before sshd is. */
  use<T extends {close: () => Promise<void>}>(thing: T): T;
}

const everyEvent = [
  'state',
  'start',
  'connect',
  'heartbeat',
  'heartbeat-miss',
  'disconnect',
  'restart',
  'connection',
  'connection-end',
  'warning',
  'stderr',
  'fatal',
  'stop',
] as const satisfies readonly (keyof AutoSSHEvents)[];

/** Dead after about a second: for tests in which ssh has to be found dead. */
export const quickHeartbeat = {interval: 200, timeout: 500, maxMisses: 2} as const;

/** For tests in which no death may be found: patient enough for a machine that is busy with something else. */
export const patientHeartbeat = {interval: 200, timeout: 3_000, maxMisses: 3} as const;

/** A backoff that a test can sit through, and that is the same in every run. */
export const quickRestart = {minTimeout: 50, maxTimeout: 400, factor: 2, randomize: false} as const;

export function setScene(sshdOptions: SshdOptions = {}): Scene {
  let sshd: PrivateSshd | undefined;
  let echo: SmallServer | undefined;
  let before = snapshot();
  let restoreTemporaryFolder = (): void => undefined;
  const subjects: Subject[] = [];
  const things: {close: () => Promise<void>}[] = [];

  beforeAll(() => {
    restoreTemporaryFolder = ownTemporaryFolder();
  });
  beforeEach(async () => {
    before = snapshot();
    [sshd, echo] = await Promise.all([PrivateSshd.start(sshdOptions), echoServer()]);
  });
  afterEach(async () => {
    const stopped = subjects.splice(0);
    try {
      await Promise.all(stopped.map(({tunnel}) => tunnel.stop()));
      await Promise.all(things.splice(0).map((thing) => thing.close()));
    } finally {
      await Promise.all([sshd?.stop(), echo?.close()]);
    }
    for (const {events, tunnel} of stopped) {
      // What stop() promises holds the moment it has resolved.
      expect(tunnel.state).toMatch(/^(stopped|idle)$/);
      expect(
        events
          .of('start')
          .map(({pid}) => pid)
          .filter(alive),
      ).toEqual([]);
      expect(events.count('stop')).toBeLessThanOrEqual(1);
      events.end();
    }
    await expectNothingLeft(before, {within: 3_000, resources: false});
  });
  afterAll(() => {
    restoreTemporaryFolder();
  });

  const scene: Scene = {
    get sshd() {
      if (sshd === undefined) throw new Error('The scene is not set yet');
      return sshd;
    },
    get echo() {
      if (echo === undefined) throw new Error('The scene is not set yet');
      return echo;
    },
    tunnel: (options = {}) => {
      const tunnel = new AutoSSH({
        host: 'tunnel',
        configFile: scene.sshd.configFile,
        forwards: [{type: 'local', target: {host: '127.0.0.1', port: scene.echo.port}}],
        heartbeat: quickHeartbeat,
        restart: quickRestart,
        killTimeout: 1_000,
        ...options,
      });
      // A listener on 'start' puts every ssh under the guardian's care, should the test run be killed.
      tunnel.on('start', ({pid}) => {
        guard('process', pid);
      });
      const subject = {tunnel, events: collect<AutoSSHEvents>(tunnel, everyEvent)};
      subjects.push(subject);
      return subject;
    },
    tunnelUp: async (options) => {
      const subject = scene.tunnel(options);
      await subject.tunnel.start();
      if (subject.tunnel.forward().type === 'local') expect(await talk(subject.tunnel)).toBe('ping');
      return subject;
    },
    use: (thing) => {
      things.push(thing);
      return thing;
    },
  };
  return scene;
}

/** The next event of this name from a tunnel. */
export function once<N extends keyof AutoSSHEvents>(
  tunnel: AutoSSH,
  name: N,
  options: WaitOptions<AutoSSHEvents, N> = {},
): Promise<AutoSSHEventPayloads[N]> {
  return onceOf<AutoSSHEvents, N>(tunnel, name, options) as Promise<AutoSSHEventPayloads[N]>;
}

/** Text through the first forward, or a named one, and back. */
export function talk(tunnel: AutoSSH, text = 'ping', name?: string | number): Promise<string> {
  return exchange(placeOf(tunnel, name), text);
}

/** Where a client connects to a forward. */
export function placeOf(tunnel: AutoSSH, name?: string | number): Address {
  return tunnel.forward(name).listen;
}

/** The rejection itself, so that its fields can be looked at. */
export async function rejection(promise: Promise<unknown>): Promise<Error & Record<string, unknown>> {
  try {
    await promise;
  } catch (error) {
    return error as Error & Record<string, unknown>;
  }
  throw new Error('Expected a rejection, but it resolved');
}

/** `start()`, to be awaited later. A test that fails before that has one failure, not two. */
export function begin(tunnel: AutoSSH): Promise<void> {
  const up = tunnel.start();
  up.catch(() => undefined);
  return up;
}

/** How often ssh was started. */
export function starts(subject: Subject): number {
  return subject.events.count('start');
}
