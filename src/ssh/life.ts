import type {HeartbeatSettings} from '../heartbeat/options.js';
import type {Address, Forward} from './forward.js';

/** What one ssh gets to log in with, and to know the server by. */
export interface Login {
  /** `-o`, unless the host's own `sshOptions` say something else. */
  readonly options: readonly (readonly [name: string, value: string])[];
  /** Arguments that stand beside whatever else there is of their kind. */
  readonly words: readonly string[];
}

/** What one life of ssh has of its own. */
export interface Life {
  /** The user's forwards, local ports filled in. */
  readonly forwards: readonly Forward[];
  /**
   * A private socket that ssh binds after the user's local forwards, and what it leads to on the server's side;
   * `undefined`: it is a SOCKS proxy, which ssh answers by itself.
   */
  readonly marker: {readonly socket: string; readonly target: Address | undefined};
  /** The way back of a forward-loop: a port at the server that leads to a private socket on this side. */
  readonly loop: {readonly port: number; readonly socket: string} | undefined;
  /** ssh's own keep-alives, in seconds; `undefined`: as configured. */
  readonly keepAlive: {readonly interval: number; readonly countMax: number} | undefined;
  /** The server's port of autossh's loop, where it is not the one in the raw command line; 0: there is no loop any more. */
  readonly monitorRemote: number | undefined;
  /** Options of {@link defence} that this ssh does not know. */
  readonly unknownOptions: ReadonlySet<string>;
  /** How ssh logs in, and how it gets there. */
  readonly equipment: Login;
}

/** ssh's own keep-alives beside a heartbeat: only the second net, so not before this many seconds. */
const slowKeepAlive = 15;

/** What a life is planned from. */
export interface LifeOptions {
  /** The user's forwards, local ports filled in. */
  readonly forwards: readonly Forward[];
  readonly heartbeat: HeartbeatSettings | false;
  /** The port of a forward-loop at the server. */
  readonly loopPort: number;
  /** {@link Life.monitorRemote}. */
  readonly monitorRemote: number | undefined;
  /** Our own options that this ssh does not know. */
  readonly unknownOptions: ReadonlySet<string>;
  readonly equipment: Login;
}

/** Plans a life whose private sockets are `wayOut` and, for a forward-loop, `wayBack`. */
export function planLife(options: LifeOptions, wayOut: string, wayBack: string): Life {
  const {heartbeat, loopPort, monitorRemote, forwards, unknownOptions, equipment} = options;
  return {
    forwards,
    marker: {socket: wayOut, target: markerTarget(options)},
    loop: heartbeat && heartbeat.mode === 'forward-loop' ? {port: loopPort, socket: wayBack} : undefined,
    monitorRemote,
    keepAlive: heartbeat ? keepAlive(heartbeat) : undefined,
    unknownOptions,
    equipment,
  };
}

function markerTarget({heartbeat, loopPort, forwards}: LifeOptions): Address | undefined {
  if (heartbeat && heartbeat.mode === 'forward-loop') return {host: '127.0.0.1', port: loopPort};
  if (heartbeat && heartbeat.mode === 'echo-port') return {host: heartbeat.echoHost, port: heartbeat.echoPort};
  // A directory: the server refuses it without touching its network.
  return forwards.some((one) => one.type === 'remote') ? {path: '/'} : undefined;
}

function keepAlive({mode, interval, timeout, maxMisses}: HeartbeatSettings): Life['keepAlive'] {
  const bound = mode === 'server-alive' ? interval : interval + timeout * maxMisses;
  if (bound === Infinity || maxMisses === Infinity) return undefined;
  if (mode === 'server-alive') return {interval: seconds(interval), countMax: Math.min(maxMisses, longest)};
  return {interval: Math.max(slowKeepAlive, seconds(bound / 3)), countMax: 3};
}

/** Seconds: ssh counts milliseconds in 32 bits. */
const longest = 2_147_483;

/** Whole seconds, as ssh counts them; at least one, because 0 means never to it. */
export function seconds(milliseconds: number): number {
  return Math.min(Math.max(1, Math.ceil(milliseconds / 1000)), longest);
}
