import {onAbort} from '../abort.js';
import {AutoSSHError} from '../errors.js';

/** What a function of the host's gives, or the error for one that fails: it is called again with the next ssh. */
export async function asked<Value>(option: string, fetch: () => Promise<Value>): Promise<Value> {
  try {
    return await fetch();
  } catch (error) {
    throw new AutoSSHError('ERR_AUTOSSH_AUTH', `The function \`${option}\` failed: ${inWords(error)}`, {
      cause: error,
      hint: 'See `cause`, the error of that function.',
    });
  }
}

/** The same, unless the signal is aborted before: then its reason is thrown, and what comes later is nobody's. */
export async function unlessAborted<Value>(signal: AbortSignal, promise: Promise<Value>): Promise<Value> {
  let stopListening: (() => void) | undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    const give = (): void => {
      reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
    };
    if (signal.aborted) give();
    else stopListening = onAbort(signal, give);
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    stopListening?.();
  }
}

/** Anything can be thrown, also what has no words. */
function inWords(error: unknown): string {
  try {
    return String(error);
  } catch {
    return 'see `cause`';
  }
}
