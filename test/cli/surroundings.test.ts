import {execFile, execFileSync, spawn} from 'node:child_process';
import {once} from 'node:events';
import {existsSync, readFileSync, writeFileSync} from 'node:fs';
import {createServer} from 'node:net';
import {join} from 'node:path';
import {promisify} from 'node:util';
import {afterAll, beforeAll, expect, onTestFinished, test} from 'vitest';
import {
  PrivateSshd,
  findProgram,
  fixture,
  freePort,
  listeningPorts,
  openFds,
  pollUntil,
  signal,
  temporaryFolder,
  waitForExit,
} from '../support/index.js';
import {Command, ours} from './command.js';

const folder = temporaryFolder('surroundings-');
const sleeping = fixture('sleeping-ssh');
let sshd: PrivateSshd;

beforeAll(async () => {
  sshd = await PrivateSshd.start({config: ['AllowTcpForwarding local']});
});
afterAll(() => sshd.stop());

test('a USR1 in its first moments opens no debugger', async () => {
  // Node needs some time to be there: one of these comes before the command listens.
  for (const after of [20, 40, 60, 80, 100, 120]) {
    const command = new Command(['-M', '0', 'host'], {env: {AUTOSSH_PATH: sleeping}});
    await new Promise((resolve) => setTimeout(resolve, after));
    command.signal('SIGUSR1');
    const isGone = command.ended.then(() => true);
    if (await Promise.race([isGone, command.says(/ssh child pid/).then(() => false)])) {
      // So early that Node itself was not there yet.
      expect(await command.ended).toEqual({code: null, signal: 'SIGUSR1'});
      continue;
    }
    const sockets = new Set(openFds(command.pid));
    expect(listeningPorts(command.pid).filter(({inode}) => sockets.has(`socket:[${inode}]`))).toEqual([]);
    await command.kill();
  }
});

test('an agent that accepts and is silent is left to ssh, and TERM meanwhile ends the command as ever', async () => {
  const path = join(folder, 'silent.sock');
  const silent = createServer((socket) => socket.on('error', () => undefined)).listen(path);
  await once(silent, 'listening');
  onTestFinished(() => void silent.close());
  const env = {AUTOSSH_PATH: sleeping, AUTOSSH_AGENT: undefined, SSH_AUTH_SOCK: path};
  const patient = new Command(['-M', '0', 'host'], {env});
  await patient.says(/ssh child pid/);
  expect(readFileSync(`/proc/${String(patient.ssh)}/environ`, 'latin1')).toContain(`SSH_AUTH_SOCK=${path}\0`);
  await patient.kill();

  const asked = once(silent, 'connection');
  const command = new Command(['-M', '0', 'host'], {env});
  await asked;
  command.signal('SIGTERM');
  expect(await command.ended).toEqual({code: 1, signal: null});
});

test('an argument that is not UTF-8, of which ssh would get other bytes, is refused; one that only looks so is not', async () => {
  const env = {AUTOSSH_PATH: sleeping};
  const latin1 = ['sh', '-c', 'exec "$@" "$(printf "caf\\351")"', 'sh'];
  const command = new Command(['-M', '0', 'host', 'cat'], {env, wrapper: latin1});
  expect(await command.ended).toEqual({code: 1, signal: null});
  expect(command.lines).toEqual([
    'autossh: Node.js cannot hand "caf\uFFFD" on to ssh as it is, because it is not UTF-8: write it in UTF-8, or into ssh_config',
  ]);
  const other = new Command(['-M', '0', 'host', 'cat', 'caf\uFFFD'], {env});
  await other.says(/ssh child pid/);
});

test.each([
  ['is not there', '/nowhere/tmp'],
  ['cannot be written', '/proc'],
])('a folder for temporary files that %s is no reason to go without a tunnel', async (_what, TMPDIR) => {
  const command = new Command(['-M', '0', 'host'], {env: {AUTOSSH_PATH: sleeping, TMPDIR}});
  await command.says(/ssh child pid/);
});

