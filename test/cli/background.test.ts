import {execFile} from 'node:child_process';
import {existsSync, readFileSync, readlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {promisify} from 'node:util';
import {afterEach, expect, test} from 'vitest';
import {
  alive,
  children,
  commandLine,
  decoy,
  findProgram,
  fixture,
  pollUntil,
  processFacts,
  signal,
  temporaryFolder,
  waitForExit,
} from '../support/index.js';
import {ours} from './command.js';

const run = promisify(execFile);
const folder = temporaryFolder('background-');
const sleeping = fixture('sleeping-ssh');
const [log, pidFile] = [join(folder, 'log'), join(folder, 'pid')];
let daemon = 0;

afterEach(async () => {
  if (daemon > 0) await end('SIGKILL');
  daemon = 0;
});

/** Where a descriptor of a process leads; `undefined`: nowhere, it is closed. */
function leadsTo(pid: number, descriptor: number): string | undefined {
  try {
    return readlinkSync(`/proc/${String(pid)}/fd/${String(descriptor)}`);
  } catch {
    return undefined;
  }
}

async function end(name: NodeJS.Signals): Promise<void> {
  const left = [daemon, ...children(daemon)];
  signal(daemon, name);
  for (const pid of left) await waitForExit(pid);
}

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function autossh(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  wrapper: readonly string[] = [],
): Promise<Result> {
  const [program = '', ...rest] = [...wrapper, ...ours];
  const more = {AUTOSSH_AGENT: 'no', AUTOSSH_PATH: sleeping, AUTOSSH_LOGFILE: log, AUTOSSH_PIDFILE: pidFile, ...env};
  const result = await run(program, [...rest, ...args], {cwd: folder, env: {...process.env, ...more}}).then(
    ({stdout, stderr}) => ({code: 0, stdout, stderr}),
    (error: unknown) => error as Result,
  );
  if (existsSync(pidFile)) daemon = Number(readFileSync(pidFile, 'utf8'));
  const {code, stdout, stderr} = result;
  return {code, stdout, stderr};
}

const quiet = {code: 0, stdout: '', stderr: ''};

test('-f returns when ssh has been started, and leaves a daemon with its pid in the pid file', async () => {
  expect(await autossh(['-M', '0', '-fN', 'host'])).toEqual(quiet);
  expect(commandLine(daemon)).toEqual([...ours, '-M', '0', '-fN', 'host']);
  const stat = readFileSync(`/proc/${String(daemon)}/stat`, 'latin1');
  // proc(5): after the name in brackets the state, the parent, the process group, the session, the terminal.
  const [, parent, , session, terminal] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  expect(parent).not.toBe(process.pid);
  expect({session, terminal}).toEqual({session: daemon, terminal: 0});
  expect(readlinkSync(`/proc/${String(daemon)}/cwd`)).toBe('/');
  // Whoever waits is let go a moment before.
  for (const descriptor of [0, 1, 2])
    await pollUntil('a descriptor that leads nowhere', () => leadsTo(daemon, descriptor) === '/dev/null');
  const ssh = children(daemon).find((pid) => commandLine(pid).includes('1000'));
  expect(ssh).toBeDefined();
  expect(processFacts(ssh ?? 0)).toBeDefined();
  expect(readFileSync(log, 'utf8')).toContain(`autossh[${String(daemon)}]: ssh child pid is ${String(ssh)}\n`);
  await end('SIGTERM');
  expect(existsSync(pidFile)).toBe(false);
});

test('what says so in the environment makes no daemon of a process that was not started as one, and reaches no ssh', async () => {
  const script = join(folder, 'who-am-i');
  writeFileSync(script, '#!/bin/sh\npwd\nenv | grep AUTOSSH_BACKGROUND\nexit 0\n', {mode: 0o700});
  for (const mark of ['0', '', '3', `${String(process.ppid)}:0`, '1:3']) {
    const env = {AUTOSSH_BACKGROUND: mark, AUTOSSH_PATH: script, AUTOSSH_GATETIME: '0'};
    expect(await autossh(['-M', '0', 'host'], env), mark).toEqual({code: 0, stdout: `${folder}\n`, stderr: ''});
    expect(await autossh(['-M', '0', '-fN', 'host'], {AUTOSSH_BACKGROUND: mark}), mark).toEqual(quiet);
    expect(commandLine(daemon)).toContain('-fN');
    await end('SIGTERM');
  }
});

test('a daemon that is killed leaves no ssh', async () => {
  expect(await autossh(['-M', '0', '-f', 'host'])).toEqual(quiet);
  const left = children(daemon);
  expect(left.length).toBeGreaterThan(0);
  await end('SIGKILL');
  await pollUntil('the end of its children', () => !left.some((pid) => alive(pid)));
});

test('the starting gate is open: a first ssh that fails is tried again', async () => {
  const env = {AUTOSSH_PATH: '/bin/false', AUTOSSH_MAXSTART: '3'};
  expect(await autossh(['-M', '0', '-f', 'host'], env)).toEqual(quiet);
  await pollUntil('the third start', () => readFileSync(log, 'utf8').includes('max start count reached; exiting'));
  daemon = 0;
});

test.each([
  ['a wrong value', ['-M', '0', '-f', 'host'], {AUTOSSH_POLL: 'x'}, 'autossh: invalid poll time "x"\n'],
  [
    'an ssh that is not there',
    ['-M', '0', '-f', 'host'],
    {AUTOSSH_PATH: '/nowhere/ssh'},
    'autossh: ssh could not be started: /nowhere/ssh was not found\n',
  ],
  [
    'a message that no beat can carry',
    ['-M', '20000', '-f', 'host'],
    {AUTOSSH_MESSAGE: 'a\nb'},
    'autossh: echo message may have no line break: a beat is one line\n',
  ],
  [
    'what only the library finds wrong',
    ['-M', '0', '-f', 'host'],
    {AUTOSSH_PATH: '/a\nb'},
    /^autossh: Expected `sshPath` to be [^\n]*\n$/,
  ],
])('%s is told on the terminal', async (_what, args, env, stderr) => {
  expect(await autossh(args, env)).toEqual({
    code: 1,
    stdout: '',
    stderr: typeof stderr === 'string' ? stderr : expect.stringMatching(stderr),
  });
  expect(existsSync(pidFile)).toBe(false);
});

test.each([
  [
    'a message that no beat can carry',
    ['-M', '20000', '-f', 'host'],
    {AUTOSSH_MESSAGE: 'a\nb'},
    'echo message may have',
  ],
  ['what only the library finds wrong', ['-M', '0', '-f', 'host'], {AUTOSSH_PATH: '/a\nb'}, 'Expected `sshPath`'],
  ['the same in the foreground', ['-M', '0', 'host'], {AUTOSSH_PATH: '/a\nb'}, 'Expected `sshPath`'],
])('%s is in the log', async (_what, args, env, says) => {
  const file = join(folder, `wrong-${args.join('')}-${says}.log`.replaceAll(/[ `]/g, ''));
  expect(await autossh(args, {...env, AUTOSSH_LOGFILE: file})).toMatchObject({code: 1});
  expect(readFileSync(file, 'utf8')).toContain(`]: ${says}`);
});

test.skipIf(findProgram('prlimit') === undefined)(
  'however few descriptors there are, it starts ssh or says why not',
  async () => {
    for (let most = 16; most <= 34; most++) {
      const {code, stderr} = await autossh(['-M', '0', '-f', 'host'], {AUTOSSH_MAXSTART: '1'}, [
        'prlimit',
        `--nofile=${String(most)}`,
      ]);
      // With fewer than it needs itself, Node ends by a signal.
      if (code === 1) expect(stderr, `with ${String(most)} descriptors`).toMatch(/EMFILE/);
      expect(stderr).not.toContain('TypeError');
      expect(stderr).not.toContain('Cannot read properties');
      if (existsSync(pidFile)) await end('SIGTERM');
    }
  },
);

test('a port of the heartbeat that another has is told on the terminal', async () => {
  const other = await decoy();
  const {port} = other;
  try {
    const {code, stderr} = await autossh(['-M', String(port - 1), '-f', 'host']);
    expect(code).toBe(1);
    expect(stderr).toMatch(new RegExp(`^autossh: .*cannot listen on 127\\.0\\.0\\.1:${String(port)}`));
  } finally {
    await other.close();
  }
});

test.each([
  ['log', {AUTOSSH_LOGFILE: '/nowhere/log'}, '/nowhere/log: No such file or directory; nothing is logged until SIGHUP'],
  ['pid', {AUTOSSH_PIDFILE: '/nowhere/pid'}, 'cannot open pid file "/nowhere/pid": No such file or directory'],
])('a %s file that cannot be written is told on the terminal, and the tunnel runs', async (_what, env, told) => {
  const started = await autossh(['-M', '0', '-fN', 'host'], {AUTOSSH_MAXLIFETIME: '1', ...env});
  expect(started).toEqual({code: 0, stdout: '', stderr: `autossh: ${told}\n`});
  if (daemon > 0) await waitForExit(daemon);
  else await pollUntil('the end of ssh', () => readFileSync(log, 'utf8').includes('exceeded maximum time to live'));
  daemon = 0;
});

test('a log file that is one of its descriptors is that of the place where it was started, after HUP too', async () => {
  const command = [...ours, '-M', '0', '-fN', 'host'];
  const env = {AUTOSSH_AGENT: 'no', AUTOSSH_PATH: sleeping, AUTOSSH_LOGFILE: '/dev/stderr', AUTOSSH_PIDFILE: pidFile};
  await run('sh', ['-c', 'exec "$@" 2> told', 'sh', ...command], {cwd: folder, env: {...process.env, ...env}});
  daemon = Number(readFileSync(pidFile, 'utf8'));
  const told = (): string => readFileSync(join(folder, 'told'), 'utf8');
  expect(told()).toContain(`autossh[${String(daemon)}]: starting ssh (count 1)\n`);
  signal(daemon, 'SIGHUP');
  signal(daemon, 'SIGUSR1');
  await pollUntil('the next start', () => told().includes('starting ssh (count 2)\n'));
});

test('relative paths of files are those of the place where it was started', async () => {
  const env = {AUTOSSH_LOGFILE: 'relative.log'};
  expect(await autossh(['-M', '0', '-f', 'host'], env)).toEqual(quiet);
  expect(readFileSync(join(folder, 'relative.log'), 'utf8')).toContain('starting ssh (count 1)');
});
