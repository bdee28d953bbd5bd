import {spawn} from 'node:child_process';
import type {Writable} from 'node:stream';
import type {Level} from './level.js';

/** Milliseconds that a line waits for others, so that one logger(1) sends them all. */
const gathering = 30;

/** And at the end for that one to send them. */
const patience = 1_000;

/** So many lines wait while logger(1) hangs; then the oldest go. */
const most = 1_000;

/**
 * syslog, facility user, through logger(1): Node.js has no way to it. The lines go on its standard input, one process
 * after the other so that they stay in order.
 */
export class Syslog {
  readonly #lines: {readonly level: Level; readonly text: string}[] = [];
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;

  send(level: Level, text: string): void {
    this.#lines.push({level, text});
    if (this.#lines.length > most) this.#lines.shift();
    this.#timer ??= setTimeout(() => {
      this.#begin();
    }, gathering).unref();
  }

  /** Sends what is left; resolves when it is sent, or after a while. */
  async flush(): Promise<void> {
    this.#begin();
    let timer: NodeJS.Timeout | undefined;
    const enough = new Promise<void>((resolve) => (timer = setTimeout(resolve, patience)));
    await Promise.race([this.#sending, enough]);
    clearTimeout(timer);
  }

  #begin(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sending ??= this.#sendAll().finally(() => (this.#sending = undefined));
  }

  async #sendAll(): Promise<void> {
    while (this.#lines.length > 0) {
      const level = this.#lines[0]?.level ?? 'info';
      const other = this.#lines.findIndex((line) => line.level !== level);
      const batch = this.#lines.splice(0, other < 0 ? this.#lines.length : other);
      await log(level, batch.map(({text}) => `${text}\n`).join(''));
    }
  }
}

/** Where there is no logger(1), no syslog, or no process to be had, the lines are lost. */
async function log(level: Level, text: string): Promise<void> {
  return new Promise((resolve) => {
    try {
      const logger = spawn('logger', ['-t', `autossh[${String(process.pid)}]`, '-p', `user.${level}`], {
        stdio: ['pipe', 'ignore', 'ignore'],
      });
      logger.on('error', () => {
        resolve();
      });
      logger.once('close', () => {
        resolve();
      });
      // Without a free descriptor there is none, and an error follows.
      const stdin = logger.stdin as Writable | null;
      stdin?.on('error', () => undefined);
      stdin?.end(text);
    } catch {
      resolve();
    }
  });
}
