import {type ChildProcess, execFileSync, spawn} from 'node:child_process';
import {chmodSync, existsSync, readdirSync, writeFileSync} from 'node:fs';
import {userInfo} from 'node:os';
import {join} from 'node:path';
import {afterAll, afterEach, beforeAll, describe, expect, test} from 'vitest';
import {doctor} from '../../src/cli/doctor.js';
import {effectiveConfiguration, parseConfiguration} from '../../src/cli/effective-configuration.js';
import {examine} from '../../src/cli/machine.js';
import type {CommandLine} from '../../src/index.js';
import {
  PrivateSshd,
  type SmallServer,
  canListen,
  decoy,
  dyingWithUs,
  freePort,
  guard,
  listeningPorts,
  ownTemporaryFolder,
  patience,
  pollUntil,
  within,
} from '../support/index.js';

let sshd: PrivateSshd;
let removeFolder: () => void;
const strangers: SmallServer[] = [];
const children: ChildProcess[] = [];

beforeAll(async () => {
  removeFolder = ownTemporaryFolder();
  sshd = await PrivateSshd.start();
});

afterEach(async () => {
  await Promise.all(strangers.splice(0).map((one) => one.close()));
  for (const child of children.splice(0)) await killed(child);
  await sshd.killSessions();
});

afterAll(async () => {
  await sshd.stop();
  removeFolder();
});

type Given = Partial<CommandLine> & {
  env?: NodeJS.ProcessEnv;
  output?: {isTTY?: boolean; columns?: number};
  input?: {isTTY?: boolean};
};

function lineOf(sshArguments: readonly string[], {monitor, ...given}: Partial<CommandLine> = {}): CommandLine {
  const {port, echoPort} = monitor ?? {};
  const back = echoPort === undefined ? ['-R', `${Number(port)}:127.0.0.1:${Number(port) + 1}`] : [];
  const loop = port === undefined ? [] : ['-L', `${port}:127.0.0.1:${echoPort ?? port}`, ...back];
  return {
    action: 'doctor',
    sshPath: 'ssh',
    sshArguments: [...loop, ...sshArguments],
    destination: '',
    remoteCommand: [],
    ...(monitor && {monitor}),
    background: false,
    poll: 600_000,
    firstPoll: 600_000,
    netTimeout: 15_000,
    gateTime: given.background ? 0 : 30_000,
    maxStart: -1,
    maxLifetime: 0,
    message: '',
    logLevel: 6,
    debug: false,
    jsonLog: false,
    agent: true,
    notes: [],
    ...given,
  };
}

/** What the command prints and its exit code; `flat` is the text without its line breaks. */
async function diagnose(sshArguments: readonly string[], {env, output, input = {}, ...given}: Given = {}) {
  let text = '';
  const sink = {...output, write: (part: string) => (text += part)};
  // What belongs to whoever runs the tests is not to be seen.
  const {SSH_AUTH_SOCK: _agent, DISPLAY: _display, ...own} = process.env;
  const code = await doctor(lineOf(sshArguments, given), env ?? own, sink, input);
  return {code, text, flat: text.replace(/\s+/g, ' '), options: text.match(/(?<=^ *→ .*)-o [A-Z]\w+=\S+/gm) ?? []};
}

/** Nothing that the doctor has an objection to. */
const sound = ['ServerAliveInterval 15', 'ConnectTimeout 15', 'ExitOnForwardFailure yes'];

function soundConfig(...lines: readonly string[]): string {
  const given = lines.map((line) => line.split(' ')[0]);
  return sshd.config({lines: [...lines, ...sound.filter((line) => !given.includes(line.split(' ')[0]))]});
}

/** A real ssh; its exit code when it ends. */
function ssh(...args: readonly string[]): {child: ChildProcess; exit: Promise<number | null>} {
  const [command = '', ...rest] = dyingWithUs(['ssh', ...args]);
  const child = spawn(command, rest, {stdio: 'ignore'});
  children.push(child);
  if (child.pid !== undefined) guard('process', child.pid);
  return {child, exit: new Promise((resolve) => child.once('exit', resolve))};
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}

async function stranger(port = 0, host = '127.0.0.1'): Promise<number> {
  const server = await decoy(port, host);
  strangers.push(server);
  return server.port;
}

async function liveMaster(control: string): Promise<void> {
  ssh('-F', sshd.configFile, '-o', `ControlPath=${control}`, '-M', '-N', 'tunnel');
  await pollUntil('the master', () => existsSync(control));
}

