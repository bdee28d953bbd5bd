import {randomInt} from 'node:crypto';
import {readFileSync} from 'node:fs';
import {createServer} from 'node:net';

/**
 * A port nobody listens on, from below the range the kernel takes its ephemeral ports from: so that it is still free for
 * the same listener after a time in which nobody listened, however many connections were made meanwhile.
 */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const port = randomPort();
    if (await canListen(port, host)) return port;
  }
  throw new Error(`No free port found on ${host}`);
}

/** Any port from that range, whoever has it: for a network that this process is not in. */
export function randomPort(): number {
  return randomInt(10_240, lowestEphemeralPort());
}

export function canListen(port: number, host = '127.0.0.1'): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => {
      resolve(false);
    });
    server.listen({port, host, exclusive: true}, () => {
      server.close(() => {
        resolve(true);
      });
    });
  });
}

function lowestEphemeralPort(): number {
  try {
    const low = Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/)[0]);
    return low > 12_000 ? low : 32_768;
  } catch {
    return 32_768;
  }
}
