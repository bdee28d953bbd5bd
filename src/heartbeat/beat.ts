/** Bytes of the longest beat: nonce, space, message, line feed. */
const longest = 32 + 1 + 64 + 1;

/**
 * What goes through the tunnel: a nonce that nobody else can guess, fresh for each beat so that nothing can be
 * replayed, the host's message, and a line feed.
 *
 * @param nonce - 16 random bytes
 */
export function beatLine(nonce: Buffer, message: string): string {
  return message === '' ? nonce.toString('hex') : `${nonce.toString('hex')} ${message}`;
}

/** Puts lines together from what a connection brings, and keeps no more of it than a beat is long. */
export class BeatReader {
  #rest = '';

  /** The lines that a chunk completes; `undefined`: this is not, and will never be, a beat. */
  feed(chunk: Buffer): readonly string[] | undefined {
    // A beat's message may be UTF-8: byte for byte as latin1, it is compared in the same spelling.
    const lines = (this.#rest + chunk.toString('latin1')).split('\n');
    this.#rest = lines.pop() ?? '';
    return this.#rest.length >= longest || lines.some((line) => line.length >= longest) ? undefined : lines;
  }
}
