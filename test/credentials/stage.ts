import {randomBytes} from 'node:crypto';
import {afterAll, afterEach, beforeAll, beforeEach, expect} from 'vitest';
import {AutoSSH, type AutoSSHEvents, type AutoSSHOptions} from '../../src/index.js';
import {
  type PasswordSshd,
  type PrivateSshd,
  type SmallServer,
  type Snapshot,
  alive,
  collect,
  echoServer,
  expectNothingLeft,
  guard,
  ownTemporaryFolder,
  processFacts,
  snapshot,
} from '../support/index.js';
import {type Subject, quickRestart} from '../faults/scene.js';

type Server = PasswordSshd | PrivateSshd;

/** What a file of these tests has in common: servers that stay, and tunnels of which nothing may be left after each test. */
export interface Stage {
  readonly echo: SmallServer;
  /** What was there before the test. */
  readonly before: Snapshot;
  /** A tunnel to a server, not started. */
  tunnel(server: Server, options?: Partial<AutoSSHOptions>): Subject;
}

/** @param open - starts the servers; returns how to stop them */
export function setStage(open: () => Promise<readonly Server[]>): Stage {
  let echo: SmallServer | undefined;
  let servers: readonly Server[] = [];
  let before: Snapshot | undefined;
  let restoreTemporaryFolder = (): void => undefined;
  const subjects: Subject[] = [];

  beforeAll(async () => {
    restoreTemporaryFolder = ownTemporaryFolder();
    [servers, echo] = await Promise.all([open(), echoServer()]);
  });
  afterAll(async () => {
    await Promise.all([...servers.map(async (server) => server.stop()), echo?.close()]);
    restoreTemporaryFolder();
  });
  beforeEach(() => {
    before = snapshot();
  });
  afterEach(async () => {
    const ended = subjects.splice(0);
    await Promise.all(ended.map(async ({tunnel}) => tunnel.stop()));
    for (const {events} of ended) {
      const pids = events.of('start').map(({pid}) => pid);
      expect(pids.filter(alive)).toEqual([]);
      events.end();
    }
    await expectNothingLeft(stage.before, {within: 3_000, resources: false});
  });

  const stage: Stage = {
    get echo() {
      return there(echo);
    },
    get before() {
      const listeners = servers.map((server) => ('sshd' in server ? server.sshd : server).pid ?? 0);
      // A test may have started one anew.
      const processes = listeners.map((pid) => `${String(pid)}@${processFacts(pid)?.startTime ?? ''}`);
      const past = there(before);
      return {...past, processes: [...past.processes, ...processes]};
    },
    tunnel: (server, options = {}) => {
      const {configFile} = 'sshd' in server ? server.sshd : server;
      const tunnel = new AutoSSH({
        host: 'tunnel',
        configFile,
        forwards: [{type: 'local', target: {host: '127.0.0.1', port: there(echo).port}}],
        // Its port at the server may be taken, and then there is one login more.
        heartbeat: false,
        restart: quickRestart,
        killTimeout: 1_000,
        gateTime: 0,
        ...options,
      });
      tunnel.on('start', ({pid}) => {
        guard('process', pid);
      });
      const subject = {tunnel, events: collect<AutoSSHEvents>(tunnel, everyEvent)};
      subjects.push(subject);
      return subject;
    },
  };
  return stage;
}

const everyEvent = [
  ...(['state', 'start', 'connect', 'heartbeat', 'heartbeat-miss', 'disconnect', 'restart'] as const),
  ...(['connection', 'connection-end', 'warning', 'stderr', 'fatal', 'stop'] as const),
] satisfies readonly (keyof AutoSSHEvents)[];

export function somePassword(): string {
  return `pw ${randomBytes(12).toString('base64')}`;
}

/** What a server was told, from now on. */
export interface Tally {
  /** How many passwords or answers PAM was given, right or wrong. */
  readonly attempts: number;
  /** How many sshd has refused, empty ones too. */
  readonly refused: number;
  /** How many have connected. */
  readonly connections: number;
}

export function tally(server: PasswordSshd): () => Tally {
  const attempts = server.attempts();
  const from = server.sshd.log.length;
  const count = (pattern: RegExp): number => server.sshd.log.slice(from).filter((line) => pattern.test(line)).length;
  return () => ({
    attempts: server.attempts() - attempts,
    refused: count(/^(?:Failed (?:password|keyboard-interactive)|PAM: .* for )/),
    connections: count(/^Connection from /),
  });
}

function there<Thing>(thing: Thing | undefined): Thing {
  if (thing === undefined) throw new Error('The stage is not set yet');
  return thing;
}
