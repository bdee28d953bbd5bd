import {execFile} from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {basename, dirname, join} from 'node:path';
import {promisify} from 'node:util';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {AutoSSH, type AutoSSHEvents, type AutoSSHOptions, type SSHAgent} from '../../src/index.js';
import {
  PasswordSshd,
  PrivateSshd,
  alive,
  canLogInByPassword,
  collect,
  commandLine,
  descendants,
  echoServer,
  exchange,
  expectNothingLeft,
  findProgram,
  guard,
  ownProcesses,
  ownTemporaryFolder,
  pollUntil,
  signal,
  snapshot,
  temporaryEntries,
  temporaryFolder,
  waitForExit,
  type Collection,
  type SmallServer,
} from '../support/index.js';
import {HostProcess} from '../faults/host.js';
import {once, quickRestart, rejection} from '../faults/scene.js';
import {filledAgent} from './keys.js';

const run = promisify(execFile);

/** Where the tunnel ends. Each of the three lets in its own key alone, unless a test has added another. */
let server: PrivateSshd;
let first: PrivateSshd;
let second: PrivateSshd;
let echo: SmallServer;
let folder: string;
let restoreTemporaryFolder: () => void;
let before = snapshot();

const options = (): AutoSSHOptions => ({
  host: 'server',
  configFile: join(folder, 'ssh_config'),
  forwards: [{type: 'local', target: {host: '127.0.0.1', port: echo.port}}],
  heartbeat: false,
  gateTime: 0,
  restart: quickRestart,
  killTimeout: 1_000,
});

/** Of the server and of hops, as a user has it, each by its name. */
function aliases(hosts: Readonly<Record<string, PrivateSshd>>, lines: readonly string[] = []): string {
  const blocks = Object.entries(hosts).map(([name, {configFile}]) =>
    readFileSync(configFile, 'utf8').replace('Host tunnel\n', `Host ${name}\n`),
  );
  return [...lines.map((line) => `${line}\n`), ...blocks].join('');
}

beforeAll(async () => {
  restoreTemporaryFolder = ownTemporaryFolder();
  before = snapshot();
  folder = temporaryFolder('jump-');
  [server, first, second, echo] = await Promise.all([
    PrivateSshd.start(),
    PrivateSshd.start(),
    PrivateSshd.start(),
    echoServer(),
  ]);
  writeFileSync(join(folder, 'ssh_config'), aliases({server, first, second}));
  // Nothing but what is known of the addresses, so that everything else has to come from the options.
  writeFileSync(
    join(folder, 'known_hosts'),
    [server, first, second].map(({knownHostsFile}) => readFileSync(knownHostsFile, 'utf8')).join(''),
  );
  writeFileSync(
    join(folder, 'bare_config'),
    `IdentityFile none\nUserKnownHostsFile ${join(folder, 'known_hosts')}\nGlobalKnownHostsFile none\n`,
  );
});
afterAll(async () => {
  await Promise.all([server.stop(), first.stop(), second.stop(), echo.close()]);
  await expectNothingLeft(before, {within: 3_000, resources: false});
  restoreTemporaryFolder();
});

const text = (path: string): string => readFileSync(path, 'utf8');
const address = ({port}: PrivateSshd): string => `127.0.0.1:${String(port)}`;
const publicKey = (path: string): string => text(`${path}.pub`).split(' ').slice(0, 2).join(' ');
const fingerprint = async (path: string): Promise<string> =>
  (await run('ssh-keygen', ['-l', '-f', `${path}.pub`])).stdout.split(' ')[1] ?? '';

async function newKey(): Promise<string> {
  const path = join(temporaryFolder('key-'), 'key');
  await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', path]);
  return path;
}

/** What the ssh of the one hop reads; tests beside this one have others. */
function hopConfiguration({tunnel: {pid = 0}}: Subject): string {
  return / -F (\S+\/hop-1\.config) /.exec(commandLine(pid).join(' '))?.[1] ?? '';
}

interface Subject {
  readonly tunnel: AutoSSH;
  readonly events: Collection<AutoSSHEvents>;
}

function prepare(given: Partial<AutoSSHOptions>): Subject {
  const tunnel = new AutoSSH({...options(), ...given});
  tunnel.on('start', ({pid}) => {
    guard('process', pid);
  });
  const names = ['start', 'connect', 'disconnect', 'restart', 'warning', 'fatal', 'stderr', 'stop'] as const;
  return {tunnel, events: collect<AutoSSHEvents>(tunnel, names)};
}

