import {hostname} from 'node:os';
import {join} from 'node:path';
import type {Way} from './front/way.js';
import {Alarm, now, sleep} from './clock.js';
import {AutoSSHError, type Outcome, type Stage} from './errors.js';
import {autosshBeatLine, beatLine} from './heartbeat/beat.js';
import {EchoPort} from './heartbeat/echo-port.js';
import {Evidence, type Sight} from './heartbeat/evidence.js';
import {ForwardLoop} from './heartbeat/forward-loop.js';
import {Heartbeat, type HeartbeatListener} from './heartbeat/heartbeat.js';
import {type MonitorListener, MonitorPort} from './heartbeat/monitor-port.js';
import type {HeartbeatSettings} from './heartbeat/options.js';
import {removeSocket, unlock} from './local-socket.js';
import type {Settings} from './options.js';
import {type Adaptation, type EndCause, adaptationTo, describeOutcome} from './outcome.js';
import {isConnected, listenerOf} from './procfs.js';
import {printable, sshArguments} from './ssh/arguments.js';
import type {Answers} from './ssh/answers.js';
import {answerQuestions} from './ssh/askpass.js';
import {Child, type ChildExit} from './ssh/child.js';
import type {Equipment} from './ssh/credentials.js';
import type {Forward} from './ssh/forward.js';
import {type Life, type LifeOptions, planLife} from './ssh/life.js';
import {answered, appeared, nudge, serving} from './ssh/marker.js';
import type {Notice} from './ssh/notice.js';
import {Transcript} from './ssh/transcript.js';
import {Vitals} from './ssh/vitals.js';

/** What one life of ssh is made of. */
export interface SessionOptions extends LifeOptions {
  readonly settings: Settings;
  /** Finds ssh, with what goes in front of it; throws the system's error where there is none. */
  readonly program: () => readonly string[];
  /** A private folder, for the sockets of this life. */
  readonly folder: string;
  /** The number of this life, unique in the folder. */
  readonly number: number;
  /** Local ports that nobody has been told of yet. */
  readonly ephemeralPorts: ReadonlySet<number>;
  /** Where the beats of a raw command line's loop come back to. */
  readonly monitor: MonitorListener | undefined;
  /** What it logs in with. */
  readonly equipment: Equipment;
  /** Whether the next one may take the place of this one if its loop is refused at the server. */
  readonly isExpendable: boolean;
}

/** What ssh says of the connections that proved it ready has been read by so many milliseconds after that. */
const echoOfProof = 1_000;

/** What a session tells while it lives. */
export interface SessionListener extends Omit<HeartbeatListener, 'onDead'> {
  readonly onLine: (line: string) => void;
  readonly onNotice: (notice: Notice) => void;
  /** The server lets no beat through: the heartbeat goes on as ssh's own keep-alives. */
  readonly onDegrade: (why: string) => void;
  /** ssh has accepted a new host key, and could not write it down in this file. */
  readonly onUnkept: (file: string) => void;
  /** The server refuses the port of a raw command line's loop, and this ssh goes on without beats. */
  readonly onMonitorRefused: () => void;
}

/** What is known of a session that is ready. */
export interface Ready {
  /** Milliseconds since the spawn. */
  readonly elapsed: number;
  /** What is bound, with the ports that the server chose. */
  readonly forwards: readonly Forward[];
  /** Of the first beat, in milliseconds, where there was one. */
  readonly rtt: number | undefined;
}

/** How a session ended. */
export interface SessionEnd {
  readonly outcome: Outcome;
  /** What the next one has to do differently, if this one failed by something that is ours to mend. */
  readonly adaptation: Adaptation | undefined;
}

/** The first request is on its way by then, in milliseconds, and its answer waits for something else to go there. */
const nudgeAfter = 3;

/** An ssh that has missed its beats will hardly end by itself. */
const graceOfTheDead = 250;

/** One life: ssh, its readiness and its heartbeat, from spawn to outcome. It knows nothing of restarts. */
export class Session {
  /** `undefined`: ssh could not be started. */
  readonly pid: number | undefined;
  /** Whom a signal to it goes to: {@link Child.target}. */
  readonly target: number | undefined;
  /** The command for people, secrets out. */
  readonly command: string;
  /** What is bound once it is proven ready; `undefined` if it ends before. */
  readonly ready: Promise<Ready | undefined>;
  /** How it ended, when nothing of it is left. */
  readonly ended: Promise<SessionEnd>;

