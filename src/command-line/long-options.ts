/** An option of the command that autossh 1.4g does not have. ssh has no long options, so none of its own is hidden. */
export interface LongOption {
  /** Without the two hyphens. */
  readonly name: string;
  /** What follows it, as in the manual; absent: nothing does. */
  readonly argument?: string;
  /** The variable it stands for; the option wins. */
  readonly variable?: string;
  /** The letter of autossh's it stands for. */
  readonly letter?: 'M' | 'f' | 'V';
  /** One line for the help. */
  readonly help: string;
}

/** Every long option, in the order of the help. */
export const longOptions: readonly LongOption[] = [
  {
    name: 'monitor',
    argument: 'PORT[:ECHO]',
    letter: 'M',
    help: 'port of the heartbeat; 0: none; none given: a free one',
  },
  {name: 'background', letter: 'f', help: 'go to the background before ssh starts'},
  {name: 'poll', argument: 'SECONDS', variable: 'AUTOSSH_POLL', help: 'time between two beats (600)'},
  {name: 'first-poll', argument: 'SECONDS', variable: 'AUTOSSH_FIRST_POLL', help: 'time to the first beat (as --poll)'},
  {
    name: 'gate-time',
    argument: 'SECONDS',
    variable: 'AUTOSSH_GATETIME',
    help: 'if the first ssh exits before, give up (30; 0 with -f)',
  },
  {
    name: 'max-start',
    argument: 'COUNT',
    variable: 'AUTOSSH_MAXSTART',
    help: 'start ssh at most so often (-1: no limit)',
  },
  {
    name: 'max-lifetime',
    argument: 'SECONDS',
    variable: 'AUTOSSH_MAXLIFETIME',
    help: 'end after this time (0: never)',
  },
  {name: 'message', argument: 'TEXT', variable: 'AUTOSSH_MESSAGE', help: 'up to 64 bytes added to each beat'},
  {name: 'ssh-path', argument: 'FILE', variable: 'AUTOSSH_PATH', help: 'the ssh to start (ssh)'},
  {name: 'pid-file', argument: 'FILE', variable: 'AUTOSSH_PIDFILE', help: 'write the process id there'},
  {name: 'log-file', argument: 'FILE', variable: 'AUTOSSH_LOGFILE', help: 'append the log there, not to syslog'},
  {name: 'log-level', argument: '0-7', variable: 'AUTOSSH_LOGLEVEL', help: "syslog's levels, 7 says most (6)"},
  {name: 'debug', variable: 'AUTOSSH_DEBUG', help: 'log level 7, and to stderr as well as to syslog'},
  {name: 'json-log', help: 'log one JSON object a line; to stderr unless there is a log file'},
  {name: 'no-agent', variable: 'AUTOSSH_AGENT', help: 'start no ssh-agent where none is running'},
  {name: 'status', help: 'watch the tunnel live in this terminal'},
  {name: 'doctor', help: 'tell what would go wrong with this destination, and exit'},
  {name: 'completion', argument: 'bash|zsh|fish', help: 'print the completions of a shell, and exit'},
  {name: 'help', help: 'print this, and exit'},
  {name: 'version', letter: 'V', help: 'print name and version, and exit'},
];
