import {Alarm} from './clock.js';
import type {Outcome} from './errors.js';
import type {Connection} from './front/connection.js';
import type {ConnectionEnd} from './front/exchange.js';
import {Fronts, type Traffic} from './front/fronts.js';
import {canOverlap} from './front/options.js';
import type {TunnelStream} from './front/stream.js';
import type {Settings} from './options.js';
import type {Warning} from './events.js';
import {Provision} from './provision.js';
import {Series, type SeriesListener} from './series.js';
import type {Ready, Session} from './session.js';
import type {Forward} from './ssh/forward.js';

/** What a service tells. `isUp`: another ssh serves. */
export interface ServiceListener {
  readonly onSpawn: (session: Session, isUp: boolean) => void;
  readonly onReady: (session: Session, ready: Ready) => void;
  readonly onEnd: (outcome: Outcome, isUp: boolean) => void;
  readonly onWait: (wait: Parameters<SeriesListener['onWait']>[0], isUp: boolean) => void;
  readonly onWarning: (warning: Warning) => void;
  readonly onLine: (line: string) => void;
  readonly onSend: () => void;
  readonly onBeat: (rtt: number) => void;
  readonly onMiss: (miss: Parameters<SeriesListener['onMiss']>[1]) => void;
  readonly onTargetFailed: (detail: string) => void;
  readonly onConnection: (connection: Connection) => void;
  readonly onConnectionEnd: (connection: Connection, end: ConnectionEnd) => void;
  /** The listeners of ours are there; ssh is started when somebody connects. */
  readonly onDormant: (listening: readonly Forward[]) => void;
}

/** One tunnel at work: its listeners, and the one or two series of ssh behind them. */
export class Service {
  readonly #settings: Settings;
  readonly #listener: ServiceListener;
  readonly #signal: AbortSignal;
  readonly #fronts: Fronts;
  readonly #ready = new Set<Session>();
  readonly #idle = new Alarm();

  #provision: Provision | undefined;
  #first: Series | undefined;
  #standby: Series | undefined;
  /** How the standby's series ends; it never rejects. */
  #standbyEnd: Promise<Error> | undefined;

