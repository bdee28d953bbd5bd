import pRetry from 'p-retry';
import {onAbort} from './abort.js';
import {now, sleep} from './clock.js';
import {AutoSSHError, type AutoSSHErrorCode, type Outcome} from './errors.js';
import type {Settings} from './options.js';
import {decideAsAutossh} from './restart/autossh-policy.js';
import {describeRefusal, outcomeError} from './outcome.js';
import type {Warning} from './events.js';
import type {Provision} from './provision.js';
import type {RestartContext, RestartOptions} from './restart/options.js';
import {decide} from './restart/policy.js';
import {type Ready, Session, type SessionListener, type SessionOptions} from './session.js';

/** What a series tells. */
export interface SeriesListener extends Omit<
  SessionListener,
  'onDegrade' | 'onMonitorRefused' | 'onUnkept' | 'onMiss' | 'onBeat' | 'onNotice'
> {
  /** ssh was started; its pid is `undefined` if that failed. */
  readonly onSpawn: (session: Session) => void;
  readonly onReady: (session: Session, ready: Ready) => void;
  /** Its successor is ready; it resolves when it may be ended. */
  readonly onReplaced: (session: Session) => Promise<void>;
  readonly onEnd: (session: Session, outcome: Outcome) => void;
  /** There was nothing that an ssh could log in with, and none was started. */
  readonly onRefusal: (outcome: Outcome) => void;
  /** A new ssh will be started after so many milliseconds. */
  readonly onWait: (wait: {readonly outcome: Outcome; readonly attempt: number; readonly delay: number}) => void;
  readonly onWarning: (warning: Warning) => void;
  readonly onMiss: (session: Session, miss: Parameters<SessionListener['onMiss']>[0]) => void;
  readonly onBeat: (session: Session, rtt: number) => void;
  readonly onNotice: (session: Session, notice: Parameters<SessionListener['onNotice']>[0]) => void;
}

/** A life that has ended, as p-retry wants to hear of it. */
class LifeEnded extends Error {
  readonly outcome: Outcome;

  constructor(outcome: Outcome) {
    super(outcome.message);
    this.outcome = outcome;
  }
}

/** ssh has done what it was for, and the policy lets it be. */
export class Finished extends Error {}

/** One life of ssh after the other, until the policy gives up or the signal is aborted. */
export class Series {
  readonly #settings: Settings;
  readonly #provision: Provision;
  readonly #listener: SeriesListener;
  readonly #halt = new AbortController();
  readonly #signal = this.#halt.signal;
  readonly #stopListening: () => void;
  readonly #alive = new Set<Session>();

  #session: Session | undefined;
  /** Resolves when the current life is followed by another, be it alive or not. */
  #followed = Promise.resolve();
  #follow: (() => void) | undefined;
  #successor: Promise<Session> | undefined;
  #wake: AbortController | undefined;
  #hurry = false;
  #parked = false;

  // The history that the policy goes by.
  #firstStart = 0;
  #everReady = false;
  #attempt = 0;
  #outageSince = 0;
  #grown = 0;
  #tries = 0;

