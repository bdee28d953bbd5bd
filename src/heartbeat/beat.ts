/**
 * Bytes of the longest beat, autossh's: a host name, `autossh`, a process id, the nonce as a decimal number, the message,
 * and spaces and a line end between and after them.
 */
const longest = 64 + 7 + 10 + 39 + 64 + 6;

/**
 * What goes through the tunnel before a line feed: a nonce that nobody else can guess, fresh for each beat so that nothing
 * can be replayed, and the host's message.
 *
 * @param nonce - 16 random bytes
 */
export function beatLine(nonce: Buffer, message: string): string {
  return message === '' ? nonce.toString('hex') : `${nonce.toString('hex')} ${message}`;
}

/**
 * A beat as autossh sends it, for whoever reads along on the server: its random number is longer, and cannot be guessed.
 *
 * @param nonce - 16 random bytes
 */
export function autosshBeatLine(nonce: Buffer, hostname: string, pid: number, message: string): string {
  const number = BigInt(`0x${nonce.toString('hex')}`);
  return `${hostname.slice(0, 64)} autossh ${String(pid)} ${String(number)} ${message}\r`;
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
