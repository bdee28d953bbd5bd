import {execFile} from 'node:child_process';
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {promisify} from 'node:util';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {AutoSSH, type AutoSSHEvents, type AutoSSHOptions} from '../../src/index.js';
import {
  PrivateSshd,
  canLogInByPassword,
  collect,
  echoServer,
  exchange,
  expectNothingLeft,
  guard,
  ownTemporaryFolder,
  PasswordSshd,
  pollUntil,
  serve,
  snapshot,
  temporaryFolder,
  type Collection,
  type SmallServer,
} from '../support/index.js';
import {once, quickRestart, rejection} from '../faults/scene.js';
import {client} from '../steady/client.js';

const run = promisify(execFile);
const kinds = ['ed25519', 'ecdsa', 'rsa'] as const;
type Kind = (typeof kinds)[number];

/** With a host key of each kind. */
let server: PrivateSshd;
/** The same, with certificates for them. */
let certified: PrivateSshd;
/** Whoever gets this far is not meant to: its host key is `other`. */
let impostor: PrivateSshd;
let echo: SmallServer;
let folder: string;
let restoreTemporaryFolder: () => void;
let before = snapshot();

const key = (name: string): string => readFileSync(join(folder, `${name}.pub`), 'utf8').trim();
const bare = (name: string): string => key(name).split(' ').slice(0, 2).join(' ');
const listed = async (name: string): Promise<string> =>
  (await run('ssh-keygen', ['-l', '-f', join(folder, `${name}.pub`)])).stdout;
const fingerprint = async (name: string): Promise<string> => (await listed(name)).split(' ')[1] ?? '';
const place = (sshd: PrivateSshd = server): string => `[127.0.0.1]:${String(sshd.port)}`;
const toEcho = () => ({type: 'local', target: {host: '127.0.0.1', port: echo.port}}) as const;
const right = (kind: Kind): string => kind;

beforeAll(async () => {
  restoreTemporaryFolder = ownTemporaryFolder();
  before = snapshot();
  folder = temporaryFolder('keys-');
  const make = async (name: string, type: string): Promise<unknown> =>
    run('ssh-keygen', ['-q', '-t', type, '-N', '', '-C', `${name} of a test`, '-f', join(folder, name)]);
  await Promise.all([
    ...kinds.map(async (kind) => make(kind, kind)),
    make('other', 'ed25519'),
    make('authority', 'ed25519'),
  ]);
  const sign = [
    '-q',
    '-s',
    join(folder, 'authority'),
    '-h',
    '-I',
    'host',
    '-n',
    '127.0.0.1,[127.0.0.1]',
    '-V',
    '-1d:+1d',
  ];
  await run('ssh-keygen', [...sign, ...kinds.map((kind) => join(folder, `${kind}.pub`))]);
  const hostKeys = kinds.map((kind) => `HostKey ${join(folder, kind)}`);
  const certificates = kinds.map((kind) => `HostCertificate ${join(folder, `${kind}-cert.pub`)}`);
  [server, certified, impostor, echo] = await Promise.all([
    PrivateSshd.start({config: hostKeys}),
    PrivateSshd.start({config: [...hostKeys, ...certificates]}),
    PrivateSshd.start({config: [`HostKey ${join(folder, 'other')}`, 'LogLevel DEBUG']}),
    echoServer(),
  ]);
});
afterAll(async () => {
  await Promise.all([server.stop(), certified.stop(), impostor.stop(), echo.close()]);
  await expectNothingLeft(before, {within: 3_000, resources: false});
  restoreTemporaryFolder();
});

interface Attempt {
  readonly tunnel: AutoSSH;
  readonly events: Collection<AutoSSHEvents>;
}

function prepare(sshd: PrivateSshd, options: Partial<AutoSSHOptions>): Attempt {
  const tunnel = new AutoSSH({
    host: 'tunnel',
    configFile: sshd.configFile,
    heartbeat: false,
    gateTime: 0,
    restart: quickRestart,
    killTimeout: 1_000,
    ...options,
  });
  tunnel.on('start', ({pid}) => {
    guard('process', pid);
  });
  const events = collect<AutoSSHEvents>(tunnel, ['start', 'connect', 'restart', 'warning', 'fatal', 'stderr', 'stop']);
  return {tunnel, events};
}