/** Up, and proven to carry data; stopped at the end, and then nothing is left of it. */
async function whileUp(
  given: Partial<AutoSSHOptions>,
  look: (subject: Subject) => unknown = () => undefined,
): Promise<void> {
  const subject = prepare(given);
  try {
    await subject.tunnel.start();
    expect(await exchange(subject.tunnel.forward().listen, 'ping')).toBe('ping');
    await look(subject);
  } finally {
    const processes = subject.tunnel.pid === undefined ? [] : descendants(subject.tunnel.pid);
    await subject.tunnel.stop();
    await Promise.all(processes.map(async (pid) => waitForExit(pid)));
  }
}

async function failure(
  given: Partial<AutoSSHOptions>,
): Promise<{error: Error & Record<string, unknown>; events: Subject['events']}> {
  const {tunnel, events} = prepare(given);
  try {
    return {error: await rejection(tunnel.start()), events};
  } finally {
    await tunnel.stop();
  }
}

/** Which keys a server has let in, or refused, while something was done. */
async function keysAt(
  sshd: PrivateSshd,
  during: () => Promise<unknown>,
): Promise<{accepted: string[]; failed: string[]}> {
  const from = sshd.log.length;
  await during();
  const said = (word: string): string[] =>
    sshd.log.slice(from).flatMap((line) => new RegExp(`^${word} publickey for .*(SHA256:\\S+)`).exec(line)?.[1] ?? []);
  return {accepted: [...new Set(said('Accepted'))], failed: [...new Set(said('Failed'))]};
}

describe('a way that ssh takes as it is', () => {
  test('is -J: an alias of ssh_config, with its address, port, user and key', async () => {
    const {accepted} = await keysAt(first, async () =>
      whileUp({jump: 'first'}, ({events}) => {
        expect(events.of('start')[0]?.command).toContain(' -J first ');
      }),
    );
    expect(accepted).toEqual([await fingerprint(first.identityFile)]);
  });

  const ways: readonly [what: string, jump: () => NonNullable<AutoSSHOptions['jump']>][] = [
    ['two in a string', () => 'first,second'],
    ['user, address and port', () => `${first.user}@${address(first)}`],
    ['URIs', () => `ssh://${first.user}@${address(first)},ssh://${address(second)}`],
    ['objects', () => [{host: '127.0.0.1', port: first.port, username: first.user}, 'second']],
  ];
  const configured = (): string => `${text(join(folder, 'bare_config'))}${text(join(folder, 'ssh_config'))}`;

  test.each(ways)('%s, with the keys of ssh_config', async (_what, jump) => {
    const config = join(temporaryFolder('config-'), 'ssh_config');
    const keys = [server, first, second].map(({identityFile}) => `IdentityFile ${identityFile}\n`);
    writeFileSync(config, `${keys.join('')}IdentitiesOnly yes\n${configured()}`);
    await whileUp({jump: jump(), configFile: config}, ({events}) => {
      expect(events.of('start')[0]?.command).toContain(' -J ');
    });
  });

  test.each(ways)(
    '%s: not where the tunnel has a key, which is that of all hops that name none',
    async (_what, jump) => {
      const key = await newKey();
      for (const sshd of [server, first, second]) appendFileSync(sshd.authorizedKeysFile, text(`${key}.pub`));
      const config = join(temporaryFolder('config-'), 'ssh_config');
      // These name other keys, and rule an agent out.
      writeFileSync(config, configured());
      const {accepted} = await keysAt(first, async () =>
        whileUp({jump: jump(), privateKey: text(key), configFile: config}, ({events}) => {
          expect(events.of('start')[0]?.command).not.toContain(' -J ');
        }),
      );
      expect(accepted).toEqual([await fingerprint(key)]);
    },
  );

  test("'none' is straight, whatever ssh_config says", async () => {
    const config = join(folder, 'with-jump');
    writeFileSync(config, `Host server\n  ProxyJump 127.0.0.1:1\n${aliases({server})}`);
    expect((await failure({configFile: config, restart: {retries: 0}})).error['code']).toMatch(/GAVE_UP|CONNECT/);
    await whileUp({configFile: config, jump: 'none'});
  });
});

