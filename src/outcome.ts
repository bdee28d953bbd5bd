import {AutoSSHError, type Outcome, type Stage} from './errors.js';
import {type Evidence, type Verdict, readVerdict} from './ssh/verdict.js';

/** What this side had against an ssh that it ended. */
export type EndCause =
  | {readonly type: 'requested'; readonly message: string}
  | {readonly type: 'timeout'; readonly stage: Stage; readonly after: number}
  /** `echo`: the address of an echo service that is not there. */
  | {readonly type: 'heartbeat'; readonly misses: number; readonly echo?: string};

/** All that is known of an ssh that has ended. */
export interface Ending extends Evidence {
  readonly cause: EndCause | undefined;
  readonly exit: {readonly exitCode: number | undefined; readonly signal: NodeJS.Signals | undefined} | undefined;
  readonly spawnError: NodeJS.ErrnoException | undefined;
  readonly stderr: readonly string[];
  readonly uptime: number;
  readonly loopPort: number | undefined;
  readonly ephemeralPorts: ReadonlySet<number>;
}

/** A failure that the next start can avoid by itself; it is nobody's fault and counts as no failure. */
export type Adaptation =
  /** The heartbeat's port at the server could not be listened on. */
  | {readonly type: 'loop-port'}
  /** A local port that we chose was taken by another before ssh came to bind it. */
  | {readonly type: 'local-port'; readonly port: number}
  /** This ssh is too old for one of our options. */
  | {readonly type: 'unknown-option'; readonly name: string}
  /** This setpriv is too old for `--pdeathsig`. */
  | {readonly type: 'no-setpriv'};

/** What the next start has to do differently, if it is that simple. */
export function adaptationTo(ending: Ending): Adaptation | undefined {
  if (ending.cause) return undefined;
  for (const notice of ending.notices) {
    if (notice.kind === 'remote-bind-failed' && notice.port !== undefined && notice.port === ending.loopPort) {
      return {type: 'loop-port'};
    }
    if (notice.kind === 'local-bind-failed' && notice.port !== undefined && ending.ephemeralPorts.has(notice.port)) {
      return {type: 'local-port', port: notice.port};
    }
    if (
      notice.kind === 'bad-option' &&
      notice.file === undefined &&
      notice.option?.toLowerCase() === 'forkafterauthentication'
    ) {
      return {type: 'unknown-option', name: 'forkafterauthentication'};
    }
  }
  if (ending.stderr.some((line) => line.startsWith('setpriv: ') && line.includes('pdeathsig')))
    return {type: 'no-setpriv'};
  return undefined;
}

/** Puts what is known of an ended ssh into one outcome. The first cause wins. */
export function describeOutcome(ending: Ending): Outcome {
  const {exit, cause, spawnError} = ending;
  const facts = {
    stage: ending.stage,
    uptime: ending.uptime,
    stderr: Object.freeze([...ending.stderr]),
    ...(exit?.exitCode !== undefined && {exitCode: exit.exitCode}),
    ...(exit?.signal !== undefined && {signal: exit.signal}),
  };
  if (cause?.type === 'requested') {
    return Object.freeze({reason: 'requested', message: cause.message, retryable: true, throttled: false, ...facts});
  }
  const verdict = spawnError ? ofSpawn(spawnError) : cause ? ofCause(cause) : ofExit(ending);
  const {code, hint, retryable} = new AutoSSHError(verdict.code, verdict.message, verdict);
  const reason = spawnError ? 'spawn' : (cause?.type ?? (exit?.signal === undefined ? 'exit' : 'signal'));
  return Object.freeze({
    reason,
    code,
    message: verdict.message,
    hint,
    retryable,
    throttled: verdict.throttled ?? false,
    ...(verdict.forward && {forward: verdict.forward}),
    ...facts,
  });
}

/** The outcome as an error. */
export function outcomeError(outcome: Outcome): AutoSSHError {
  return new AutoSSHError(outcome.code ?? 'ERR_AUTOSSH_EXIT', outcome.message, outcome);
}

function ofSpawn(error: NodeJS.ErrnoException): Verdict {
  const passing = ['EAGAIN', 'EMFILE', 'ENFILE', 'ENOMEM'].includes(error.code ?? '');
  return {
    code: 'ERR_AUTOSSH_SPAWN',
    message: `ssh could not be started: ${error.message}`,
    ...('hint' in error && typeof error.hint === 'string' && {hint: error.hint}),
    ...(passing && shortage),
  };
}

const shortage = {
  retryable: true,
  hint: 'This machine is out of processes, memory or file descriptors; it is tried again.',
} as const;

const stages: Readonly<Record<Stage, string>> = {
  connect: 'while looking up or connecting to the server',
  authenticate: 'while logging in',
  forward: 'while setting up the forwards',
  heartbeat: 'while waiting for the first beat to come back',
  up: 'while up',
};

function ofCause(cause: Exclude<EndCause, {type: 'requested'}>): Verdict {
  if (cause.type === 'timeout') {
    return {
      code: 'ERR_AUTOSSH_TIMEOUT',
      message: `The tunnel was not ready within ${String(cause.after)} ms: ssh hung ${stages[cause.stage]}`,
    };
  }
  if (cause.echo !== undefined) {
    return {
      code: 'ERR_AUTOSSH_HEARTBEAT',
      message: `No beat came through: no echo service answers at ${cause.echo} as seen from the server`,
      hint: "Start an echo service there, correct `heartbeat.echoHost` and `heartbeat.echoPort`, or use the mode 'forward-loop', which needs none.",
    };
  }
  return {
    code: 'ERR_AUTOSSH_HEARTBEAT',
    message: `The tunnel was dead: ${count(cause.misses, 'beat')} in a row did not come back`,
  };
}

function ofExit(ending: Ending): Verdict {
  const {exit} = ending;
  if (exit?.signal !== undefined) return {code: 'ERR_AUTOSSH_EXIT', message: `ssh was ended by ${exit.signal}`};
  const verdict = readVerdict(ending);
  if (verdict) return verdict;
  const launch = ending.stderr.find((line) => line.startsWith('setpriv: '));
  if (launch !== undefined && ending.stage === 'connect') {
    const passing = ending.notices.some(({kind}) => kind === 'out-of-resources');
    return {code: 'ERR_AUTOSSH_SPAWN', message: `ssh could not be started: ${launch}`, ...(passing && shortage)};
  }
  const last = ending.stderr.findLast((line) => !/^(Transferred:|Bytes per second:|debug\d:)/.test(line));
  const what =
    exit?.exitCode === 0
      ? `ssh ended without an error${ending.stage === 'connect' ? '' : ', as it does when something else asks it to (TERM)'}`
      : `ssh exited with code ${String(exit?.exitCode)}`;
  return {code: 'ERR_AUTOSSH_EXIT', message: last === undefined || exit?.exitCode === 0 ? what : `${what}: ${last}`};
}

function count(number: number, noun: string): string {
  return `${String(number)} ${noun}${number === 1 ? '' : 's'}`;
}
