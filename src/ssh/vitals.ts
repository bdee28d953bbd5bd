import {type Descriptor, descriptorOf, isExiting, isOpen, trafficOf, unacknowledgedBy} from '../procfs.js';

/** What can be seen of a running ssh from outside; on Linux, in /proc. */
export class Vitals {
  readonly #pid: number;
  /** With what it listens on a socket of ours. */
  #listener: Descriptor | undefined;

  constructor(pid: number) {
    this.#pid = pid;
  }

  /** Remembers with what it listens on a Unix socket: it closes that before its connections. */
  watch(socket: string): void {
    this.#listener = descriptorOf(this.#pid, socket);
  }

  /**
   * Whether it is on its way out. One that is killed has no files any more when the first of them is closed. One that has
   * lost its server, or is asked to end, closes them before: its channels in their order (channels.c,
   * channel_free_all()), of which those that listen were the first.
   */
  get isEnding(): boolean {
    return this.#listener ? !isOpen(this.#listener) : isExiting(this.#pid);
  }

  /** What it has read and written, and, if asked for, how much of that waits for an acknowledgement; bytes. */
  async traffic(
    withQueue: boolean,
  ): Promise<{readonly read: number; readonly written: number; readonly queued: number} | undefined> {
    // In this order: what is written meanwhile counts as waiting, never as acknowledged.
    const traffic = await trafficOf(this.#pid);
    return traffic && {...traffic, queued: withQueue ? await unacknowledgedBy(this.#pid) : 0};
  }
}
