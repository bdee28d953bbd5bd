import type {Socket} from 'node:net';
import type {Duplex} from 'node:stream';
import {now} from '../clock.js';
import type {Way} from './way.js';

/** A client's end: a socket, or a stream inside this process. */
export type Client = Duplex & {readonly resetAndDestroy?: () => void};

/** Ends a connection as one that failed (RST), not as one that is complete (FIN). */
export function reset(client: Client): void {
  // While its FIN is on its way a socket cannot be reset: that would fail, and it would never close.
  const isEnding = client.writableEnded && client.writableLength === 0 && !client.writableFinished;
  if (client.resetAndDestroy && isEnding) client.destroy();
  else if (client.resetAndDestroy) client.resetAndDestroy();
  else client.destroy(Object.assign(new Error('The tunnel lost this connection'), {code: 'ECONNRESET'}));
}

/**
 * So much is kept to be said again. The kernel holds it in one piece, and ssh reads it at one go or not at all: so a
 * connection of which something was left unread had nothing of it read. (channel_handle_rfd() in OpenSSH's channels.c,
 * which reads no more than the server's window has room for: 2 MB with sshd, 24 KB with Dropbear.)
 */
const repeatable = 16_384;

/** One connection of a client, from its accept to its end. */
export class Connection {
  readonly id: number;
  readonly forward: number;
  readonly client: Client;
  readonly since = now();
  /** Whether it was joined with an ssh before. */
  wasServed = false;
  /** When it first found no ready ssh. */
  stuckAt: number | undefined;
  /** How long it was held before it was served, in milliseconds. */
  held = 0;
  way: Way | undefined;
  upstream: Socket | undefined;
  /** Why the server could not connect it to its target. */
  refusal: string | undefined;
  #gone = false;
  #refused = false;
  #onGone: (() => void) | undefined;
  /** The one piece that ssh was given so far; `null`: more than that, or it has answered. */
  #kept: Buffer | null | undefined;

  constructor(id: number, forward: number, client: Client) {
    this.id = id;
    this.forward = forward;
    this.client = client;
    client.on('error', this.#leave);
    client.once('close', this.#leave);
    // Its first bytes are read while the way is entered, as far as the stream's own buffer goes.
    client.read(0);
  }

  /** Whether the client has given up, or was refused. */
  get isGone(): boolean {
    return this.#gone || this.client.destroyed;
  }

  /** Whether it was this side that gave up. */
  get isRefused(): boolean {
    return this.#refused;
  }

  get bytesSent(): number {
    return this.upstream?.bytesWritten ?? 0;
  }

  get bytesReceived(): number {
    return this.upstream?.bytesRead ?? 0;
  }

  /** Whether nothing was said on either side. */
  get isUnsaid(): boolean {
    return this.#kept === undefined;
  }

  /** Whether all that its client has said could be said to another ssh, if this one has not read it. */
  get isRepeatable(): boolean {
    return this.#kept !== null;
  }

  /** What its client has said to begin with, also to an ssh before. */
  takeSaid(): Buffer | undefined {
    const kept = this.#kept ?? undefined;
    this.#kept = undefined;
    const said = this.client.read() as Buffer | null;
    if (kept && said) return Buffer.concat([kept, said]);
    return kept ?? said ?? undefined;
  }

  /** ssh is given this. */
  keep(chunk: Buffer): void {
    this.#kept = this.#kept === undefined && chunk.length <= repeatable ? chunk : null;
  }

  /** The server has answered: nothing is said again. */
  forget(): void {
    this.#kept = null;
  }

  /**
   * Reads ahead while there is nowhere to put it, as far as the stream's own buffer goes: so much is kept, and a client
   * that gives up is noticed.
   */
  hold(onGone: () => void): void {
    this.#onGone = onGone;
    this.client.on('readable', this.#look);
    // One that has said something before may well close its side now.
    if (this.isUnsaid) this.client.once('end', this.#leave);
  }

  release(): void {
    this.#onGone = undefined;
    this.client.off('readable', this.#look);
    this.client.off('end', this.#leave);
  }

  /** Resets it; from now on that is how it ends. */
  refuse(): void {
    this.#refused = true;
    reset(this.client);
  }

  readonly #look = (): void => {
    // With nothing in the buffer this tells the end of a client that came and went without a word, and takes nothing.
    if (this.client.readableLength === 0) this.client.read();
  };

  readonly #leave = (): void => {
    this.#gone = true;
    this.#onGone?.();
  };
}