describe('the host key of a hop', () => {
  const forms: readonly [what: string, pin: (path: string) => string | Promise<string>][] = [
    ['a public key', publicKey],
    ['a fingerprint', fingerprint],
    ['a line of known_hosts', (path) => `[127.0.0.1]:* ${publicKey(path)}`],
  ];

  test.each(forms)('is the pinned one, or it is fatal, and the hop is named: %s', async (_what, pin) => {
    await whileUp({jump: {host: 'first', hostKey: await pin(first.hostKeyFile)}});
    const from = [first.log.length, server.log.length] as const;
    const {error, events} = await failure({jump: {host: 'first', hostKey: await pin(server.hostKeyFile)}});
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY', retryable: false});
    expect(error.message).toContain(String(first.port));
    expect(error.message).toContain('none of those in the `hostKey` of that hop');
    expect(events.count('start')).toBe(1);
    expect(events.count('restart')).toBe(0);
    expect(first.log.slice(from[0]).filter((line) => /publickey|Accepted/.test(line))).toEqual([]);
    expect(server.log.slice(from[1])).toEqual([]);
  });

  test('no configuration undoes it', async () => {
    const config = join(folder, 'careless');
    writeFileSync(
      config,
      aliases({server, first}, [
        'StrictHostKeyChecking no',
        'NoHostAuthenticationForLocalhost yes',
        'UserKnownHostsFile /dev/null',
        'KnownHostsCommand /bin/echo "* %t %K"',
        'VerifyHostKeyDNS yes',
        'HostKeyAlgorithms ssh-ed25519',
      ]),
    );
    await whileUp({configFile: config, jump: 'first'});
    await whileUp({configFile: config, jump: {host: 'first', hostKey: publicKey(first.hostKeyFile)}});
    const {error} = await failure({configFile: config, jump: {host: 'first', hostKey: publicKey(server.hostKeyFile)}});
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY', retryable: false});
    expect(
      (await failure({configFile: config, jump: {host: 'first', hostKey: await fingerprint(server.hostKeyFile)}}))
        .error,
    ).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY'});
  });

  test('of the second one, too, and the pin of one is none for the other', async () => {
    const pins = {first: publicKey(first.hostKeyFile), second: await fingerprint(second.hostKeyFile)};
    const server_ = publicKey(server.hostKeyFile);
    await whileUp({
      hostKey: server_,
      jump: [
        {host: 'first', hostKey: pins.first},
        {host: 'second', hostKey: pins.second},
      ],
    });
    const {error} = await failure({
      hostKey: server_,
      jump: [
        {host: 'first', hostKey: pins.first},
        {host: 'second', hostKey: pins.first},
      ],
    });
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY', retryable: false});
    expect(error.message).toContain(String(second.port));
    const wrong = await failure({
      hostKey: pins.first,
      jump: [
        {host: 'first', hostKey: pins.first},
        {host: 'second', hostKey: pins.second},
      ],
    });
    expect(wrong.error).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY'});
    expect(wrong.error.message).toContain(String(server.port));
  });

  test("hostKeyCheck: 'strict' and 'accept-new' of its own", async () => {
    const known = join(folder, 'empty_known_hosts');
    writeFileSync(known, '');
    const config = join(folder, 'unknown');
    writeFileSync(
      config,
      `${aliases({first}, []).replace(/UserKnownHostsFile .*/, `UserKnownHostsFile ${known}`)}${aliases({server})}`,
    );
    const {error} = await failure({configFile: config, jump: {host: 'first', hostKeyCheck: 'strict'}});
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY', retryable: false});
    expect(error.message).toContain(String(first.port));
    expect(text(known)).toBe('');
    await whileUp({configFile: config, jump: {host: 'first', hostKeyCheck: 'accept-new'}});
    expect(text(known)).toContain(publicKey(first.hostKeyFile));
  });

  test("hostKeyCheck: 'accept-new' keeps the key of a hop where no known_hosts does: another one is fatal", async () => {
    await using hop = await PrivateSshd.start();
    const config = join(folder, 'forgetful');
    const forgetful = aliases({hop}).replace(/UserKnownHostsFile .*/, 'UserKnownHostsFile /dev/null');
    writeFileSync(config, `${forgetful}${aliases({server})}`);
    const {tunnel, events} = prepare({configFile: config, jump: {host: 'hop', hostKeyCheck: 'accept-new'}});
    await tunnel.start();
    await tunnel.restart();
    await hop.swapHostKey();
    const swapped = hop.log.length;
    const fatal = once(tunnel, 'fatal');
    await hop.killSessions();
    expect(await fatal).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY', retryable: false});
    expect(hop.log.slice(swapped).filter((line) => line.startsWith('Accepted '))).toEqual([]);
    expect(events.count('warning')).toBe(0);
    await tunnel.stop();
    events.end();
  });

  test("where the server's is pinned and a hop is not known, the hop's is not said to be none of the pins", async () => {
    const config = join(folder, 'unknown-hop');
    writeFileSync(
      config,
      `${aliases({first}).replace(/UserKnownHostsFile .*/, 'UserKnownHostsFile /dev/null')}${aliases({server})}`,
    );
    for (const jump of ['first', {host: 'first', hostKeyCheck: 'strict'}] as const) {
      const {error} = await failure({configFile: config, jump, hostKey: publicKey(server.hostKeyFile)});
      expect(error).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY', retryable: false});
      expect(error.message).toContain(String(first.port));
      expect(error.message).not.toContain('none of those');
    }
  });
});

