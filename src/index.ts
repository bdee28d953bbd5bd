export {AutoSSH} from './autossh.js';
export type {CommandLine, Monitor} from './command-line/command-line.js';
export {CommandLineError} from './command-line/error.js';
export {type LongOption, longOptions} from './command-line/long-options.js';
export {optionsFromCommandLine, parseCommandLine, tunnelOptions} from './command-line/options-from-command-line.js';
export {AutoSSHError, type AutoSSHErrorCode, type AutoSSHErrorFacts, type Outcome, type Stage} from './errors.js';
export type {AutoSSHEventPayloads, AutoSSHEvents, WarningCode} from './events.js';
export type {Traffic} from './front/fronts.js';
export type {FrontOptions} from './front/options.js';
export type {TunnelStream} from './front/stream.js';
export type {HeartbeatOptions} from './heartbeat/options.js';
export type {AutoSSHOptions} from './options.js';
export type {RestartContext, RestartOptions} from './restart/options.js';
export {SSHAgent, agentAnswers, type SSHAgentOptions} from './ssh/agent.js';
export type {KeyOptions, LoginOptions, Secret, SecretContext} from './ssh/credential-options.js';
export type {
  Address,
  DynamicForward,
  Endpoint,
  Forward,
  ForwardOption,
  LocalForward,
  RemoteForward,
} from './ssh/forward.js';
export type {HostKeyOptions} from './ssh/host-key.js';
export type {JumpHost} from './ssh/jump.js';
export type {StateName, StopReason} from './state.js';
export type {AutoSSHStats, ForwardStats} from './statistics.js';