/** What comes of one tunnel: `'up'`, or the error that `start()` gave at once. */
async function attempt(
  sshd: PrivateSshd,
  options: Partial<AutoSSHOptions>,
): Promise<'up' | (Error & Record<string, unknown>)> {
  const {tunnel, events} = prepare(sshd, options);
  try {
    await tunnel.start();
    return 'up';
  } catch (error) {
    expect(events.of('restart').map(({outcome}) => outcome)).toEqual([]);
    expect(events.count('start')).toBe(1);
    return error as Error & Record<string, unknown>;
  } finally {
    await tunnel.stop();
  }
}

/** A host key that is not accepted is nothing to wait for. */
async function expectRefusal(
  sshd: PrivateSshd,
  options: Partial<AutoSSHOptions>,
): Promise<Error & Record<string, unknown>> {
  const error = await attempt(sshd, options);
  expect(error).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY', retryable: false});
  return error as Error & Record<string, unknown>;
}

/** Two tunnels, one whose pin is the server's key, and one with the same of another. */
async function expectToTell(
  sshd: PrivateSshd,
  pin: (name: string) => string | string[] | Promise<string | string[]>,
  name: string = right('ed25519'),
): Promise<void> {
  const [known, unknown] = await Promise.all([pin(name), pin('other')]);
  const [up] = await Promise.all([attempt(sshd, {hostKey: known}), expectRefusal(sshd, {hostKey: unknown})]);
  expect(up).toBe('up');
}

async function hashed(line: string): Promise<string> {
  const file = join(temporaryFolder('hashed-'), 'known_hosts');
  writeFileSync(file, `${line}\n`);
  await run('ssh-keygen', ['-H', '-f', file]);
  return readFileSync(file, 'utf8').trim();
}

describe.concurrent('hostKey accepts one key and no other, given as', () => {
  test.each<[what: string, pin: (name: string) => string | string[] | Promise<string | string[]>]>([
    ['its fingerprint', fingerprint],
    ['a line of ssh-keygen -l', listed],
    ['a public key', bare],
    ['a public key with a comment', key],
    ['a line of known_hosts', (name) => `${place()} ${bare(name)} comment`],
    ['such a line for several names', (name) => `elsewhere,${place()},10.0.0.1 ${bare(name)}`],
    ['such a line for many by a pattern', (name) => `[127.0.0.?]:* ${bare(name)}`],
    ['such a line with hashed names', async (name) => hashed(`${place()} ${bare(name)}`)],
    ['one of several', async (name) => [await fingerprint('authority'), key('authority'), await fingerprint(name)]],
    ['one of several public keys', (name) => [key('authority'), key(name)]],
    ['one of several lines of one text', (name) => `${key('authority')}\n${place()} ${bare(name)}\n`],
  ])('%s', async (_what, pin) => {
    await expectToTell(server, pin);
  });

  test("what ssh-keyscan says, comments and all, but not another server's", async () => {
    const scan = async (port: number): Promise<string> => {
      const {stdout, stderr} = await run('ssh-keyscan', ['-p', String(port), '127.0.0.1']);
      // It says on stderr what it says of the server, and people put both into one file.
      return `${stderr}${stdout}`;
    };
    const [own, others] = await Promise.all([scan(server.port), scan(impostor.port)]);
    expect(own).toContain('# ');
    expect(await attempt(server, {hostKey: own})).toBe('up');
    await expectRefusal(server, {hostKey: others});
  });

  test('a line for another host is none for this one', async () => {
    await expectRefusal(server, {hostKey: `elsewhere ${bare('ed25519')}`});
    await expectRefusal(server, {hostKey: `*,!${place()},!127.0.0.1 ${bare('ed25519')}`});
    await expectRefusal(server, {hostKey: `127.0.0.1:${String(server.port)} ${bare('ed25519')}`});
    // Where the name alone is known, the port does not matter to ssh.
    expect(await attempt(server, {hostKey: `127.0.0.1 ${bare('ed25519')}`})).toBe('up');
  });

  test('revoked keys are refused, whatever else stands there', async () => {
    const error = await expectRefusal(server, {
      hostKey: [`@revoked * ${bare('ed25519')}`, bare('ed25519'), await fingerprint('ed25519')],
    });
    expect(error.message).toMatch(/revoked/);
  });
});