describe('the key of a hop', () => {
  test('is its own and no other, hop by hop', async () => {
    const keys = {first: text(first.identityFile), second: text(second.identityFile)};
    const way = async (): Promise<void> =>
      whileUp({
        configFile: join(folder, 'bare_config'),
        host: '127.0.0.1',
        port: server.port,
        privateKey: text(server.identityFile),
        jump: [
          {host: '127.0.0.1', port: first.port, privateKey: () => Promise.resolve(keys.first)},
          {host: '127.0.0.1', port: second.port, privateKey: Buffer.from(keys.second)},
        ],
      });
    let rest: Awaited<ReturnType<typeof keysAt>>[] = [];
    const atFirst = await keysAt(first, async () => {
      const atSecond = await keysAt(second, async () => {
        rest = [await keysAt(server, way)];
      });
      rest.push(atSecond);
    });
    expect(atFirst).toEqual({accepted: [await fingerprint(first.identityFile)], failed: []});
    expect(rest[1]).toEqual({accepted: [await fingerprint(second.identityFile)], failed: []});
    expect(rest[0]).toEqual({accepted: [await fingerprint(server.identityFile)], failed: []});
  });

  test("from a file, before those of the tunnel's own agent", async () => {
    const key = await newKey();
    for (const sshd of [server, first]) appendFileSync(sshd.authorizedKeysFile, text(`${key}.pub`));
    const seen = await keysAt(first, async () =>
      whileUp({
        configFile: join(folder, 'bare_config'),
        host: '127.0.0.1',
        port: server.port,
        privateKey: text(key),
        jump: {host: '127.0.0.1', port: first.port, identityFile: first.identityFile},
      }),
    );
    expect(seen).toEqual({accepted: [await fingerprint(first.identityFile)], failed: []});
  });

  test("that the hop does not know is AUTH, though it knows the tunnel's, and the server hears nothing", async () => {
    const from = server.log.length;
    const {error} = await failure({
      configFile: join(folder, 'bare_config'),
      restart: {...quickRestart, retries: 0},
      privateKey: text(first.identityFile),
      jump: {host: '127.0.0.1', port: first.port, privateKey: text(second.identityFile)},
    });
    expect(error).toMatchObject({cause: {code: 'ERR_AUTOSSH_AUTH'}});
    expect(server.log.slice(from)).toEqual([]);
  });
});

