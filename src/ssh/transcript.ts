import {onAbort} from '../abort.js';
import type {Notice} from './notice.js';
import {readNotice} from './notice-table.js';

/** So many lines of stderr, and so many notices, are kept. */
const kept = 32;

/** What ssh says of the time after a login. */
const afterLogin = new Set<Notice['kind']>([
  'local-bind-failed',
  'remote-bind-failed',
  'remote-allocated',
  'channel-open-failed',
  'server-alive-timeout',
  'lost-connection',
  'disconnected',
]);

/** What one ssh has said so far, and what is known by it. */
export class Transcript {
  readonly #lines: string[] = [];
  #notices: Notice[] = [];
  #allocated: number[] = [];
  #onAllocated: (() => void) | undefined;

  /** The last lines. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  /** The first notices: the first cause is the one that counts. */
  get notices(): readonly Notice[] {
    return this.#notices;
  }

  /** The ports that the server has chosen, in the order of the forwards that asked for one. */
  get allocated(): readonly number[] {
    return this.#allocated;
  }

  /** Takes down a line, and returns what it means. */
  read(line: string): Notice | undefined {
    this.#lines.push(line);
    if (this.#lines.length > kept) this.#lines.shift();
    const notice = readNotice(line);
    if (!notice) return undefined;
    // What was said before was a banner, of the server or of a hop: no port was asked for yet.
    if (notice.kind === 'authenticated') this.#allocated = [];
    if (notice.kind === 'remote-allocated') {
      this.#allocated.push(notice.port);
      this.#onAllocated?.();
    }
    if (this.#notices.length < kept) this.#notices.push(notice);
    return notice;
  }

  /** ssh has logged in: whatever was said before, in a server's banner too, is not why it will end. */
  forgetLogin(): void {
    this.#notices = this.#notices.filter(({kind}) => afterLogin.has(kind));
  }

  /** Whether the server chose so many ports before the signal was aborted. */
  async hasAllocated(count: number, signal: AbortSignal): Promise<boolean> {
    while (this.#allocated.length < count && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const stopListening = onAbort(signal, resolve);
        this.#onAllocated = () => {
          this.#onAllocated = undefined;
          stopListening();
          resolve();
        };
      });
    }
    return !signal.aborted;
  }
}