  /** @param pastGate - that its first start fails says nothing of the options: others were ready, or it is nobody's start */
  constructor(
    settings: Settings,
    provision: Provision,
    listener: SeriesListener,
    signal: AbortSignal,
    pastGate: boolean,
  ) {
    this.#settings = settings;
    this.#provision = provision;
    this.#listener = listener;
    this.#everReady = pastGate;
    this.#stopListening = onAbort(signal, () => {
      this.#halt.abort();
    });
  }

  /** Whether a second ssh is being started beside the current one. */
  get isReplacing(): boolean {
    return this.#successor !== undefined;
  }

  /** The current life, or the one before it while there is none. */
  get session(): Session | undefined {
    return this.#session;
  }

  /**
   * Ends every life of it, so that the next begins; cuts a wait short, also one that is only about to begin.
   *
   * @param message - why, for the outcome
   */
  endLife(message: string): void {
    this.#hurry = true;
    this.#wake?.abort();
    for (const session of this.#alive) session.end({type: 'requested', message});
  }

  /** Ends it for good. */
  end(message: string): void {
    this.#halt.abort();
    this.endLife(message);
  }

  /**
   * Starts a second ssh beside the current one, and ends the current one when the second is ready.
   *
   * @returns whether it is; `false`: the second was asked to end before that, and whoever asked has a next one in mind
   * @throws AutoSSHError if the second fails or may not be started; the current one stays
   */
  async replace(message: string): Promise<boolean> {
    const old = this.#session;
    if (!this.#successor && this.#provision.starts >= this.#settings.restart.maxStarts) {
      throw new AutoSSHError(
        'ERR_AUTOSSH_GAVE_UP',
        `ssh is not replaced: it has been started ${String(this.#provision.starts)} times already (\`restart.maxStarts\`)`,
        {retryable: false},
      );
    }
    this.#successor ??= this.#getReady(false).finally(() => {
      this.#successor = undefined;
    });
    let next: Session;
    try {
      next = await this.#successor;
    } catch (error) {
      if (!(error instanceof LifeEnded)) throw error;
      if (error.outcome.reason === 'requested') return false;
      throw outcomeError(error.outcome);
    }
    // Whoever asked as it became ready, in a listener of its connect, has it already.
    if (old && old !== next) void this.#retire(old, message);
    return true;
  }

  /** Ends ssh until somebody wants it: {@link unpark}. */
  park(message: string): void {
    this.#parked = true;
    this.endLife(message);
  }

  /** Starts ssh if it was parked. */
  unpark(): void {
    if (!this.#parked) return;
    this.#parked = false;
    this.#wake?.abort();
  }

  /**
   * Runs until the end; no life of it is left then.
   *
   * @throws Finished if ssh was allowed to end; AutoSSHError why there will be no other life; after an abort of the signal that error says nothing
   */
  async run(): Promise<never> {
    this.#firstStart = this.#outageSince = now();
    try {
      let lost: Outcome | undefined;
      for (;;) lost = await this.#outage(lost);
    } finally {
      this.#stopListening();
      for (const session of this.#alive) session.end({type: 'requested', message: 'The tunnel has ended'});
      await Promise.all([...this.#alive].map(async (session) => session.ended));
    }
  }

  /**
   * One outage: from the start, or the loss of a stable connection, to the next stable one; and on to its loss. Each is
   * one call of p-retry.
   */
  async #outage(lost: Outcome | undefined): Promise<Outcome> {
    const session = await pRetry(
      async (attempt) => {
        if (attempt === 1 && lost) throw new LifeEnded(lost);
        if (this.#parked) await this.#rest();
        return this.#live(await this.#getReady(true));
      },
      {
        // The policy says when it is enough, and how long to wait: p-retry would neither announce its delay nor let it
        // be cut short.
        retries: Infinity,
        minTimeout: 0,
        maxTimeout: 1,
        signal: this.#signal,
        onFailedAttempt: async ({error}) => {
          if (!(error instanceof LifeEnded)) throw error;
          await this.#recover(error.outcome);
        },
      },
    );
    this.#attempt = this.#grown = 0;
    const outcome = await this.#lossOf(session);
    this.#outageSince = now();
    return outcome;
  }

  /** A session that is ready, its successors included, until it is stable. */
  async #live(session: Session): Promise<Session> {
    const survives = session.survives(this.#settings.restart.stableAfter);
    if (await Promise.race([survives, this.#followed.then(() => false)])) return session;
    const next = await this.#after(session);
    if (next instanceof Session) return this.#live(next);
    throw new LifeEnded(next);
  }

  /** How the last of a session and its successors ended. */
  async #lossOf(session: Session): Promise<Outcome> {
    const next = await this.#after(session);
    return next instanceof Session ? this.#lossOf(next) : next;
  }

  /** What follows a session: its successor, which need not wait for its end, or how it ended without one. */
  async #after(session: Session): Promise<Session | Outcome> {
    if (this.#session && this.#session !== session) return this.#session;
    const end = await Promise.race([session.ended, this.#followed]);
    // One that is on its way is not thrown away: it is the fastest next there is.
    if (end) await this.#successor?.catch(() => undefined);
    if (this.#session && this.#session !== session) return this.#session;
    return (end ?? (await session.ended)).outcome;
  }

  async #retire(session: Session, message: string): Promise<void> {
    await this.#listener.onReplaced(session);
    session.end({type: 'requested', message});
  }

  /** Starts ssh, until one is ready or has failed in a way that the next would not mend by itself. */
  async #getReady(alone: boolean): Promise<Session> {
    for (;;) {
      const session = this.#spawn(await this.#equip());
      if (alone) this.#session = session;
      const ready = await session.ready;
      if (ready && !this.#signal.aborted) {
        this.#everReady = true;
        if (this.#session !== session) this.#follow?.();
        this.#followed = new Promise((resolve) => (this.#follow = resolve));
        this.#session = session;
        const warning = this.#provision.settle();
        if (warning) this.#listener.onWarning(warning);
        this.#listener.onReady(session, ready);
        return session;
      }
      const {outcome, adaptation} = await session.ended;
      const mayAdapt = !this.#signal.aborted && this.#provision.starts < this.#settings.restart.maxStarts;
      const adapted = mayAdapt && adaptation ? await this.#provision.adapt(adaptation) : false;
      if (adapted === false) throw new LifeEnded(outcome);
      this.#signal.throwIfAborted();
      if (adapted !== true) this.#listener.onWarning(adapted);
    }
  }

  /** What the next life gets; that it cannot be had is the end of a life that was none. */
  async #equip(): Promise<SessionOptions> {
    // Whoever was in a hurry gets this one; if nothing comes of it, the next is not hurried by that.
    this.#hurry = false;
    try {
      const options = await this.#provision.next(this.#signal);
      this.#signal.throwIfAborted();
      const warning = this.#provision.deadAgentWarning(options.equipment.deadAgent);
      if (warning) this.#listener.onWarning(warning);
      return options;
    } catch (error) {
      this.#signal.throwIfAborted();
      if (!(error instanceof AutoSSHError)) throw error;
      const outcome = describeRefusal(error);
      this.#listener.onRefusal(outcome);
      throw new LifeEnded(outcome);
    }
  }

  #spawn(options: SessionOptions): Session {
    this.#hurry = false;
    const listener = this.#listener;
    let isLoopRefused = false;
    const session: Session = new Session(options, {
      onLine: listener.onLine,
      onSend: listener.onSend,
      onMiss: (miss) => {
        listener.onMiss(session, miss);
      },
      onBeat: (rtt) => {
        this.#provision.loop.settle();
        listener.onBeat(session, rtt);
      },
      onNotice: (notice) => {
        listener.onNotice(session, notice);
      },
      onUnkept: (file) => {
        const warning = this.#provision.unkeptWarning(file);
        if (warning) listener.onWarning(warning);
      },
      onMonitorRefused: () => {
        isLoopRefused = true;
        listener.onWarning(this.#provision.loop.move(true));
      },
      onDegrade: (why) => {
        listener.onWarning(this.#provision.loop.degrade(why));
      },
    });
    this.#alive.add(session);
    const {target} = session;
    const provision = this.#provision;
    // After the spawn: the first of a process takes a while to start its shell.
    if (provision.folder !== undefined) provision.warden.watchFolder(provision.folder);
    if (target !== undefined) provision.warden.watch(target);
    void session.ended.then(({outcome, adaptation}) => {
      this.#alive.delete(session);
      if (adaptation?.type === 'monitor-port') {
        provision.loop.countMove();
        if (!this.#signal.aborted) listener.onWarning(provision.loop.move(false));
      } else if (outcome.reason === 'heartbeat' && !session.hasBeaten) {
        const warning = provision.loop.shift();
        if (warning && !this.#signal.aborted) listener.onWarning(warning);
      } else if (!isLoopRefused && this.#settings.sshArguments) {
        // Refusals that are not in a row are those of dead predecessors.
        provision.loop.settle();
      }
      if (target !== undefined) provision.warden.forget(target);
      listener.onEnd(session, outcome);
    });
    listener.onSpawn(session);
    return session;
  }

  /** Decides about an outcome, and waits for as long as is decided. */
  async #recover(outcome: Outcome): Promise<void> {
    this.#signal.throwIfAborted();
    const requested = outcome.reason === 'requested';
    if (!requested) this.#attempt++;
    const attempt = this.#attempt;
    const {restart, gateTime} = this.#settings;
    if (outcome.uptime >= restart.stableAfter) this.#tries = 0;
    else if (!requested || restart.policy === 'autossh') this.#tries++;
    const decideBy = restart.policy === 'autossh' ? decideAsAutossh : decide;
    const decision = decideBy(outcome, this.#history(), {...restart, gateTime}, now(), Math.random());
    if (decision.type === 'finish') throw new Finished(outcome.message);
    if (decision.type === 'give-up') throw givenUp(decision.code, decision.why, outcome);
    const {delay} = decision;
    this.#grown = decision.grown;
    if (restart.shouldRestart && !requested) {
      const context = {attempt, starts: this.#provision.starts, delay};
      const goOn = await this.#ask(restart.shouldRestart, outcome, context);
      if (!goOn) throw givenUp('ERR_AUTOSSH_GAVE_UP', `\`restart.shouldRestart\` said no: ${outcome.message}`, outcome);
    }
    if (this.#parked) return;
    const wake = (this.#wake = new AbortController());
    this.#listener.onWait({outcome, attempt: restart.policy === 'autossh' ? this.#tries : attempt, delay});
    if (delay > 0 && !this.#hurry) await sleep(delay, wake.signal);
    this.#wake = undefined;
  }

  /** Waits until ssh is wanted. */
  async #rest(): Promise<void> {
    const wake = (this.#wake = new AbortController());
    if (!this.#signal.aborted) await sleep(Infinity, wake.signal);
    this.#wake = undefined;
    this.#outageSince = now();
    this.#signal.throwIfAborted();
  }

  /** The host's own last word; its silence does not outlast the tunnel. */
  async #ask(
    shouldRestart: NonNullable<RestartOptions['shouldRestart']>,
    outcome: Outcome,
    context: RestartContext,
  ): Promise<boolean> {
    let stopListening: (() => void) | undefined;
    const halted = new Promise<false>((resolve) => {
      stopListening = onAbort(this.#signal, () => {
        resolve(false);
      });
    });
    try {
      const goOn = await Promise.race([halted, shouldRestart(outcome, context)]);
      this.#signal.throwIfAborted();
      return goOn;
    } catch (error) {
      this.#signal.throwIfAborted();
      throw new AutoSSHError('ERR_AUTOSSH_GAVE_UP', `\`restart.shouldRestart\` threw: ${String(error)}`, {
        cause: error,
        hint: 'Mend that function: see `cause`.',
      });
    } finally {
      stopListening?.();
    }
  }

  #history(): Parameters<typeof decide>[1] {
    return {
      starts: this.#provision.starts,
      firstStart: this.#firstStart,
      everReady: this.#everReady,
      attempt: this.#attempt,
      outageSince: this.#outageSince,
      grown: this.#grown,
      tries: this.#tries,
      moves: this.#provision.loop.moves,
    };
  }
}

function givenUp(code: AutoSSHErrorCode, why: string, outcome: Outcome): AutoSSHError {
  const failure = outcomeError(outcome);
  // A permanent failure speaks for itself; a limit that was reached has it as its cause.
  if (code === failure.code) return failure;
  return new AutoSSHError(code, why, {...outcome, retryable: false, cause: failure});
}
