import {closeSync, constants, fstatSync, openSync, writeSync} from 'node:fs';
import {resolve} from 'node:path';

/** A pipe that nobody reads, or not fast enough, would hold up everything: it is an error, or loses lines. */
const {O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY} = constants;

/** A file that lines are appended to; one that cannot be written loses lines, and nothing else happens. */
export class LogFile {
  readonly #path: string;
  readonly #isHandedOn: boolean;
  #descriptor: number | undefined;

  /**
   * @param path - relative to where the command was started
   * @param descriptor - where another process has opened it for this one
   */
  constructor(path: string, descriptor?: number) {
    this.#path = resolve(path);
    this.#descriptor = descriptor;
    this.#isHandedOn = descriptor !== undefined;
  }

  get isOpen(): boolean {
    return this.#descriptor !== undefined;
  }

  /**
   * Opens it, anew if it was open.
   *
   * @throws the system's error; what was open stays open then
   */
  open(): void {
    const [old, descriptor] = [this.#descriptor, openLogFile(this.#path)];
    // What has another name for each process, as /dev/stdout, is something else here.
    const isBetter = old === undefined || !this.#isHandedOn || fstatSync(descriptor).isFile();
    if (isBetter) this.#descriptor = descriptor;
    const rest = isBetter ? old : descriptor;
    if (rest !== undefined) closeSync(rest);
  }

  append(text: string): void {
    if (this.#descriptor === undefined) return;
    try {
      writeSync(this.#descriptor, text);
    } catch {
      // A full disk: the next line may find room again.
    }
  }
}

/** @throws the system's error */
export function openLogFile(path: string): number {
  return openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, 0o666);
}
