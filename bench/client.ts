import {connect, type Socket} from 'node:net';
import {setTimeout as delay} from 'node:timers/promises';
import {outage, type Attempt, type Outage} from './outage.js';

/** How long one connection waits for its echo before the client gives it up. */
const patience = 6_000;

/**
 * A client of a tunnel that opens a new connection through the forward at a fixed pace, whether or not those before it
 * were answered, sends a few bytes and waits for their echo.
 */
export class Client implements Disposable {
  readonly #port: number;
  readonly #attempts: Attempt[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #timer: NodeJS.Timeout;

  constructor(port: number, pace = 5) {
    this.#port = port;
    this.#timer = setInterval(() => {
      this.#attempt();
    }, pace);
  }

  /** Resolves with what the client saw of a fault at the time `fault`; with `undefined` when it is not over in `bound`. */
  async recovered(fault: number, bound: number, signal: AbortSignal): Promise<Outage | undefined> {
    const end = fault + bound;
    for (;;) {
      const seen = outage(this.#attempts, fault);
      if (seen !== undefined) return seen.lasted > bound ? undefined : seen;
      if (performance.now() > end + 1_000) return undefined;
      await delay(25, undefined, {signal});
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    for (const socket of this.#sockets) socket.destroy();
  }

  #attempt(): void {
    const attempt: Attempt = {begun: performance.now()};
    this.#attempts.push(attempt);
    const message = `${this.#attempts.length}\n`;
    let answer = '';
    const socket = connect({host: '127.0.0.1', port: this.#port, noDelay: true});
    this.#sockets.add(socket);
    const end = (): void => {
      this.#sockets.delete(socket);
      socket.destroy();
      if (attempt.echoed === undefined) attempt.failed ??= performance.now();
    };
    socket.setTimeout(patience, end);
    socket.on('error', end).on('close', end);
    socket.on('data', (bytes: Buffer) => {
      answer += bytes.toString('latin1');
      if (answer === message) attempt.echoed ??= performance.now();
      if (answer.length >= message.length) end();
    });
    socket.write(message);
  }
}
