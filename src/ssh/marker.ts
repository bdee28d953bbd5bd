import {type FSWatcher, existsSync, watch} from 'node:fs';
import {connect} from 'node:net';
import {dirname} from 'node:path';
import {sleep} from '../clock.js';

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

/** Between the bind of a socket and its listen there is an instant when it refuses connections. */
const bindGap = 1;

/**
 * Waits until a connection to a socket has been closed again by whoever listens there. `false`: the signal was aborted
 * before.
 */
export async function answered(path: string, signal: AbortSignal): Promise<boolean> {
  for (;;) {
    const refused = await probe(path, signal);
    if (signal.aborted) return false;
    if (!refused) return true;
    await sleep(bindGap, signal);
  }
}

/** Whether nobody listened. */
async function probe(path: string, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    let refused = false;
    const socket = connect({path, signal});
    socket.unref().resume();
    socket.on('error', () => {
      refused = true;
    });
    socket.once('close', () => {
      resolve(refused);
    });
  });
}
