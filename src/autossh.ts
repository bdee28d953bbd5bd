import {EventEmitter} from 'eventemitter3';
import {onAbort} from './abort.js';
import {number} from './checks.js';
import {Alarm, now} from './clock.js';
import {AutoSSHError} from './errors.js';
import type {AutoSSHEventPayloads, AutoSSHEvents} from './events.js';
import {log} from './log.js';
import {type AutoSSHOptions, type Settings, resolveOptions} from './options.js';
import {Finished} from './series.js';
import {Service} from './service.js';
import type {Ready, Session} from './session.js';
import type {Connection} from './front/connection.js';
import type {TunnelStream} from './front/stream.js';
import {throughTunnel} from './front/url.js';
import type {Forward} from './ssh/forward.js';
import {type State, type StateEvent, type StateName, type StopReason, next} from './state.js';
import {type AutoSSHStats, Statistics} from './statistics.js';
import {WaitingList} from './waiting-list.js';

/** The tunnels of this process are numbered in the log. */
let tunnels = 0;

/**
 * A tunnel that stays up: the system's `ssh` as a child process, watched by a heartbeat through the tunnel, and started
 * again by the restart policy whenever it ends.
 *
 * It prints nothing, installs no signal handler and never ends the process.
 *
 * @example
 * ```ts
 * const tunnel = await AutoSSH.open({
 *   host: 'bastion.example.com',
 *   forwards: [{type: 'local', target: 'db.internal:5432'}],
 * });
 * const {listen} = tunnel.forward();
 * ```
 */
export class AutoSSH extends EventEmitter<AutoSSHEvents> {
  readonly #settings: Settings;
  readonly #service: Service;
  readonly #statistics = new Statistics();
  readonly #waiting = new WaitingList();
  readonly #listening = new WaitingList();
  readonly #halt = new AbortController();
  readonly #lifetime = new Alarm();
  readonly #number = ++tunnels;
  readonly #log = log('state', this.#number);
  readonly #logSSH = log('ssh', this.#number);
  readonly #logHeartbeat = log('heartbeat', this.#number);

  #state: State = {name: 'idle'};
  #isListening = false;
  #forwards: readonly Forward[] = Object.freeze([]);
  #finished: Promise<void> | undefined;
  #stopListening: (() => void) | undefined;
  /** What keeps the process alive: everything else the tunnel has is unreferenced. */
  #anchor: NodeJS.Timeout | undefined;
  #referenced = true;

  /**
   * Copies and checks the options; starts nothing.
   *
   * @throws TypeError that names the wrong option and its value
   */
  constructor(options: AutoSSHOptions) {
    super();
    this.#settings = resolveOptions(options, process.env);
    this.#service = this.#makeService();
  }

  /** Makes a tunnel and starts it: see {@link start}. */
  static async open(options: AutoSSHOptions): Promise<AutoSSH> {
    const tunnel = new AutoSSH(options);
    await tunnel.start();
    return tunnel;
  }

  /** Where the tunnel is. */
  get state(): StateName {
    return this.#state.name;
  }

  /** Of the current ssh. */
  get pid(): number | undefined {
    return this.#state.name === 'starting' || this.#state.name === 'up' ? this.#service.pid : undefined;
  }

  /**
   * What is really bound, ephemeral ports filled in; empty until the tunnel was ready for the first time, or with `lazy`
   * until it listens.
   */
  get forwards(): readonly Forward[] {
    return this.#forwards;
  }

  /**
   * One of {@link forwards}, by name or index; without an argument the first.
   *
   * @throws RangeError if there is none, as before the tunnel was ready for the first time
   */
  forward(nameOrIndex: string | number = 0): Forward {
    const found = this.#forwards.find((one, index) => one.name === nameOrIndex || index === nameOrIndex);
    if (found) return found;
    const bound = this.#forwards.map(({name}) => `'${name}'`).join(', ') || 'none';
    throw new RangeError(
      `There is no forward ${typeof nameOrIndex === 'number' ? String(nameOrIndex) : `'${nameOrIndex}'`}; bound are: ${bound}`,
    );
  }

  /** Figures, as plain JSON. */
  stats(): AutoSSHStats {
    const uptime = this.#state.name === 'up' ? Math.round(now() - this.#state.since) : 0;
    const traffic = this.#forwards.map((_, index) => this.#service.traffic(index) ?? null);
    return this.#statistics.report(this.state, uptime, this.#forwards, traffic);
  }

