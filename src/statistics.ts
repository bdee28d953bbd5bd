import type {Outcome} from './errors.js';
import type {Traffic} from './front/fronts.js';
import type {Forward} from './ssh/forward.js';
import type {StateName} from './state.js';

/** What {@link AutoSSH.stats} gives: plain JSON. Times are milliseconds. */
export interface AutoSSHStats {
  /** Where the tunnel is, as `tunnel.state`. */
  readonly state: StateName;
  /** How often ssh has been started. */
  readonly starts: number;
  /** How often it was started again: a standby, and a start after idleness, count too. */
  readonly restarts: number;
  /** How long the tunnel has been up without a break; 0 when it is not. */
  readonly uptime: number;
  /** The beats since the tunnel was started, over all its ssh processes; ssh's own keep-alives are not among them. */
  readonly heartbeats: {
    /** How many went out. */
    readonly sent: number;
    /** How many of them came back, too late ones included. */
    readonly answered: number;
    /** How many did not come back within `heartbeat.timeout`. */
    readonly missed: number;
    /** Of the last beat that came back; `null` before the first. */
    readonly lastRtt: number | null;
    /** Smoothed as TCP does it, an eighth of each new one (RFC 6298); `null` before the first. */
    readonly smoothedRtt: number | null;
  };
  /** How the last ssh ended; `null` before the first end. */
  readonly lastOutcome: Outcome | null;
  /** The forwards as they were last bound: `tunnel.forwards`. */
  readonly forwards: readonly ForwardStats[];
  /** Connections for which ssh could not reach the target; of steady forwards each `connection-end` tells more. */
  readonly targetFailures: number;
}

/** One forward in {@link AutoSSHStats}. */
export interface ForwardStats extends Forward {
  /** Whether a ready ssh serves it now; a steady one listens all the time. */
  readonly bound: boolean;
  /** Its connections; `null` for a direct forward, whose connections only ssh knows. */
  readonly connections: Traffic | null;
}

/** The weight of a new round trip time in the smoothed one. */
const smoothing = 1 / 8;

/** Counts what {@link AutoSSHStats} tells. */
export class Statistics {
  starts = 0;
  sent = 0;
  answered = 0;
  missed = 0;
  targetFailures = 0;
  lastOutcome: Outcome | null = null;
  #lastRtt: number | null = null;
  #smoothedRtt: number | null = null;

  answer(rtt: number): void {
    this.answered++;
    this.#lastRtt = rtt;
    this.#smoothedRtt = this.#smoothedRtt === null ? rtt : this.#smoothedRtt + smoothing * (rtt - this.#smoothedRtt);
  }

  report(
    state: StateName,
    uptime: number,
    forwards: readonly Forward[],
    traffic: readonly (Traffic | null)[],
  ): AutoSSHStats {
    const {starts, sent, answered, missed, targetFailures, lastOutcome} = this;
    return {
      state,
      starts,
      restarts: Math.max(0, starts - 1),
      uptime,
      heartbeats: {sent, answered, missed, lastRtt: this.#lastRtt, smoothedRtt: this.#smoothedRtt},
      lastOutcome,
      forwards: forwards.map((one, index) => ({...one, bound: state === 'up', connections: traffic[index] ?? null})),
      targetFailures,
    };
  }
}
