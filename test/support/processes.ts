import {spawn, type ChildProcess} from 'node:child_process';
import {existsSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync} from 'node:fs';
import type {Socket} from 'node:net';
import {tmpdir} from 'node:os';
import {basename, join} from 'node:path';
import {randomUUID} from 'node:crypto';
import {patience} from './events.js';

/**
 * What the kernel says about processes, their sockets and their files, read from `/proc`.
 *
 * Several test files run at the same time, so nothing here looks at the whole machine: a process is ours if it descends
 * from this one or carries this one's mark in its environment, which orphans keep.
 */

export interface ProcessFacts {
  pid: number;
  parent: number;
  /** One letter: R, S, D, T (stopped), Z (zombie) … */
  state: string;
  /** In clock ticks since boot; with the pid it names one process for ever. */
  startTime: string;
  name: string;
}

/** The environment that a process was started with. */
export function environmentOf(pid: number): Readonly<Record<string, string>> {
  const variables = (read(`/proc/${pid}/environ`) ?? '').split('\0').filter((one) => one.includes('='));
  return Object.fromEntries(
    variables.map((one) => [one.slice(0, one.indexOf('=')), one.slice(one.indexOf('=') + 1)] as const),
  );
}

/** The program that a process runs; what it calls itself can change (Node's main thread has another name from 24 on). */
export function programOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return undefined;
  }
}

export function processFacts(pid: number): ProcessFacts | undefined {
  const stat = read(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // The name is in parentheses and may itself contain both parentheses and spaces.
  const open = stat.indexOf('(');
  const close = stat.lastIndexOf(')');
  const fields = stat.slice(close + 2).split(' ');
  return {
    pid,
    parent: Number(fields[1]),
    state: fields[0] ?? '?',
    startTime: fields[19] ?? '0',
    name: stat.slice(open + 1, close),
  };
}

/** A zombie is dead: only its parent has not asked yet. */
export function alive(pid: number): boolean {
  const facts = processFacts(pid);
  return facts !== undefined && facts.state !== 'Z' && facts.state !== 'X';
}

export function allProcesses(): ProcessFacts[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map((entry) => processFacts(Number(entry)))
    .filter((facts) => facts !== undefined && facts.state !== 'Z' && facts.state !== 'X') as ProcessFacts[];
}

export function children(pid: number): number[] {
  return allProcesses()
    .filter((facts) => facts.parent === pid)
    .map((facts) => facts.pid);
}

export function descendants(pid: number): number[] {
  const all = allProcesses();
  const found: number[] = [];
  const queue = [pid];
  for (let parent = queue.shift(); parent !== undefined; parent = queue.shift()) {
    for (const facts of all) {
      if (facts.parent !== parent) continue;
      found.push(facts.pid);
      queue.push(facts.pid);
    }
  }
  return found;
}

/** The argument vector, or `[]` if the process is gone or a kernel thread. */
export function commandLine(pid: number): string[] {
  const text = read(`/proc/${pid}/cmdline`) ?? '';
  return text === '' ? [] : text.replace(/\0$/, '').split('\0');
}

/** What its file descriptors point to, e.g. `socket:[1234]`. */
export function openFds(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
      } catch {
        return [];
      }
    });
  } catch {
    return [];
  }
}

export interface Listener {
  address: string;
  port: number;
  inode: string;
}

/** Every TCP listener of the network namespace that `pid` lives in. */
export function listeningPorts(pid: number | 'self' = 'self'): Listener[] {
  return ['tcp', 'tcp6'].flatMap((table) =>
    (read(`/proc/${pid}/net/${table}`) ?? '')
      .split('\n')
      .slice(1)
      .flatMap((line) => {
        const fields = line.trim().split(/\s+/);
        const [local, state, inode] = [fields[1], fields[3], fields[9]];
        if (local === undefined || state !== '0A' || inode === undefined) return [];
        const [hex = '', port = ''] = local.split(':');
        return [{address: readableAddress(hex), port: parseInt(port, 16), inode}];
      }),
  );
}