  /**
   * Starts the tunnel. Resolves when it is proven ready for the first time, with `lazy` when its listeners are there.
   * A second call waits for the same.
   *
   * @throws AutoSSHError when it never will be: a fatal end, `stop()`, or the signal's abort
   */
  async start(): Promise<void> {
    if (!this.#isStarted()) {
      const {signal} = this.#settings;
      if (signal?.aborted) {
        this.#end('aborted');
      } else {
        this.#finished = this.#run();
        this.#enter({type: 'start'});
      }
    }
    if (!this.#settings.lazy || this.#isListening) return this.ready();
    if (this.#state.name === 'stopping' || this.#state.name === 'stopped') throw this.#endError();
    return this.#listening.join();
  }

  /**
   * Resolves now if the tunnel is up, else at the next `connect`.
   *
   * @param options - aborting `signal` rejects with its reason, and does nothing to the tunnel
   * @throws AutoSSHError once the tunnel has ended
   */
  async ready({signal}: {readonly signal?: AbortSignal} = {}): Promise<void> {
    signal?.throwIfAborted();
    if (this.#state.name === 'up') return;
    this.#service.wake();
    await this.#nextConnect(signal);
  }

  /**
   * Replaces the running ssh, and cuts a backoff wait short. Resolves when the new one is ready.
   *
   * Where two ssh can be there at once (no fixed remote port, no direct forward) the new one is started beside the old,
   * which serves until the new one is ready and then finishes the connections it has, for up to `drainTimeout`.
   *
   * @param reason - for the log and the `disconnect` event
   * @throws AutoSSHError if the tunnel was not started, or ends before; or if the new ssh failed beside the old one, which
   * then goes on
   */
  async restart(reason = 'a restart was asked for'): Promise<void> {
    if (!this.#isStarted()) throw notStarted();
    if (this.#state.name === 'stopping' || this.#state.name === 'stopped') throw this.#endError();
    const connected = this.#nextConnect();
    connected.catch(nothing);
    let replaced: boolean;
    try {
      replaced = await this.#service.restart(reason);
    } catch (error) {
      // What became of the new ssh says nothing once all of them were to end.
      if (this.#halt.signal.aborted) throw this.#endError();
      throw error;
    }
    if (!replaced) await connected;
  }

  /**
   * Ends the tunnel, in whatever state it is. Resolves when no process, timer, socket, listener or temporary file of it
   * is left. Calling it again waits for the same end.
   *
   * @param options - with `drain`, no new connection is taken at once, and those that are open or wait for ssh may finish for
   * so many milliseconds; a second call without it cuts that short
   */
  async stop({drain = 0}: {readonly drain?: number | false} = {}): Promise<void> {
    const patience = number('drain', drain, {off: true});
    if (patience > 0 && this.#isStarted()) await this.#service.drain(patience, this.#halt.signal);
    this.#end('stopped');
    await this.#finished;
  }

  /**
   * A stream straight into the tunnel, without any TCP port: for the `stream` of pg and mysql2, or the `createConnection`
   * of an `http.Agent`. It waits for a ready ssh as a connection does, and when the tunnel loses it, it emits `'error'` with
   * `ECONNRESET`.
   *
   * @param nameOrIndex - of a steady local forward; without an argument `forwards[0]`
   * @throws AutoSSHError if the tunnel was not started, drains or has ended; RangeError if there is no such forward
   */
  connect(nameOrIndex: string | number = 0): TunnelStream {
    if (this.#state.name === 'stopping' || this.#state.name === 'stopped') throw this.#endError();
    if (!this.#isStarted()) throw notStarted();
    if (this.#service.isDraining)
      throw new AutoSSHError('ERR_AUTOSSH_STOPPED', 'The tunnel is being stopped, and takes no new connections');
    const {forwards} = this.#settings;
    const index = forwards.findIndex((one, place) => one.name === nameOrIndex || place === nameOrIndex);
    if (forwards[index]?.type !== 'local' || !forwards[index].steady) {
      const steady = forwards.flatMap((one) => (one.type === 'local' && one.steady ? [`'${one.name}'`] : []));
      throw new RangeError(
        `There is no steady local forward ${typeof nameOrIndex === 'number' ? String(nameOrIndex) : `'${nameOrIndex}'`}; steady local ones are: ${steady.join(', ') || 'none'}`,
      );
    }
    return this.#service.connect(index);
  }

  /**
   * The same URL with host and port replaced by those of the forward that leads there, so that
   * `postgres://me:secret@db.internal:5432/app` becomes `postgres://me:secret@127.0.0.1:40123/app`.
   *
   * The target is compared letter for letter, and where the URL has no port the scheme's is taken. TLS still sees the host
   * of the result: name the server's own (`servername`).
   *
   * @throws RangeError if no local forward leads there, as before the tunnel was ready for the first time
   */
  url(url: string): string {
    return throughTunnel(url, this.#forwards);
  }

  /** {@link stop}, so that `await using tunnel = await AutoSSH.open(…)` works. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** The tunnel keeps the process alive, as it does by default. */
  ref(): this {
    this.#referenced = true;
    this.#anchor?.ref();
    return this;
  }

  /** The tunnel does not keep the process alive; when the process ends, so does its ssh. */
  unref(): this {
    this.#referenced = false;
    this.#anchor?.unref();
    return this;
  }

  async #run(): Promise<void> {
    const {signal, maxLifetime} = this.#settings;
    this.#anchor = setInterval(nothing, 2 ** 31 - 1);
    if (!this.#referenced) this.#anchor.unref();
    if (signal) {
      this.#stopListening = onAbort(signal, () => {
        this.#end('aborted');
      });
    }
    this.#lifetime.set(maxLifetime, () => {
      this.#end('max-lifetime');
    });
    try {
      await this.#service.run();
    } catch (error) {
      // A rejection after the halt is the halt; whichever error came with it says nothing more.
      if (error instanceof Finished) this.#end('exit');
      else if (!this.#halt.signal.aborted) this.#end('fatal', toError(error));
    }
    this.#finish();
  }

  #makeService(): Service {
    return new Service(
      this.#settings,
      {
        onSpawn: ({pid, command, number}, isUp) => {
          this.#statistics.starts = number;
          if (!isUp) {
            this.#enter({type: 'spawn', starts: number});
            // Whoever listens to the state may have ended it by now.
            if (this.state !== 'starting') return;
          }
          this.#logSSH('start %d, pid %d: %s', number, pid ?? 0, command);
          if (pid !== undefined) this.#tell('start', {starts: number, pid, command});
        },
        onReady: (session, ready) => {
          this.#connected(session, ready);
        },
        onEnd: (outcome, isUp) => {
          this.#statistics.lastOutcome = outcome;
          if (this.#state.name === 'up' && !isUp) this.#enter({type: 'lost'});
          if (outcome.stage === 'up') this.#tell('disconnect', {outcome, uptime: outcome.uptime});
        },
        onWait: (wait, isUp) => {
          this.#log('%s; ssh is started again in %d ms (attempt %d)', wait.outcome.message, wait.delay, wait.attempt);
          if (!isUp) this.#enter({type: 'wait', delay: wait.delay});
          this.#tell('restart', wait);
        },
        onDormant: (listening) => {
          this.#enter({type: 'wait', delay: Infinity});
          this.#forwards = listening;
          this.#isListening = true;
          for (const {resolve} of this.#listening.take()) resolve();
        },
        onWarning: (warning) => {
          this.#tell('warning', warning);
        },
        onLine: (line) => {
          this.#logSSH('%s', line);
          this.#tell('stderr', {line});
        },
        onTargetFailed: (detail) => {
          this.#targetFailed(detail);
        },
        onSend: () => {
          this.#statistics.sent++;
        },
        onBeat: (rtt) => {
          this.#answered(rtt);
        },
        onMiss: ({misses, waited, reason}) => {
          this.#statistics.missed++;
          this.#logHeartbeat('missed %d, waited %d ms (%s)', misses, waited, reason);
          const {heartbeat} = this.#settings;
          this.#tell('heartbeat-miss', {misses, maxMisses: heartbeat ? heartbeat.maxMisses : 0, waited, reason});
        },
        onConnection: (connection) => {
          this.#tell('connection', {
            id: connection.id,
            forward: this.#nameOf(connection),
            held: Math.round(connection.held),
          });
        },
        onConnectionEnd: (connection, end) => {
          this.#tell('connection-end', {
            id: connection.id,
            forward: this.#nameOf(connection),
            end,
            duration: Math.round(now() - connection.since),
            bytesSent: connection.bytesSent,
            bytesReceived: connection.bytesReceived,
            ...(connection.refusal !== undefined && {cause: connection.refusal}),
          });
        },
      },
      this.#halt.signal,
    );
  }

  #nameOf({forward}: Connection): string {
    return this.#settings.forwards[forward]?.name ?? '';
  }

  #connected({pid = 0, number}: Session, {elapsed, forwards, rtt}: Ready): void {
    this.#forwards = forwards;
    // Who begins to wait in a listener of the state, after a restart() for one, waits for the next connect.
    const waiters = this.#waiting.take();
    if (this.#state.name !== 'up') this.#enter({type: 'ready', starts: number, at: now()});
    if (this.state !== 'up') {
      this.#waiting.giveBack(waiters);
      return;
    }
    for (const {resolve} of waiters) resolve();
    this.#tell('connect', {starts: number, pid, elapsed, forwards});
    if (rtt !== undefined) this.#answered(rtt);
  }

  #answered(rtt: number): void {
    this.#statistics.answer(rtt);
    this.#logHeartbeat('beat %d after %s ms', this.#statistics.answered, rtt.toFixed(1));
    this.#tell('heartbeat', {rtt, beats: this.#statistics.answered});
  }

  #targetFailed(detail: string): void {
    // The first is told; a service that is down is asked for often.
    if (this.#statistics.targetFailures++ > 0) return;
    this.#tell('warning', {
      code: 'WARN_AUTOSSH_TARGET',
      message: `ssh could not reach the target of a forward: ${detail}`,
    });
  }

  /** Begins the end; the first reason wins. */
  #end(reason: StopReason, error?: AutoSSHError): void {
    if (this.#state.name === 'stopping' || this.#state.name === 'stopped') return;
    const started = this.#isStarted();
    this.#halt.abort();
    this.#service.halt(endings[reason]);
    this.#enter({type: 'end', reason, ...(error && {error})});
    if (started) return;
    this.#finished = Promise.resolve();
    this.#finish();
  }

  /** Nothing is left. */
  #finish(): void {
    this.#stopListening?.();
    this.#lifetime.stop();
    clearInterval(this.#anchor);
    this.#enter({type: 'ended'});
    if (this.#state.name !== 'stopped') return;
    const {reason, error} = this.#state;
    this.#waiting.rejectAll(this.#endError());
    this.#listening.rejectAll(this.#endError());
    if (error) {
      this.#log('%s: %s', error.code, error.message);
      this.#tell('fatal', error);
    }
    this.#tell('stop', {reason, ...(error && {error})});
  }

  /** It is before the state tells: the listeners come first, then ssh. */
  #isStarted(): boolean {
    return this.#finished !== undefined;
  }

  async #nextConnect(signal?: AbortSignal): Promise<void> {
    if (this.#state.name === 'stopping' || this.#state.name === 'stopped') throw this.#endError();
    return this.#waiting.join(signal);
  }

  /** Why nothing will come of waiting for this tunnel. */
  #endError(): AutoSSHError {
    if (this.#state.name !== 'stopping' && this.#state.name !== 'stopped') throw new Error('The tunnel has not ended');
    const {reason, error} = this.#state;
    return (
      error ??
      new AutoSSHError(
        reason === 'aborted' ? 'ERR_AUTOSSH_ABORTED' : 'ERR_AUTOSSH_STOPPED',
        `${endings[reason]}: there will be no connection`,
      )
    );
  }

  /** The one place that writes the state. */
  #enter(event: StateEvent): void {
    const from = this.#state.name;
    const state = next(this.#state, event);
    if (!state) {
      this.#log('impossible: %s in state %s', event.type, from);
      return;
    }
    this.#state = state;
    if (state.name === from) return;
    this.#log('%s -> %s', from, state.name);
    this.#tell('state', {from, to: state.name});
  }

  /** Emits; what a listener throws is the host's, and surfaces there as an uncaught exception. */
  #tell<Name extends keyof AutoSSHEventPayloads>(name: Name, payload: AutoSSHEventPayloads[Name]): void {
    try {
      (this.emit as (name: Name, payload: AutoSSHEventPayloads[Name]) => boolean).call(this, name, payload);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

const endings: Readonly<Record<StopReason, string>> = {
  stopped: 'The tunnel was stopped',
  aborted: 'The signal of the tunnel was aborted',
  'max-lifetime': 'The tunnel has reached its maximum lifetime',
  exit: 'ssh has ended without an error',
  fatal: 'The tunnel has ended',
};

function notStarted(): AutoSSHError {
  return new AutoSSHError('ERR_AUTOSSH_STOPPED', 'The tunnel was not started', {hint: 'Call `start()` first.'});
}

function toError(error: unknown): AutoSSHError {
  if (error instanceof AutoSSHError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const isOfFolder = error instanceof Error && 'syscall' in error && error.syscall === 'mkdtemp';
  return new AutoSSHError('ERR_AUTOSSH_SPAWN', `The tunnel could not be set up: ${message}`, {
    cause: error,
    hint: isOfFolder ? 'Set TMPDIR to a folder that is there, with room, where this user can write.' : 'See `cause`.',
  });
}

function nothing(): void {
  // An anchor does nothing but be there.
}
