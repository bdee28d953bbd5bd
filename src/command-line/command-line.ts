/** The ports of autossh's heartbeat. */
export interface Monitor {
  /** On this machine, and without an echo service at the server too. */
  readonly port: number;
  /** Of an echo service, as seen from the server. */
  readonly echoPort?: number;
  /** Nobody has named one: it was chosen, because it is free. */
  readonly chosen: boolean;
}

/** A command line of autossh and its environment, read. Times are milliseconds. */
export interface CommandLine {
  /** What is to be done: run a tunnel, or something that ends by itself. */
  readonly action: 'run' | 'status' | 'doctor' | 'completion' | 'help' | 'version';
  /** The program (`AUTOSSH_PATH`). */
  readonly sshPath: string;
  /** What ssh gets, the forwards of the heartbeat in front. */
  readonly sshArguments: readonly string[];
  /** The first of what is no option; `''` where none is needed. */
  readonly destination: string;
  /** What follows it. */
  readonly remoteCommand: readonly string[];
  /** The ports of the heartbeat (`-M`); absent: there is none. */
  readonly monitor?: Monitor;
  /** `-f`. */
  readonly background: boolean;
  /** `AUTOSSH_POLL`. */
  readonly poll: number;
  /** `AUTOSSH_FIRST_POLL`. */
  readonly firstPoll: number;
  /** For one answer to a beat: 15 s, at most half of the poll time. */
  readonly netTimeout: number;
  /** `AUTOSSH_GATETIME`; 0 with `-f`. */
  readonly gateTime: number;
  /** `AUTOSSH_MAXSTART`; -1: no limit. */
  readonly maxStart: number;
  /** `AUTOSSH_MAXLIFETIME`; 0: none. */
  readonly maxLifetime: number;
  /** `AUTOSSH_MESSAGE`. */
  readonly message: string;
  /** `AUTOSSH_PIDFILE`. */
  readonly pidFile?: string;
  /** `AUTOSSH_LOGFILE`. */
  readonly logFile?: string;
  /** syslog's, 0 to 7. */
  readonly logLevel: number;
  /** `AUTOSSH_DEBUG`: the log goes to stderr as well. */
  readonly debug: boolean;
  /** One JSON object a line. */
  readonly jsonLog: boolean;
  /** Whether an ssh-agent is started where none is running. */
  readonly agent: boolean;
  /** Whose completions are asked for. */
  readonly shell?: 'bash' | 'zsh' | 'fish';
  /** What autossh logs about all this before it starts ssh. */
  readonly notes: readonly string[];
}
