import {connect, type Socket} from 'node:net';
import {setTimeout as delay} from 'node:timers/promises';
import {serve} from '../../../test/support/servers.js';
import {library, libraryDirect} from '../../contenders/index.js';
import type {Ground} from '../../ground.js';
import {Samples, type Findings} from '../measure.js';
import {Tunnels} from './tunnels.js';

const quantities = new Map([
  [1, 'throughput, 1 stream'],
  [8, 'throughput, 8 streams'],
]);

/** How much goes through a forward. */
export async function throughput(ground: Ground): Promise<Findings> {
  const samples = new Samples('MB/s');
  const sink = new Sink();
  const server = await serve({}, (socket) => sink.take(socket));
  try {
    await using tunnels = await Tunnels.of(ground, server.port);
    const rounds = ground.quick ? 2 : 6;
    for (let round = 0; round < rounds; round++) {
      for (const [streams, quantity] of quantities) {
        for (const {contender, listen} of tunnels.inRound(round)) {
          ground.say(`steady, ${quantity}, ${contender.name}, round ${round + 1} of ${rounds}`);
          samples.add(quantity, contender, await pour(ground, listen, streams, sink));
        }
      }
    }
  } finally {
    await server.close();
  }
  return {
    series: samples.all,
    targets: [...quantities.values()].map((quantity) => ({
      what: `${quantity}, steady to direct`,
      ...samples.ratio(quantity, library, libraryDirect),
      limit: 0.9,
      must: 'at least',
    })),
    notes: [
      'Throughput: bytes that arrive at the target in 1.2 s, after 0.3 s of warming up, each with the cipher that it asks for by ' +
        'itself: ssh2, of which tunnel-ssh is made, prefers AES-GCM, OpenSSH ChaCha20-Poly1305.',
    ],
  };
}

/** Megabytes a second that arrive from so many connections. */
async function pour({signal}: Ground, port: number, streams: number, sink: Sink): Promise<number> {
  const sources = Array.from({length: streams}, () => new Source(port));
  try {
    await delay(300, undefined, {signal});
    const [begun, before] = [performance.now(), sink.bytes];
    await delay(1_200, undefined, {signal});
    return (sink.bytes - before) / 1e3 / (performance.now() - begun);
  } finally {
    for (const one of sources) one.end();
    await sink.emptied();
    for (const one of sources) one.destroy();
  }
}

/** Sends as much as is taken. */
class Source {
  readonly #chunk = Buffer.alloc(64 * 1024, 'node-autossh');
  readonly #socket: Socket;

  constructor(port: number) {
    this.#socket = connect(port, '127.0.0.1');
    const fill = (): void => {
      while (this.#socket.writable && this.#socket.write(this.#chunk));
    };
    this.#socket.on('connect', fill).on('drain', fill);
    this.#socket.on('error', () => undefined);
    this.#socket.resume();
  }

  /** After what it has sent, not in the middle: not everybody passes on that a connection was cut off. */
  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

/** Counts and drops what it is sent. */
class Sink {
  bytes = 0;
  #open = 0;
  #emptied: (() => void) | undefined;

  take(socket: Socket): void {
    this.#open++;
    socket.on('data', (chunk: Buffer) => {
      this.bytes += chunk.length;
    });
    socket.on('end', () => socket.end());
    socket.on('close', () => {
      if (--this.#open === 0) this.#emptied?.();
    });
  }

  /** Resolves once everything under way has arrived: it must not count for the next contender. Waits some seconds at most. */
  async emptied(): Promise<void> {
    if (this.#open === 0) return;
    const empty = new Promise<void>((resolve) => {
      this.#emptied = resolve;
    });
    await Promise.race([empty, delay(5_000, undefined, {ref: false})]);
  }
}
