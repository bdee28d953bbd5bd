import {setTimeout as delay} from 'node:timers/promises';

/** Node turns a longer delay into 1 ms. */
const longestTimer = 2 ** 31 - 1;

/** Milliseconds on a clock that never jumps. Only differences mean something. */
export function now(): number {
  return performance.now();
}

/**
 * Waits, and keeps no process alive by it.
 *
 * @returns whether the whole time has passed; `false`: the signal was aborted.
 */
export async function sleep(milliseconds: number, signal: AbortSignal): Promise<boolean> {
  let left = milliseconds;
  try {
    do {
      await delay(Math.min(left, longestTimer), undefined, {ref: false, signal});
      left -= longestTimer;
    } while (left > 0);
    return true;
  } catch {
    return false;
  }
}

/** A timer that can be moved and stopped, and keeps no process alive. */
export class Alarm {
  #timer: NodeJS.Timeout | undefined;

  /** Rings once after so many milliseconds, unless it is set again or stopped before; an infinite time never rings. */
  set(milliseconds: number, ring: () => void): void {
    this.stop();
    if (milliseconds === Infinity) return;
    this.#timer = setTimeout(
      () => {
        if (milliseconds > longestTimer) this.set(milliseconds - longestTimer, ring);
        else ring();
      },
      Math.min(milliseconds, longestTimer),
    ).unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