describe.concurrent('a server with several keys', () => {
  test.each(kinds)('shows the one that is pinned, as a public key or a line of ssh-keygen -l: %s', async (kind) => {
    const own = await Promise.all([
      attempt(server, {hostKey: key(kind)}),
      attempt(server, {hostKey: await listed(kind)}),
      attempt(server, {hostKey: `${place()} ${bare(kind)}`}),
    ]);
    expect(own).toEqual(['up', 'up', 'up']);
  });

  test('shows another where a bare fingerprint tells no kind: refused, with what it was and what to do', async () => {
    const error = await expectRefusal(server, {hostKey: await fingerprint('rsa')});
    expect(error.message).toContain(await fingerprint('ed25519'));
    expect(error.message).toContain('ssh-ed25519');
    expect(error.message).toContain(`127.0.0.1`);
    expect(error['hint']).toMatch(/of another kind, give it as a public key or as a line of ssh-keygen -l/);
  });

  test('several pins of several kinds, each enough', async () => {
    expect(await attempt(server, {hostKey: [await listed('rsa'), await listed('ecdsa')]})).toBe('up');
    expect(await attempt(impostor, {hostKey: [await listed('rsa'), await listed('other')]})).toBe('up');
    expect(await attempt(server, {hostKey: [key('rsa'), await listed('authority')]})).toBe('up');
    expect(await attempt(server, {hostKey: [await listed('rsa'), key('authority')]})).toBe('up');
    expect(await attempt(impostor, {hostKey: [await listed('rsa'), key('other')]})).toBe('up');
  });

  test('a server that has none of the pinned kind is another server: refused at once, and not tried again', async () => {
    for (const hostKey of [await listed('rsa'), key('rsa')]) {
      const error = await expectRefusal(impostor, {hostKey});
      expect(error.message).toContain('`hostKey`');
    }
  });
});

describe.concurrent('a server with a certificate', () => {
  test('is known by its authority, and no other', async () => {
    await expectToTell(
      certified,
      (name) => `@cert-authority ${place(certified)} ${bare(name === 'ed25519' ? 'authority' : name)}`,
    );
    await expectRefusal(certified, {hostKey: `@cert-authority *.elsewhere ${bare('authority')}`});
    // A key is no authority only because it is known.
    await expectRefusal(certified, {hostKey: bare('authority')});
    await expectRefusal(server, {hostKey: `@cert-authority * ${bare('authority')}`});
  });

  test('a revoked authority is none', async () => {
    await expectRefusal(certified, {
      hostKey: [`@cert-authority * ${bare('authority')}`, `@revoked * ${bare('authority')}`],
    });
  });

  test.each<[what: string, pin: (name: string) => string | Promise<string>]>([
    ['a public key', key],
    ['a fingerprint', fingerprint],
    ['a line of ssh-keygen -l', listed],
    ['a line of known_hosts', (name) => `${place(certified)} ${bare(name)}`],
  ])('is known by its plain key as %s', async (_what, pin) => {
    await expectToTell(certified, pin);
  });

  test('the fingerprint that ssh-keygen -l tells of the certificate is that of the key', async () => {
    const {stdout} = await run('ssh-keygen', ['-l', '-f', join(folder, 'ed25519-cert.pub')]);
    expect(stdout).toContain('-CERT)');
    expect(await attempt(certified, {hostKey: stdout})).toBe('up');
  });
});

