import {Alarm, now} from '../clock.js';
import {type BridgeEnd, bridge} from './bridge.js';
import {type Client, Connection} from './connection.js';
import {type Way, enter} from './way.js';

/** What an exchange tells. */
export interface ExchangeListener {
  readonly onOpen: (connection: Connection) => void;
  readonly onEnd: (connection: Connection, end: ConnectionEnd) => void;
  /** One that was open is so no more, and is led elsewhere. */
  readonly onReturn: (connection: Connection) => void;
  /** A connection found no ready ssh. */
  readonly onHold: (connection: Connection) => void;
}

/** How a connection ended; one that was `'refused'` or `'gave-up'` was never joined with the tunnel. */
export type ConnectionEnd = Exclude<BridgeEnd, 'unread'> | 'refused' | 'gave-up' | 'target-failed';

/** How long and how many connections wait for a ready ssh. */
export interface ExchangeSettings {
  readonly holdTimeout: number;
  readonly maxHeld: number;
}

/** ssh says that a target failed, and closes the connection at about the same time; so long one waits for the other. */
const tellingTime = 50;

/** That a target failed, which no connection has been found for yet. */
interface Refusal {
  readonly way: Way;
  readonly why: string;
  readonly saidAt: number;
}

/** A tunnel that works proves that in less, in milliseconds. */
const suspicious = 1_000;

/** So many of those that ssh had no room for try again at a time, and every so many milliseconds. */
const perTurn = 32;
const turnTime = 2;
/** Less and less often, up to so many milliseconds, as long as it has room for none. */
const longestTurn = 50;
/** So long each tries at least. */
const leastTurns = 1_000;

/** Without a heartbeat nothing tells when a way leads somewhere again: it is tried anew after so many milliseconds. */
const breather = 20;

async function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    new Alarm().set(milliseconds, resolve);
  });
}

/** Where every connection of the tunnel's own listeners is served by the ssh of the moment, or waits for the next. */
export class Exchange {
  readonly #settings: ExchangeSettings;
  readonly #listener: ExchangeListener;
  readonly #ways = new Set<Way>();
  readonly #distrusted = new Set<Way>();
  readonly #held = new Map<Connection, () => void>();
  readonly #open = new Set<Connection>();
  /** Those that a way has to prove itself alive to, with the time they began to wait for that, oldest first. */
  readonly #entering = new Map<Connection, number>();
  readonly #drained = new Map<Way, () => void>();
  #refusals: Refusal[] = [];
  /** Connections that were closed without a word, and want to know why. */
  readonly #asking = new Map<Connection, () => void>();
  /** Those that ssh has no room for at the moment, as long as it accepts others. */
  readonly #turns: (() => void)[] = [];
  readonly #turn = new Alarm();
  #pace = turnTime;
  #count = 0;
  #isClosed = false;

  constructor(settings: ExchangeSettings, listener: ExchangeListener) {
    this.#settings = settings;
    this.#listener = listener;
  }

  get connections(): Iterable<Connection> {
    return this.#open;
  }

  /** A ready ssh: what waits is served by it, and what comes if it is the first. */
  offer(way: Way): void {
    this.#ways.add(way);
    this.trust(way);
  }

