import {execFileSync} from 'node:child_process';
import {constants, mkdtempSync, openSync, rmSync} from 'node:fs';
import {Socket} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';

/** An ssh that has just been started. */
export interface Started {
  /** When it said so, as `performance.now()`. */
  at: number;
  pid: number;
  /** Who has started it. */
  keeper: number;
}

/** Until somebody has started the ssh that is waited for, in milliseconds. */
const patience = 120_000;

/** Learns the moment at which a program executes its ssh: another one stands in its place, and tells. */
export class StartedSSH implements Disposable {
  /** For the program that is to start it. */
  readonly env: Readonly<Record<string, string>>;
  /** All so far. */
  readonly all: Started[] = [];

  readonly #folder = mkdtempSync(join(tmpdir(), 'bench-'));
  readonly #pipe: Socket;
  #look: (() => void) | undefined;

  constructor() {
    const path = join(this.#folder, 'starts');
    execFileSync('mkfifo', ['-m', '600', path]);
    this.env = {
      AUTOSSH_PATH: fileURLToPath(new URL('hosts/ssh-that-tells', import.meta.url)),
      BENCH_STARTS: path,
    };
    // Also for writing: so it has no end, and nobody who writes has to wait for a reader.
    this.#pipe = new Socket({fd: openSync(path, constants.O_RDWR | constants.O_NONBLOCK)});
    let partial = '';
    this.#pipe.setEncoding('latin1').on('data', (text: string) => {
      const at = performance.now();
      const lines = (partial + text).split('\n');
      partial = lines.pop() ?? '';
      for (const line of lines) {
        const [pid = 0, keeper = 0] = line.split(' ').map(Number);
        this.all.push({at, pid, keeper});
      }
      this.#look?.();
    });
  }

  /** The last of so many, once they have all been started. */
  async number(count: number, signal: AbortSignal): Promise<Started> {
    signal.throwIfAborted();
    return await new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(overdue);
        signal.removeEventListener('abort', abort);
        this.#look = undefined;
      };
      const abort = (): void => {
        settle();
        reject(signal.reason as Error);
      };
      const overdue = setTimeout(() => {
        settle();
        reject(new Error(`${this.all.length} of ${count} ssh were started in ${patience / 1_000} s`));
      }, patience);
      signal.addEventListener('abort', abort);
      this.#look = () => {
        const last = this.all[count - 1];
        if (last === undefined) return;
        settle();
        resolve(last);
      };
      this.#look();
    });
  }

  [Symbol.dispose](): void {
    this.#pipe.destroy();
    rmSync(this.#folder, {recursive: true, force: true});
  }
}