describe.concurrent('no configuration of ssh undoes a pin', () => {
  const everything = (): string => join(folder, 'accept-everything.sh');
  beforeAll(() => {
    writeFileSync(everything(), `#!/bin/sh\necho "* $1 $2"\n`, {mode: 0o700});
    writeFileSync(
      join(folder, 'known'),
      `* ${bare('other')}\n${place(impostor)} ${bare('other')}\nalias ${bare('other')}\n`,
    );
  });

  test.each<[what: string, lines: () => readonly string[]]>([
    ['StrictHostKeyChecking no', () => ['StrictHostKeyChecking no']],
    ['UserKnownHostsFile', () => [`UserKnownHostsFile ${join(folder, 'known')}`]],
    ['GlobalKnownHostsFile', () => [`GlobalKnownHostsFile ${join(folder, 'known')}`]],
    ['KnownHostsCommand', () => [`KnownHostsCommand ${everything()} %t %K`]],
    ['NoHostAuthenticationForLocalhost', () => ['NoHostAuthenticationForLocalhost yes', 'HostName localhost']],
    ['VerifyHostKeyDNS', () => ['VerifyHostKeyDNS yes']],
    ['HostKeyAlias', () => ['HostKeyAlias alias', `UserKnownHostsFile ${join(folder, 'known')}`]],
    ['FingerprintHash', () => ['FingerprintHash md5']],
    ['CheckHostIP', () => ['CheckHostIP yes', `UserKnownHostsFile ${join(folder, 'known')}`]],
    ['UpdateHostKeys', () => ['UpdateHostKeys yes', `UserKnownHostsFile ${join(folder, 'known')}`]],
    [
      'all of them',
      () => [
        'StrictHostKeyChecking off',
        `UserKnownHostsFile ${join(folder, 'known')}`,
        `GlobalKnownHostsFile ${join(folder, 'known')}`,
        `KnownHostsCommand ${everything()} %t %K`,
        'NoHostAuthenticationForLocalhost yes',
        'VerifyHostKeyDNS yes',
        'HostKeyAlias alias',
      ],
    ],
  ])('%s', async (_what, lines) => {
    const known = readFileSync(join(folder, 'known'), 'utf8');
    const configFile = impostor.config({lines: lines()});
    // Without a pin the impostor gets in by it, where it is such an option.
    await Promise.all([
      expectRefusal(impostor, {configFile, hostKey: key('ed25519')}),
      expectRefusal(impostor, {configFile, hostKey: `${place(impostor)} ${bare('ed25519')}`}),
      expectRefusal(impostor, {configFile, hostKey: await fingerprint('ed25519')}),
    ]);
    const own = server.config({lines: lines()});
    const ups = await Promise.all([
      attempt(server, {configFile: own, hostKey: key('ed25519')}),
      attempt(server, {configFile: own, hostKey: await fingerprint('ed25519')}),
      attempt(server, {configFile: own, hostKey: await listed('rsa')}),
    ]);
    expect(ups).toEqual(['up', 'up', 'up']);
    expect(readFileSync(join(folder, 'known'), 'utf8')).toBe(known);
  });

  test('those lines would let the impostor in without a pin', async () => {
    const strays = [
      ['StrictHostKeyChecking no', 'UserKnownHostsFile /dev/null'],
      [`UserKnownHostsFile ${join(folder, 'known')}`],
      [`GlobalKnownHostsFile ${join(folder, 'known')}`, 'UserKnownHostsFile /dev/null'],
      [`KnownHostsCommand ${everything()} %t %K`, 'UserKnownHostsFile /dev/null'],
      ['NoHostAuthenticationForLocalhost yes', 'UserKnownHostsFile /dev/null'],
    ];
    const ups = await Promise.all(
      strays.map(async (lines) => attempt(impostor, {configFile: impostor.config({lines})})),
    );
    expect(ups).toEqual(strays.map(() => 'up'));
  });

  test.each(['rsa-sha2-512', 'ecdsa-sha2-nistp256'])(
    'HostKeyAlgorithms %s does not keep the pinned key away',
    async (algorithm) => {
      const configFile = server.config({lines: [`HostKeyAlgorithms ${algorithm}`]});
      expect(await attempt(server, {configFile, hostKey: key('ed25519')})).toBe('up');
      expect(await attempt(server, {configFile, hostKey: await listed('ed25519')})).toBe('up');
    },
  );

  test('a live master to an impostor is not taken for the server', async () => {
    const socket = join(folder, 'master');
    const master = execFile('ssh', [
      ...['-F', impostor.config({lines: ['StrictHostKeyChecking no', 'UserKnownHostsFile /dev/null']})],
      ...['-N', '-M', '-S', socket, 'tunnel'],
    ]);
    if (master.pid !== undefined) guard('process', master.pid);
    const gone = new Promise((resolve) => master.once('exit', resolve));
    const isUp = async (): Promise<boolean> =>
      run('ssh', ['-F', 'none', '-S', socket, '-O', 'check', 'x']).then(
        () => true,
        () => false,
      );
    let up = false;
    await pollUntil(
      'the master is up',
      () => {
        void isUp().then((is) => (up ||= is));
        return up;
      },
      {every: 100},
    );
    const lines = ['ControlMaster auto', `ControlPath ${socket}`, 'ControlPersist yes'];
    for (const hostKey of [key('ed25519'), await fingerprint('ed25519')])
      await expectRefusal(impostor, {configFile: impostor.config({lines}), hostKey});
    expect(await attempt(server, {configFile: server.config({lines}), hostKey: key('ed25519')})).toBe('up');
    master.kill('SIGTERM');
    await gone;
  });

  test("ssh's own known_hosts is neither read nor written", async () => {
    const known = join(folder, 'never-written');
    const lines = [`UserKnownHostsFile ${known}`, 'StrictHostKeyChecking no', 'UpdateHostKeys yes'];
    expect(await attempt(server, {configFile: server.config({lines}), hostKey: key('ed25519')})).toBe('up');
    await expectRefusal(impostor, {configFile: impostor.config({lines}), hostKey: key('ed25519')});
    expect(() => readFileSync(known)).toThrow(/ENOENT/);
  });
});