/** The processes that listen on this port, on whatever address. */
export function holdersOf(port: number): number[] {
  const sockets = new Set(
    listeningPorts()
      .filter((listener) => listener.port === port)
      .map((listener) => `socket:[${listener.inode}]`),
  );
  if (sockets.size === 0) return [];
  return allProcesses()
    .map((facts) => facts.pid)
    .filter((pid) => openFds(pid).some((target) => sockets.has(target)));
}

/** For what the kernel announces to nobody: looks every few milliseconds. Rejects when the time is over. */
export async function pollUntil(
  what: string,
  condition: () => boolean,
  {timeout = patience, every = 5}: {timeout?: number; every?: number} = {},
): Promise<void> {
  const deadline = performance.now() + timeout;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`Not within ${timeout} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}

/** Node tells of a child's exit only to the one who has its `ChildProcess`; any other pid has to be looked at. */
export async function waitForExit(pid: number, {timeout = patience}: {timeout?: number} = {}): Promise<void> {
  const born = processFacts(pid)?.startTime;
  await pollUntil(
    `exit of process ${pid} (${commandLine(pid).join(' ')})`,
    () => !alive(pid) || processFacts(pid)?.startTime !== born,
    {timeout},
  );
}

/** Waits until the kernel has really put the process into this state, e.g. `T` after a SIGSTOP. */
export async function waitForState(pid: number, state: string): Promise<void> {
  await pollUntil(`process ${pid} in state ${state}`, () => processFacts(pid)?.state === state);
}

/** A signal to one process, which may be gone already. Tells whether it was still there. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

const mark = `NODE_AUTOSSH_TEST_RUN=${randomUUID()}`;

/** Marks this process's environment, so that children are recognised even after they have lost their parents. */
function markEnvironment(): void {
  const [name = '', value] = mark.split('=');
  process.env[name] = value;
}

markEnvironment();

/** This process's descendants and orphans, without the guardian. */
export function ownProcesses(): ProcessFacts[] {
  const mine = new Set(descendants(process.pid));
  return allProcesses().filter((facts) => {
    if (facts.pid === process.pid || facts.pid === guardian?.pid) return false;
    return mine.has(facts.pid) || (read(`/proc/${facts.pid}/environ`) ?? '').includes(mark);
  });
}

export interface Snapshot {
  processes: string[];
  listeners: string[];
  files: string[];
  resources: string[];
}

/** What this process and its descendants hold right now: processes, listeners, temporary files and event loop handles. */
export function snapshot(): Snapshot {
  const own = ownProcesses();
  const sockets = new Set([process.pid, ...own.map((facts) => facts.pid)].flatMap((pid) => openFds(pid)));
  return {
    processes: own.map((facts) => `${facts.pid}@${facts.startTime} ${commandLine(facts.pid).join(' ')}`),
    listeners: listeningPorts()
      .filter((listener) => sockets.has(`socket:[${listener.inode}]`))
      .map((listener) => `${listener.address}:${listener.port}`),
    files: temporaryEntries(),
    resources: process.getActiveResourcesInfo(),
  };
}

/** What `now` has and `before` had not. Event loop handles have no names, so they are counted by kind. */
function difference(before: Snapshot, now: Snapshot): Snapshot {
  const rest = [...before.resources];
  return {
    // Only pid and start time: sshd rewrites its command line while it runs.
    processes: now.processes.filter((entry) => !before.processes.some((old) => key(old) === key(entry))),
    listeners: now.listeners.filter((entry) => !before.listeners.includes(entry)),
    files: now.files.filter((entry) => !before.files.includes(entry)),
    resources: now.resources.filter((kind) => {
      const index = rest.indexOf(kind);
      if (index === -1) return true;
      rest.splice(index, 1);
      return false;
    }),
  };
}

/**
 * Throws, with a list of it, if anything is there that `before` had not. `within` allows for what the kernel finishes by
 * itself after the last promise has resolved; with 0 everything has to be gone at once.
 */
export async function expectNothingLeft(
  before: Snapshot,
  {within = 0, resources = true}: {within?: number; resources?: boolean} = {},
): Promise<void> {
  const deadline = performance.now() + within;
  for (;;) {
    const left = difference(before, snapshot());
    if (!resources) left.resources = [];
    const lines = Object.entries(left).flatMap(([kind, entries]) =>
      (entries as string[]).map((entry) => `  ${kind}: ${entry}`),
    );
    if (lines.length === 0) return;
    if (performance.now() >= deadline) throw new Error(`Left behind:\n${lines.join('\n')}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Entries of the temporary folder that carry the library's prefix. */
export function temporaryEntries(prefix = 'autossh-'): string[] {
  return readdirSync(tmpdir())
    .filter((entry) => entry.startsWith(prefix))
    .map((entry) => join(tmpdir(), entry));
}

/**
 * Gives this process a temporary folder of its own, so that files of tests that run at the same time are not taken for
 * ours. Returns the way back, which deletes it.
 */
export function ownTemporaryFolder(): () => void {
  const before = process.env['TMPDIR'];
  const folder = temporaryFolder('t-');
  process.env['TMPDIR'] = folder;
  return () => {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
    rmSync(folder, {recursive: true, force: true});
  };
}

/** A new folder with mode 0700 that is deleted at the latest when this process ends, however it ends. */
export function temporaryFolder(prefix: string): string {
  const folder = mkdtempSync(join(tmpdir(), prefix));
  guard('folder', folder);
  return folder;
}

/*
 * The guardian: a shell that reads, on its stdin, what this process has made, and clears it away when the pipe ends,
 * which it also does when this process is killed with KILL. Sessions of sshd leave every process group and lose every
 * parent-death signal, so nothing less finds them all.
 */

const guardianScript = `
trap '' HUP INT TERM
processes= folders= namespaces=
newline='
'
while IFS= read -r line; do
  case $line in
    'process '*) processes="$processes$newline\${line#process }" ;;
    'folder '*) folders="$folders$newline\${line#folder }" ;;
    'namespace '*) namespaces="$namespaces$newline\${line#namespace }" ;;
  esac
done
IFS=$newline
set -f
end() {
  kill -STOP "$1" 2>/dev/null || return
  for child in $(cat "/proc/$1/task/$1/children" 2>/dev/null | tr ' ' '\\n'); do end "$child"; done
  kill -KILL "$1" 2>/dev/null
}
for entry in $processes; do
  pid=\${entry%% *}
  { IFS= read -r stat < "/proc/$pid/stat"; } 2>/dev/null || continue
  now=$(IFS=' '; set -- \${stat##*) }; shift 19; echo "$1")
  [ "$now" = "\${entry#* }" ] && end "$pid"
done
for name in $namespaces; do
  ip netns del "$name" 2>/dev/null
  rm -rf "/etc/netns/$name"
done
for folder in $folders; do rm -rf "$folder"; done
exit 0
`;

let guardian: ChildProcess | undefined;

/** Puts a process with its descendants, a folder or a network namespace under the guardian's care. */
export function guard(kind: 'process' | 'folder' | 'namespace', what: number | string): void {
  if (guardian === undefined) {
    guardian = spawn('sh', ['-c', guardianScript], {cwd: '/', detached: true, stdio: ['pipe', 'ignore', 'ignore']});
    guardian.unref();
    (guardian.stdin as Socket).unref();
    guardian.stdin?.on('error', () => undefined);
  }
  const entry = kind === 'process' ? `${what} ${processFacts(Number(what))?.startTime ?? 'gone'}` : String(what);
  guardian.stdin?.write(`${kind} ${entry}\n`);
}

/**
 * Prefixes a command so that it dies with this process, where util-linux is there to do it. The prefix is a chain of
 * execs: the pid stays the same.
 */
export function dyingWithUs(argv: readonly string[]): string[] {
  return setprivPath === undefined ? [...argv] : [setprivPath, '--pdeathsig', 'KILL', ...argv];
}

const setprivPath = findProgram('setpriv');

/** The absolute path of a program, also in the folders that only root has on its path. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/local/sbin', '/sbin', '/usr/bin'];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

function key(entry: string): string {
  return entry.split(' ', 1)[0] ?? basename(entry);
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}

/** `/proc/net/tcp` prints addresses as little-endian 32-bit words. */
function readableAddress(hex: string): string {
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = words.flatMap((word) => (word.match(/../g) ?? []).reverse().map((byte) => parseInt(byte, 16)));
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.every((byte) => byte === 0)) return '::';
  if (bytes.slice(0, 15).every((byte) => byte === 0) && bytes[15] === 1) return '::1';
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