  readonly #options: SessionOptions;
  readonly #listener: SessionListener;
  readonly #life: Life;
  readonly #child: Child | undefined;
  readonly #vitals: Vitals | undefined;
  readonly #over = new AbortController();
  readonly #deadline = new Alarm();
  readonly #nudge = new Alarm();
  readonly #heartbeat: Heartbeat | undefined;
  readonly #spawnedAt = now();
  readonly #transcript = new Transcript();
  #stage: Stage = 'connect';
  #readyAt: number | undefined;
  #beats = false;
  #hasBeaten = false;
  #firstRtt: number | undefined;
  /** So many connections of our own does the server refuse that ssh has not told of yet. */
  #refusals = 0;
  readonly #countRefusal = (by: number): void => {
    if (this.#life.marker.target?.path !== undefined) this.#refusals += by;
  };
  #answers: Answers | undefined;
  #isAsking = false;
  #cause: EndCause | undefined;
  readonly #way: Way = {
    heardAt: 0,
    given: 0,
    stuck: 0,
    releases: 0,
    socketOf: (index) => this.#life.forwards[index]?.listen.path ?? '',
    isOpen: () => !this.#isOver(),
    beats: () => this.#beats,
    probe: async () => (this.#beats ? this.#heartbeat?.probe() : undefined),
    lost: () => {
      this.end({type: 'requested', message: 'The private socket of ssh was removed'});
    },
    isEnding: () => this.#isOver() || (this.#vitals?.isEnding ?? true),
  };