describe.concurrent('hostKeyCheck', () => {
  const knownBy = (sshd: PrivateSshd, file: string, ...lines: string[]): string =>
    sshd.config({lines: [...lines, `UserKnownHostsFile ${file}`]});
  const known = (text: string): string => {
    const file = join(temporaryFolder('known-'), 'known_hosts');
    writeFileSync(file, text);
    return file;
  };

  test("'strict': a host that is not known is refused, and not written down, whatever is configured", async () => {
    const file = known('');
    const configFile = knownBy(server, file, 'StrictHostKeyChecking no', 'NoHostAuthenticationForLocalhost yes');
    expect(await attempt(server, {configFile})).toBe('up');
    writeFileSync(file, '');
    const error = await expectRefusal(server, {configFile, hostKeyCheck: 'strict'});
    expect(error['hint']).toContain('known_hosts');
    expect(readFileSync(file, 'utf8')).toBe('');
    writeFileSync(file, `${place()} ${bare('ed25519')}\n`);
    expect(await attempt(server, {configFile, hostKeyCheck: 'strict'})).toBe('up');
    writeFileSync(file, `${place()} ${bare('other')}\n`);
    expect((await expectRefusal(server, {configFile, hostKeyCheck: 'strict'})).message).toContain(file);
  });

  test("'accept-new': a host that is not known is written down, once; a changed one is refused", async () => {
    const file = known('');
    const configFile = knownBy(server, file, 'StrictHostKeyChecking no', 'UpdateHostKeys no');
    expect(await attempt(server, {configFile, hostKeyCheck: 'accept-new'})).toBe('up');
    expect(await attempt(server, {configFile, hostKeyCheck: 'accept-new'})).toBe('up');
    expect(readFileSync(file, 'utf8')).toBe(`${place()} ${bare('ed25519')}\n`);
    writeFileSync(file, `${place()} ${bare('other')}\n`);
    await expectRefusal(server, {configFile, hostKeyCheck: 'accept-new'});
    expect(readFileSync(file, 'utf8')).toBe(`${place()} ${bare('other')}\n`);
  });

  test("'strict': a KnownHostsCommand of ssh_config says which hosts are known, as known_hosts does", async () => {
    const lines = (name: string): string[] => [`KnownHostsCommand /bin/echo * ${bare(name)}`];
    const configFile = (name: string): string => knownBy(server, known(''), ...lines(name));
    expect(await attempt(server, {configFile: configFile('ed25519'), hostKeyCheck: 'strict'})).toBe('up');
    const error = await expectRefusal(server, {configFile: configFile('other'), hostKeyCheck: 'strict'});
    expect(error.message).toContain('KnownHostsCommand');
  });

  test('without it, as configured; what ssh would ask about is refused without waiting', async () => {
    for (const strict of ['ask', 'yes']) {
      const file = known('');
      await expectRefusal(server, {configFile: knownBy(server, file, `StrictHostKeyChecking ${strict}`)});
      expect(readFileSync(file, 'utf8')).toBe('');
    }
    const file = known('');
    expect(await attempt(server, {configFile: knownBy(server, file, 'StrictHostKeyChecking accept-new')})).toBe('up');
    expect(readFileSync(file, 'utf8')).toContain(bare('ed25519'));
  });

  test('nor does ssh ask whoever answers for the password', async () => {
    const asked: string[] = [];
    const error = await attempt(server, {
      configFile: knownBy(server, known(''), 'StrictHostKeyChecking ask'),
      password: () => {
        asked.push('password');
        return 'secret';
      },
      keyboardInteractive: (prompts) => {
        asked.push(...prompts);
        return ['yes'];
      },
    });
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY', retryable: false});
    expect(asked).toEqual([]);
  });
});

