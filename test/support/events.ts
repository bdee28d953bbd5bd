import type {EventEmitter} from 'eventemitter3';

/*
 * Waiting for events, each with a bound and a sentence that says what did not happen. For a class that extends an emitter
 * the compiler does not find the events by itself: name them, as in `once<AutoSSHEvents, 'connect'>(tunnel, 'connect')`.
 */

/**
 * In milliseconds: how long a wait for something that has to come may take. Only what is broken waits so long; a machine that
 * is slow, or busy with something else, does not.
 */
export const patience = 60_000;

type Name<E extends object> = keyof E & string;
type Payload<E extends object, N extends Name<E>> = E[N] extends (payload: infer P) => void ? P : never;

export interface WaitOptions<E extends object, N extends Name<E>> {
  signal?: AbortSignal;
  /** Rejects after this time. Default: {@link patience}. */
  timeout?: number;
  /** Only an event that passes counts. */
  where?: (payload: Payload<E, N>) => boolean;
  /** Rejects at once when one of these comes first. */
  unless?: readonly Name<E>[];
}

/** The next event of this name. */
export function once<E extends object, N extends Name<E>>(
  emitter: EventEmitter<E>,
  name: N,
  options: WaitOptions<E, N> = {},
): Promise<Payload<E, N>> {
  const {signal, timeout = patience, where = () => true, unless = []} = options;
  const event = new Promise<Payload<E, N>>((resolve, reject) => {
    const untyped = emitter as unknown as EventEmitter<Record<string, (payload: unknown) => void>>;
    const timer = setTimeout(() => {
      fail(new Error(`No '${name}' within ${timeout} ms`));
    }, timeout);
    const obstacles = unless.map((other) => ({
      other,
      listener: (payload: unknown) => {
        fail(new Error(`'${other}' came before '${name}': ${inWords(payload)}`));
      },
    }));
    untyped.on(name, onEvent);
    for (const {other, listener} of obstacles) untyped.on(other, listener);
    signal?.addEventListener('abort', onAbort, {once: true});
    if (signal?.aborted === true) onAbort();

    function onEvent(payload: unknown): void {
      if (!where(payload as Payload<E, N>)) return;
      release();
      resolve(payload as Payload<E, N>);
    }
    function onAbort(): void {
      fail(signal?.reason instanceof Error ? signal.reason : new Error('Aborted'));
    }
    function fail(error: Error): void {
      release();
      reject(error);
    }
    function release(): void {
      clearTimeout(timer);
      untyped.off(name, onEvent);
      for (const {other, listener} of obstacles) untyped.off(other, listener);
      signal?.removeEventListener('abort', onAbort);
    }
  });
  // A test that has failed does not come back for the events it still waits for: that is no second failure.
  event.catch(() => undefined);
  return event;
}

export interface Recorded {
  name: string;
  payload: unknown;
  /** `performance.now()` when it came. */
  at: number;
}

export interface Collection<E extends object> {
  readonly all: readonly Recorded[];
  /** The payloads of one name, in order. */
  of<N extends Name<E>>(name: N): Payload<E, N>[];
  count(name: Name<E>): number;
  /** Stops listening. */
  end(): void;
}

/** Everything that is emitted under these names from now on, in order. */
export function collect<E extends object>(emitter: EventEmitter<E>, names: readonly Name<E>[]): Collection<E> {
  const untyped = emitter as unknown as EventEmitter<Record<string, (payload: unknown) => void>>;
  const all: Recorded[] = [];
  const listeners = names.map((name) => ({
    name,
    listener: (payload: unknown) => {
      all.push({name, payload, at: performance.now()});
    },
  }));
  for (const {name, listener} of listeners) untyped.on(name, listener);
  return {
    all,
    of: <N extends Name<E>>(name: N) =>
      all.filter((event) => event.name === name).map((event) => event.payload as Payload<E, N>),
    count: (name) => all.filter((event) => event.name === name).length,
    end: () => {
      for (const {name, listener} of listeners) untyped.off(name, listener);
    },
  };
}

/**
 * A promise with a bound, for what is no event.
 *
 * @param what - did not come; as a function, told as it is then
 */
export async function within<T>(timeout: number, what: string | (() => string), promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`Not within ${timeout} ms: ${typeof what === 'string' ? what : what()}`));
    }, timeout);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function inWords(payload: unknown): string {
  if (payload instanceof Error) return payload.message;
  return JSON.stringify(payload, (_key, value: unknown) => (value instanceof Error ? value.message : value));
}