describe('a hop without a key of its own', () => {
  const forms: readonly [what: string, jump: () => NonNullable<AutoSSHOptions['jump']>][] = [
    ['an address', () => `${first.user}@${address(first)}`],
    ['with a host key', () => ({host: '127.0.0.1', port: first.port, hostKey: publicKey(first.hostKeyFile)})],
  ];

  /** To the server, with what is known of the addresses, and no more than these lines. */
  function bare(...lines: readonly string[]): Partial<AutoSSHOptions> {
    const configFile = join(temporaryFolder('config-'), 'ssh_config');
    writeFileSync(configFile, [...lines, text(join(folder, 'bare_config'))].join('\n'));
    return {configFile, host: '127.0.0.1', port: server.port, restart: {retries: 0}};
  }

  async function agentWith(...paths: readonly string[]): Promise<SSHAgent> {
    return filledAgent(paths.map((path) => ({privateKey: text(path), publicKey: publicKey(path)})));
  }

  describe.each(forms)('%s', (_what, jump) => {
    test.each<[what: string, lines: (socket: string) => readonly string[]]>([
      ['an agent', (socket) => [`IdentityAgent ${socket}`]],
      ['a file', () => ['IdentitiesOnly yes', `IdentityFile ${second.identityFile}`]],
    ])("is offered the tunnel's, and none of %s that ssh_config names", async (_name, lines) => {
      const key = await newKey();
      for (const sshd of [server, first]) appendFileSync(sshd.authorizedKeysFile, text(`${key}.pub`));
      await using agent = await agentWith(first.identityFile);
      const seen = await keysAt(first, async () =>
        whileUp({...bare(...lines(agent.socket)), privateKey: text(key), jump: jump()}),
      );
      expect(seen).toEqual({accepted: [await fingerprint(key)], failed: []});
    });

    test.each([false, 'session'] as const)(
      'is offered none of an agent of ssh_config with agent: %s',
      async (agent) => {
        await using other = await agentWith(first.identityFile);
        const seen = await keysAt(first, async () => {
          const {error} = await failure({
            ...bare(`IdentityAgent ${other.socket}`),
            agent,
            identityFile: server.identityFile,
            jump: jump(),
            restart: {retries: 0},
          });
          expect(error).toMatchObject({cause: {code: 'ERR_AUTOSSH_AUTH'}});
        });
        expect(seen).toEqual({accepted: [], failed: []});
      },
    );

    test("is offered what is in the tunnel's agent, and not what is in that of ssh_config", async () => {
      await using agent = await agentWith(first.identityFile);
      await using other = await agentWith(second.identityFile);
      const seen = await keysAt(first, async () =>
        whileUp({
          ...bare(`IdentityAgent ${other.socket}`),
          agent: agent.socket,
          identityFile: server.identityFile,
          jump: jump(),
        }),
      );
      expect(seen).toEqual({accepted: [await fingerprint(first.identityFile)], failed: []});
    });

    test('is offered what is in the agent of ssh_config, where the tunnel has that, too', async () => {
      await using agent = await agentWith(first.identityFile);
      const seen = await keysAt(first, async () =>
        whileUp({...bare(`IdentityAgent ${agent.socket}`), identityFile: server.identityFile, jump: jump()}),
      );
      expect(seen).toEqual({accepted: [await fingerprint(first.identityFile)], failed: []});
    });
  });

  test('hears of no key of another hop, before it or behind it', async () => {
    const key = await newKey();
    const keyless = {host: '127.0.0.1', port: first.port};
    const keyed = {host: '127.0.0.1', port: second.port, privateKey: text(second.identityFile)};
    for (const jump of [
      [keyless, keyed],
      [keyed, keyless],
    ]) {
      const seen = await keysAt(first, async () => {
        await failure({...bare(), privateKey: text(key), jump});
      });
      expect(seen).toEqual({accepted: [], failed: [await fingerprint(key)]});
    }
  });
});

// Without a session ssh asks for no forwarding, but gives its agent to a server that opens a channel to it all the same. sshd
// does not: what ssh reads has to stand for what it would answer.
describe("the tunnel's own agent is forwarded to nobody, whatever ssh_config says", () => {
  const forwarding = async (...words: readonly string[]): Promise<string | undefined> =>
    /^forwardagent (.*)$/m.exec((await run('ssh', ['-G', ...words])).stdout)?.[1];
  /** What the ssh that runs makes of its command line. */
  const ofTunnel = async ({pid = 0}: AutoSSH): Promise<string | undefined> => forwarding(...commandLine(pid).slice(1));
  const config = (): string => {
    const path = join(temporaryFolder('config-'), 'ssh_config');
    writeFileSync(path, aliases({server, first}, ['ForwardAgent yes']));
    return path;
  };

  test.each<[what: string, given: () => Partial<AutoSSHOptions>]>([
    ['with a key in it', () => ({privateKey: text(server.identityFile)})],
    ['with what the host puts into it', () => ({agent: 'session'})],
  ])('%s: not to the server, unless sshOptions say so', async (_what, given) => {
    const options = {...given(), configFile: config()};
    await whileUp(options, async ({tunnel}) => {
      expect(await ofTunnel(tunnel)).toBe('no');
    });
    await whileUp({...options, sshOptions: {ForwardAgent: true}}, async ({tunnel}) => {
      expect(await ofTunnel(tunnel)).toBe('yes');
    });
  });

  test.each<[what: string, given: () => Partial<AutoSSHOptions>]>([
    ["the tunnel's key", () => ({privateKey: text(first.identityFile), jump: 'first'})],
    ['a key of its own', () => ({jump: {host: 'first', privateKey: text(first.identityFile)}})],
  ])('not to a hop with %s, even if sshOptions say so for the server', async (_what, given) => {
    await whileUp({...given(), configFile: config(), sshOptions: {ForwardAgent: true}}, async (subject) => {
      expect(await forwarding('-F', hopConfiguration(subject), 'first')).toBe('no');
    });
  });

  test("another's is, as configured", async () => {
    await whileUp({configFile: config()}, async ({tunnel}) => {
      expect(await ofTunnel(tunnel)).toBe('yes');
    });
  });
});

