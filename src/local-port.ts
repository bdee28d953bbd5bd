import {once} from 'node:events';
import {readFileSync} from 'node:fs';
import {type AddressInfo, createServer} from 'node:net';
import {randomInt} from './random.js';

/** Ports from the first up to, not including, the second. */
export interface PortRange {
  readonly from: number;
  readonly to: number;
}

/** Below the range that systems take their own outgoing ports from (Linux: 32768 and up), above what services are given. */
export const quietPorts: PortRange = {from: 10_240, to: 32_768};

/** Of fewer ports to choose from, too many may be in use. */
const enough = 1_000;

/** So many ports that are in use in a row are no chance. */
const tries = 20;

/**
 * A port of this machine that nobody listens on.
 *
 * It is none of those that the kernel gives to outgoing connections, if there are others: it would be lost to the first of
 * them that gets it while ssh is away. A client that tries to connect to the port meanwhile can even get it itself, and is
 * then connected to itself (TCP's simultaneous open).
 *
 * @throws the system's error if it cannot be listened on that host
 */
export async function freePort(host: string): Promise<number> {
  const range = portsToChooseFrom(outgoingPorts());
  for (let i = 0; range && i < tries; i++) {
    const port = randomInt(range.from, range.to);
    if (await canListen(host, port)) return port;
  }
  return listenOnce(host, 0);
}

/** Where there are enough ports beside those of outgoing connections. */
export function portsToChooseFrom(outgoing: PortRange): PortRange | undefined {
  const below = {from: quietPorts.from, to: Math.min(quietPorts.to, outgoing.from)};
  const above = {from: Math.max(quietPorts.from, outgoing.to), to: 65_536};
  return [below, above].find(({from, to}) => to - from >= enough);
}

/** ip(7), ip_local_port_range; elsewhere what IANA says (RFC 6335), which macOS and the BSDs keep to. */
function outgoingPorts(): PortRange {
  try {
    const words = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'latin1').trim().split(/\s+/);
    const [from = 0, last = 0] = words.map(Number);
    return {from, to: last + 1};
  } catch {
    return {from: 49_152, to: 65_536};
  }
}

async function canListen(host: string, port: number): Promise<boolean> {
  try {
    await listenOnce(host, port);
    return true;
  } catch (error) {
    // EACCES: a policy of this machine keeps it for something (SELinux).
    if (['EADDRINUSE', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
}

async function listenOnce(host: string, port: number): Promise<number> {
  const server = createServer();
  // Exclusive: in a cluster's worker the primary would share one port among all.
  server.listen({host, port, exclusive: true});
  await once(server, 'listening');
  const address = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return address.port;
}
