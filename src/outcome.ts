import {AutoSSHError, type Outcome, type Stage} from './errors.js';
import {type Evidence, type Verdict, askedInVain, readVerdict} from './ssh/verdict.js';
import {isShortage, shortage} from './shortage.js';

/** What this side had against an ssh that it ended. */
export type EndCause =
  | {readonly type: 'requested'; readonly message: string}
  /** The port of the server that autossh's loop needs was refused. */
  | {readonly type: 'monitor-port'; readonly message: string}
  /** `isAsking`: it waited for an answer of the host's. */
  | {readonly type: 'timeout'; readonly stage: Stage; readonly after: number; readonly isAsking: boolean}
  /** There is no answer to what ssh asks. */
  | {readonly type: 'credentials'; readonly error: AutoSSHError}
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
  /** The same for the one in a raw command line. */
  | {readonly type: 'monitor-port'}
  /** A local port that we chose was taken by another before ssh came to bind it. */
  | {readonly type: 'local-port'; readonly port: number}
  /** This ssh is too old for one of our options. */
  | {readonly type: 'unknown-option'; readonly name: string}
  /** This setpriv is too old for `--pdeathsig`. */
  | {readonly type: 'no-setpriv'};

/** Options of ours that are there to undo what a configuration says, and that older versions know nothing of. */
const youngOptions = ['forkafterauthentication', 'knownhostscommand'];

/** What the next start has to do differently, if it is that simple. */
export function adaptationTo(ending: Ending): Adaptation | undefined {
  if (ending.cause) return ending.cause.type === 'monitor-port' ? {type: 'monitor-port'} : undefined;
  for (const notice of ending.notices) {
    if (notice.kind === 'remote-bind-failed' && notice.port !== undefined && notice.port === ending.loopPort) {
      return {type: 'loop-port'};
    }
    if (notice.kind === 'local-bind-failed' && notice.port !== undefined && ending.ephemeralPorts.has(notice.port)) {
      return {type: 'local-port', port: notice.port};
    }
    if (notice.kind === 'bad-option' && notice.file === undefined) {
      const name = notice.option?.toLowerCase() ?? '';
      if (youngOptions.includes(name)) return {type: 'unknown-option', name};
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
  if (cause?.type === 'requested' || cause?.type === 'monitor-port') {
    return Object.freeze({reason: 'requested', message: cause.message, retryable: true, throttled: false, ...facts});
  }
  if (cause?.type === 'credentials') {
    const outcome: Outcome = Object.freeze({...describeRefusal(cause.error), ...facts});
    origins.set(outcome, cause.error);
    return outcome;
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

/** An ssh that was not started, because there is nothing that it could log in with. */
export function describeRefusal(error: AutoSSHError): Outcome {
  const {code, message, hint, retryable, stderr} = error;
  const facts = {throttled: false, stage: 'connect', uptime: 0, stderr} as const;
  const outcome: Outcome = Object.freeze({reason: 'credentials', code, message, hint, retryable, ...facts});
  origins.set(outcome, error);
  return outcome;
}

/** The outcome as an error. */
export function outcomeError(outcome: Outcome): AutoSSHError {
  const origin = origins.get(outcome);
  return new AutoSSHError(outcome.code ?? 'ERR_AUTOSSH_EXIT', outcome.message, {...outcome, cause: origin?.cause});
}

/** Outcomes are plain data; the error of a host's function is not. */
const origins = new WeakMap<Outcome, AutoSSHError>();

function ofSpawn(error: NodeJS.ErrnoException): Verdict {
  return {
    code: 'ERR_AUTOSSH_SPAWN',
    message: `ssh could not be started: ${error.message}`,
    ...('hint' in error && typeof error.hint === 'string' && {hint: error.hint}),
    ...(isShortage(error) && shortage),
  };
}

/** The network may have failed just then; or this is how the server says no, and then each try counts against the account there. */
const unjudged = {
  code: 'ERR_AUTOSSH_AUTH',
  message: 'The connection ended when the server had been given an answer, and before it let anybody in',
  retryable: true,
  hint: 'Check `password`, or what `keyboardInteractive` answers; the log of the server tells more. The next tries come slower.',
} as const;

const stages: Readonly<Record<Stage, string>> = {
  connect: 'while looking up or connecting to the server',
  authenticate: 'while logging in',
  forward: 'while setting up the forwards',
  heartbeat: 'while waiting for the first beat to come back',
  up: 'while up',
};

function ofCause(cause: Extract<EndCause, {type: 'timeout' | 'heartbeat'}>): Verdict {
  if (cause.type === 'timeout') {
    return {
      code: 'ERR_AUTOSSH_TIMEOUT',
      ...(cause.isAsking && {hint: 'See what `password` or `keyboardInteractive` waits for, or raise `readyTimeout`.'}),
      message: `The tunnel was not ready within ${String(cause.after)} ms: ${cause.isAsking ? 'ssh waited for an answer to what it asked' : `ssh hung ${stages[cause.stage]}`}`,
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
  if (exit?.signal !== undefined)
    return askedInVain(ending) ?? {code: 'ERR_AUTOSSH_EXIT', message: `ssh was ended by ${exit.signal}`};
  const verdict = readVerdict(ending);
  if (verdict) return verdict;
  if (ending.stage === 'authenticate' && ending.isAnswered) return unjudged;
  const launch = ending.stderr.find((line) => line.startsWith('setpriv: '));
  if (launch !== undefined && ending.stage === 'connect') {
    const passing = ending.notices.some(({kind}) => kind === 'out-of-resources');
    return {code: 'ERR_AUTOSSH_SPAWN', message: `ssh could not be started: ${launch}`, ...(passing && shortage)};
  }
  const last = ending.stderr.findLast((line) => !/^(Transferred:|Bytes per second:|debug\d:)/.test(line));
  const hint = ending.isRaw ? hintOfRawExit(exit?.exitCode) : undefined;
  const facts = {code: 'ERR_AUTOSSH_EXIT', ...(hint !== undefined && {hint})} as const;
  if (exit?.exitCode === 0) {
    const isRiddle = ending.stage !== 'connect' && !ending.isRaw;
    const asked = isRiddle ? ', as it does when something else asks it to (TERM)' : '';
    return {...facts, message: `ssh ended without an error${asked}`};
  }
  const what = `ssh exited with code ${String(exit?.exitCode)}`;
  return {...facts, message: last === undefined ? what : `${what}: ${last}`};
}

/** A host's own command line may have a shell or a command at the server: how that ends is no riddle. */
function hintOfRawExit(exitCode: number | undefined): string | undefined {
  if (exitCode === 255) return undefined;
  return exitCode === 0
    ? 'What ran at the server has ended. Where nothing does (-N), something has asked ssh to end (TERM).'
    : 'Codes other than 255 are those of the command at the server; what it has said tells more.';
}

function count(number: number, noun: string): string {
  return `${String(number)} ${noun}${number === 1 ? '' : 's'}`;
}
