import {once} from 'node:events';
import {readdir, readFile, readlink} from 'node:fs/promises';
import {createServer, isIPv6} from 'node:net';
import {networkInterfaces} from 'node:os';

/** Whether ssh could listen somewhere: `absent` is an address that this machine does not have. */
export type Vacancy = 'free' | 'busy' | 'denied' | 'absent';

/** A port of one address of this machine, as ssh would find it. */
export interface Listening {
  readonly address: string;
  readonly vacancy: Vacancy;
}

/** A program that listens. */
export interface Holder {
  readonly pid: number;
  readonly name: string;
}

/** Whether ssh could listen on a port of these numeric addresses. */
export async function vacancies(port: number, addresses: readonly string[]): Promise<readonly Listening[]> {
  const table = await listeners();
  return Promise.all(addresses.map(async (address) => ({address, vacancy: await vacancy(table, port, address)})));
}

/** Who listens on a port, where that can be known: on Linux, and of another user only as root (proc(5)). */
export async function holderOf(port: number): Promise<Holder | undefined> {
  const sockets = (await listeners()).filter((one) => one.port === port).map(({inode}) => `socket:[${inode}]`);
  if (sockets.length === 0) return undefined;
  for (const pid of await entries('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    for (const descriptor of await entries(`/proc/${pid}/fd`)) {
      const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '');
      if (!sockets.includes(target)) continue;
      const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
      return {pid: Number(pid), name: name.trim()};
    }
  }
  return undefined;
}

const wildcards = ['0.0.0.0', '::'];

async function vacancy(table: readonly Listener[], port: number, address: string): Promise<Vacancy> {
  const wildcard = wildcards.includes(address);
  const family = table.filter((one) => one.port === port && one.ipv6 === isIPv6(address));
  if (family.some((one) => wildcard || one.wildcard || one.address === hexadecimal(address))) return 'busy';
  // Only a bind tells of what is no listener, such as a connection that has the port. It is tried on loopback alone.
  if (wildcard) return tryToListen(port, isIPv6(address) ? '::1' : '127.0.0.1');
  if (address === '::1' || address.startsWith('127.')) return tryToListen(port, address);
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return own.some((one) => one.address === address) ? 'free' : 'absent';
}

async function tryToListen(port: number, host: string): Promise<Vacancy> {
  const server = createServer();
  try {
    server.listen({port, host, exclusive: true, ipv6Only: true});
    await once(server, 'listening');
    server.close();
    await once(server, 'close');
    return 'free';
  } catch (error) {
    const {code} = error as NodeJS.ErrnoException;
    return code === 'EADDRINUSE' ? 'busy' : code === 'EACCES' ? 'denied' : 'absent';
  }
}

interface Listener {
  /** As the kernel writes it. */
  readonly address: string;
  readonly wildcard: boolean;
  readonly ipv6: boolean;
  readonly port: number;
  readonly inode: string;
}

/** `TCP_LISTEN` of the kernel's include/net/tcp_states.h. */
const listen = '0A';

async function listeners(): Promise<readonly Listener[]> {
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map(async (name) => ({
      ipv6: name === 'tcp6',
      rows: (await readFile(`/proc/self/net/${name}`, 'utf8').catch(() => '')).split('\n').slice(1),
    })),
  );
  return tables.flatMap(({ipv6, rows}) =>
    rows.flatMap((row) => {
      const columns = row.trim().split(/\s+/);
      if (columns[3] !== listen) return [];
      const [address = '', port = ''] = columns[1]?.split(':') ?? [];
      const wildcard = /^0+$/.test(address);
      return [{address, wildcard, ipv6, port: Number.parseInt(port, 16), inode: columns[9] ?? ''}];
    }),
  );
}

/** An IPv4 address as /proc/net/tcp has it on a little-endian machine; of IPv6 only the wildcard is looked for. */
function hexadecimal(address: string): string {
  const bytes = address.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'));
  return bytes.reverse().join('').toUpperCase();
}

async function entries(folder: string): Promise<readonly string[]> {
  return readdir(folder).catch(() => []);
}
