import type {AutoSSHError} from './errors.js';

/** One who waits. */
export interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: AutoSSHError) => void;
}

/** The promises that wait for the next connect. */
export class WaitingList {
  readonly #waiters = new Set<Waiter>();

  /** Joins the list, and leaves it when the signal is aborted. */
  async join(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener('abort', onAbort);
      };
      const onAbort = (): void => {
        leave();
        reject(signal?.reason as Error);
      };
      const waiter: Waiter = {
        resolve: () => {
          leave();
          resolve();
        },
        reject: (error) => {
          leave();
          reject(error);
        },
      };
      this.#waiters.add(waiter);
      signal?.addEventListener('abort', onAbort, {once: true});
    });
  }

  /** Those who wait now; whoever joins from here on waits for the next time. */
  take(): readonly Waiter[] {
    const taken = [...this.#waiters];
    this.#waiters.clear();
    return taken;
  }

  /** They have to wait on. */
  giveBack(waiters: readonly Waiter[]): void {
    for (const waiter of waiters) this.#waiters.add(waiter);
  }

  rejectAll(error: AutoSSHError): void {
    for (const {reject} of [...this.#waiters]) reject(error);
  }
}