  constructor(options: SessionOptions, listener: SessionListener) {
    this.#options = options;
    this.#listener = listener;
    const {settings, folder, number, heartbeat} = options;
    const socket = (name: string): string => join(folder, `${String(number)}-${name}.sock`);
    this.#life = planLife(options, socket('out'), socket('back'));
    const argv = sshArguments(settings, this.#life);
    this.command = printable([settings.sshPath, ...argv]);
    // It listens before ssh can be there.
    if (heartbeat && heartbeat.mode !== 'server-alive')
      this.#heartbeat = this.#openHeartbeat(heartbeat, socket('back'));
    const {child, exited} = this.#spawn(argv);
    this.#child = child;
    this.pid = child?.pid;
    this.#vitals = this.pid === undefined ? undefined : new Vitals(this.pid);
    this.target = child?.target;
    this.ended = this.#conclude(exited);
    this.ready = this.#prove();
    this.#deadline.set(settings.readyTimeout, () => {
      void this.#timeOut();
    });
  }

  /** The number of this life. */
  get number(): number {
    return this.#options.number;
  }

  /** Whether a beat of it has ever come back. */
  get hasBeaten(): boolean {
    return this.#hasBeaten;
  }

  /** How connections go through it once it is ready. */
  get way(): Way {
    return this.#way;
  }

  /** Whether it is still there after so many milliseconds. */
  async survives(milliseconds: number): Promise<boolean> {
    return sleep(milliseconds, this.#over.signal);
  }

  /** Ends it; the first cause wins. */
  end(cause: EndCause): void {
    if (this.#cause === undefined && !this.#over.signal.aborted) this.#cause = cause;
    const {killTimeout} = this.#options.settings;
    this.#child?.end(cause.type === 'heartbeat' ? Math.min(killTimeout, graceOfTheDead) : killTimeout);
  }

  #spawn(argv: readonly string[]): {child?: Child; exited: Promise<ChildExit>} {
    const {cwd, stdio, stderr} = this.#options.settings;
    const {env, answers} = this.#options.equipment;
    this.#answers = answers?.(this.#over.signal);
    try {
      const child = new Child({
        command: [...this.#options.program(), ...argv],
        env,
        cwd,
        stdio,
        stderr,
        onQuestions:
          this.#answers &&
          ((questions) => {
            answerQuestions(questions, async (question) => this.#answer(question));
          }),
        // As with autossh: what a host's own command line starts beside ssh is the host's.
        isAlone: this.#isRaw,
        onLine: (line) => {
          this.#read(line);
        },
      });
      return {child, exited: child.exited};
    } catch (error) {
      return {exited: Promise.reject(error instanceof Error ? error : new Error(String(error)))};
    }
  }

  /** Without an answer ssh would give the server an empty one: where there is none it is ended, and waits until then. */
  async #answer(question: string): Promise<string | undefined> {
    if (this.#stage === 'connect') this.#stage = 'authenticate';
    this.#isAsking = true;
    try {
      return await this.#answers?.to(question);
    } catch (error) {
      const cause =
        error instanceof AutoSSHError ? error : new AutoSSHError('ERR_AUTOSSH_AUTH', String(error), {cause: error});
      this.end({type: 'credentials', error: cause});
      return await new Promise(() => undefined);
    } finally {
      this.#isAsking = false;
    }
  }

  #openHeartbeat(settings: HeartbeatSettings, wayBack: string): Heartbeat {
    const {message, monitorPort} = settings;
    return new Heartbeat(
      settings,
      (channel) => {
        if (monitorPort !== undefined) return new MonitorPort(monitorPort, this.#options.monitor, channel);
        const wayOut = this.#life.marker.socket;
        return settings.mode === 'forward-loop'
          ? new ForwardLoop(wayOut, wayBack, channel)
          : new EchoPort(wayOut, channel);
      },
      {
        onSend: this.#listener.onSend,
        onMiss: this.#listener.onMiss,
        heardAt: () => this.#way.heardAt,
        evidence: new Evidence(async (withQueue) => this.#look(withQueue)),
        onBeat: (rtt) => {
          this.#way.heardAt = now();
          this.#hasBeaten = true;
          // The first one is told with the connect it proves.
          if (this.#readyAt === undefined) this.#firstRtt = rtt;
          else this.#listener.onBeat(rtt);
        },
        onDead: (misses) => {
          if (this.#isRaw && !this.#hasBeaten && this.#forgoBeats()) return;
          this.end({type: 'heartbeat', misses});
        },
      },
      (nonce) =>
        monitorPort === undefined ? beatLine(nonce, message) : autosshBeatLine(nonce, hostname(), process.pid, message),
    );
  }

  /** What ssh has done with what it was given. */
  async #look(withQueue: boolean): Promise<Sight | undefined> {
    const traffic = await this.#vitals?.traffic(withQueue);
    const {given, stuck, releases} = this.#way;
    const isKnown = !this.#isRaw && this.#life.forwards.every(({steady}) => steady);
    return traffic && {...traffic, given: isKnown ? given : undefined, stuck, releases};
  }

  /** The command line is the host's, and has nothing of ours. */
  get #isRaw(): boolean {
    return this.#options.settings.sshArguments !== undefined;
  }

  async #prove(): Promise<Ready | undefined> {
    // Nothing of ours is in a raw command line that could prove more than this.
    const proven = this.#isRaw ? this.pid !== undefined : await this.#proveForwards();
    if (!proven || this.#isOver()) return undefined;
    this.#deadline.stop();
    this.#nudge.stop();
    this.#stage = 'up';
    this.#readyAt = now();
    // Before the first connection comes, which it is asked about.
    if (this.#life.forwards.some(({steady}) => steady)) this.#vitals?.watch(this.#life.marker.socket);
    // A raw command line's beats prove nothing before ssh has logged in, which may take a person.
    if (this.#firstRtt !== undefined || this.#isRaw) {
      this.#beats = true;
      this.#heartbeat?.start();
    }
    return {elapsed: Math.round(this.#readyAt - this.#spawnedAt), forwards: this.#boundForwards(), rtt: this.#firstRtt};
  }

  async #proveForwards(): Promise<boolean> {
    // ssh binds after the login, in order: when the marker is there, every local forward before it was bound or has failed.
    const {socket, target} = this.#life.marker;
    const {signal} = this.#over;
    if (!(await appeared(socket, signal))) return false;
    unlock(socket);
    this.#transcript.forgetLogin();
    this.#stage = 'forward';
    if (this.#heartbeat) {
      this.#stage = 'heartbeat';
      this.#nudgeSoon();
      if (!(await this.#heartbeat.prove()) && !this.#degrade()) return false;
    } else if (target) {
      // The server answers in order: when it has opened or refused a connection through the marker, it has granted every
      // remote forward that was asked for before. (If it had not, ssh would end.)
      this.#nudgeSoon();
      if (!(await answered(socket, signal, this.#countRefusal))) return false;
    } else if (!(await serving(socket, signal))) {
      return false;
    }
    this.#stage = 'forward';
    return this.#transcript.hasAllocated(this.#life.forwards.filter(isServerChosen).length, signal);
  }

  #nudgeSoon(): void {
    this.#nudge.set(nudgeAfter, () => {
      nudge(this.#life.marker.socket, this.#over.signal, this.#countRefusal);
    });
  }

  /** No beat of a raw command line's ever came back. Whether that is because the server allows none. */
  #forgoBeats(): boolean {
    const prohibited = this.#prohibition();
    if (prohibited === undefined) return false;
    this.#heartbeat?.close();
    this.#listener.onDegrade(`the server lets no beat through (${prohibited})`);
    return true;
  }

  /** What the server said when it allowed no connection, if that was so. */
  #prohibition(): string | undefined {
    for (const one of this.#transcript.notices)
      if (one.kind === 'channel-open-failed' && one.reason !== 'connect-failed') return one.detail;
    return undefined;
  }

  #isOver(): boolean {
    return this.#over.signal.aborted || this.#cause !== undefined;
  }

  /** The first beat found no way through. Whether the tunnel can do without. */
  #degrade(): boolean {
    if (this.#isOver()) return false;
    const prohibited = this.#prohibition();
    const {heartbeat} = this.#options;
    if (prohibited === undefined && heartbeat && heartbeat.mode === 'echo-port') {
      this.end({type: 'heartbeat', misses: 1, echo: `${heartbeat.echoHost}:${String(heartbeat.echoPort)}`});
      return false;
    }
    this.#heartbeat?.close();
    this.#listener.onDegrade(`the server lets no beat through (${prohibited ?? 'its connections are closed'})`);
    return true;
  }

  #boundForwards(): readonly Forward[] {
    const chosen = [...this.#transcript.allocated];
    return Object.freeze(
      this.#life.forwards.map((one) => {
        if (!isServerChosen(one)) return one;
        return Object.freeze({...one, listen: Object.freeze({...one.listen, port: chosen.shift() ?? 0})});
      }),
    );
  }

  #read(said: string): void {
    const line = this.#options.equipment.conceal(said);
    const notice = this.#transcript.read(line);
    if (notice) this.#note(notice);
    this.#listener.onLine(line);
  }

  #note(notice: Notice): void {
    if (notice.kind === 'authenticated') this.#stage = 'forward';
    if (notice.kind === 'host-key-not-kept') this.#listener.onUnkept(notice.file);
    const isFresh = this.#readyAt === undefined || now() - this.#readyAt < echoOfProof;
    if (notice.kind === 'channel-open-failed' && this.#refusals > 0 && isFresh) {
      this.#refusals--;
      return;
    }
    if (this.#readyAt !== undefined) this.#listener.onNotice(notice);
    this.#noteMonitor(notice);
  }

  /** Without its port at the server autossh's loop is none: the next ssh gets another. */
  #noteMonitor(notice: Notice): void {
    const {heartbeat, loopPort, isExpendable} = this.#options;
    if (notice.kind !== 'remote-bind-failed' || notice.port !== loopPort) return;
    if (!heartbeat || heartbeat.monitorPort === undefined || heartbeat.mode !== 'forward-loop') return;
    // One that is going to end because of it (ExitOnForwardFailure) could do no harm any more.
    if (notice.fatal || isExpendable) {
      this.end({type: 'monitor-port', message: `the server did not let ssh listen on its port ${String(loopPort)}`});
    } else {
      this.#heartbeat?.close();
      this.#listener.onMonitorRefused();
    }
  }

  async #timeOut(): Promise<void> {
    const {settings} = this.#options;
    const connected = this.#stage === 'connect' && this.pid !== undefined && (await isConnected(this.pid));
    if (this.#readyAt !== undefined) return;
    if (connected && this.#stage === 'connect') this.#stage = 'authenticate';
    this.end({type: 'timeout', stage: this.#stage, after: settings.readyTimeout, isAsking: this.#isAsking});
  }

  async #conclude(exited: Promise<ChildExit>): Promise<SessionEnd> {
    let exit: ChildExit | undefined;
    let spawnError: NodeJS.ErrnoException | undefined;
    try {
      exit = await exited;
    } catch (error) {
      spawnError = error as NodeJS.ErrnoException;
    }
    this.#over.abort();
    this.#deadline.stop();
    this.#nudge.stop();
    this.#heartbeat?.close();
    const {marker, loop} = this.#life;
    const local = this.#life.forwards.flatMap(({type, listen}) =>
      type !== 'remote' && listen.path !== undefined ? [listen.path] : [],
    );
    if (!this.#isRaw) for (const path of [marker.socket, ...(loop ? [loop.socket] : []), ...local]) removeSocket(path);
    const {notices, lines} = this.#transcript;
    const taken = notices.find((one) => one.kind === 'local-bind-failed' && one.port !== undefined);
    const ending = {
      cause: this.#cause,
      exit,
      spawnError,
      notices,
      stderr: lines,
      stage: this.#stage,
      isRaw: this.#isRaw,
      isPinned: this.#options.settings.hostKey.pins !== undefined,
      areHopsPinned: arePinned(this.#options.settings.jump),
      isAnswered: this.#answers?.given ?? false,
      doubts: this.#options.equipment.doubts,
      uptime: this.#readyAt === undefined ? 0 : Math.round(now() - this.#readyAt),
      forwards: this.#life.forwards,
      loopPort: loop?.port,
      ephemeralPorts: this.#options.ephemeralPorts,
      holder:
        taken?.kind === 'local-bind-failed' && taken.port !== undefined ? await listenerOf(taken.port) : undefined,
    };
    return {outcome: describeOutcome(ending), adaptation: adaptationTo(ending)};
  }
}

function isServerChosen(forward: Forward): forward is Forward & {listen: {host: string; port: number}} {
  return forward.type === 'remote' && forward.listen.port !== undefined && forward.listen.port === 0;
}

/** Whether every hop has host keys of its own; `undefined`: only some. */
function arePinned(jump: Settings['jump']): boolean | undefined {
  const pinned = jump === 'none' ? [] : jump.filter(({hostKey}) => hostKey.pins);
  return pinned.length === 0 ? false : pinned.length === jump.length || undefined;
}
