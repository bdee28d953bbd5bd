export {AutoSSH} from './autossh.js';
export {AutoSSHError, type AutoSSHErrorCode, type AutoSSHErrorFacts, type Outcome, type Stage} from './errors.js';
export type {AutoSSHEventPayloads, AutoSSHEvents, WarningCode} from './events.js';
export type {Traffic} from './front/fronts.js';
export type {FrontOptions} from './front/options.js';
export type {TunnelStream} from './front/stream.js';
export type {HeartbeatOptions} from './heartbeat/options.js';
export type {AutoSSHOptions} from './options.js';
export type {RestartContext, RestartOptions} from './restart/options.js';
export type {
  Address,
  DynamicForward,
  Endpoint,
  Forward,
  ForwardOption,
  LocalForward,
  RemoteForward,
} from './ssh/forward.js';
export type {StateName, StopReason} from './state.js';
export type {AutoSSHStats, ForwardStats} from './statistics.js';
