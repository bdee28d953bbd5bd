import {type FSWatcher, existsSync, watch} from 'node:fs';
import {type Socket, connect} from 'node:net';
import {dirname} from 'node:path';
import {onAbort} from '../abort.js';
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

/** SOCKS 5, one method, no authentication: RFC 1928, section 3. */
const greeting = Buffer.from([5, 1, 0]);

/**
 * Waits until ssh serves its forwards: until it answers on a SOCKS socket of its own. It binds all of them before, and if
 * it could not, it ends before. `false`: the signal was aborted before.
 */
export async function serving(path: string, signal: AbortSignal): Promise<boolean> {
  return persist(path, signal, {sign: 'data', words: greeting, count: ignore});
}

/**
 * Waits until the server has answered a request through a socket: until ssh, which waits for that, has closed a connection
 * to it again. An ssh that ends closes its connections as well, but then takes no other: so there are two. `false`: the
 * signal was aborted before.
 */
export async function answered(path: string, signal: AbortSignal, count: Count): Promise<boolean> {
  const request = {sign: 'end', words: Buffer.alloc(0), count} as const;
  return (await persist(path, signal, request)) && persist(path, signal, request);
}

/**
 * Something small for ssh to send to the server, and to take with it the acknowledgement of what came from there: until
 * then the server holds back its next packet, for it has not set `TCP_NODELAY` (sshd does that for terminals), and the
 * kernel of this side acknowledges by itself only after 40 ms.
 */
export function nudge(path: string, signal: AbortSignal, count: Count): void {
  const socket = open(path, signal, count);
  socket.once('connect', () => socket.destroy());
}

/**
 * Is told of each connection to ssh before that can say what has become of it, and again with -1 if there was none to
 * connect to.
 */
export type Count = (by: 1 | -1) => void;

/** What is said through a socket, and what it is known by that it was heard. */
interface Request {
  readonly sign: 'data' | 'end';
  readonly words: Buffer;
  readonly count: Count;
}

async function persist(path: string, signal: AbortSignal, request: Request): Promise<boolean> {
  while (!signal.aborted) {
    if (await probe(path, signal, request)) return true;
    await sleep(bindGap, signal);
  }
  return false;
}

/** Whether the sign came; one that is cut off, or not accepted, was not heard by anybody. */
async function probe(path: string, signal: AbortSignal, {sign, words, count}: Request): Promise<boolean> {
  const socket = open(path, signal, count);
  const came = await new Promise<boolean>((resolve) => {
    socket.resume();
    if (words.length > 0) socket.write(words);
    socket.once(sign, () => {
      resolve(true);
    });
    socket.once('close', () => {
      resolve(false);
    });
  });
  socket.destroy();
  return came;
}

function open(path: string, signal: AbortSignal, count: Count): Socket {
  const socket = connect({path});
  count(1);
  // Not by the `signal` of `connect()`: Node goes on to listen to that when the socket is closed, and warns of the eleventh.
  const stopListening = onAbort(signal, () => {
    socket.destroy();
  });
  if (signal.aborted) socket.destroy();
  let isConnected = false;
  socket.once('connect', () => (isConnected = true));
  socket.once('close', () => {
    stopListening();
    if (!isConnected) count(-1);
  });
  // The close that follows says enough.
  return socket.unref().on('error', ignore);
}

function ignore(): void {
  // Nothing to be done, nor to be counted: ssh says nothing of a connection to its own SOCKS proxy.
}
