import type {Socket} from 'node:net';
import {now} from '../clock.js';
import {type Client, reset} from './bridge.js';
import type {Way} from './way.js';

/** One connection of a client, from its accept to its end. */
export class Connection {
  readonly id: number;
  readonly forward: number;
  readonly client: Client;
  readonly since = now();
  /** How long it was held before it was served, in milliseconds. */
  held = 0;
  way: Way | undefined;
  upstream: Socket | undefined;
  /** Why the server could not connect it to its target. */
  refusal: string | undefined;
  #gone = false;
  #refused = false;
  #onGone: (() => void) | undefined;

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
    return this.#gone;
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

  /**
   * Reads ahead while there is nowhere to put it, as far as the stream's own buffer goes: so much is kept, and a client
   * that gives up is noticed.
   */
  hold(onGone: () => void): void {
    this.#onGone = onGone;
    this.client.on('readable', this.#look);
    this.client.once('end', this.#leave);
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

  /** Closes it, both ways, once all that came for the client is written. */
  close(): void {
    this.upstream?.destroy();
    if (this.client.writableFinished) this.client.destroy();
    else this.client.once('finish', () => this.client.destroy());
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
