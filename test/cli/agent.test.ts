import {execFile, spawn, type ChildProcess} from 'node:child_process';
import {existsSync, readFileSync, realpathSync, rmSync, statSync, symlinkSync, writeFileSync} from 'node:fs';
import {homedir} from 'node:os';
import {join} from 'node:path';
import {promisify} from 'node:util';
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from 'vitest';
import {addKeys, openSessionAgent} from '../../src/cli/agent.js';
import {parseIdentities} from '../../src/cli/identity-files.js';
import {SSHAgent, agentAnswers} from '../../src/index.js';
import {
  PrivateSshd,
  type Snapshot,
  commandLine,
  compiled,
  environmentOf,
  expectNothingLeft,
  findProgram,
  guard,
  ownProcesses,
  ownTemporaryFolder,
  pollUntil,
  programOf,
  signal,
  snapshot,
  temporaryFolder,
} from '../support/index.js';

const run = promisify(execFile);
const passphrase = 'correct-horse-battery';

let restoreTemporaryFolder: () => void;
/** Keys, made once: `plain`, and with the passphrase `locked`, `other`, `pem`, `pkcs8`. */
let keys: string;
/** Of one test. */
let folder: string;
let before: Snapshot;

const key = (name: string): string => join(keys, name);
const publicKey = (name: string): string =>
  readFileSync(`${key(name)}.pub`, 'utf8')
    .split(' ', 2)
    .join(' ');

beforeAll(async () => {
  restoreTemporaryFolder = ownTemporaryFolder();
  keys = temporaryFolder('k-');
  const make = (name: string, secret: string, ...more: string[]): Promise<unknown> =>
    run('ssh-keygen', ['-q', '-N', secret, '-C', name, '-f', key(name), ...more]);
  await Promise.all([
    make('plain', '', '-t', 'ed25519'),
    make('locked', passphrase, '-t', 'ed25519'),
    make('other', passphrase, '-t', 'ed25519'),
    make('pem', passphrase, '-t', 'ecdsa', '-m', 'PEM'),
    make('pkcs8', passphrase, '-t', 'ecdsa', '-m', 'PKCS8'),
    make('plain-pem', '', '-t', 'ecdsa', '-m', 'PEM'),
  ]);
  writeFileSync(key('token'), tokenKey(), {mode: 0o600});
});
afterAll(() => {
  rmSync(keys, {recursive: true, force: true});
  restoreTemporaryFolder();
});

beforeEach(() => {
  folder = temporaryFolder('c-');
  before = snapshot();
});
afterEach(async () => {
  await expectNothingLeft(before, {within: 2_000, resources: false});
  rmSync(folder, {recursive: true, force: true});
});

describe('an agent for the session', () => {
  const reasons: string[] = [];
  const open = (env: NodeJS.ProcessEnv): Promise<SSHAgent | undefined> =>
    openSessionAgent(env, (reason) => reasons.push(reason));
  afterEach(() => {
    reasons.length = 0;
  });

  test('is started where none is named', async () => {
    const {SSH_AUTH_SOCK: _none, ...env} = process.env;
    await using agent = await open(env);
    expect(await agentAnswers(agent?.socket ?? '')).toBe(true);
  });

  test.each(['', '/nonexistent/agent.sock'])('is started where none is behind the name: %j', async (socket) => {
    await using agent = await open({...process.env, SSH_AUTH_SOCK: socket});
    expect(await agentAnswers(agent?.socket ?? '')).toBe(true);
  });

  test('is started where the one that was there has died and left its socket', async () => {
    const dead = await SSHAgent.open();
    signal(dead.pid ?? 0, 'SIGKILL');
    await pollUntil('no pid', () => dead.pid === undefined);
    expect(statSync(dead.socket).isSocket()).toBe(true);
    const agent = await open({...process.env, SSH_AUTH_SOCK: dead.socket});
    expect(agent?.socket).not.toBe(dead.socket);
    expect(await agentAnswers(agent?.socket ?? '')).toBe(true);
    await Promise.all([agent?.close(), dead.close()]);
  });

  test('is not started where one lives', async () => {
    await using living = await SSHAgent.open();
    expect(await open({...process.env, SSH_AUTH_SOCK: living.socket})).toBeUndefined();
    expect(reasons).toEqual([]);
  });

  test('is done without where there is no ssh-agent, and the reason is told', async () => {
    expect(await open({PATH: folder})).toBeUndefined();
    expect(reasons).toEqual(['ssh-agent could not be started: ssh-agent was not found in PATH']);
  });
});

