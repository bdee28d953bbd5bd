import type {Socket} from 'node:net';
import {ignore} from './channel.js';

/** Connections that have not brought a beat yet: one is ours, the others can only come from other users. */
const most = 8;

/** The connections that come to a listener for beats; of those that have brought none, only the latest are kept. */
export class Strangers {
  readonly #all = new Set<Socket>();
  readonly #proven = new WeakSet<Socket>();

  add(socket: Socket): void {
    socket.unref().on('error', ignore);
    socket.once('close', () => this.#all.delete(socket));
    this.#all.add(socket);
    const unproven = [...this.#all].filter((one) => !this.#proven.has(one));
    if (unproven.length > most) unproven[0]?.destroy();
  }

  /** It has brought a beat. */
  prove(socket: Socket): void {
    this.#proven.add(socket);
  }

  closeAll(): void {
    for (const socket of this.#all) socket.destroy();
  }
}
