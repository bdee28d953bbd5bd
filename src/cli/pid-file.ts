import {readFileSync, rmSync, statSync, writeFileSync} from 'node:fs';
import {resolve} from 'node:path';

/** Where the process id is while the command runs. */
export class PidFile {
  readonly #path: string;

  /** @throws the system's error if it cannot be written */
  constructor(path: string) {
    this.#path = resolve(path);
    try {
      writeFileSync(this.#path, content());
    } catch (error) {
      // What a full disk has taken of it.
      if (statSync(this.#path, {throwIfNoEntry: false})?.isFile()) rmSync(this.#path);
      throw error;
    }
    process.once('exit', () => {
      this.remove();
    });
  }

  /** Another's is left alone. */
  remove(): void {
    try {
      if (readFileSync(this.#path, 'utf8') === content()) rmSync(this.#path);
    } catch {
      // It is gone already.
    }
  }
}

function content(): string {
  return `${String(process.pid)}\n`;
}