describe('the keys that ssh-add is started for', () => {
  let agent: SSHAgent;

  beforeEach(async () => {
    agent = await SSHAgent.open();
    // Ssh-add as it is, but that it asks nobody: it says what it was started with.
    program('ssh-add', `echo "$@" >>${folder}/ssh-add.log\n[ "$1" != -- ] && exec ${systems('ssh-add')} "$@"\nexit 1`);
    program('ssh', `echo "$@" >>${folder}/ssh.log\nexec ${systems('ssh')} "$@"`);
  });
  afterEach(() => agent.close());

  function program(name: string, script: string): void {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`, {mode: 0o755});
  }

  function logOf(name: string): string[] {
    const path = join(folder, `${name}.log`);
    return existsSync(path) ? readFileSync(path, 'utf8').trimEnd().split('\n') : [];
  }

  /** What ssh-add is asked to add, for these lines of configuration, and what is said of it. */
  async function added(
    lines: readonly string[],
    more: readonly string[] = [],
  ): Promise<{files: string[]; said: string[]}> {
    const config = join(folder, 'config');
    writeFileSync(config, `Host there\n${lines.map((line) => `  ${line}\n`).join('')}`);
    const said: string[] = [];
    await addKeys(
      {
        socket: agent.socket,
        env: {...process.env, PATH: `${folder}:${process.env['PATH'] ?? ''}`, KEYS: keys},
        sshPath: join(folder, 'ssh'),
        arguments: ['-F', config, ...more, 'there'],
      },
      (line) => said.push(line),
    );
    const calls = logOf('ssh-add').filter((line) => line.startsWith('-- '));
    return {files: calls.flatMap((line) => line.slice(3).split(' ')), said};
  }

  const file = (name: string): string => `IdentityFile ${key(name)}`;

  test.each(['locked', 'pem', 'pkcs8'])('have a passphrase, in the form of %s', async (name) => {
    const {files, said} = await added([file(name)]);
    expect(files).toEqual([key(name)]);
    const names = `ssh-add was not given the passphrase and did not add ${key(name)}`;
    expect(said).toEqual([`${names}: ssh will ask for the passphrase itself, or fail`]);
  });

  test.each(['plain', 'plain-pem', 'locked.pub', 'token', 'absent', '../../../etc/passwd', ''])(
    'are none for %j',
    async (name) => {
      expect(await added([file(name)])).toEqual({files: [], said: []});
      // Nothing else was started for it either.
      expect(logOf('ssh-add')).toEqual([]);
    },
  );

  test('are all of them in the order of ssh, each once', async () => {
    symlinkSync(key('locked'), join(folder, 'link'));
    const lines = [file('pem'), file('plain'), file('locked'), `IdentityFile ${folder}/link`, file('other')];
    const {files} = await added(lines);
    expect(files).toEqual(['pem', 'locked', 'other'].map(key));
    expect(logOf('ssh-add').filter((line) => line.startsWith('--'))).toHaveLength(1);
  });

  test('are none that the agent has', async () => {
    await unlock(key('locked'), folder);
    await run('ssh-add', [join(folder, 'unlocked')], {env: {...process.env, SSH_AUTH_SOCK: agent.socket}});
    expect((await added([file('locked'), file('other')])).files).toEqual([key('other')]);
  });

  test.each([
    ['IdentityAgent none', false],
    ['IdentityAgent /another.sock', false],
    ['IdentityAgent SSH_AUTH_SOCK', true],
    ['IdentityAgent $SSH_AUTH_SOCK', true],
    ['IdentityAgent ${SSH_AUTH_SOCK}', true],
    // It then asks by itself, and gives to the agent what it was told.
    ['AddKeysToAgent yes', false],
    ['AddKeysToAgent ask', false],
    ['AddKeysToAgent confirm 1h', false],
    ['AddKeysToAgent 1h', false],
    ['AddKeysToAgent no', true],
    ['BatchMode yes', false],
    ['PubkeyAuthentication no', false],
    ['IdentitiesOnly yes', true],
    ['IdentityFile none', true],
  ])('with `%s` in the configuration: %s', async (line, asked) => {
    expect((await added([line, file('locked')])).files).toEqual(asked ? [key('locked')] : []);
  });

  test('are found with the arguments of ssh, which is asked once', async () => {
    const argv = ['-N', '-L', '127.0.0.1:1:127.0.0.1:1', '-i', key('other'), '-v', '-l', 'x'];
    const {files} = await added(['IdentityFile ${KEYS}/locked'], argv);
    expect(files).toEqual(['other', 'locked'].map(key));
    expect(logOf('ssh')).toEqual([`-G -F ${folder}/config ${argv.join(' ')} there`]);
  });

  test('are none where ssh cannot say: it will tell by itself', async () => {
    expect(await added(['Nonsense yes', file('locked')])).toEqual({files: [], said: []});
  });

  test('are not waited for once that is no longer wanted', async () => {
    program('ssh-add', `echo "$@" >>${folder}/ssh-add.log\n[ "$1" = -- ] && exec sleep 1000`);
    const wanted = new AbortController();
    const listeners = process.listenerCount('SIGINT');
    const said: string[] = [];
    const adding = addKeys(
      {
        socket: agent.socket,
        env: {...process.env, PATH: `${folder}:${process.env['PATH'] ?? ''}`},
        sshPath: 'ssh',
        arguments: ['-F', '/dev/null', '-i', key('locked'), 'there'],
        signal: wanted.signal,
      },
      (line) => said.push(line),
    );
    await pollUntil('ssh-add', () => logOf('ssh-add').some((line) => line.startsWith('-- ')));
    wanted.abort();
    await adding;
    expect(said[0]).toContain('ssh-add was interrupted');
    expect(process.listenerCount('SIGINT')).toBe(listeners);
  });

  test('are told where there is no ssh-add', async () => {
    const said: string[] = [];
    await addKeys(
      {
        socket: agent.socket,
        env: {PATH: join(folder, 'nowhere')},
        sshPath: systems('ssh'),
        arguments: ['-F', '/dev/null', '-i', key('locked'), 'there'],
      },
      (line) => said.push(line),
    );
    expect(said[0]).toContain(`ssh-add could not be started and did not add ${key('locked')}`);
  });
});

describe('the files of ssh -G', () => {
  test.each([
    '~/.ssh/of_%r',
    '~//x',
    '~',
    '%d/.ssh/%r@%h:%p',
    '/a/%n-%k-%u-%i-%l-%L/100%%',
    '${HOME}/${LANGUAGE_OF_A_TEST}',
    'relative/key',
    '"/with a space"',
  ])('are taken for what ssh takes them for: %s', async (name) => {
    const config = join(folder, 'config');
    // One that ends before it has connected.
    writeFileSync(config, `Host There\n  HostName real.example\n  User me\n  Port 77\n  IdentityFile ${name}\n`);
    const env = {...process.env, LANGUAGE_OF_A_TEST: 'te_st'};
    const argv = ['-F', config, '-o', 'ProxyCommand=false', 'There'];
    const {stdout} = await run('ssh', ['-G', ...argv], {env});
    const {stderr} = await run('ssh', ['-v', ...argv], {env}).catch((error: unknown) => error as {stderr: string});
    const real = /identity file (.*) type -?\d+/.exec(stderr)?.[1];
    expect(real).toBeDefined();
    expect(parseIdentities(stdout, env).files).toEqual([real]);
  });

  test('are left out where it is not known what ssh takes them for', () => {
    const output = ['/x/%C', '~nobody/key', '${NOT_SET}', '/known'].map((name) => `identityfile ${name}\n`).join('');
    expect(parseIdentities(output, {}).files).toEqual(['/known']);
  });

  test('are the defaults too', async () => {
    const {stdout} = await run('ssh', ['-G', '-F', 'none', 'there']);
    expect(parseIdentities(stdout, process.env).files).toContain(join(homedir(), '.ssh', 'id_ed25519'));
  });
});

// The program of util-linux that gives another one a terminal.
describe.runIf(findProgram('script') !== undefined)('on a terminal', () => {
  let sshd: PrivateSshd;
  let terminal: Terminal | undefined;

  beforeEach(async () => {
    sshd = await PrivateSshd.start();
    // Not the key that ssh could read by itself.
    writeFileSync(sshd.authorizedKeysFile, `${publicKey('locked')}\n`);
  });
  afterEach(async () => {
    await terminal?.end();
    terminal = undefined;
    await sshd.stop();
  });

  const start = (lines: readonly string[] = [], setup: Setup = {}): Terminal => {
    const config = sshd.config({lines: ['IdentityAgent SSH_AUTH_SOCK', ...lines, `IdentityFile ${key('locked')}`]});
    return (terminal = new Terminal(['-F', config, '-N', 'tunnel'], setup));
  };
  const logins = (): number => sshd.log.filter((line) => line.includes('Accepted publickey')).length;
  const loggedIn = (count: number): Promise<void> => pollUntil(`login ${count}`, () => logins() === count);
  const byAdd = (name = 'locked'): string => `Enter passphrase for ${key(name)}: `;
  const bySsh = (): string => `Enter passphrase for key '${key('locked')}': `;

  test('the passphrase is asked for once, and each ssh logs in with the key, the next one too', async () => {
    const screen = start();
    await screen.shows(byAdd());
    screen.types(`${passphrase}\n`);
    await screen.step('added');
    expect(secretsInSight()).toEqual([]);
    await loggedIn(1);
    expect(secretsInSight()).toEqual([]);
    const [first] = screen.steps('ssh') as [{pid: number}];
    signal(first.pid, 'SIGKILL');
    await loggedIn(2);
    expect(secretsInSight()).toEqual([]);
    await screen.end();
    expect(screen.text.split('Enter passphrase').length - 1).toBe(1);
    expect(screen.steps('line')).toEqual([]);
    expect(screen.text).not.toContain(passphrase);
  });

  test('a key without a passphrase is not asked for, nor given to the agent', async () => {
    writeFileSync(sshd.authorizedKeysFile, `${publicKey('plain')}\n`);
    const config = sshd.config({lines: ['IdentityAgent SSH_AUTH_SOCK', `IdentityFile ${key('plain')}`]});
    const screen = (terminal = new Terminal(['-F', config, '-N', 'tunnel'], {}));
    const {socket} = (await screen.step('agent')) as {socket: string};
    await loggedIn(1);
    expect(await held(socket)).toBe('The agent has no identities.');
    expect(screen.text).not.toContain('Enter passphrase');
  });

  test('keys of the same passphrase are asked for once, and those that are in the agent not again', async () => {
    const screen = start([`IdentityFile ${key('other')}`], {often: 2});
    await screen.shows(byAdd('other'));
    screen.types(`${passphrase}\n`);
    const {socket} = (await screen.step('agent')) as {socket: string};
    await screen.step('added');
    const lines = (await held(socket)).split('\n').map((line) => line.split(' ', 2).join(' '));
    expect(lines.sort()).toEqual([publicKey('locked'), publicKey('other')].sort());
    await loggedIn(1);
    expect(screen.text.split('Enter passphrase').length - 1).toBe(1);
  });

  test('a wrong passphrase is asked for again', async () => {
    const screen = start();
    await screen.shows(byAdd());
    screen.types('wrong\n');
    await screen.shows('Bad passphrase, try again');
    screen.types(`${passphrase}\n`);
    await loggedIn(1);
    expect(screen.steps('line')).toEqual([]);
  });

  test.each([
    ['no passphrase is given', '\n', 'was not given the passphrase'],
    ['it is interrupted', '\u0003', 'was interrupted'],
  ])('where %s that is said, and ssh asks by itself', async (_what, typed, sentence) => {
    const screen = start([`IdentityFile ${key('other')}`]);
    await screen.shows(byAdd('other'));
    if (typed === '\n') {
      screen.types(typed);
      await screen.shows(byAdd());
      screen.types(typed);
    } else {
      await screen.interrupts();
    }
    // Only for the key that the server would take.
    await screen.shows(bySsh());
    expect(screen.steps('line')).toEqual([
      `ssh-add ${sentence} and did not add ${key('other')}, ${key('locked')}: ssh will ask for the passphrase itself, or fail`,
    ]);
    screen.types(`${passphrase}\n`);
    await loggedIn(1);
    expect(screen.text).not.toContain(passphrase);
  });

  test('an agent that ssh is not to use is given nothing', async () => {
    const config = sshd.config({lines: ['IdentityAgent none', `IdentityFile ${key('locked')}`]});
    const screen = (terminal = new Terminal(['-F', config, '-N', 'tunnel'], {}));
    await screen.shows(bySsh());
    expect(screen.text).not.toContain(byAdd());
    const {socket} = screen.steps('agent')[0] as {socket: string};
    expect(await held(socket)).toBe('The agent has no identities.');
  });

  test('an ssh that is to add keys itself asks once, and the next one not', async () => {
    const screen = start(['AddKeysToAgent yes']);
    await screen.shows(bySsh());
    screen.types(`${passphrase}\n`);
    await loggedIn(1);
    const [first] = screen.steps('ssh') as [{pid: number}];
    signal(first.pid, 'SIGKILL');
    await loggedIn(2);
    expect(screen.text.split('Enter passphrase').length - 1).toBe(1);
  });

  test('the agent that the user has is used, and is given nothing', async () => {
    await using own = await SSHAgent.open();
    const screen = start([], {env: {SSH_AUTH_SOCK: own.socket}});
    expect(await screen.step('agent')).toEqual({});
    await screen.shows(bySsh());
    expect(screen.text).not.toContain(byAdd());
    expect(await held(own.socket)).toBe('The agent has no identities.');
    await screen.end();
  });

  test('a certificate logs in with the key that is in the agent', async () => {
    const authority = join(folder, 'authority');
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', authority]);
    writeFileSync(join(folder, 'key.pub'), `${publicKey('locked')}\n`);
    await run('ssh-keygen', ['-q', '-s', authority, '-I', 'of a test', '-n', sshd.user, join(folder, 'key.pub')]);
    await sshd.restart({config: [`TrustedUserCAKeys ${authority}.pub`]});
    writeFileSync(sshd.authorizedKeysFile, '');
    const screen = start([`CertificateFile ${folder}/key-cert.pub`]);
    await screen.shows(byAdd());
    screen.types(`${passphrase}\n`);
    await loggedIn(1);
    expect(sshd.log.join('\n')).toContain('ID of a test');
    expect(screen.text.split('Enter passphrase').length - 1).toBe(1);
  });
});

interface Setup {
  env?: NodeJS.ProcessEnv;
  often?: number;
}

/** A terminal with the program of the fixture on it. */
class Terminal {
  /** All that it has shown. */
  text = '';
  readonly #script: ChildProcess;
  readonly #closed: Promise<unknown>;

  constructor(argv: readonly string[], {env = {SSH_AUTH_SOCK: undefined}, often = 1}: Setup) {
    const command = [process.execPath, compiled('agent-terminal.ts')].join(' ');
    this.#script = spawn('script', ['--quiet', '--flush', '--return', '--command', command, '/dev/null'], {
      env: {
        ...process.env,
        // What would ask in a window.
        DISPLAY: undefined,
        SSH_ASKPASS: undefined,
        SSH_ASKPASS_REQUIRE: undefined,
        AGENT_TERMINAL: JSON.stringify({arguments: argv, often}),
        ...env,
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    guard('process', this.#script.pid ?? 0);
    this.#script.stdout?.setEncoding('utf8').on('data', (chunk: string) => (this.text += chunk));
    this.#closed = new Promise((resolve) => this.#script.once('close', resolve));
  }

  types(keystrokes: string): void {
    this.#script.stdin?.write(keystrokes);
  }

  /** Types Ctrl-C until the prompt is gone: `readpassphrase()` loses one that comes between its prompt and its first read. */
  async interrupts(): Promise<void> {
    const before = this.text;
    for (let tries = 0; this.text === before && tries < 20; tries++) {
      this.types('\u0003');
      await pollUntil('an end of the prompt', () => this.text !== before, {timeout: 1_000}).catch(() => undefined);
    }
  }

  shows(what: string): Promise<void> {
    return this.#until(JSON.stringify(what), () => this.text.includes(what));
  }

  /** What the fixture has said under this name. */
  steps(name: string): unknown[] {
    return [...this.text.matchAll(/@(\S+) (.*)\r\n/g)]
      .filter((match) => match[1] === name)
      .map((match) => JSON.parse(match[2] ?? '') as unknown);
  }

  async step(name: string): Promise<unknown> {
    await this.#until(name, () => this.steps(name).length > 0);
    return this.steps(name)[0];
  }

  async end(): Promise<void> {
    const pid = (await this.step('host')) as number;
    signal(pid, 'SIGTERM');
    await this.#closed;
  }

  async #until(what: string, condition: () => boolean): Promise<void> {
    await pollUntil(what, condition).catch((error: unknown) => {
      throw new Error(`${(error as Error).message}, but:\n${this.text}`, {cause: error});
    });
  }
}

/** Where the passphrase is to be seen by others: arguments and environments of the processes that are ours. */
function secretsInSight(): string[] {
  const processes = ownProcesses();
  expect(processes.map(({name}) => name)).toContain('ssh-agent');
  expect(processes.map(({pid}) => programOf(pid))).toContain(realpathSync(process.execPath));
  return processes
    .filter(({pid}) => JSON.stringify([commandLine(pid), environmentOf(pid)]).includes(passphrase))
    .map(({name}) => name);
}

/** What ssh-add tells of an agent; it exits with 1 where there are no keys. */
async function held(socket: string): Promise<string> {
  const listing = run('ssh-add', ['-L'], {env: {...process.env, SSH_AUTH_SOCK: socket}});
  return (await listing.catch((error: unknown) => error as {stdout: string})).stdout.trimEnd();
}

/** The same key without its passphrase, as `unlocked` in a folder. */
async function unlock(path: string, to: string): Promise<void> {
  const copy = join(to, 'unlocked');
  writeFileSync(copy, readFileSync(path), {mode: 0o600});
  await run('ssh-keygen', ['-q', '-p', '-P', passphrase, '-N', '', '-f', copy]);
}

function systems(name: string): string {
  const path = findProgram(name);
  if (path === undefined) throw new Error(`${name} is not installed`);
  return path;
}

/** The file of a key on a FIDO token, with a passphrase: no such token is needed to read what it is. */
function tokenKey(): string {
  const string = (value: string | Buffer): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(value.length);
    return Buffer.concat([length, Buffer.from(value)]);
  };
  const blob = Buffer.concat(['sk-ssh-ed25519@openssh.com', Buffer.alloc(32), 'ssh:'].map(string));
  const data = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    ...['aes256-ctr', 'bcrypt', Buffer.alloc(24)].map(string),
    Buffer.from([0, 0, 0, 1]),
    ...[blob, Buffer.alloc(64)].map(string),
  ]);
  const lines = data.toString('base64').match(/.{1,70}/g) ?? [];
  return ['-----BEGIN OPENSSH PRIVATE KEY-----', ...lines, '-----END OPENSSH PRIVATE KEY-----', ''].join('\n');
}
