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
  | 'WARN_AUTOSSH_STANDBY'
  /** No ssh-agent answers where `SSH_AUTH_SOCK` or `agent` says; ssh does without. */
  | 'WARN_AUTOSSH_AGENT'
  /** Raw options switch the check of the server's host key off, or a new key that was accepted is kept nowhere: anybody in between can be the server. */
  | 'WARN_AUTOSSH_HOST_KEY_UNCHECKED';

/** The payload of each event. */
export interface AutoSSHEventPayloads {
  /** Every change of state. */
  state: {
    /** The state it was in. */
    readonly from: StateName;
    /** The one it is in now, as `tunnel.state` says already. */
    readonly to: StateName;
  };
  /** ssh was spawned. */
  start: {
    /** Which ssh of this tunnel it is, from 1. */
    readonly starts: number;
    /** Its process id; that of its process group too, unless `stdio` is `'inherit'`. */
    readonly pid: number;
    /** Its command line for people to read, quoted as for a shell, secrets out. */
    readonly command: string;
  };
  /** The tunnel is proven ready: its forwards are bound and, where there is a heartbeat, the first beat came back. */
  connect: {
    /** Which ssh of this tunnel it is, from 1. */
    readonly starts: number;
    /** Its process id. */
    readonly pid: number;
    /** Milliseconds since it was spawned. */
    readonly elapsed: number;
    /** What is bound; a remote port that the server chooses may be another than before. */
    readonly forwards: readonly Forward[];
  };
  /** A beat came back. */
  heartbeat: {
    /** Its round trip time in milliseconds. */
    readonly rtt: number;
    /** How many have come back since the tunnel was started, over all its ssh processes. */
    readonly beats: number;
  };
  /** A beat did not come back in time. */
  'heartbeat-miss': {
    /** How many in a row, this one included. */
    readonly misses: number;
    /** At how many ssh is replaced; `Infinity`: at none. */
    readonly maxMisses: number;
    /** Milliseconds since the beat was sent. */
    readonly waited: number;
    /** `'closed'`: meanwhile its connection through the tunnel was closed; `'timeout'`: nothing came at all. */
    readonly reason: 'timeout' | 'closed';
  };
  /** A ready ssh ended. */
  disconnect: {
    /** How, and why; its `reason` is `'requested'` where this program asked for it. */
    readonly outcome: Outcome;
    /** Milliseconds that it was ready. */
    readonly uptime: number;
  };
  /** A new ssh will be started. */
  restart: {
    /** How the one before ended. */
    readonly outcome: Outcome;
    /** How many failures this outage has had, from 1; one that was asked for is none, so it can be 0. */
    readonly attempt: number;
    /** Milliseconds until then. */
    readonly delay: number;
  };
  /** A connection through a steady forward was joined with the tunnel. */
  connection: {
    /** Its number, from 1. */
    readonly id: number;
    /** The name of the forward. */
    readonly forward: string;
    /** Milliseconds that it had to wait before. */
    readonly held: number;
  };
  /** A connection through a steady forward has ended, or was never served. */
  'connection-end': {
    /** Its number, from 1. */
    readonly id: number;
    /** The name of the forward. */
    readonly forward: string;
    /**
     * `'finished'`: both sides had said all; `'client-gone'`: the client cut it off; `'cut'`: the tunnel lost it;
     * `'target-failed'`: the server could not reach the target; `'refused'`: no ssh was ready in time, or too many waited;
     * `'gave-up'`: the client went while it waited.
     */
    readonly end: 'finished' | 'cut' | 'client-gone' | 'refused' | 'gave-up' | 'target-failed';
    /** Milliseconds since it came. */
    readonly duration: number;
    /** Bytes into the tunnel. */
    readonly bytesSent: number;
    /** Bytes out of the tunnel. */
    readonly bytesReceived: number;
    /** Why the server could not reach the target, in its words. */
    readonly cause?: string;
  };
  /** Something to know that stops nothing. */
  warning: {
    /** What it is about; stable over versions. */
    readonly code: WarningCode;
    /** One sentence for people. */
    readonly message: string;
  };
  /** ssh wrote something to its stderr. */
  stderr: {
    /** One line without its end, and without control characters; a very long one is cut. */
    readonly line: string;
  };
  /** The tunnel has ended and will not be restarted. */
  fatal: AutoSSHError;
  /** The last event, exactly once. */
  stop: {
    /** What ended the tunnel. */
    readonly reason: StopReason;
    /** The one of `fatal`, if `reason` is that. */
    readonly error?: AutoSSHError;
  };
}

/** What the host is told that stops nothing. */
export type Warning = AutoSSHEventPayloads['warning'];

/** The listeners' signatures, for eventemitter3. */
export type AutoSSHEvents = {
  [Name in keyof AutoSSHEventPayloads]: (payload: AutoSSHEventPayloads[Name]) => void;
};
