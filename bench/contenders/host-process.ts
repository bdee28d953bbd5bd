import {fork, type ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import {fileURLToPath} from 'node:url';

interface Answer {
  id: number;
  result?: unknown;
  error?: string;
}

/** For one call, in milliseconds. */
const patience = 30_000;

/** A script of `hosts/` in a Node process of its own, called over its IPC channel. */
export class HostProcess implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #signal: AbortSignal;
  readonly #waiting = new Map<number, {resolve: (result: unknown) => void; reject: (error: Error) => void}>();
  readonly #ended: Promise<unknown>;
  #calls = 0;

  private constructor(script: string, signal: AbortSignal) {
    this.#signal = signal;
    const file = fileURLToPath(new URL(`../hosts/${script}`, import.meta.url));
    // Plain Node: the loader that runs the bench itself must not come along. Detached: an interrupt from the terminal
    // goes to the bench alone, which then ends its hosts in good order.
    this.#process = fork(file, {execArgv: [], detached: true, stdio: ['ignore', 'ignore', 'inherit', 'ipc']});
    this.#ended = once(this.#process, 'exit');
    this.#process.on('message', ({id, result, error}: Answer) => {
      const call = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) call?.resolve(result);
      else call?.reject(new Error(error));
    });
    this.#process.on('exit', () => {
      for (const {reject} of this.#waiting.values()) reject(new Error(`${script} has ended`));
      this.#waiting.clear();
    });
  }

  /** Starts the process and waits until it listens. */
  static async start(script: string, signal: AbortSignal): Promise<HostProcess> {
    const host = new HostProcess(script, signal);
    try {
      await host.call('pids');
    } catch (error) {
      await host[Symbol.asyncDispose]();
      throw error;
    }
    return host;
  }

  async call(method: string, value?: unknown): Promise<unknown> {
    this.#signal.throwIfAborted();
    const id = this.#calls++;
    return await new Promise((resolve, reject) => {
      const abort = (): void => {
        settle();
        reject(this.#signal.reason as Error);
      };
      const overdue = setTimeout(() => {
        settle();
        reject(new Error(`no answer to '${method}' in ${patience / 1_000} s`));
      }, patience);
      const settle = (): void => {
        clearTimeout(overdue);
        this.#signal.removeEventListener('abort', abort);
        this.#waiting.delete(id);
      };
      this.#signal.addEventListener('abort', abort);
      this.#waiting.set(id, {
        resolve: (result) => {
          settle();
          resolve(result);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
      this.#process.send({id, method, value});
    });
  }

  /** Lets the host stop what it runs; kills it when it does not. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.connected) this.#process.disconnect();
    const overdue = setTimeout(() => this.#process.kill('SIGKILL'), 15_000);
    await this.#ended;
    clearTimeout(overdue);
  }
}
