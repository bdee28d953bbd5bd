/** What a look at an ssh shows, in bytes since its start. */
export interface Sight {
  /** Read by it: from the server, and what it was given by its clients. */
  readonly read: number;
  /** Given to it by its clients; `undefined`: not known, because it has clients of its own. */
  readonly given: number | undefined;
  /** Clients from which it takes nothing more at the moment. */
  readonly stuck: number;
  /** How often it has taken something again from a client that was stuck. */
  readonly releases: number;
  /** Written by it. */
  readonly written: number;
  /** Of that, in the kernel's hands and not acknowledged by its peer. */
  readonly queued: number;
}

/**
 * Whether a beat that is late stands in a queue that moves: on a saturated link it waits behind what was sent before it,
 * for longer than any time-out. Any of these shows it.
 *
 * - ssh has read more than it was given: the rest came from the server, which tells a sender how much it has taken
 *   (`channel_check_window()` in OpenSSH's channels.c, about each 96 KB).
 * - A client that was stuck can send again: ssh takes what the server has said it will.
 * - The peer's kernel acknowledges more and more of what waits here. Once it has all that was written when it was first
 *   looked at, there is no such excuse: so a server that is frozen is found out, as soon as its kernel takes no more.
 */
export class Evidence {
  readonly #look: (withQueue: boolean) => Promise<Sight | undefined>;
  #before: Sight | undefined;

  /** @param look - without a queue `queued` need not be looked for */
  constructor(look: (withQueue: boolean) => Promise<Sight | undefined>) {
    this.#look = look;
  }

  /** Takes a first look, for {@link isMoving} to compare with. */
  async look(): Promise<void> {
    this.#before = await this.#look(true);
  }

  /** Whether something has moved since the last look. */
  async isMoving(): Promise<boolean> {
    const before = this.#before;
    if (!before) return false;
    // With many sockets on the machine it takes a while to find the queue of one.
    const hadQueue = before.queued > 0;
    const after = (this.#before = await this.#look(hadQueue));
    if (!after) return false;
    if (hearsMore(before, after) || (before.stuck > 0 && after.releases > before.releases)) return true;
    const acknowledged = after.written - after.queued;
    return hadQueue && acknowledged > before.written - before.queued && acknowledged < before.written;
  }
}

function hearsMore(before: Sight, after: Sight): boolean {
  if (before.given === undefined || after.given === undefined) return false;
  return after.read - before.read > after.given - before.given;
}