  constructor(settings: Settings, listener: ServiceListener, signal: AbortSignal) {
    this.#settings = settings;
    this.#listener = listener;
    this.#signal = signal;
    this.#fronts = new Fronts(settings.forwards, settings, {
      onConnection: listener.onConnection,
      onConnectionEnd: listener.onConnectionEnd,
      onCome: () => {
        this.#idle.stop();
        this.wake();
      },
      onIdle: () => {
        this.#awaitIdleness();
      },
    });
  }

  /** Of the ssh that new connections go to, or that is being started. */
  get pid(): number | undefined {
    const [serving] = this.#ready;
    return (serving ?? this.#first?.session)?.pid;
  }

  /** Starts ssh if it waits for somebody to want it. */
  wake(): void {
    this.#first?.unpark();
  }

  /**
   * Runs until the end, and leaves nothing behind.
   *
   * @throws AutoSSHError why there will be no other ssh; after an abort of the signal that error says nothing
   */
  async run(): Promise<never> {
    const {lazy} = this.#settings;
    try {
      const provision = (this.#provision = new Provision(this.#settings));
      // Before anybody can come who wakes it.
      const first = (this.#first = this.#makeSeries(provision, lazy));
      if (lazy) first.park('');
      await this.#fronts.open();
      await provision.prepare();
      this.#signal.throwIfAborted();
      for (const warning of provision.warnings()) this.#listener.onWarning(warning);
      if (lazy) this.#listener.onDormant(this.#reported(this.#settings.forwards));
      return await this.#outlast(first);
    } finally {
      this.#idle.stop();
      this.#fronts.close();
      const standby = this.#standby;
      this.#standby = undefined;
      standby?.end('The tunnel has ended');
      await this.#standbyEnd;
      await this.#fronts.emptied();
      await this.#provision?.close();
    }
  }

  /** Runs the first series; when that gives up and another serves, that is the first from then on. */
  async #outlast(first: Series): Promise<never> {
    let end: Promise<Error> = first.run().catch(toError);
    for (;;) {
      const error = await end;
      const [standby, standbyEnd] = [this.#standby, this.#standbyEnd];
      const serves = standby?.session && this.#ready.has(standby.session);
      if (this.#signal.aborted || !standby || !standbyEnd || !serves) throw error;
      this.#first = standby;
      end = standbyEnd;
      this.#standby = this.#standbyEnd = undefined;
      this.#loseStandby(error);
    }
  }

  /** Ends every ssh. */
  halt(message: string): void {
    this.#idle.stop();
    this.#first?.end(message);
    this.#standby?.end(message);
  }

  /** Takes no new connections, and gives the open ones so many milliseconds to finish. */
  async drain(milliseconds: number, signal: AbortSignal): Promise<void> {
    await this.#fronts.drain(milliseconds, signal);
  }

  /**
   * Replaces ssh, with a new one beside it where the forwards allow that.
   *
   * @returns whether it has been replaced already; `false`: the next ready ssh is its replacement
   * @throws AutoSSHError if the new one failed; the old one stays
   */
  async restart(message: string): Promise<boolean> {
    const series = [this.#first, this.#standby].filter((one) => one !== undefined);
    const {heartbeat, forwards} = this.#settings;
    const overlaps = forwards.every(canOverlap) && !(heartbeat && heartbeat.remotePort !== undefined);
    const ready = series.filter((one) => one.session && this.#ready.has(one.session));
    if (overlaps && forwards.length > 0 && ready.length > 0) {
      for (const one of series) if (!ready.includes(one)) one.endLife(message);
      const replaced = await Promise.all(ready.map(async (one) => one.replace(message)));
      return replaced.every(Boolean);
    }
    this.wake();
    for (const one of series) one.endLife(message);
    return false;
  }

  /** Whether new connections are turned away. */
  get isDraining(): boolean {
    return this.#fronts.isDraining;
  }

  /** A stream through a steady forward, without any port. */
  connect(index: number): TunnelStream {
    return this.#fronts.connect(index);
  }

  /** The figures of a steady forward. */
  traffic(index: number): Traffic | undefined {
    return this.#fronts.traffic(index);
  }

  #makeSeries(provision: Provision, pastGate: boolean): Series {
    const {exchange} = this.#fronts;
    const listener = this.#listener;
    return new Series(
      this.#settings,
      provision,
      {
        onSpawn: (session) => {
          listener.onSpawn(session, this.#ready.size > 0);
        },
        onReady: (session, ready) => {
          this.#ready.add(session);
          exchange.offer(session.way);
          listener.onReady(session, {...ready, forwards: this.#reported(ready.forwards)});
          if (this.#fronts.size === 0) this.#awaitIdleness();
          this.#employStandby(provision);
        },
        onReplaced: async (session) => {
          this.#ready.delete(session);
          exchange.withdraw(session.way);
          const patience = new Alarm();
          const over = new Promise<void>((resolve) => {
            patience.set(this.#settings.drainTimeout, resolve);
          });
          await Promise.race([exchange.drained(session.way), over, session.ended]);
          patience.stop();
        },
        onEnd: (session, outcome) => {
          this.#ready.delete(session);
          exchange.withdraw(session.way);
          if (this.#ready.size === 0) this.#idle.stop();
          listener.onEnd(outcome, this.#ready.size > 0);
        },
        onRefusal: (outcome) => {
          listener.onEnd(outcome, this.#ready.size > 0);
        },
        onWait: (wait) => {
          listener.onWait(wait, this.#ready.size > 0);
        },
        onWarning: listener.onWarning,
        onLine: listener.onLine,
        onSend: listener.onSend,
        onBeat: (session, rtt) => {
          exchange.trust(session.way);
          listener.onBeat(rtt);
        },
        onMiss: (session, miss) => {
          exchange.distrust(session.way);
          listener.onMiss(miss);
        },
        onNotice: (session, notice) => {
          if (notice.kind !== 'channel-open-failed') return;
          exchange.targetFailed(session.way, notice.detail);
          listener.onTargetFailed(notice.detail);
        },
      },
      this.#signal,
      pastGate,
    );
  }

  /** Once there is a first ssh, there may be a second. */
  #employStandby(provision: Provision): void {
    const {standby, restart} = this.#settings;
    if (!standby || this.#standby || this.#signal.aborted || provision.starts >= restart.maxStarts) return;
    const second = (this.#standby = this.#makeSeries(provision, true));
    this.#standbyEnd = second.run().catch((error: unknown) => {
      // With the next connect of the first there will be another.
      if (this.#standby === second && !this.#signal.aborted) {
        this.#standby = undefined;
        this.#loseStandby(toError(error));
      }
      return toError(error);
    });
  }

  #loseStandby({message}: Error): void {
    this.#listener.onWarning({
      code: 'WARN_AUTOSSH_STANDBY',
      message: `There is no standby until ssh is next started anew: ${message}`,
    });
  }

  #awaitIdleness(): void {
    if (this.#ready.size === 0) return;
    this.#idle.set(this.#settings.idleTimeout, () => {
      if (this.#first?.isReplacing) this.#awaitIdleness();
      else this.#first?.park('Nothing went through the tunnel for `idleTimeout`');
    });
  }

  #reported(bound: readonly Forward[]): readonly Forward[] {
    return Object.freeze(
      bound.map((forward, index) => {
        const listen = this.#fronts.addressOf(index);
        return listen ? Object.freeze({...forward, listen}) : forward;
      }),
    );
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
