import {readFileSync, readdirSync, readlinkSync} from 'node:fs';
import {readFile, readdir, readlink} from 'node:fs/promises';

/** States in /proc/net/tcp, as in the kernel's include/net/tcp_states.h. */
const established = '01';
const listening = '0A';

interface TCPSocket {
  readonly localPort: number;
  readonly state: string;
  readonly inode: string;
  /** Bytes sent that the peer has not acknowledged. */
  readonly queued: number;
}

/** A process that holds a port. */
export interface Holder {
  readonly pid: number;
  readonly name: string;
}

/**
 * The process that listens on a TCP port of this machine, where that can be known: on Linux, and for a process of
 * another user only as root (proc(5)).
 */
export async function listenerOf(port: number): Promise<Holder | undefined> {
  const sockets = await tcpSockets('self');
  const inodes = new Set(
    sockets.filter((one) => one.localPort === port && one.state === listening).map((one) => one.inode),
  );
  if (inodes.size === 0) return undefined;
  for (const entry of await orNone(readdir('/proc'))) {
    if (!/^\d+$/.test(entry)) continue;
    for (const inode of await socketsOf(entry)) {
      if (!inodes.has(inode)) continue;
      const name = await readFile(`/proc/${entry}/comm`, 'utf8').catch(() => '');
      return {pid: Number(entry), name: name.trim()};
    }
  }
  return undefined;
}

/** Whether a process has an established TCP connection; `undefined` where that cannot be known. */
export async function isConnected(pid: number): Promise<boolean | undefined> {
  if (process.platform !== 'linux') return undefined;
  const own = new Set(await socketsOf(String(pid)));
  const sockets = await tcpSockets(String(pid));
  return sockets.some((one) => one.state === established && own.has(one.inode));
}

/** `PF_EXITING` of the kernel's include/linux/sched.h. */
const exiting = 0x4;

/**
 * Whether a process is on its way out, or gone: a process that dies closes its files first, and is reported to its parent
 * after. `false` where that cannot be known.
 */
export function isExiting(pid: number): boolean {
  if (process.platform !== 'linux') return false;
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'latin1');
    const [state = '', , , , , , flags = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' || state === 'X' || (Number(flags) & exiting) !== 0;
  } catch {
    return true;
  }
}

/** An open file of a process, known by where its link in /proc leads. */
export interface Descriptor {
  readonly link: string;
  readonly target: string;
}

/** `__SO_ACCEPTCON` of the kernel's include/linux/net.h, as in /proc/net/unix: of a socket that listens. */
const accepting = '00010000';

/** The open file with which a process listens on a Unix socket; `undefined` where that cannot be known. */
export function descriptorOf(pid: number, path: string): Descriptor | undefined {
  if (process.platform !== 'linux') return undefined;
  const folder = `/proc/${String(pid)}`;
  try {
    const table = readFileSync(`${folder}/net/unix`, 'utf8').split('\n');
    // The connections that it has accepted have the same path.
    const inode = table
      .filter((line) => line.endsWith(` ${path}`))
      .map((line) => line.trim().split(/\s+/))
      .find(([, , , flags]) => flags === accepting)?.[6];
    const target = `socket:[${inode ?? ''}]`;
    return readdirSync(`${folder}/fd`)
      .map((entry) => ({link: `${folder}/fd/${entry}`, target}))
      .find(isOpen);
  } catch {
    return undefined;
  }
}

/** Whether it is open still. */
export function isOpen({link, target}: Descriptor): boolean {
  try {
    return readlinkSync(link) === target;
  } catch {
    return false;
  }
}

/** What a process has read and written, ever, in bytes: files, sockets and all; `undefined` where that cannot be known. */
export async function trafficOf(pid: number): Promise<{read: number; written: number} | undefined> {
  if (process.platform !== 'linux') return undefined;
  const io = await readFile(`/proc/${String(pid)}/io`, 'utf8').catch(() => '');
  const [, read, written] = /^rchar: (\d+)\nwchar: (\d+)$/m.exec(io) ?? [];
  return read === undefined ? undefined : {read: Number(read), written: Number(written)};
}

/** Bytes that a process has written to its TCP peers and they have not acknowledged; 0 where that cannot be known. */
export async function unacknowledgedBy(pid: number): Promise<number> {
  const own = new Set(await socketsOf(String(pid)));
  const sockets = await tcpSockets(String(pid));
  return sockets
    .filter((one) => one.state === established && own.has(one.inode))
    .reduce((total, {queued}) => total + queued, 0);
}

async function tcpSockets(pid: string): Promise<readonly TCPSocket[]> {
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map(async (table) => readFile(`/proc/${pid}/net/${table}`, 'utf8').catch(() => '')),
  );
  return tables.flatMap((table) =>
    table
      .split('\n')
      .slice(1)
      .filter((line) => line !== '')
      .map((line) => {
        const columns = line.trim().split(/\s+/);
        const port = columns[1]?.split(':').at(-1) ?? '';
        return {
          localPort: Number.parseInt(port, 16),
          state: columns[3] ?? '',
          inode: columns[9] ?? '',
          queued: Number.parseInt(columns[4] ?? '', 16),
        };
      }),
  );
}

async function socketsOf(pid: string): Promise<readonly string[]> {
  const descriptors = await orNone(readdir(`/proc/${pid}/fd`));
  const links = await Promise.all(descriptors.map(async (one) => readlink(`/proc/${pid}/fd/${one}`).catch(() => '')));
  return links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []);
}

async function orNone(entries: Promise<string[]>): Promise<string[]> {
  return entries.catch(() => []);
}
