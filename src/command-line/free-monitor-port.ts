import {readFileSync} from 'node:fs';
import {randomInt} from '../random.js';

/** Where Debian's autossh looks for a port: from here up, and so many times. */
const from = 32_768;
const tries = 42;

/** And which one it takes if it finds none. */
const fallback = 21_021;

/**
 * A port for the heartbeat that, as far as can be seen, nobody on this machine has bound, nor the one above it. Only Linux
 * shows that; elsewhere any is as good.
 */
export function freeMonitorPort(): number {
  const bound = boundPorts();
  for (let tried = 0; tried < tries; tried++) {
    const port = randomInt(from, 65_535);
    if (!bound.has(port) && !bound.has(port + 1)) return port;
  }
  return fallback;
}

function boundPorts(): ReadonlySet<number> {
  const ports = new Set<number>();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    let text: string;
    try {
      text = readFileSync(table, 'latin1');
    } catch {
      continue;
    }
    for (const [, port = ''] of text.matchAll(/^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) /gm)) ports.add(parseInt(port, 16));
  }
  return ports;
}
