import pRetry from 'p-retry';
import {onAbort} from './abort.js';
import {now, sleep} from './clock.js';
import {AutoSSHError, type AutoSSHErrorCode, type Outcome} from './errors.js';
import type {Settings} from './options.js';
import {outcomeError} from './outcome.js';
import {type Concession, Provision, degradedMessage} from './provision.js';
import type {RestartContext, RestartOptions} from './restart/options.js';
import {decide} from './restart/policy.js';
import {type Ready, Session, type SessionListener} from './session.js';

/** What a series tells. */
export interface SeriesListener extends Omit<SessionListener, 'onDegrade'> {
  /** The `starts`-th ssh was started; its pid is `undefined` if that failed. */
  readonly onSpawn: (session: Session, starts: number) => void;
  readonly onReady: (session: Session, ready: Ready) => void;
  readonly onEnd: (outcome: Outcome) => void;
  /** A new ssh will be started after so many milliseconds. */
  readonly onWait: (wait: {readonly outcome: Outcome; readonly attempt: number; readonly delay: number}) => void;
  readonly onConcession: (concession: Concession) => void;
}

/** A life that has ended, as p-retry wants to hear of it. */
class LifeEnded extends Error {
  readonly outcome: Outcome;

  constructor(outcome: Outcome) {
    super(outcome.message);
    this.outcome = outcome;
  }
}

/** One life of ssh after the other, until the policy gives up or the signal is aborted. */
export class Series {
  readonly #settings: Settings;
  readonly #listener: SeriesListener;
  readonly #signal: AbortSignal;

  #session: Session | undefined;
  #provision: Provision | undefined;
  #wake: AbortController | undefined;
  #hurry = false;

  // The history that the policy goes by.
  #starts = 0;
  #firstStart = 0;
  #everReady = false;
  #attempt = 0;
  #outageSince = 0;
  #grown = 0;

  constructor(settings: Settings, listener: SeriesListener, signal: AbortSignal) {
    this.#settings = settings;
    this.#listener = listener;
    this.#signal = signal;
  }

  /** The current life, or the one before it while there is none. */
  get session(): Session | undefined {
    return this.#session;
  }

  /**
   * Ends the current life, so that the next begins; cuts a wait short, also one that is only about to begin.
   *
   * @param message - why, for its outcome
   */
  endLife(message: string): void {
    this.#hurry = true;
    this.#wake?.abort();
    this.#session?.end({type: 'requested', message});
  }

  /**
   * Runs until the end, and leaves nothing behind.
   *
   * @throws AutoSSHError why there will be no other life; after an abort of the signal that error says nothing
   */
  async run(): Promise<never> {
    this.#firstStart = this.#outageSince = now();
    try {
      const provision = (this.#provision = new Provision(this.#settings));
      await provision.prepare();
      let lost: Outcome | undefined;
      for (;;) lost = await this.#outage(provision, lost);
    } finally {
      await this.#session?.ended;
      await this.#provision?.close();
    }
  }

  /**
   * One outage: from the start, or the loss of a stable connection, to the next stable one; and on to its loss. Each is
   * one call of p-retry.
   */
  async #outage(provision: Provision, lost: Outcome | undefined): Promise<Outcome> {
    const session = await pRetry(
      async (attempt) => {
        if (attempt === 1 && lost) throw new LifeEnded(lost);
        return this.#live(provision);
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
    const {outcome} = await session.ended;
    this.#outageSince = now();
    return outcome;
  }

  /** One life, until it is stable or has ended. */
  async #live(provision: Provision): Promise<Session> {
    for (;;) {
      const session = this.#spawn(provision);
      const ready = await session.ready;
      if (ready && !this.#signal.aborted) {
        this.#everReady = true;
        provision.settle();
        this.#listener.onReady(session, ready);
        if (await session.survives(this.#settings.restart.stableAfter)) return session;
      }
      const {outcome, adaptation} = await session.ended;
      const mayAdapt = !ready && !this.#signal.aborted && this.#starts < this.#settings.restart.maxStarts;
      const concession = mayAdapt && adaptation ? await provision.adapt(adaptation) : false;
      if (concession === false) throw new LifeEnded(outcome);
      this.#signal.throwIfAborted();
      if (concession !== true) this.#listener.onConcession(concession);
    }
  }

  #spawn(provision: Provision): Session {
    const starts = ++this.#starts;
    this.#hurry = false;
    const session = new Session(provision.next(starts), {
      ...this.#listener,
      onDegrade: (why) => {
        provision.degrade();
        this.#listener.onConcession({code: 'WARN_AUTOSSH_HEARTBEAT_DEGRADED', message: degradedMessage(why)});
      },
    });
    this.#session = session;
    const {target} = session;
    // After the spawn: the first of a process takes a while to start its shell.
    provision.warden.watchFolder(provision.folder);
    if (target !== undefined) provision.warden.watch(target);
    void session.ended.then(({outcome}) => {
      if (target !== undefined) provision.warden.forget(target);
      this.#listener.onEnd(outcome);
    });
    this.#listener.onSpawn(session, starts);
    return session;
  }

  /** Decides about an outcome, and waits for as long as is decided. */
  async #recover(outcome: Outcome): Promise<void> {
    this.#signal.throwIfAborted();
    if (outcome.reason !== 'requested') this.#attempt++;
    const attempt = this.#attempt;
    const {restart, gateTime} = this.#settings;
    const decision = decide(outcome, this.#history(), {...restart, gateTime}, now(), Math.random());
    if (decision.type === 'give-up') throw givenUp(decision.code, decision.why, outcome);
    const {delay} = decision;
    this.#grown = decision.grown;
    if (restart.shouldRestart && outcome.reason !== 'requested') {
      const goOn = await this.#ask(restart.shouldRestart, outcome, {attempt, starts: this.#starts, delay});
      if (!goOn) throw givenUp('ERR_AUTOSSH_GAVE_UP', `\`restart.shouldRestart\` said no: ${outcome.message}`, outcome);
    }
    const wake = (this.#wake = new AbortController());
    this.#listener.onWait({outcome, attempt, delay});
    if (delay > 0 && !this.#hurry) await sleep(delay, wake.signal);
    this.#wake = undefined;
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
      starts: this.#starts,
      firstStart: this.#firstStart,
      everReady: this.#everReady,
      attempt: this.#attempt,
      outageSince: this.#outageSince,
      grown: this.#grown,
    };
  }
}

function givenUp(code: AutoSSHErrorCode, why: string, outcome: Outcome): AutoSSHError {
  const failure = outcomeError(outcome);
  // A permanent failure speaks for itself; a limit that was reached has it as its cause.
  if (code === failure.code) return failure;
  return new AutoSSHError(code, why, {...outcome, retryable: false, cause: failure});
}
