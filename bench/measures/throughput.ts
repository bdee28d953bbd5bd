import {connect, type Socket} from 'node:net';
import {setTimeout as delay} from 'node:timers/promises';
import {serve} from '../../test/support/servers.js';
import {library, plainSsh} from '../contenders/index.js';
import type {Contender, Host} from '../contenders/contender.js';
import type {Ground} from '../ground.js';
import {turns} from '../statistics.js';
import {Samples, type Measure} from './measure.js';

const contenders = [plainSsh, library];

/** How much goes through a forward. */
export const throughput: Measure = {
  key: 'throughput',
  title: 'Throughput through a forward',
  async run(ground) {
    const samples = new Samples('MB/s');
    const sink = new Sink();
    const server = await serve({}, (socket) => sink.take(socket));
    try {
      await using hosts = await openAll(ground, server.port);
      const rounds = ground.quick ? 2 : 6;
      for (let round = 0; round < rounds; round++) {
        for (const streams of [1, 8]) {
          for (const {contender, listen} of turns(hosts.open, round)) {
            const quantity = `${streams} ${streams === 1 ? 'stream' : 'streams'}`;
            ground.say(`throughput, ${quantity}, ${contender.name}, round ${round + 1} of ${rounds}`);
            samples.add(quantity, contender, await pour(ground, listen, streams, sink));
          }
        }
      }
    } finally {
      await server.close();
    }
    return {
      series: samples.all,
      targets: [],
      notes: ['Bytes that arrive at the target in 1.2 s, after 0.3 s of warming up.'],
    };
  },
};

interface Open {
  contender: Contender;
  listen: number;
}

/** One tunnel of each contender, all open at once: only one at a time has something to do. */
async function openAll(ground: Ground, target: number): Promise<AsyncDisposable & {open: Open[]}> {
  const {config, ports, signal} = ground;
  const hosts: Host[] = [];
  const open: Open[] = [];
  const dispose = async (): Promise<void> => {
    await Promise.all(hosts.map((host) => host[Symbol.asyncDispose]()));
  };
  try {
    for (const contender of contenders) {
      const host = await contender.host(signal);
      hosts.push(host);
      const listen = await ports();
      await host.open({config: config.direct, listen, target, beats: 'default', ports});
      open.push({contender, listen});
    }
  } catch (error) {
    await dispose();
    throw error;
  }
  return {open, [Symbol.asyncDispose]: dispose};
}

/** Megabytes a second that arrive from so many connections. */
async function pour({signal}: Ground, port: number, streams: number, sink: Sink): Promise<number> {
  const chunk = Buffer.alloc(64 * 1024, 'node-autossh');
  const sources = Array.from({length: streams}, () => source(port, chunk));
  try {
    await delay(300, undefined, {signal});
    const [begun, before] = [performance.now(), sink.bytes];
    await delay(1_200, undefined, {signal});
    return (sink.bytes - before) / 1e3 / (performance.now() - begun);
  } finally {
    for (const socket of sources) socket.destroy();
    await sink.emptied();
  }
}

function source(port: number, chunk: Buffer): Socket {
  const socket = connect(port, '127.0.0.1');
  const fill = (): void => {
    while (!socket.destroyed && socket.write(chunk));
  };
  socket.on('connect', fill).on('drain', fill);
  socket.on('error', () => undefined);
  return socket;
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

  /** Resolves once everything under way has arrived: it must not count for the next contender. */
  emptied(): Promise<void> {
    if (this.#open === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#emptied = resolve;
    });
  }
}
