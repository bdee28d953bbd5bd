import type {Socket} from 'node:net';
import {connect} from 'node:net';
import type {Duplex} from 'node:stream';
import type {AutoSSH, AutoSSHStats} from '../../src/index.js';
import {placeOf} from '../faults/scene.js';
import {pollUntil} from '../support/index.js';

/** What became of a connection, as its client sees it. */
export interface Ending {
  /** All that came. */
  readonly text: string;
  /** Whether the other side said that this was all (FIN). */
  readonly ended: boolean;
  /** The code of the error, if there was one. */
  readonly error: string | undefined;
}

/** A client that takes down all that happens to its connection. */
export class Client<Stream extends Duplex = Socket> {
  readonly socket: Stream;
  /** When it is closed on both sides. */
  readonly ending: Promise<Ending>;
  #text = '';
  #ended = false;
  #error: string | undefined;

  constructor(socket: Stream) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => (this.#text += chunk.toString('latin1')));
    socket.on('end', () => {
      this.#ended = true;
      // libuv takes a reset that it finds together with data for an end. The kernel knows better, and says so to a write.
      if (!socket.writableEnded) socket.write('');
    });
    socket.on('error', (error: NodeJS.ErrnoException) => (this.#error = error.code));
    this.ending = new Promise((resolve) => {
      socket.once('close', () => {
        const wasReset = this.#error === 'ECONNRESET' || this.#error === 'EPIPE';
        resolve({
          text: this.#text,
          ended: this.#ended && !wasReset,
          error: wasReset ? 'ECONNRESET' : this.#error,
        });
      });
    });
  }

  get text(): string {
    return this.#text;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Sends a text and waits until it has come back. */
  async echo(text: string): Promise<void> {
    const expected = this.#text + text;
    this.socket.write(text);
    await this.until(expected);
  }

  /** Waits until so much has come, and no more. */
  async until(expected: string): Promise<void> {
    await pollUntil(
      `'${expected}', there is '${this.#text}'${this.#error === undefined ? '' : ` and ${this.#error}`}`,
      () => this.#text.length >= expected.length,
    );
    if (this.#text !== expected) throw new Error(`Expected '${expected}', got '${this.#text}'`);
  }
}

/** A client that half-closes, as those of the system do. It resolves when it is connected to the listener. */
export async function client(tunnel: AutoSSH, name?: string | number): Promise<Client> {
  const place = placeOf(tunnel, name);
  const socket = connect({...place, allowHalfOpen: true});
  const made = new Client(socket);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    // One that is reset at once may not hear first that it was connected.
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNRESET') resolve();
      else reject(error);
    });
  });
  return made;
}

/** The figures of a steady forward. */
export function traffic(tunnel: AutoSSH, index = 0): NonNullable<AutoSSHStats['forwards'][number]['connections']> {
  const connections = tunnel.stats().forwards[index]?.connections;
  if (!connections) throw new Error('That is no steady forward');
  return connections;
}

/** Waits until so many connections wait for a ssh. */
export async function waiting(tunnel: AutoSSH, count: number): Promise<void> {
  await pollUntil(`${String(count)} connections wait`, () => traffic(tunnel).waiting === count);
}

/** Waits until so many connections are open. */
export async function open(tunnel: AutoSSH, count: number): Promise<void> {
  await pollUntil(`${String(count)} connections are open`, () => traffic(tunnel).open === count);
}
