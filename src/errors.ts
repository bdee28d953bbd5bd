/** The stable codes of {@link AutoSSHError}. */
export type AutoSSHErrorCode =
  | 'ERR_AUTOSSH_SPAWN'
  | 'ERR_AUTOSSH_USAGE'
  | 'ERR_AUTOSSH_HOST_KEY'
  | 'ERR_AUTOSSH_AUTH'
  | 'ERR_AUTOSSH_KEY'
  | 'ERR_AUTOSSH_RESOLVE'
  | 'ERR_AUTOSSH_CONNECT'
  | 'ERR_AUTOSSH_FORWARD'
  | 'ERR_AUTOSSH_TIMEOUT'
  | 'ERR_AUTOSSH_HEARTBEAT'
  | 'ERR_AUTOSSH_EXIT'
  | 'ERR_AUTOSSH_GATE'
  | 'ERR_AUTOSSH_GAVE_UP'
  | 'ERR_AUTOSSH_STOPPED'
  | 'ERR_AUTOSSH_ABORTED';

/** The facts an {@link AutoSSHError} is made of. */
export interface AutoSSHErrorFacts {
  /** What to do about it, as one sentence; the code's general advice where absent. */
  readonly hint?: string | undefined;
  /** Whether a new ssh could mend it; the code's general answer where absent. */
  readonly retryable?: boolean | undefined;
  /** ssh's exit code. */
  readonly exitCode?: number | undefined;
  /** The signal that ended ssh. */
  readonly signal?: NodeJS.Signals | undefined;
  /** The last lines of ssh's stderr. */
  readonly stderr?: readonly string[] | undefined;
  /** The error behind it: for a gate or a limit the last failure of ssh. */
  readonly cause?: unknown;
}

/** What a code means when nothing more precise is known. */
const general: Readonly<Record<AutoSSHErrorCode, {readonly retryable: boolean; readonly hint: string}>> = {
  ERR_AUTOSSH_SPAWN: {
    retryable: false,
    hint: 'Install the OpenSSH client (Debian, Ubuntu: apt-get install openssh-client; Alpine: apk add openssh-client; Fedora: dnf install openssh-clients), or set `sshPath` to it.',
  },
  ERR_AUTOSSH_USAGE: {retryable: false, hint: 'Correct the option or the configuration line that ssh names.'},
  ERR_AUTOSSH_HOST_KEY: {
    retryable: false,
    hint: "Compare the server's host key with the one its administrator publishes, and only then put it into known_hosts, or into `hostKey`.",
  },
  ERR_AUTOSSH_AUTH: {
    retryable: true,
    hint: 'Check the user name, and that the key is the one the server has in authorized_keys. One with a passphrase has to be in an agent, or in `privateKey` and `passphrase`: nothing is asked for on a terminal.',
  },
  ERR_AUTOSSH_KEY: {
    retryable: false,
    hint: 'Give the private key in one of the forms that OpenSSH reads, whole, and its passphrase where it has one.',
  },
  ERR_AUTOSSH_RESOLVE: {
    retryable: true,
    hint: 'Check the spelling of the host name, and the name service of this machine.',
  },
  ERR_AUTOSSH_CONNECT: {
    retryable: true,
    hint: 'Check that the ssh server runs, listens on this address and port, and that no firewall is between.',
  },
  ERR_AUTOSSH_FORWARD: {retryable: true, hint: 'Choose another port, or end what holds this one.'},
  ERR_AUTOSSH_TIMEOUT: {retryable: true, hint: 'Raise `readyTimeout` if the server is slow, not hung.'},
  ERR_AUTOSSH_HEARTBEAT: {
    retryable: true,
    hint: 'If the connection is healthy but slow, raise `heartbeat.timeout` or `heartbeat.maxMisses`.',
  },
  ERR_AUTOSSH_EXIT: {
    retryable: true,
    hint: "ssh's own words are in `stderr`; its exit code 255 alone says nothing about the cause.",
  },
  ERR_AUTOSSH_GATE: {
    retryable: false,
    hint: 'The first ssh has to succeed within `gateTime`: see `cause`. With `gateTime: 0` the first start is retried like any other.',
  },
  ERR_AUTOSSH_GAVE_UP: {
    retryable: false,
    hint: 'See `cause` for the last failure, and `restart` in the options for the limit.',
  },
  ERR_AUTOSSH_STOPPED: {retryable: false, hint: 'The tunnel has been stopped; make a new one to connect again.'},
  ERR_AUTOSSH_ABORTED: {retryable: false, hint: "The tunnel's `signal` was aborted; make a new one to connect again."},
};