describe.concurrent('a warning says that the host key is not checked', () => {
  test.each<[options: Partial<AutoSSHOptions>]>([
    [{sshOptions: {StrictHostKeyChecking: 'no', UserKnownHostsFile: '/dev/null'}}],
    [{extraArgs: ['-ostricthostkeychecking=no', '-oUserKnownHostsFile=/dev/null']}],
    [{extraArgs: ['-vo', '"StrictHostKeyChecking" no'], sshOptions: {userknownhostsfile: '/dev/null'}}],
    [{hostKeyCheck: 'accept-new', sshOptions: {UserKnownHostsFile: '/dev/null'}}],
    [{sshOptions: {KnownHostsCommand: '/bin/echo * %t %K'}}],
    [{sshOptions: {StrictHostKeyChecking: 'accept-new', UserKnownHostsFile: '/dev/null/no/file'}}],
  ])('%j', async (options) => {
    const {tunnel, events} = prepare(impostor, {
      configFile: impostor.config({lines: [`UserKnownHostsFile ${server.knownHostsFile}`]}),
      ...options,
    });
    await tunnel.start();
    expect(events.of('warning').map(({code}) => code)).toEqual(['WARN_AUTOSSH_HOST_KEY_UNCHECKED']);
    await tunnel.stop();
    events.end();
  });

  test('of a raw command line too', async () => {
    const {configFile} = impostor;
    const raw = ['-F', configFile, '-oStrictHostKeyChecking=no', '-oUserKnownHostsFile=/dev/null', '-N', 'tunnel'];
    const tunnel = new AutoSSH({sshArguments: raw, heartbeat: false, restart: quickRestart});
    tunnel.on('start', ({pid}) => {
      guard('process', pid);
    });
    const events = collect<AutoSSHEvents>(tunnel, ['warning']);
    await tunnel.start();
    expect(events.of('warning').map(({code}) => code)).toEqual(['WARN_AUTOSSH_HOST_KEY_UNCHECKED']);
    await tunnel.stop();
    events.end();
  });

  test('and there is none where it is', async () => {
    const {tunnel, events} = prepare(server, {hostKey: key('ed25519')});
    await tunnel.start();
    expect(events.count('warning')).toBe(0);
    await tunnel.stop();
    events.end();
  });
});