  /** It has missed a beat: new connections go elsewhere, or wait. */
  distrust(way: Way): void {
    if (this.#ways.has(way)) this.#distrusted.add(way);
  }

  /** It has answered again. */
  trust(way: Way): void {
    this.#distrusted.delete(way);
    if (!this.#currentWay()) return;
    for (const wake of [...this.#held.values()]) wake();
  }

  /** No new connection goes through it any more. */
  withdraw(way: Way): void {
    this.#ways.delete(way);
    this.#distrusted.delete(way);
  }

  /** Resolves when no connection goes through a withdrawn way any more. */
  async drained(way: Way): Promise<void> {
    if (![...this.#open].some((one) => one.way === way)) return;
    return new Promise((resolve) => this.#drained.set(way, resolve));
  }

  /**
   * The server could not connect somebody to a target. ssh does not say whom: whose connection it closes without a word,
   * in the same order.
   */
  targetFailed(way: Way, why: string): void {
    this.#refusals.push({way, why, saidAt: now()});
    for (const [one, answer] of this.#asking) {
      if (one.way !== way) continue;
      answer();
      return;
    }
  }

  /** Serves a client, now or when it can. */
  accept(forward: number, client: Client): void {
    const connection = new Connection(++this.#count, forward, client);
    void this.#serve(connection);
  }

  /** No connection is served any more; what waits is refused. */
  close(): void {
    this.#isClosed = true;
    for (const wake of [...this.#held.values(), ...this.#asking.values(), ...this.#turns.splice(0)]) wake();
  }

  /** Cuts every connection off. */
  cutAll(): void {
    for (const one of this.#open) one.refuse();
  }

  async #serve(connection: Connection): Promise<void> {
    let isLost = this.#isCrowded();
    let busySince: number | undefined;
    for (;;) {
      const way = isLost || connection.isGone ? undefined : (this.#currentWay() ?? (await this.#hold(connection)));
      if (!way) {
        this.#listener.onEnd(connection, endUnserved(connection));
        connection.refuse();
        return;
      }
      connection.held = now() - connection.since;
      connection.way = way;
      this.#open.add(connection);
      this.#entering.set(connection, now());
      const upstream = await enter(way, connection.forward);
      this.#entering.delete(connection);
      if (upstream && upstream !== 'busy' && !connection.isGone) {
        connection.upstream = upstream;
        connection.stuckAt = busySince = undefined;
        this.#pace = turnTime;
        this.#listener.onOpen(connection);
        connection.wasServed = true;
        if (await this.#join(connection, way)) return;
        this.#listener.onReturn(connection);
        connection.upstream = undefined;
        this.#leave(connection);
        continue;
      }
      this.#leave(connection);
      if (upstream === 'busy') {
        busySince ??= now();
        await this.#waitForTurn();
        isLost = now() - busySince > Math.max(this.#settings.holdTimeout, leastTurns);
        continue;
      }
      upstream?.destroy();
      if (!upstream) {
        // It led nowhere: nobody is sent there before it has shown that it does again.
        if (way.beats()) this.#doubt(way);
        else await pause(breather);
      }
      // One that has been led nowhere waits no longer than any other.
      isLost = this.#patienceOf(connection) <= 0;
    }
  }

  /** Whether as many wait as may, those too that wait for a proof which takes suspiciously long. */
  #isCrowded(): boolean {
    const [oldest = Infinity] = this.#entering.values();
    return now() - oldest > suspicious && this.#held.size + this.#entering.size >= this.#settings.maxHeld;
  }

  /** Trusts it again when it answers, and does not wait for the next regular beat to ask it. */
  #doubt(way: Way): void {
    if (!this.#ways.has(way) || this.#distrusted.has(way)) return;
    this.distrust(way);
    void pause(breather)
      .then(way.probe)
      .then((alive) => {
        if (alive) this.trust(way);
      });
  }

  /** Until ssh has accepted some of those before it; a few at a time, or else all would ask in vain over and over. */
  async #waitForTurn(): Promise<void> {
    return new Promise((resolve) => {
      this.#pace = Math.min(this.#pace * 2, longestTurn);
      if (this.#isClosed) resolve();
      else if (this.#turns.push(resolve) === 1) this.#giveTurns();
    });
  }

  #giveTurns(): void {
    this.#turn.set(this.#pace, () => {
      for (const go of this.#turns.splice(0, perTurn)) go();
      if (this.#turns.length > 0) this.#giveTurns();
    });
  }

  /** Serves it to its end. `false`: ssh ended and had read nothing of it. */
  async #join(connection: Connection, way: Way): Promise<boolean> {
    const {upstream} = connection;
    if (!upstream) return false;
    let asked: Promise<void> | undefined;
    const end = await bridge(connection, upstream, way, () => {
      asked = this.#ask(connection);
    });
    if (end === 'unread') return false;
    await asked;
    this.#leave(connection);
    const how = connection.isRefused && end === 'client-gone' ? 'cut' : end;
    this.#listener.onEnd(connection, connection.refusal === undefined ? how : 'target-failed');
    return true;
  }

  /** Finds out why a connection was closed without a word. */
  async #ask(connection: Connection): Promise<void> {
    connection.refusal = this.#takeRefusal(connection);
    if (connection.refusal === undefined) {
      const patience = new Alarm();
      await new Promise<void>((resolve) => {
        this.#asking.set(connection, resolve);
        patience.set(tellingTime, resolve);
      });
      patience.stop();
      this.#asking.delete(connection);
      connection.refusal = this.#takeRefusal(connection);
    }
  }

  #takeRefusal({way}: Connection): string | undefined {
    this.#refusals = this.#refusals.filter(({saidAt}) => now() - saidAt < tellingTime);
    const index = this.#refusals.findIndex((one) => one.way === way);
    return index < 0 ? undefined : this.#refusals.splice(index, 1)[0]?.why;
  }

  #leave(connection: Connection): void {
    this.#open.delete(connection);
    const {way} = connection;
    if (!way || !this.#drained.has(way) || [...this.#open].some((one) => one.way === way)) return;
    this.#drained.get(way)?.();
    this.#drained.delete(way);
  }

  #currentWay(): Way | undefined {
    if (this.#isClosed) return undefined;
    for (const way of this.#ways) if (!this.#distrusted.has(way) && way.isOpen()) return way;
    return undefined;
  }

  /** So long it may still wait. */
  #patienceOf(connection: Connection): number {
    // Not since it came: the way that it was to enter may have taken its time to prove dead.
    connection.stuckAt ??= now();
    return connection.stuckAt + this.#settings.holdTimeout - now();
  }

  /** Waits for a way. `undefined`: there was none in time, too many wait already, or the client has given up. */
  async #hold(connection: Connection): Promise<Way | undefined> {
    const left = this.#patienceOf(connection);
    if (this.#isClosed || connection.isGone || left <= 0 || this.#held.size >= this.#settings.maxHeld) return undefined;
    this.#listener.onHold(connection);
    const patience = new Alarm();
    return new Promise((resolve) => {
      const settle = (): void => {
        this.#held.delete(connection);
        patience.stop();
        connection.release();
        resolve(connection.isGone ? undefined : this.#currentWay());
      };
      this.#held.set(connection, settle);
      patience.set(Math.ceil(left), settle);
      connection.hold(settle);
    });
  }
}

/** How one ended that there is no ssh for. */
function endUnserved({isGone, isRefused, wasServed}: Connection): ConnectionEnd {
  if (isGone && !isRefused) return wasServed ? 'client-gone' : 'gave-up';
  return wasServed ? 'cut' : 'refused';
}
