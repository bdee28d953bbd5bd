import {Alarm, now} from '../clock.js';
import type {AutoSSHError} from '../errors.js';
import {listenerOf} from '../procfs.js';
import {cannotListen} from '../ssh/bind-error.js';
import type {Address, Forward} from '../ssh/forward.js';
import type {Client, Connection} from './connection.js';
import {type ConnectionEnd, Exchange, type ExchangeSettings} from './exchange.js';
import {FrontListener} from './listener.js';
import {type TunnelStream, makeStream} from './stream.js';

/** What the connections of one forward have come to. Times are milliseconds. */
export interface Traffic {
  /** Connections open now. */
  readonly open: number;
  /** Connections that wait for a ready ssh now. */
  readonly waiting: number;
  /** Connections that came, ever. */
  readonly total: number;
  /** Connections that had to wait, ever. */
  readonly held: number;
  /** Connections that were reset without being served, ever. */
  readonly refused: number;
  /** Connections that were cut off, or whose target the server could not reach, ever. */
  readonly failed: number;
  /** Bytes into the tunnel. */
  readonly bytesSent: number;
  /** Bytes out of the tunnel. */
  readonly bytesReceived: number;
  /** The longest that one waited. */
  readonly longestHold: number;
}

/** What the fronts tell. */
export interface FrontsListener {
  readonly onConnection: (connection: Connection) => void;
  readonly onConnectionEnd: (connection: Connection, end: ConnectionEnd) => void;
  /** A connection has come. */
  readonly onCome: () => void;
  /** The last connection has ended. */
  readonly onIdle: () => void;
}

type Count = {-readonly [Name in keyof Traffic]: Traffic[Name]};

/** The listeners that are the library's own, what comes in on them, and where it goes. */
export class Fronts {
  readonly exchange: Exchange;
  readonly #forwards: readonly Forward[];
  readonly #listener: FrontsListener;
  readonly #listeners: FrontListener[] = [];
  readonly #addresses: (Address | undefined)[];
  readonly #counts: Count[];
  /** Those that wait, and since when. */
  readonly #waiting = new Map<Connection, number>();
  #size = 0;
  #onEmpty: (() => void)[] = [];
  #isOpen = false;
  #isDraining = false;

  constructor(forwards: readonly Forward[], settings: ExchangeSettings, listener: FrontsListener) {
    this.#forwards = forwards;
    this.#listener = listener;
    this.#addresses = forwards.map(() => undefined);
    this.#counts = forwards.map(() => ({
      open: 0,
      waiting: 0,
      total: 0,
      held: 0,
      refused: 0,
      failed: 0,
      bytesSent: 0,
      bytesReceived: 0,
      longestHold: 0,
    }));
    this.exchange = new Exchange(settings, {
      onHold: (connection) => {
        this.#held(connection);
      },
      onOpen: (connection) => {
        this.#opened(connection);
      },
      onReturn: ({forward}) => {
        const count = this.#counts[forward];
        if (count) count.open--;
      },
      onEnd: (connection, end) => {
        this.#ended(connection, end);
      },
    });
  }

  /**
   * Listens, for every steady forward.
   *
   * @throws AutoSSHError that names the port and, where that can be known, who holds it
   */
  async open(): Promise<void> {
    for (const [index, forward] of this.#forwards.entries()) {
      if (!forward.steady) continue;
      const listener = new FrontListener(forward.listen, (socket) => {
        socket.unref();
        this.#accept(index, socket);
      });
      this.#listeners.push(listener);
      try {
        this.#addresses[index] = await listener.open();
      } catch (error) {
        throw await taken(forward, error as Error);
      }
    }
    this.#isOpen = true;
  }

  /** Connections that have not ended, be they held or open. */
  get size(): number {
    return this.#size;
  }

  /** Where a steady forward listens. */
  addressOf(index: number): Address | undefined {
    return this.#addresses[index];
  }

  /** A stream through a steady forward, without any port. */
  connect(index: number): TunnelStream {
    const {host, far} = makeStream();
    this.#accept(index, far);
    return host;
  }

  /** The figures of a steady forward. */
  traffic(index: number): Traffic | undefined {
    const count = this.#counts[index];
    if (!count || !this.#forwards[index]?.steady) return undefined;
    const traffic = {...count};
    for (const one of this.exchange.connections) {
      if (one.forward !== index) continue;
      traffic.bytesSent += one.bytesSent;
      traffic.bytesReceived += one.bytesReceived;
    }
    return traffic;
  }

  /** Resolves when every connection has ended. */
  async emptied(): Promise<void> {
    if (this.#size > 0) await new Promise<void>((resolve) => this.#onEmpty.push(resolve));
  }

  /** Whether new connections are turned away. */
  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Takes no new connections, and gives the open ones so many milliseconds to finish. */
  async drain(milliseconds: number, signal: AbortSignal): Promise<void> {
    this.#isDraining = true;
    // One that is closed before it listens would never say so; there is nobody either.
    if (!this.#isOpen) return;
    for (const listener of this.#listeners) listener.close();
    if (this.#size === 0 || milliseconds === 0) return;
    const alarm = new Alarm();
    await new Promise<void>((resolve) => {
      this.#onEmpty.push(resolve);
      alarm.set(milliseconds, resolve);
      signal.addEventListener(
        'abort',
        () => {
          resolve();
        },
        {once: true},
      );
    });
    alarm.stop();
  }

  /** Ends what is left. */
  close(): void {
    this.#isDraining = true;
    for (const listener of this.#listeners) listener.close();
    this.exchange.close();
    this.exchange.cutAll();
  }

  #accept(index: number, client: Client): void {
    const count = this.#counts[index];
    if (count) count.total++;
    this.#size++;
    this.#listener.onCome();
    this.exchange.accept(index, client);
  }

  #held(connection: Connection): void {
    const count = this.#counts[connection.forward];
    if (!count || this.#waiting.has(connection)) return;
    // One that was served before has not waited all the time.
    this.#waiting.set(connection, connection.wasServed ? now() : connection.since);
    count.waiting++;
    count.held++;
  }

  #released(connection: Connection): void {
    const count = this.#counts[connection.forward];
    const since = this.#waiting.get(connection);
    if (!count || since === undefined) return;
    this.#waiting.delete(connection);
    count.waiting--;
    count.longestHold = Math.max(count.longestHold, Math.round(now() - since));
  }

  #opened(connection: Connection): void {
    this.#released(connection);
    const count = this.#counts[connection.forward];
    if (count) count.open++;
    if (!connection.wasServed) this.#listener.onConnection(connection);
  }

  #ended(connection: Connection, end: ConnectionEnd): void {
    this.#released(connection);
    const count = this.#counts[connection.forward];
    if (count) {
      if (connection.upstream) count.open--;
      if (end === 'refused') count.refused++;
      if (end === 'cut' || end === 'target-failed') count.failed++;
      count.bytesSent += connection.bytesSent;
      count.bytesReceived += connection.bytesReceived;
    }
    this.#listener.onConnectionEnd(connection, end);
    this.#size--;
    if (this.#size > 0) return;
    for (const resolve of this.#onEmpty.splice(0)) resolve();
    this.#listener.onIdle();
  }
}

async function taken(forward: Forward, error: NodeJS.ErrnoException): Promise<AutoSSHError> {
  const {port} = forward.listen;
  const holder = port !== undefined && error.code === 'EADDRINUSE' ? await listenerOf(port) : undefined;
  const holds = holder ? `: ${holder.name} (pid ${String(holder.pid)}) listens there` : '';
  return cannotListen(forward, error.message + holds, error);
}