/**
 * Everything that goes wrong with a tunnel, except a wrong option, which is a `TypeError`.
 *
 * `code` is stable, `message` is for people, `hint` says what to do.
 */
export class AutoSSHError extends Error {
  /** Tells it apart where `instanceof` cannot, as between two copies of this package. */
  override readonly name = 'AutoSSHError';
  /** What happened; stable over versions. */
  readonly code: AutoSSHErrorCode;
  /** Whether a new ssh could mend it. */
  readonly retryable: boolean;
  /** What to do about it. */
  readonly hint: string;
  /** ssh's exit code, if it exited. 255 is ssh's own failure, whatever the cause (ssh(1), EXIT STATUS). */
  readonly exitCode: number | undefined;
  /** The signal that ended ssh, if one did. */
  readonly signal: NodeJS.Signals | undefined;
  /** The last lines that ssh wrote to stderr. */
  readonly stderr: readonly string[];

  constructor(code: AutoSSHErrorCode, message: string, facts: AutoSSHErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : {cause: facts.cause});
    this.code = code;
    this.retryable = facts.retryable ?? general[code].retryable;
    this.hint = facts.hint ?? general[code].hint;
    this.exitCode = facts.exitCode;
    this.signal = facts.signal;
    this.stderr = Object.freeze([...(facts.stderr ?? [])]);
  }
}

/** How far a life of ssh had come. */
export type Stage = 'connect' | 'authenticate' | 'forward' | 'heartbeat' | 'up';

/** How one ssh ended, as plain data. A clean exit is one too: a tunnel is up until it is told to stop. */
export interface Outcome {
  /**
   * What ended it; `'requested'`: `restart()`, `stop()` or the host's signal; `'credentials'`: what it was to log in with could not
   * be had, and if that showed before its start, it was not started.
   */
  readonly reason: 'exit' | 'signal' | 'spawn' | 'timeout' | 'heartbeat' | 'credentials' | 'requested';
  /** The code of the matching {@link AutoSSHError}; absent where the end was asked for. */
  readonly code?: AutoSSHErrorCode;
  /** One sentence for people. */
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string;
  /** Whether a new ssh could mend it. */
  readonly retryable: boolean;
  /** Whether the server turned the connection away because it has too many (MaxStartups, PerSourcePenalties). */
  readonly throttled: boolean;
  /** The forward that could not be bound, if that was it. */
  readonly forward?: {
    /** Who could not listen: ssh on this machine (`-L`, `-D`), or the server (`-R`). */
    readonly side: 'local' | 'remote';
    /** The address for people, such as `127.0.0.1:5432` or a path, as far as ssh tells it. */
    readonly listen: string;
    /** Its name in the options; absent where it comes from `ssh_config`. */
    readonly name?: string;
  };
  /** How far this ssh had come. */
  readonly stage: Stage;
  /** ssh's exit code, if it exited. */
  readonly exitCode?: number;
  /** The signal that ended ssh, if one did. */
  readonly signal?: NodeJS.Signals;
  /** How long this ssh was ready, in milliseconds; 0 if it never was. */
  readonly uptime: number;
  /** The last lines of its stderr. */
  readonly stderr: readonly string[];
}