describe.concurrent('the configuration of the host', () => {
  const pinned = (): NonNullable<AutoSSHOptions['jump']> => ({host: 'first', hostKey: publicKey(first.hostKeyFile)});

  test.each([
    'with space',
    'with "quotes" and \'such\'',
    'with [a] * and ?',
    'with \\ backslash',
    'with $HOME and `id`',
  ])('counts for a hop behind its own: %s', async (name) => {
    const path = join(folder, name, 'ssh_config');
    mkdirSync(dirname(path));
    writeFileSync(path, aliases({server, first}));
    await whileUp({configFile: path, jump: pinned()});
    await whileUp({configFile: path, jump: 'first'});
    await whileUp({configFile: join(name, 'ssh_config'), cwd: folder, jump: pinned()});
  });

  test("'none': a hop has none either", async () => {
    await whileUp({
      configFile: 'none',
      host: '127.0.0.1',
      port: server.port,
      identityFile: server.identityFile,
      hostKey: publicKey(server.hostKeyFile),
      jump: {
        host: '127.0.0.1',
        port: first.port,
        username: first.user,
        identityFile: first.identityFile,
        hostKey: await fingerprint(first.hostKeyFile),
      },
    });
  });

  test('may ignore what this ssh does not know', async () => {
    const path = join(folder, 'of-another-system');
    writeFileSync(path, aliases({server, first}, ['IgnoreUnknown UseKeychain', 'UseKeychain yes']));
    await whileUp({configFile: path, jump: 'first'});
    await whileUp({configFile: path, jump: pinned()});
  });

  test('exchanges no keys by Kerberos with a hop whose host key is given', async () => {
    const path = join(folder, 'kerberos');
    writeFileSync(path, aliases({server, first}, ['IgnoreUnknown GSSAPIKeyExchange', 'GSSAPIKeyExchange yes']));
    await whileUp({configFile: path, jump: pinned()}, async (subject) => {
      const {stdout} = await run('ssh', ['-G', '-F', hopConfiguration(subject), 'first']);
      // What this build does not know it does not do.
      expect(stdout).not.toMatch(/^gssapikeyexchange yes$/m);
    });
  });

  test('makes no shared connection of a hop, and takes none', async () => {
    const path = join(folder, 'sharing');
    const socket = join(folder, 'shared');
    writeFileSync(
      path,
      aliases({server, first}, ['ControlMaster auto', `ControlPath ${socket}`, 'ControlPersist yes']),
    );
    await whileUp({configFile: path, jump: pinned()}, () => {
      expect(existsSync(socket)).toBe(false);
    });
  });

  test('the option of a hop wins over it', async () => {
    const path = join(folder, 'elsewhere');
    writeFileSync(path, `Host first\n  Port 1\n  User nobody\n${aliases({server, first})}`);
    await whileUp({
      configFile: path,
      jump: {host: 'first', port: first.port, username: first.user, hostKeyCheck: 'strict'},
    });
  });
});

