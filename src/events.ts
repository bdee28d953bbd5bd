import type {AutoSSHError, Outcome} from './errors.js';
import type {Forward} from './ssh/forward.js';
import type {StateName, StopReason} from './state.js';

/** What a `warning` is about. */
export type WarningCode =
  /** The server allows no loop of forwards: the heartbeat goes on as ssh's own keep-alives. */
  | 'WARN_AUTOSSH_HEARTBEAT_DEGRADED'
  /** The heartbeat's `remotePort` is held by something else on the server: another is used. */
  | 'WARN_AUTOSSH_HEARTBEAT_PORT'
  /** ssh could not connect a client to its target; the tunnel itself is well. */
  | 'WARN_AUTOSSH_TARGET'
  /** The spare ssh cannot be had any more; the first one goes on. */
  | 'WARN_AUTOSSH_STANDBY';

/** The payload of each event. */
export interface AutoSSHEventPayloads {
  /** Every change of state. */
  state: {readonly from: StateName; readonly to: StateName};
  /** ssh was spawned; `command` is for people, secrets out. */
  start: {readonly starts: number; readonly pid: number; readonly command: string};
  /**
   * The tunnel is proven ready: its forwards are bound and, where there is a heartbeat, the first beat came back.
   * `elapsed` is in milliseconds since ssh was spawned.
   */
  connect: {
    readonly starts: number;
    readonly pid: number;
    readonly elapsed: number;
    readonly forwards: readonly Forward[];
  };
  /** A beat came back after `rtt` milliseconds; `beats` have so far. */
  heartbeat: {readonly rtt: number; readonly beats: number};
  /** A beat did not come back for `waited` milliseconds: the `misses`-th in a row. */
  'heartbeat-miss': {
    readonly misses: number;
    readonly maxMisses: number;
    readonly waited: number;
    readonly reason: 'timeout' | 'closed';
  };
  /** A ready ssh ended after `uptime` milliseconds. */
  disconnect: {readonly outcome: Outcome; readonly uptime: number};
  /** A new ssh will be started after `delay` milliseconds: the `attempt`-th restart of this outage. */
  restart: {readonly outcome: Outcome; readonly attempt: number; readonly delay: number};
  /** A connection through a steady forward was connected with the tunnel, after it was held for `held` milliseconds. */
  connection: {readonly id: number; readonly forward: string; readonly held: number};
  /**
   * A connection through a steady forward has ended, after `duration` milliseconds; `cause` is why the server could not
   * reach the target.
   */
  'connection-end': {
    readonly id: number;
    readonly forward: string;
    readonly end: 'finished' | 'cut' | 'client-gone' | 'refused' | 'gave-up' | 'target-failed';
    readonly duration: number;
    readonly bytesSent: number;
    readonly bytesReceived: number;
    readonly cause?: string;
  };
  /** Something to know that stops nothing. */
  warning: {readonly code: WarningCode; readonly message: string};
  /** A line of ssh's stderr. */
  stderr: {readonly line: string};
  /** The tunnel has ended and will not be restarted. */
  fatal: AutoSSHError;
  /** The last event, exactly once. */
  stop: {readonly reason: StopReason; readonly error?: AutoSSHError};
}

/** The listeners' signatures, for eventemitter3. */
export type AutoSSHEvents = {
  [Name in keyof AutoSSHEventPayloads]: (payload: AutoSSHEventPayloads[Name]) => void;
};
