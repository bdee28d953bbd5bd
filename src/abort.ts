const listeners = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Listens for a signal's abort. However many listen to one signal, it has one listener: from eleven on Node would print a
 * warning, and a signal that ends all tunnels of a service is a good one.
 *
 * @returns what takes the listener away again
 */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  let group = listeners.get(signal);
  if (!group) {
    const fresh = (group = new Set<() => void>());
    listeners.set(signal, fresh);
    const ring = (): void => {
      listeners.delete(signal);
      for (const one of [...fresh]) one();
    };
    signal.addEventListener('abort', ring, {once: true});
    removers.set(fresh, () => {
      signal.removeEventListener('abort', ring);
      listeners.delete(signal);
    });
  }
  const own = group;
  own.add(listener);
  return () => {
    own.delete(listener);
    if (own.size === 0) removers.get(own)?.();
  };
}

const removers = new WeakMap<Set<() => void>, () => void>();