describe.concurrent('what a shell could make of it', () => {
  test('an ssh whose path has spaces, quotes and signs of ssh and of the shell', async () => {
    const place = join(folder, `it's "my" %h $(touch ${join('canary')}) ssh`);
    mkdirSync(place);
    symlinkSync(findProgram('ssh') ?? '', join(place, 'ssh'));
    for (const jump of ['first', {host: 'first', hostKey: publicKey(first.hostKeyFile)}])
      await whileUp({sshPath: join(place, 'ssh'), jump, cwd: folder});
    expect(existsSync(join(folder, 'canary'))).toBe(false);
  });

  test("a file whose name the server's address would match as a pattern", async () => {
    const place = temporaryFolder('pattern-');
    writeFileSync(join(place, `1:${String(server.port)}`), '');
    await whileUp({cwd: place, jump: {host: 'first', hostKey: publicKey(first.hostKeyFile)}});
  });

  test.each(['$HOME', '%h', '#x', '*', 'DOMAIN\\me', '$IFS'])(
    'user and host %s are no more than that',
    async (name) => {
      const place = temporaryFolder('hostile-');
      for (const jump of [
        {host: 'first', username: name},
        {host: 'first', username: name, hostKeyCheck: 'strict'},
      ] as const) {
        const from = first.log.length;
        const subject = prepare({jump, cwd: place, restart: {retries: 0}});
        await rejection(subject.tunnel.start());
        await subject.tunnel.stop();
        // sshd prints a backslash twice.
        const wanted = name.replaceAll('\\', '\\\\');
        expect(first.log.slice(from).some((line) => line.startsWith(`Invalid user ${wanted} from `))).toBe(true);
      }
      const {error} = await failure({jump: {host: name, hostKeyCheck: 'strict'}, cwd: place, restart: {retries: 0}});
      expect(error['code']).toMatch(/^ERR_AUTOSSH_/);
      expect(readdirSync(place)).toEqual([]);
    },
  );

  test('files of keys with any name', async () => {
    const place = join(folder, `keys 'of' "$(touch canary)" \`touch canary\` ;&|<>#`);
    mkdirSync(place);
    const key = join(place, '-k"e y\\');
    writeFileSync(key, text(first.identityFile), {mode: 0o600});
    const seen = await keysAt(first, async () =>
      whileUp({
        configFile: join(folder, 'bare_config'),
        host: '127.0.0.1',
        port: server.port,
        identityFile: server.identityFile,
        jump: {host: '127.0.0.1', port: first.port, identityFile: key},
        cwd: folder,
      }),
    );
    expect(seen.accepted).toEqual([await fingerprint(first.identityFile)]);
    expect(existsSync(join(folder, 'canary'))).toBe(false);
  });
});

describe('what is left of a hop', () => {
  test('in the private folder: nothing secret, nothing that others could read, and in the end nothing', async () => {
    const secrets = [server, first, second].map(({identityFile}) => text(identityFile));
    const [key, firstKey, secondKey] = secrets;
    const old = temporaryEntries();
    await whileUp(
      {
        privateKey: key,
        hostKey: await fingerprint(server.hostKeyFile),
        configFile: join(folder, 'bare_config'),
        host: '127.0.0.1',
        port: server.port,
        jump: [
          {host: '127.0.0.1', port: first.port, privateKey: firstKey, hostKey: publicKey(first.hostKeyFile)},
          {host: '127.0.0.1', port: second.port, privateKey: secondKey, hostKey: publicKey(second.hostKeyFile)},
        ],
      } as Partial<AutoSSHOptions>,
      () => {
        const fresh = temporaryEntries().filter((entry) => !old.includes(entry));
        expect(fresh.length).toBeGreaterThan(0);
        const files = fresh.flatMap((entry) => {
          expect(statSync(entry).mode & 0o777).toBe(0o700);
          return readdirSync(entry, {recursive: true, encoding: 'utf8'}).map((name) => join(entry, name));
        });
        const names = files.map((file) => basename(file));
        expect(names).toEqual(
          expect.arrayContaining(['hop-1.config', 'hop-2.config', 'hop-1.known_hosts', 'host-key.sh']),
        );
        for (const file of files.filter((one) => statSync(one).isFile())) {
          expect([file, statSync(file).mode & 0o077]).toEqual([file, 0]);
          for (const secret of secrets)
            for (const line of secret
              .split('\n')
              .filter((one) => one.length > 20 && !one.startsWith('-----'))
              .slice(1))
              expect(text(file)).not.toContain(line);
        }
      },
    );
    expect(temporaryEntries()).toEqual(old);
  });

  const sshes = (): number[] =>
    ownProcesses()
      .map(({pid}) => pid)
      .filter((pid) => basename(commandLine(pid)[0] ?? '') === 'ssh');
  const way = async (): Promise<NonNullable<AutoSSHOptions['jump']>> => [
    {host: 'first', hostKey: await fingerprint(first.hostKeyFile)},
    {host: 'second', hostKey: publicKey(second.hostKeyFile)},
  ];

  test('after restart() and stop(): no process, frozen or not', async () => {
    const {tunnel} = prepare({jump: await way()});
    await tunnel.start();
    const old = sshes();
    expect(old).toHaveLength(3);
    await tunnel.restart();
    await Promise.all(old.map(async (pid) => waitForExit(pid)));
    const now = sshes();
    expect(now).toHaveLength(3);
    for (const pid of now) if (pid !== tunnel.pid) signal(pid, 'SIGSTOP');
    await tunnel.stop();
    await Promise.all(now.map(async (pid) => waitForExit(pid)));
  });

  test('of one whose start fails: no process', async () => {
    const jump = [
      {host: 'first', hostKey: await fingerprint(first.hostKeyFile)},
      {host: 'second', hostKey: publicKey(first.hostKeyFile)},
    ];
    await failure({jump});
    await pollUntil('no ssh is left', () => sshes().length === 0);
  });

  test('after the host was killed: no process and no file', async () => {
    const old = temporaryEntries();
    const host = await HostProcess.start({...options(), jump: await way()});
    expect(await host.command('start')).toBeUndefined();
    const all = sshes();
    expect(all).toHaveLength(3);
    expect(temporaryEntries().length).toBeGreaterThan(old.length);
    signal(host.pid, 'SIGKILL');
    await Promise.all(all.map(async (pid) => waitForExit(pid)));
    await pollUntil('no file is left', () => temporaryEntries().length === old.length);
    await host.close();
  });

  test('that dies: the tunnel is there again', async () => {
    await whileUp({jump: await way()}, async ({tunnel, events}) => {
      const again = once(tunnel, 'connect', {unless: ['stop']});
      await first.killSessions();
      await again;
      expect(await exchange(tunnel.forward().listen, 'again')).toBe('again');
      const hop = sshes().find((pid) => pid !== tunnel.pid);
      const third = once(tunnel, 'connect', {unless: ['stop']});
      if (hop !== undefined) signal(hop, 'SIGKILL');
      await third;
      expect(events.count('start')).toBe(3);
      expect(events.of('disconnect').map(({outcome}) => outcome.retryable)).toEqual([true, true]);
    });
    expect(sshes().filter(alive)).toEqual([]);
  });
});

