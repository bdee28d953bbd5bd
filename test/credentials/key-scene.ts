import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {afterAll, afterEach, beforeAll, beforeEach} from 'vitest';
import {AutoSSH, type AutoSSHEvents, type AutoSSHOptions} from '../../src/index.js';
import {
  PrivateSshd,
  collect,
  echoServer,
  expectNothingLeft,
  guard,
  ownTemporaryFolder,
  processFacts,
  snapshot,
  temporaryFolder,
  type Collection,
  type SmallServer,
} from '../support/index.js';
import {quickRestart, talk} from '../faults/scene.js';

/** A tunnel under test, and all it has said. At the end of its block it is stopped. */
export interface Subject extends AsyncDisposable {
  readonly tunnel: AutoSSH;
  readonly events: Collection<AutoSSHEvents>;
}

/**
 * One server for all tests of a file, whose host key every tunnel has pinned and whose keys are those that a test lets in.
 * Of ssh_config and of the known hosts of whoever runs the tests nothing counts. After each test nothing of it may be left.
 */
export interface KeyScene {
  readonly sshd: PrivateSshd;
  readonly echo: SmallServer;
  /** For the files of the tests. */
  readonly folder: string;
  /** The server lets these public keys in, and no others. */
  authorize(...publicKeys: readonly string[]): void;
  options(options?: Partial<AutoSSHOptions>): AutoSSHOptions;
  /** Not started. */
  tunnel(options?: Partial<AutoSSHOptions>): Subject;
  /** Up, and proven to carry data. */
  up(options?: Partial<AutoSSHOptions>): Promise<Subject>;
  /** The same for an instant: it is not needed any more. */
  works(options?: Partial<AutoSSHOptions>): Promise<void>;
  /** What the server has said of keys since the test began: `Accepted ED25519 SHA256:…`, `Failed …`. */
  offers(): string[];
  /** How many connections the server has had since the test began. */
  connections(): number;
}

const everyEvent = [
  'state',
  'start',
  'connect',
  'disconnect',
  'restart',
  'warning',
  'stderr',
  'fatal',
  'stop',
] as const;

export function setKeyScene(config: readonly string[] = []): KeyScene {
  let sshd: PrivateSshd | undefined;
  let echo: SmallServer | undefined;
  let folder = '';
  let hostKey = '';
  let before = snapshot();
  let logged = 0;
  let restoreTemporaryFolder = (): void => undefined;

  beforeAll(async () => {
    restoreTemporaryFolder = ownTemporaryFolder();
    [sshd, echo] = await Promise.all([PrivateSshd.start({config}), echoServer()]);
    folder = temporaryFolder('k-');
    hostKey = readFileSync(`${sshd.hostKeyFile}.pub`, 'utf8').trim();
  });
  beforeEach(() => {
    logged = scene.sshd.log.length;
    before = snapshot();
  });
  afterEach(async () => {
    // A test may have started the server anew.
    const {pid = 0} = scene.sshd;
    before.processes.push(`${pid}@${processFacts(pid)?.startTime ?? ''} sshd`);
    // The server takes a moment to see that its clients are gone.
    await expectNothingLeft(before, {within: 5_000, resources: false});
  });
  afterAll(async () => {
    await Promise.all([sshd?.stop(), echo?.close()]);
    restoreTemporaryFolder();
  });

  const scene: KeyScene = {
    get sshd() {
      if (sshd === undefined) throw new Error('The scene is not set yet');
      return sshd;
    },
    get echo() {
      if (echo === undefined) throw new Error('The scene is not set yet');
      return echo;
    },
    get folder() {
      return folder;
    },
    authorize: (...publicKeys) => {
      writeFileSync(scene.sshd.authorizedKeysFile, publicKeys.map((key) => `${key}\n`).join(''), {mode: 0o600});
    },
    options: (options = {}) => ({
      host: scene.sshd.host,
      port: scene.sshd.port,
      username: scene.sshd.user,
      configFile: 'none',
      hostKey,
      forwards: [{type: 'local', target: {host: '127.0.0.1', port: scene.echo.port}}],
      restart: quickRestart,
      ...options,
    }),
    tunnel: (options) => {
      const tunnel = new AutoSSH(scene.options(options));
      tunnel.on('start', ({pid}) => {
        guard('process', pid);
      });
      const events = collect<AutoSSHEvents>(tunnel, everyEvent);
      return {
        tunnel,
        events,
        [Symbol.asyncDispose]: async () => {
          await tunnel.stop();
          events.end();
        },
      };
    },
    up: async (options) => {
      const subject = scene.tunnel(options);
      try {
        await subject.tunnel.start();
        if ((await talk(subject.tunnel)) !== 'ping') throw new Error('The tunnel carries nothing');
      } catch (error) {
        await subject[Symbol.asyncDispose]();
        throw error;
      }
      return subject;
    },
    works: async (options) => {
      const subject = await scene.up(options);
      await subject[Symbol.asyncDispose]();
    },
    offers: () =>
      scene.sshd.log.slice(logged).flatMap((line) => {
        const [, verdict, type = '', print = ''] =
          /^(Accepted|Failed) publickey for \S+ from .* ssh2: (\S+) (SHA256:\S+)/.exec(line) ?? [];
        return verdict === undefined ? [] : [`${verdict} ${type} ${print}`];
      }),
    connections: () => scene.sshd.log.slice(logged).filter((line) => line.startsWith('Connection from ')).length,
  };
  return scene;
}

/** A file in the scene's folder, for its owner alone. */
export function file(scene: KeyScene, name: string, text: string, mode = 0o600): string {
  const path = join(scene.folder, name);
  writeFileSync(path, text, {mode});
  return path;
}