describe.concurrent('an ssh that knows no KnownHostsCommand', () => {
  const old = (): string => {
    const path = join(folder, 'old-ssh');
    writeFileSync(
      path,
      `#!/bin/sh
for word; do
  case $word in KnownHostsCommand*) echo 'command-line: line 0: Bad configuration option: knownhostscommand' >&2; exit 255 ;; esac
done
exec ssh "$@"
`,
      {mode: 0o700},
    );
    return path;
  };

  test('checks a public key all the same', async () => {
    const {tunnel} = prepare(server, {sshPath: old(), hostKey: key('ed25519')});
    await tunnel.start();
    await tunnel.stop();
    const {tunnel: wrong, events} = prepare(impostor, {sshPath: old(), hostKey: key('ed25519')});
    expect(await rejection(wrong.start())).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY'});
    expect(events.count('restart')).toBe(0);
    await wrong.stop();
  });

  test("cannot tell which key hostKeyCheck: 'accept-new' has accepted: that is said, once, and known_hosts keeps it", async () => {
    await using sshd = await PrivateSshd.start();
    writeFileSync(sshd.knownHostsFile, '');
    const {tunnel, events} = prepare(sshd, {sshPath: old(), hostKeyCheck: 'accept-new'});
    await tunnel.start();
    await tunnel.restart();
    expect(events.of('warning')).toMatchObject([
      {code: 'WARN_AUTOSSH_HOST_KEY_UNCHECKED', message: expect.stringContaining('8.5') as string},
    ]);
    await sshd.swapHostKey();
    expect(await rejection(tunnel.restart())).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY'});
    await tunnel.stop();
    events.end();
  });

  test('cannot check a fingerprint: that is fatal, and said', async () => {
    const {tunnel, events} = prepare(server, {sshPath: old(), hostKey: [await fingerprint('ed25519'), key('rsa')]});
    const error = await rejection(tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_USAGE', retryable: false});
    expect(`${error.message} ${String(error['hint'])}`).toMatch(/fingerprint.*8\.5/is);
    expect(events.count('restart')).toBe(0);
    await tunnel.stop();
  });
});

describe.concurrent('a host key that has changed', () => {
  interface Case {
    readonly what: string;
    readonly options: (sshd: PrivateSshd) => Partial<AutoSSHOptions> | Promise<Partial<AutoSSHOptions>>;
  }
  const cases: readonly Case[] = [
    {
      what: 'hostKey as a fingerprint',
      options: async (sshd) => {
        const {stdout} = await run('ssh-keygen', ['-l', '-f', `${sshd.hostKeyFile}.pub`]);
        return {hostKey: stdout.split(' ')[1] ?? ''};
      },
    },
    {what: 'hostKey as a public key', options: (sshd) => ({hostKey: readFileSync(`${sshd.hostKeyFile}.pub`, 'utf8')})},
    {what: "hostKeyCheck: 'strict'", options: () => ({hostKeyCheck: 'strict'})},
    {what: "hostKeyCheck: 'accept-new'", options: () => ({hostKeyCheck: 'accept-new'})},
    {
      what: "hostKeyCheck: 'accept-new', a known_hosts that keeps nothing",
      options: (sshd) => ({
        configFile: sshd.config({lines: ['UserKnownHostsFile /dev/null']}),
        hostKeyCheck: 'accept-new',
      }),
    },
    {
      what: "hostKeyCheck: 'accept-new', a known_hosts that cannot be written",
      options: (sshd) => ({
        configFile: sshd.config({lines: ['UserKnownHostsFile /dev/null/no/file']}),
        hostKeyCheck: 'accept-new',
      }),
    },
    {what: "ssh's own known_hosts", options: () => ({})},
    {
      what: "ssh's own known_hosts, StrictHostKeyChecking ask",
      options: (sshd) => ({configFile: sshd.config({lines: ['StrictHostKeyChecking ask']})}),
    },
  ];

  /** Everything that a client does after the keys have been exchanged begins with one of these. */
  const served =
    /userauth-request|Accepted|Failed|Postponed|Connection from user|Starting session|direct-tcpip|channel/i;

  test.each(cases)('is fatal with the next ssh, which sends nothing: $what', async ({options}) => {
    await using sshd = await PrivateSshd.start({config: ['LogLevel DEBUG3']});
    const received: string[] = [];
    const behind = await serve({}, (socket) => socket.on('data', (chunk: Buffer) => received.push(chunk.toString())));
    const {tunnel, events} = prepare(sshd, {
      forwards: [{type: 'local', target: {host: '127.0.0.1', port: behind.port}}],
      ...(await options(sshd)),
    });
    try {
      await tunnel.start();
      await sshd.swapHostKey();
      const swapped = sshd.log.length;
      const fatal = once(tunnel, 'fatal');
      const lost = once(tunnel, 'disconnect');
      await sshd.killSessions();
      await lost;
      const held = await client(tunnel);
      held.socket.write('for the real server only');
      expect(await fatal).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY', retryable: false});
      expect(await held.ending).toMatchObject({text: '', error: 'ECONNRESET'});
      expect(events.count('start')).toBe(2);
      expect(events.count('connect')).toBe(1);
      // The one that is announced when the old ssh ends; nothing is known of the key then.
      expect(events.of('restart')).toMatchObject([{attempt: 1, delay: 0}]);
      expect(events.of('stop')).toMatchObject([{reason: 'fatal', error: {code: 'ERR_AUTOSSH_HOST_KEY'}}]);
      const log = sshd.log.slice(swapped);
      expect(log.some((line) => /SSH2_MSG_KEXINIT sent|kex: algorithm/.test(line))).toBe(true);
      expect(
        log.filter((line) => served.test(line) && line.includes('preauth') && !/kex|Received disconnect/.test(line)),
      ).toEqual([]);
      expect(log.filter((line) => /userauth-request|Accepted publickey|Failed publickey/.test(line))).toEqual([]);
      expect(received).toEqual([]);
    } finally {
      await tunnel.stop();
      await behind.close();
    }
  });

  test("of another kind is none that hostKeyCheck: 'accept-new' takes for a new one, unless somebody puts it into known_hosts", async () => {
    await using sshd = await PrivateSshd.start({config: [`HostKey ${join(folder, 'ed25519')}`]});
    const file = join(temporaryFolder('known-'), 'known_hosts');
    const configFile = sshd.config({lines: [`UserKnownHostsFile ${file}`, 'UpdateHostKeys no']});
    const {tunnel} = prepare(sshd, {configFile, hostKeyCheck: 'accept-new', forwards: [toEcho()]});
    await tunnel.start();
    await sshd.restart({config: [`HostKey ${join(folder, 'ecdsa')}`], keepSessions: true});
    expect(await rejection(tunnel.restart())).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY', retryable: false});
    // Who puts it into known_hosts has said that it is the right one.
    writeFileSync(file, `${place(sshd)} ${bare('ecdsa')}\n`);
    await tunnel.restart();
    expect(readFileSync(file, 'utf8')).toBe(`${place(sshd)} ${bare('ecdsa')}\n`);
    await tunnel.stop();
  });

  test("of which an authority has signed the first: hostKeyCheck: 'accept-new' accepts another that it has signed, and no plain one", async () => {
    const signed = (name: string): string[] => [
      `HostKey ${join(folder, name)}`,
      `HostCertificate ${join(folder, `${name}-cert.pub`)}`,
    ];
    await using sshd = await PrivateSshd.start({config: signed('ed25519')});
    const file = join(temporaryFolder('known-'), 'known_hosts');
    writeFileSync(file, `@cert-authority * ${bare('authority')}\n`);
    const configFile = sshd.config({lines: [`UserKnownHostsFile ${file}`, 'UpdateHostKeys no']});
    const {tunnel, events} = prepare(sshd, {configFile, hostKeyCheck: 'accept-new', forwards: [toEcho()]});
    await tunnel.start();
    await sshd.restart({config: signed('ecdsa'), keepSessions: true});
    await tunnel.restart();
    await sshd.restart({config: [`HostKey ${join(folder, 'ecdsa')}`], keepSessions: true});
    expect(await rejection(tunnel.restart())).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY', retryable: false});
    expect(events.count('warning')).toBe(0);
    await tunnel.stop();
  });

  test('a key that ssh could not write down is told with the file, once', async () => {
    await using sshd = await PrivateSshd.start();
    const configFile = sshd.config({lines: ['UserKnownHostsFile /dev/null/no/file']});
    const {tunnel, events} = prepare(sshd, {configFile, sshOptions: {StrictHostKeyChecking: 'accept-new'}});
    await tunnel.start();
    await tunnel.restart();
    expect(events.of('warning')).toMatchObject([
      {
        code: 'WARN_AUTOSSH_HOST_KEY_UNCHECKED',
        message: expect.stringContaining('/dev/null/no/file') as string,
      },
    ]);
    await tunnel.stop();
  });

  test('restart() beside the old ssh rejects, and the old one, whose server was the right one, goes on', async () => {
    await using sshd = await PrivateSshd.start({config: ['LogLevel DEBUG']});
    const {tunnel, events} = prepare(sshd, {
      hostKey: readFileSync(`${sshd.hostKeyFile}.pub`, 'utf8'),
      forwards: [toEcho()],
    });
    try {
      await tunnel.start();
      const {pid} = tunnel;
      await sshd.swapHostKey();
      const swapped = sshd.log.length;
      expect(await rejection(tunnel.restart())).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY', retryable: false});
      expect(tunnel.state).toBe('up');
      expect(tunnel.pid).toBe(pid);
      expect(await exchange(tunnel.forward().listen, 'ping')).toBe('ping');
      expect(events.count('fatal')).toBe(0);
      expect(events.count('restart')).toBe(0);
      expect(events.count('start')).toBe(2);
      expect(sshd.log.slice(swapped).filter((line) => line.includes('userauth-request'))).toEqual([]);
      const fatal = once(tunnel, 'fatal');
      await sshd.killSessions();
      expect(await fatal).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY', retryable: false});
      expect(events.count('start')).toBe(3);
    } finally {
      await tunnel.stop();
    }
  });

  test.skipIf(!canLogInByPassword)('is told no password (skipped: only root may have PAM ask)', async () => {
    const password = 'not-for-impostors';
    await using login = await PasswordSshd.start({password, config: ['LogLevel DEBUG']});
    const {sshd} = login;
    let asked = 0;
    const {tunnel, events} = prepare(sshd, {
      password: () => {
        asked++;
        return password;
      },
      hostKey: readFileSync(`${sshd.hostKeyFile}.pub`, 'utf8'),
    });
    try {
      await tunnel.start();
      expect([asked, login.attempts()]).toEqual([1, 1]);
      await sshd.swapHostKey();
      const swapped = sshd.log.length;
      const fatal = once(tunnel, 'fatal');
      await sshd.killSessions();
      expect(await fatal).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY', retryable: false});
      expect([asked, login.attempts()]).toEqual([1, 1]);
      expect(sshd.log.slice(swapped).filter((line) => line.includes('userauth-request'))).toEqual([]);
      expect(events.count('start')).toBe(2);
    } finally {
      await tunnel.stop();
    }
  });
});