test('a sound command line: a few lines and 0', async () => {
  const args = ['-F', soundConfig(), '-N', '-L', `127.0.0.1:${await freePort()}:127.0.0.1:7`, 'tunnel'];
  const {code, text} = await diagnose(args);
  expect(text).toContain('Nothing stands in the way of this tunnel.');
  expect(text).not.toMatch(/[✖!]/);
  expect(text.split('\n').length).toBeLessThan(20);
  expect(text.split('\n').filter((line) => line.length > 80)).toEqual([]);
  expect(code).toBe(0);
});

test('the server is not connected to, and no file is made or changed', async () => {
  const control = join(sshd.folder, 'control');
  const log = join(sshd.folder, 'tunnel.log');
  const configFile = soundConfig('ControlMaster auto', `ControlPath ${control}`, 'StrictHostKeyChecking accept-new');
  const before = {log: sshd.log.length, files: readdirSync(sshd.folder)};
  await diagnose(['-F', configFile, '-E', log, '-NL', '5000:a:1', 'tunnel'], {monitor: {port: 5002, chosen: false}});
  await diagnose(['-F', configFile, '-E', log, '-o', 'Nonsense=1', 'tunnel']);
  expect(readdirSync(sshd.folder)).toEqual(before.files);
  expect(sshd.log.slice(before.log)).toEqual([]);
});