describe.skipIf(!canLogInByPassword)('a hop that asks for a password (skipped: only root may have PAM ask)', () => {
  const password = 'for-the-server-alone';
  const hostKeyOf = (one: PasswordSshd): string => publicKey(one.sshd.hostKeyFile);

  test('is told none: not that of the server either, though user and address are the same', async () => {
    await using target = await PasswordSshd.start({password});
    await using hop = await PasswordSshd.start({password});
    const config = join(folder, 'with-passwords');
    writeFileSync(config, aliases({target: target.sshd, hop: hop.sshd}));
    let asked = 0;
    const jumps: NonNullable<AutoSSHOptions['jump']>[] = [
      'hop',
      {host: 'hop', hostKey: hostKeyOf(hop)},
      [{host: 'first', hostKey: publicKey(first.hostKeyFile)}, 'hop'],
    ];
    appendFileSync(config, aliases({first}));
    for (const jump of jumps) {
      const {error} = await failure({
        host: 'target',
        configFile: config,
        jump,
        restart: {retries: 0},
        password: () => {
          asked++;
          return password;
        },
        keyboardInteractive: () => {
          asked++;
          return [password];
        },
      });
      expect(error).toMatchObject({cause: {code: 'ERR_AUTOSSH_AUTH'}});
    }
    expect(asked).toBe(0);
    expect(hop.attempts()).toBe(0);
    expect(target.attempts()).toBe(0);
    expect(hop.sshd.log.filter((line) => /Failed (?:password|keyboard)/.test(line))).toEqual([]);
  });

  test('nor by a ProxyJump of ssh_config', async () => {
    await using target = await PasswordSshd.start({password});
    await using hop = await PasswordSshd.start({password});
    const config = join(folder, 'with-passwords-and-jump');
    writeFileSync(config, `Host target\n  ProxyJump hop\n${aliases({target: target.sshd, hop: hop.sshd})}`);
    const {error} = await failure({
      host: 'target',
      configFile: config,
      restart: {retries: 0},
      readyTimeout: 10_000,
      password,
    });
    expect(error).toMatchObject({cause: {code: 'ERR_AUTOSSH_AUTH'}});
    expect(hop.attempts()).toBe(0);
    expect(target.attempts()).toBe(0);
  });

  test('the server gets it all the same, behind hops with keys', async () => {
    await using target = await PasswordSshd.start({password});
    const config = join(folder, 'with-password');
    writeFileSync(config, aliases({target: target.sshd, first, second}));
    await whileUp({host: 'target', configFile: config, jump: 'first,second', password});
    expect(target.attempts()).toBe(1);
  });
});
