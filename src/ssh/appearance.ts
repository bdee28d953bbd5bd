import {type FSWatcher, existsSync, watch} from 'node:fs';
import {dirname} from 'node:path';

/** Between two looks, where the system has no more watches to give (inotify(7), max_user_watches). */
const lookEvery = 20;

/** Waits until a file is there. `false`: the signal was aborted before. */
export async function appeared(path: string, signal: AbortSignal): Promise<boolean> {
  let watcher: FSWatcher | undefined;
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise((resolve) => {
      const look = (): void => {
        if (existsSync(path)) resolve(true);
      };
      const poll = (): void => {
        timer ??= setInterval(look, lookEvery).unref();
      };
      signal.addEventListener(
        'abort',
        () => {
          resolve(false);
        },
        {once: true},
      );
      if (signal.aborted) resolve(false);
      try {
        watcher = watch(dirname(path), {persistent: false}, look).on('error', poll);
      } catch {
        poll();
      }
      look();
    });
  } finally {
    watcher?.close();
    clearInterval(timer);
  }
}