describe('lines of a configuration, as the real ssh -G reads them', () => {
  const forward = ['-N', '-L', '127.0.0.1:PORT:127.0.0.1:7', 'tunnel'];
  const cases: readonly [severity: '✖' | '!', says: RegExp, lines: string[], args?: string[]][] = [
    [
      '✖',
      /ControlPersist .*exits with 0; autossh takes that for a failed/,
      ['ControlMaster auto', 'ControlPath /tmp/%C', 'ControlPersist yes'],
    ],
    [
      '✖',
      /ControlPersist .*a master in the background/,
      ['ControlMaster auto', 'ControlPath /tmp/%C', 'ControlPersist 10m'],
      ['tunnel'],
    ],
    ['!', /ControlMaster auto: a connection shared/, ['ControlMaster auto', 'ControlPath /tmp/%C']],
    ['!', /ControlMaster yes: .*Other ssh share this/, ['ControlMaster yes', 'ControlPath /tmp/%C']],
    ['✖', /ControlPath is too long/, ['ControlMaster auto', `ControlPath /tmp/${'x'.repeat(90)}`]],
    ['✖', /ForkAfterAuthentication yes ssh goes to the background and exits with 0/, ['ForkAfterAuthentication yes']],
    ['✖', /ForkAfterAuthentication yes/, ['ForkAfterAuthentication yes'], ['tunnel', 'sleep', '1000']],
    ['✖', /ClearAllForwardings yes The forward is not made/, ['ClearAllForwardings yes']],
    ['!', /LogLevel QUIET/, ['LogLevel QUIET']],
    [
      '!',
      /GatewayPorts yes Everybody who reaches this machine can connect: -L PORT:127.0.0.1:7/,
      ['GatewayPorts yes'],
      ['-NL', 'PORT:127.0.0.1:7', 'tunnel'],
    ],
    ['!', /RequestTTY force The command gets a terminal/, ['RequestTTY force'], ['tunnel', 'cat']],
    ['!', /RequestTTY no The shell/, ['RequestTTY no'], ['tunnel']],
    ['!', /ServerAliveInterval 1 × ServerAliveCountMax 2/, ['ServerAliveInterval 1', 'ServerAliveCountMax 2']],
    ['!', /ServerAliveCountMax 0/, ['ServerAliveCountMax 0']],
    ['!', /no ConnectTimeout/, ['ConnectTimeout none']],
    ['!', /ConnectTimeout 15 does not cover the login/, ['ServerAliveInterval 0']],
    ['!', /no heartbeat at all/, ['ServerAliveInterval 0']],
    ['!', /ExitOnForwardFailure no/, ['ExitOnForwardFailure no']],
    ['✖', /a socket in the way ssh leaves the socket behind/, [], ['-NL', '/tmp/doctor.sock:db:5432', 'tunnel']],
  ];

  test.each(cases)('%s %s', async (mark, says, lines, args = forward) => {
    const port = String(await freePort());
    const put = (text: string): string => text.replaceAll('PORT', port);
    const command = ['-F', soundConfig(...lines), ...args.map(put)];
    const {code, flat, options} = await diagnose(command);
    expect(flat).toMatch(new RegExp(`${mark} [^✖!]*${put(says.source)}`));
    expect(code).toBe(mark === '✖' ? 1 : 0);
    // What it says to write is what mends it.
    expect(options).not.toEqual([]);
    const mended = await diagnose([...options.flatMap((one) => one.split(' ')), ...command]);
    expect(mended.flat).not.toMatch(new RegExp(put(says.source)));
    expect(mended.code).toBe(0);
  });

  test('what comes from a configuration cannot write to the terminal but in words', async () => {
    const configFile = soundConfig('RemoteCommand echo \u001B]0;title\u0007\u001B[2J\u009B5m');
    const {text} = await diagnose(['-F', configFile, 'tunnel']);
    expect(text).toContain('! RemoteCommand');
    expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
    const refused = await diagnose(['tunnel'], {sshPath: '/nowhere/\u001B[2J'});
    expect(refused.text.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
  });

  test('RemoteCommand: no matter with -N, else what the tunnel lives on', async () => {
    const configFile = soundConfig('RemoteCommand sleep 1000', 'RequestTTY force');
    const tunnel = await diagnose(['-F', configFile, '-NL', `127.0.0.1:${await freePort()}:a:1`, 'tunnel']);
    expect(tunnel.flat).toContain('✔ RemoteCommand: no matter with -N');
    expect((await diagnose(['-F', configFile, 'tunnel'])).flat).toContain('! RemoteCommand ssh runs `sleep 1000`');
  });

  test('what matters of a ControlPersist is gone without a ControlPath', async () => {
    const configFile = soundConfig('ControlMaster auto', 'ControlPersist yes');
    expect((await diagnose(['-F', configFile, 'tunnel'])).text).toContain('a connection of its own');
  });

  test('a shell in the background has no input', async () => {
    const {code, flat} = await diagnose(['-F', soundConfig(), 'tunnel'], {background: true});
    expect(flat).toMatch(
      /✖ -f without -N .* ends at once: ssh exits with 0, and autossh takes that for the end\. → -N/,
    );
    expect(code).toBe(1);
  });
});

describe('whom it is about', () => {
  test('an alias, and what it stands for', async () => {
    const real = `${sshd.user}@127.0.0.1, port ${sshd.port}`;
    const heading = async (destination: string): Promise<string | undefined> =>
      (await diagnose(['-F', soundConfig(), '-N', destination])).text.split('\n')[0];
    expect(await heading('tunnel')).toBe(`autossh doctor: tunnel (${real})`);
    expect(await heading(`ssh://${sshd.user}@tunnel`)).toBe(`autossh doctor: tunnel (${real})`);
    expect(await heading(`${sshd.user}@LocalHost`)).toBe(`autossh doctor: ${sshd.user}@localhost, port 22`);
  });

  test('a name that nobody knows: ssh exits with 255', async () => {
    const args = ['-F', soundConfig('HostName server.invalid', 'StrictHostKeyChecking no'), '-N', 'tunnel'];
    const {code, flat} = await diagnose(args);
    expect(flat).toContain(
      '✖ the name server.invalid cannot be resolved ssh exits with 255, and autossh gives up at the first start. → ',
    );
    expect(code).toBe(1);
    const patient = await diagnose(args, {gateTime: 0});
    expect(patient.flat).toContain('! the name server.invalid cannot be resolved');
    expect(patient.code).toBe(0);
    expect(await within(patience, 'the end of ssh', ssh(...args).exit)).toBe(255);
  });

  test.each([
    ['HostName localhost', '✔ the name localhost is resolved'],
    ['HostName 192.0.2.1', undefined],
    ['ProxyJump gate', undefined],
    ['ProxyCommand nc %h %p', undefined],
  ])('%s', async (line, says) => {
    const host = line.startsWith('HostName') ? [] : ['HostName server.invalid'];
    const {flat} = await diagnose(['-F', soundConfig(line, ...host, 'StrictHostKeyChecking no'), '-N', 'tunnel']);
    if (says === undefined) expect(flat).not.toContain('the name');
    else expect(flat).toContain(says);
  });
});

describe('where a command line ends', () => {
  test.each([
    [['-N', 'tunnel'], false],
    [['tunnel', '-Nvp', '22', '-l', 'me'], false],
    [['-vNp22', '-o', 'LogLevel=INFO', 'tunnel', '--'], false],
    [['--', 'tunnel'], false],
    [['--', 'tunnel', '-N'], true],
    [['tunnel', 'id', '-u'], true],
    [['tunnel', '-v', '--', '-x'], true],
    [['-i', '/nowhere', '--', 'tunnel', '-T', 'id'], true],
  ])('%j: a command is %s', async (args, command) => {
    const configFile = soundConfig('LocalForward 127.0.0.1:5000 a:1');
    const sshArguments = ['-F', configFile, '-L', '127.0.0.1:5001:a:1', ...args];
    const found = await effectiveConfiguration({sshPath: 'ssh', sshArguments}, process.env);
    // The forward of the configuration is told apart, so ssh was asked rightly.
    expect(found).toMatchObject({command, forwards: [{origin: 'command line'}, {origin: 'configuration'}]});
  });
});

describe('what ssh itself refuses', () => {
  test.each([
    [/Bad local forwarding specification '0:db:5432' → a port/, [], ['-NL', '0:db:5432', 'tunnel']],
    [/Bad local forwarding .* → a shorter path/, [], ['-NL', `/tmp/${'x'.repeat(110)}:db:1`, 'tunnel']],
    [/Cannot fork into background .* → -N/, ['ForkAfterAuthentication yes'], ['tunnel']],
    [
      /Cannot execute command-line and remote command\. → -o RemoteCommand=none/,
      ['RemoteCommand true'],
      ['tunnel', 'id'],
    ],
    [/line 2: Bad configuration option: nonsense .* → correct/, ['Nonsense yes'], ['tunnel']],
  ])('%s', async (says, lines, args) => {
    const {code, flat} = await diagnose(['-F', soundConfig(...lines), ...args]);
    expect(flat).toMatch(says);
    expect(flat).toContain('This tunnel will not start.');
    expect(code).toBe(1);
  });

  test('no such program', async () => {
    const {code, flat} = await diagnose(['tunnel'], {sshPath: '/nowhere/ssh'});
    expect(flat).toMatch(/\/nowhere\/ssh was not found → install OpenSSH/);
    expect(code).toBe(1);
  });
});

describe('what is foretold happens', () => {
  test('ControlMaster auto and a live master: ssh exits with 0 at once', async () => {
    const control = join(sshd.folder, 'live');
    const configFile = soundConfig('ControlMaster auto', `ControlPath ${control}`);
    const port = await freePort();
    const args = ['-F', configFile, '-N', '-L', `127.0.0.1:${port}:127.0.0.1:7`, 'tunnel'];
    const before = await diagnose(args);
    expect(before.code).toBe(0);
    await liveMaster(control);
    const {code, flat, options} = await diagnose(args);
    expect(flat).toContain('✖ ControlMaster auto, and a master is running ssh leaves its forwards to the master');
    expect(code).toBe(1);
    expect(await within(patience, 'the end of ssh', ssh(...args).exit)).toBe(0);
    expect(await canListen(port)).toBe(false);
    // With what it says to write, ssh logs in by itself and stays. The master has the port of the forward now.
    const after = sshd.log.length;
    const {child} = ssh(...options.flatMap((one) => one.split(' ')), '-F', configFile, '-N', 'tunnel');
    await sshd.waitForLine(/Accepted publickey/, {after});
    expect(child.exitCode).toBeNull();
  });

  test('a live master, and ControlPath alone', async () => {
    const control = join(sshd.folder, 'alone');
    await liveMaster(control);
    const {code, flat} = await diagnose(['-F', soundConfig(`ControlPath ${control}`), '-N', 'tunnel']);
    expect(flat).toContain('✖ ControlPath, and a master is running');
    expect(code).toBe(1);
    expect(
      await within(
        10_000,
        'the end of ssh',
        ssh('-F', sshd.configFile, '-o', `ControlPath=${control}`, '-N', 'tunnel').exit,
      ),
    ).toBe(0);
  });

  test('ForkAfterAuthentication yes: ssh exits with 0, and another one has the port', async () => {
    const port = await freePort();
    const args = [
      '-F',
      soundConfig('ForkAfterAuthentication yes'),
      '-N',
      '-L',
      `127.0.0.1:${port}:127.0.0.1:7`,
      'tunnel',
    ];
    expect((await diagnose(args)).code).toBe(1);
    expect(await within(patience, 'the end of ssh', ssh(...args).exit)).toBe(0);
    expect(await canListen(port)).toBe(false);
    // It ends with its connection.
    await sshd.killSessions();
    await pollUntil('the daemon gone', () => !listeningPorts().some((one) => one.port === port));
  });

  test('ClearAllForwardings yes: ssh stays, the forward is missing', async () => {
    const port = await freePort();
    const args = ['-F', soundConfig('ClearAllForwardings yes'), '-N', '-L', `127.0.0.1:${port}:127.0.0.1:7`, 'tunnel'];
    expect((await diagnose(args)).flat).toContain(
      '✖ ClearAllForwardings yes The forward is not made, and ssh does not say so.',
    );
    const after = sshd.log.length;
    const {child} = ssh(...args);
    await sshd.waitForLine(/Accepted publickey/, {after});
    expect(await canListen(port)).toBe(true);
    expect(child.exitCode).toBeNull();
  });

  test('a busy LocalForward line: ssh exits with 255', async () => {
    const port = await stranger();
    const configFile = soundConfig(`LocalForward 127.0.0.1:${port} db:5432`);
    const {code, flat} = await diagnose(['-F', configFile, '-N', 'tunnel']);
    expect(flat).toContain(`✖ LocalForward 127.0.0.1:${port} db:5432: port ${port} is held by`);
    expect(flat).toContain(`(pid ${process.pid}) The line is from your ssh configuration. ssh exits with 255`);
    expect(code).toBe(1);
    expect(await within(patience, 'the end of ssh', ssh('-F', configFile, '-N', 'tunnel').exit)).toBe(255);
  });

  test('a free LocalForward line is told apart from what the command line asks for', async () => {
    const [configured, asked] = [await freePort(), await freePort()];
    const configFile = soundConfig(`LocalForward 127.0.0.1:${configured} db:5432`);
    const {code, flat} = await diagnose(['-N', 'tunnel', '-F', configFile, '-L', `127.0.0.1:${asked}:db:1`]);
    expect(flat).toContain(`! LocalForward 127.0.0.1:${configured} db:5432, from your ssh configuration`);
    expect(flat).not.toContain(`:${asked}:db:1, from`);
    expect(code).toBe(0);
  });

  test('a bare -L with 127.0.0.1 taken: ssh listens on ::1 alone and stays', async ({skip}) => {
    const port = await stranger();
    if (!(await canListen(port, '::1'))) skip('no IPv6 on loopback');
    const args = ['-F', soundConfig(), '-N', '-L', `${port}:db:5432`, 'tunnel'];
    const {code, flat} = await diagnose(args);
    expect(flat).toContain(
      'ssh listens on ::1 alone and stays up. Who connects to 127.0.0.1 reaches the other program.',
    );
    expect(flat).toContain('→ -L 127.0.0.1:PORT:db:5432');
    expect(code).toBe(1);
    const {child} = ssh(...args);
    await pollUntil('ssh on ::1', () => listeningPorts().filter((one) => one.port === port).length === 2);
    expect(child.exitCode).toBeNull();
  });

  test('a bare -L that is free: one restart away from the same', async ({skip}) => {
    const port = await freePort();
    if (!(await canListen(port, '::1'))) skip('no IPv6 on loopback');
    const {code, flat} = await diagnose(['-F', soundConfig(), '-N', '-L', `${port}:db:5432`, 'tunnel']);
    expect(flat).toMatch(new RegExp(`! -L ${port}:db:5432: no address to listen on .* → -L 127.0.0.1:${port}:db:5432`));
    expect(code).toBe(0);
    const sole = soundConfig('AddressFamily inet');
    expect((await diagnose(['-F', sole, '-N', '-L', `${port}:db:5432`, 'tunnel'])).flat).not.toContain('no address');
  });

  test('GatewayPorts yes: a bare port is open to everybody', async () => {
    const port = await freePort();
    const args = ['-F', soundConfig('GatewayPorts yes'), '-N', '-L', `${port}:db:5432`, 'tunnel'];
    expect((await diagnose(args)).flat).toContain('Everybody who reaches this machine can connect');
    ssh(...args);
    await pollUntil('ssh on every address', () =>
      listeningPorts().some((one) => one.port === port && one.address === '0.0.0.0'),
    );
  });

  test('a socket that the last ssh left behind: the next one exits with 255', async () => {
    const path = join(sshd.folder, 'forward.sock');
    const args = ['-F', soundConfig(), '-N', '-L', `${path}:127.0.0.1:7`, 'tunnel'];
    const first = ssh(...args);
    await pollUntil('the socket', () => existsSync(path));
    first.child.kill('SIGTERM');
    await first.exit;
    const {code, flat} = await diagnose(args);
    expect(flat).toMatch(/a socket in the way It is there already.* → -o StreamLocalBindUnlink=yes/);
    expect(code).toBe(1);
    expect(await within(patience, 'the end of ssh', ssh(...args).exit)).toBe(255);
  });

  test('two forwards for one port: ssh exits with 255', async () => {
    const port = await freePort();
    const args = ['-F', soundConfig(), '-N', '-L', `127.0.0.1:${port}:a:1`, '-D', `127.0.0.1:${port}`, 'tunnel'];
    expect((await diagnose(args)).code).toBe(1);
    expect(await within(patience, 'the end of ssh', ssh(...args).exit)).toBe(255);
  });
});

describe('logging in with nobody there', () => {
  const lines = (path: string): string[] => [`IdentityFile ${path}`, 'PasswordAuthentication yes'];

  function keyWith(phrase: string, name: string): string {
    const path = join(sshd.folder, name);
    if (!existsSync(path)) execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', phrase, '-f', path]);
    return path;
  }

  /** Without the harness's own key, which comes after. */
  function only(path: string, ...more: string[]): string {
    const file = sshd.config({lines: [...more, ...lines(path), ...sound]});
    const text = execFileSync('grep', ['-v', `IdentityFile ${sshd.identityFile}$`, file], {encoding: 'utf8'});
    writeFileSync(
      file,
      text.replace(
        '  IdentityAgent none\n',
        more.some((one) => one.startsWith('IdentityAgent')) ? '' : '  IdentityAgent none\n',
      ),
    );
    return file;
  }

  test('a key with a passphrase and no agent', async () => {
    const path = keyWith('secret', 'locked');
    const attended = await diagnose(['-F', only(path), '-N', 'tunnel']);
    expect(attended.flat).toContain(`! the key ${path} has a passphrase It is asked for at every restart.`);
    expect(attended.flat).toContain(`ssh-add ${path}`);
    expect(attended.code).toBe(0);
    for (const [config, background] of [
      [only(path), true],
      [only(path, 'BatchMode yes'), false],
    ] as const) {
      const {code, flat} = await diagnose(['-F', config, '-N', 'tunnel'], {background});
      expect(flat).toContain(
        `✖ the key ${path} has a passphrase Nobody can type it (${background ? 'in the background (-f)' : 'BatchMode yes'})`,
      );
      expect(code).toBe(1);
    }
    expect(await within(patience, 'the end of ssh', ssh('-F', only(path, 'BatchMode yes'), '-N', 'tunnel').exit)).toBe(
      255,
    );
  });

  test('a key with a passphrase, no agent, but a terminal: autossh has an agent of its own', async () => {
    const path = keyWith('secret', 'locked');
    const args = ['-F', only(path, 'IdentityAgent SSH_AUTH_SOCK'), '-N', 'tunnel'];
    const asked = `✔ the passphrase of ${path} is asked for once, at the start`;
    for (const background of [false, true]) {
      for (const terminal of [{input: {isTTY: true}}, {output: {isTTY: true}}]) {
        const env = {PATH: process.env['PATH'], NO_COLOR: '1'};
        expect(await diagnose(args, {background, env, ...terminal})).toMatchObject({
          code: 0,
          flat: expect.stringContaining(asked),
        });
      }
    }
    expect((await diagnose(args, {background: true})).code).toBe(1);
    expect((await diagnose(args, {background: true, agent: false, input: {isTTY: true}})).code).toBe(1);
  });

  test('a key with a passphrase and an agent: AddKeysToAgent decides, until the agent has it', async () => {
    const path = keyWith('secret', 'locked');
    const socket = join(sshd.folder, 'agent.sock');
    const agent = spawn('ssh-agent', ['-D', '-a', socket], {stdio: 'ignore'});
    children.push(agent);
    if (agent.pid !== undefined) guard('process', agent.pid);
    await pollUntil('the agent', () => existsSync(socket));
    const say = async (...more: string[]): Promise<string> =>
      (await diagnose(['-F', only(path, `IdentityAgent ${socket}`, ...more), '-N', 'tunnel'])).flat;
    expect(await say()).toMatch(/! the key .* has a passphrase .* → -o AddKeysToAgent=yes/);
    expect(await say('AddKeysToAgent yes')).toContain(`✔ the passphrase of ${path} is asked for once`);
    expect(await say('AddKeysToAgent 1h')).toContain('! AddKeysToAgent 3600 The agent forgets it after 3600 s');
    expect(await say('AddKeysToAgent confirm')).toContain('! AddKeysToAgent confirm The agent asks before each use');
    const askpass = join(sshd.folder, 'askpass');
    writeFileSync(askpass, '#!/bin/sh\necho secret\n');
    chmodSync(askpass, 0o700);
    const env = {...process.env, SSH_AUTH_SOCK: socket, SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: 'force'};
    execFileSync('ssh-add', ['-q', path], {env, stdio: 'ignore'});
    expect(await say()).toContain(`✔ the key ${path} is in the agent`);
  });

  test('no key at all', async () => {
    const config = only('/nowhere/key');
    const attended = await diagnose(['-F', config, '-N', 'tunnel']);
    expect(attended.flat).toContain('! no key to log in with A password is asked for at every restart.');
    const hidden = await diagnose(['-F', config, '-N', 'tunnel'], {background: true});
    expect(hidden.flat).toContain('✖ no key to log in with Nobody can type a password (in the background (-f))');
    expect([attended.code, hidden.code]).toEqual([0, 1]);
  });

  test('a key that others may read is not used', async () => {
    const path = keyWith('', 'public');
    chmodSync(path, 0o644);
    const {flat} = await diagnose(['-F', only(path), '-N', 'tunnel']);
    expect(flat).toMatch(/! the key \S+\/public is not private .* → chmod 600/);
  });

  test('files that are named with tokens and variables', async () => {
    const path = keyWith('', `id_${userInfo().username}`);
    const named = only(join(sshd.folder, 'id_%u'), 'BatchMode yes', 'UserKnownHostsFile ${KH}/known_hosts');
    const env = {...process.env, KH: sshd.folder};
    const {code, flat} = await diagnose(['-F', named, '-N', 'tunnel'], {env});
    expect(flat).toContain(`✔ the key ${path} needs no passphrase`);
    expect(flat).toContain('✔ the key of 127.0.0.1 is known');
    expect(code).toBe(0);
  });

  test('a key file of which nobody can tell where it is may let somebody in', async () => {
    const {code, flat} = await diagnose(['-F', only('/nowhere/id_%C', 'BatchMode yes'), '-N', 'tunnel']);
    expect(flat).toContain('? whether a login needs somebody there');
    expect(code).toBe(0);
  });

  test.each([
    ['identityfile', '${FOLDER}/id_%u-%r', {keys: [{path: 'FOLDER/id_USER-me', state: 'open'}]}],
    ['identityfile', '${NOWHERE}/id', {keys: [{path: '${NOWHERE}/id', state: 'unknown'}]}],
    ['userknownhostsfile', '${FOLDER}/known_hosts', {hostKey: 'known'}],
    ['userknownhostsfile', '${NOWHERE}/known_hosts', {hostKey: 'unknowable'}],
    ['userknownhostsfile', '~nobody/known_hosts', {hostKey: 'unknowable'}],
    ['userknownhostsfile', '/with a blank/known_hosts', {hostKey: 'unknowable'}],
    ['userknownhostsfile', 'none', {hostKey: 'unknown'}],
    ['identityagent', '${NOWHERE}/agent', {agent: {running: false, keys: 0, unknown: true}}],
  ])('where ssh -G leaves it to be done: %s %s', async (keyword, path, expected) => {
    keyWith('', `id_${userInfo().username}-me`);
    const said = `user me\nhost tunnel\nhostname 127.0.0.1\nport ${String(sshd.port)}\n${keyword} ${path}`;
    const configuration = {values: parseConfiguration(said), forwards: [], command: false, warnings: []};
    const found = await examine(configuration, undefined, {PATH: process.env['PATH'], FOLDER: sshd.folder});
    const wanted = JSON.stringify(expected).replace('FOLDER/', `${sshd.folder}/`).replace('USER', userInfo().username);
    expect(found).toMatchObject(JSON.parse(wanted) as object);
  });

  test('a server that is not in known_hosts', async () => {
    const unknown = ['UserKnownHostsFile /nowhere/known_hosts'];
    const say = async (checking: string, given: Given = {}, ...more: string[]) =>
      diagnose(['-F', soundConfig(...unknown, `StrictHostKeyChecking ${checking}`, ...more), '-N', 'tunnel'], given);
    const title = 'the key of 127.0.0.1 is not in known_hosts';
    expect(await say('ask')).toMatchObject({code: 0, flat: expect.stringContaining(`! ${title}`)});
    expect(await say('ask', {background: true})).toMatchObject({code: 1, flat: expect.stringContaining(`✖ ${title}`)});
    expect(await say('ask', {}, 'BatchMode yes')).toMatchObject({code: 1, flat: expect.stringContaining(`✖ ${title}`)});
    expect(await say('yes')).toMatchObject({code: 1, flat: expect.stringContaining(`✖ ${title}`)});
    expect((await say('accept-new')).flat).not.toContain(title);
    expect((await say('ask', {}, 'KnownHostsCommand /bin/true')).flat).toContain(
      '? whether the key of 127.0.0.1 is known',
    );
    expect((await diagnose(['-F', soundConfig(), '-N', 'tunnel'])).flat).toContain('✔ the key of 127.0.0.1 is known');
    const refused = ssh('-F', soundConfig(...unknown, 'StrictHostKeyChecking ask', 'BatchMode yes'), '-N', 'tunnel');
    expect(await within(patience, 'the end of ssh', refused.exit)).toBe(255);
  });
});

describe('the heartbeat', () => {
  const elsewhere = ['HostName 192.0.2.1', 'StrictHostKeyChecking no'];

  /** Two ports in a row that nobody has. */
  async function pair(): Promise<number> {
    for (;;) {
      const port = await freePort();
      if (await canListen(port + 1)) return port;
    }
  }

  test('-M and free ports: works, and what only the server knows is said', async () => {
    const port = await pair();
    const {code, flat} = await diagnose(['-F', soundConfig(...elsewhere), '-N', 'tunnel'], {
      monitor: {port, chosen: false},
    });
    expect(flat).toContain(`✔ ports ${port} and ${port + 1} of this machine are free`);
    expect(flat).toMatch(
      /\? whether the server lets ssh listen on its port \d+, and connect to it → AllowTcpForwarding, PermitListen and PermitOpen/,
    );
    expect(code).toBe(0);
  });

  test.each([
    [0, 'No beat gets through, and a good ssh is restarted after each poll.'],
    [1, 'autossh itself listens there: it exits with 1 before it starts ssh.'],
  ])('-M and port P+%i taken: %s', async (offset, effect) => {
    const port = await pair();
    await stranger(port + offset);
    const {code, flat} = await diagnose(['-F', soundConfig(...elsewhere), '-N', 'tunnel'], {
      monitor: {port, chosen: false},
    });
    expect(flat).toContain(`✖ port ${port + offset}, for the heartbeat, is held by`);
    expect(flat).toContain(effect);
    expect(code).toBe(1);
  });

  test('-M P:E needs no second port, but an echo', async () => {
    const port = await pair();
    await stranger(port + 1);
    const {code, flat} = await diagnose(['-F', soundConfig(...elsewhere), '-N', 'tunnel'], {
      monitor: {port, echoPort: 7, chosen: false},
    });
    expect(flat).toContain('? whether something on port 7 of the server echoes what it gets');
    expect(code).toBe(0);
  });

  test('GatewayPorts yes opens the port of the heartbeat as well', async () => {
    const port = await pair();
    const {flat} = await diagnose(['-F', soundConfig(...elsewhere, 'GatewayPorts yes'), '-N', 'tunnel'], {
      monitor: {port, chosen: false},
    });
    expect(flat).toContain(`can connect: port ${port} of the heartbeat. → -o GatewayPorts=no`);
  });

  test('ClearAllForwardings yes takes the heartbeat away', async () => {
    const port = await pair();
    const {code, flat} = await diagnose(['-F', soundConfig(...elsewhere, 'ClearAllForwardings yes'), '-N', 'tunnel'], {
      monitor: {port, chosen: false},
    });
    expect(flat).toContain('No beat can come back: autossh restarts ssh after each poll.');
    expect(code).toBe(1);
  });

  test('the server is this machine: both ends want one port', async () => {
    const {flat} = await diagnose(['-F', soundConfig(), '-N', 'tunnel'], {
      monitor: {port: await pair(), chosen: false},
    });
    expect(flat).toContain('! the server is this machine');
  });

  test('the server is this machine, and a shell: it may go without a heartbeat', async () => {
    const {flat} = await diagnose(['-F', soundConfig('ServerAliveInterval 0'), 'tunnel'], {
      monitor: {port: await pair(), chosen: false},
    });
    expect(flat).toMatch(/! the server is this machine .* with a shell or a command may go on without a heartbeat/);
    expect(flat).not.toContain('ssh is restarted once');
  });

  test('a -R of the same port, as the real ssh -G tells it', async () => {
    const port = await pair();
    for (const target of ['localhost:22', '127.0.0.1:22']) {
      const args = ['-F', soundConfig(...elsewhere), '-N', '-R', `${port}:${target}`, 'tunnel'];
      const {flat} = await diagnose(args, {monitor: {port, chosen: false}});
      expect(flat).toContain(`! -R ${port}:${target} and the heartbeat want the same port of the server`);
    }
  });
});

describe('on a terminal', () => {
  const busy = async (): Promise<string[]> => [
    '-F',
    soundConfig('LogLevel QUIET'),
    '-N',
    '-L',
    `127.0.0.1:${await stranger()}:a:1`,
    'tunnel',
  ];

  test('there are colours, unless NO_COLOR forbids them', async () => {
    const args = await busy();
    const output = {isTTY: true, columns: 80};
    expect((await diagnose(args, {output})).text).toContain('\u001B[');
    expect((await diagnose(args, {output, env: {...process.env, NO_COLOR: '1'}})).text).not.toContain('\u001B[');
    expect((await diagnose(args)).text).not.toContain('\u001B[');
  });

  test.each([40, 80, 200])('of %i columns, no line is longer than that, nor than 80', async (columns) => {
    const {text} = await diagnose(await busy(), {output: {columns}});
    expect(
      Math.max(
        ...text
          .split('\n')
          .filter((line) => !/\S{30}/.test(line))
          .map((line) => line.length),
      ),
    ).toBeLessThanOrEqual(Math.min(80, columns));
  });
});