test.skipIf(!findProgram('prlimit'))(
  'without a descriptor for syslog the tunnel goes on (skipped: needs prlimit)',
  async () => {
    const command = new Command(['-M', '0', 'host'], {env: {AUTOSSH_PATH: sleeping, AUTOSSH_DEBUG: undefined}});
    await pollUntil('ssh', () => openFds(command.pid).length > 0 && command.hasChild('sleep'));
    execFileSync('prlimit', ['--pid', String(command.pid), '--nofile=3:3']);
    command.signal('SIGHUP');
    command.signal('SIGUSR2');
    command.signal('SIGUSR1');
    execFileSync('prlimit', ['--pid', String(command.pid), '--nofile=3:3']);
    await pollUntil('the end of the first ssh', () => !command.hasChild('sleep'));
    command.signal('SIGTERM');
    expect((await command.ended).code).toBe(1);
  },
);

test('a log that is a pipe nobody reads is told, and holds nothing up', async () => {
  const fifo = join(folder, 'fifo');
  execFileSync('mkfifo', ['-m', '600', fifo]);
  const command = new Command(['-M', '0', 'host'], {env: {AUTOSSH_PATH: sleeping, AUTOSSH_LOGFILE: fifo}});
  await command.says(/nothing is logged until SIGHUP/);
  await pollUntil('ssh', () => command.hasChild('sleep'));
  command.signal('SIGHUP');
  command.signal('SIGTERM');
  expect(await command.ended).toEqual({code: 1, signal: null});
});

test('all that ssh says at its end is passed on, however slowly it is read', async () => {
  const bytes = 600_000;
  const script = `head -c ${String(bytes)} /dev/zero >&2`;
  const [program = '', ...rest] = ours;
  const child = spawn(program, [...rest, '-M', '0', '--', '-c', script], {
    env: {
      ...process.env,
      AUTOSSH_PATH: '/bin/sh',
      AUTOSSH_AGENT: 'no',
      AUTOSSH_GATETIME: '0',
      AUTOSSH_LOGFILE: '/dev/null',
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let read = 0;
  const pause = 20;
  child.stderr.on('data', (chunk: Buffer) => {
    read += chunk.length;
    child.stderr.pause();
    setTimeout(() => child.stderr.resume(), pause);
  });
  await once(child, 'close');
  expect(read).toBe(bytes);
});

test('a descriptor that it was given is handed on to the background, and with it a lock', async () => {
  const [lock, pidFile] = [join(folder, 'lock'), join(folder, 'pid')];
  writeFileSync(lock, '');
  const env = {
    ...process.env,
    AUTOSSH_PATH: sleeping,
    AUTOSSH_AGENT: 'no',
    AUTOSSH_PIDFILE: pidFile,
    AUTOSSH_LOGFILE: '/dev/null',
  };
  const flock = ['-n', lock];
  const run = promisify(execFile);
  await run('flock', [...flock, ...ours, '-M', '0', '-f', 'host'], {env});
  const daemon = Number(readFileSync(pidFile, 'utf8'));
  await expect(run('flock', [...flock, 'true'])).rejects.toMatchObject({code: 1});
  signal(daemon, 'SIGTERM');
  await waitForExit(daemon);
  // Whatever ends last (the daemon's warden may outlive it by a moment) holds the lock until then.
  await run('flock', ['-w', '60', lock, 'true']);
  expect(existsSync(pidFile)).toBe(false);
});

test('a server that refuses the loop, and an ssh that ends for it: the tunnel does without', async () => {
  const [port, monitor] = [await freePort(), await freePort()];
  const forward = `127.0.0.1:${String(port)}:127.0.0.1:${String(sshd.port)}`;
  const args = [
    '-M',
    String(monitor),
    '-N',
    '-o',
    'ExitOnForwardFailure=yes',
    '-L',
    forward,
    '-F',
    sshd.configFile,
    'tunnel',
  ];
  const command = new Command(args, {env: {AUTOSSH_GATETIME: '30'}});
  await command.says(/There is no heartbeat from now on/);
  await command.says(/starting ssh \(count 3\)/);
  await pollUntil('the forward', () => listeningPorts().some((listener) => listener.port === port));
  expect(command.count(/starting ssh/)).toBe(3);
  command.signal('SIGTERM');
  expect(await command.ended).toEqual({code: 1, signal: null});
});
