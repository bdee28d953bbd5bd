import {Alarm, now} from '../clock.js';
import {randomBytes} from '../random.js';
import type {BeatChannel, ChannelListener} from './channel.js';
import type {Evidence} from './evidence.js';
import type {HeartbeatSettings} from './options.js';

/** What a heartbeat tells. */
export interface HeartbeatListener {
  /** When something else last came through the tunnel: that is life too, on a link that is too busy for a beat. */
  readonly heardAt?: () => number;
  /** Whether a beat that is late waits in a queue that moves. */
  readonly evidence?: Evidence;
  /** A beat went out. */
  readonly onSend: () => void;
  /** A beat came back after so many milliseconds. */
  readonly onBeat: (rtt: number) => void;
  /** One did not. */
  readonly onMiss: (miss: {readonly misses: number; readonly waited: number; readonly reason: MissReason}) => void;
  /** So many in a row did not that the tunnel counts as dead. */
  readonly onDead: (misses: number) => void;
}

/** Why a beat did not come back: no answer in time, or its connection was closed over and over. */
export type MissReason = 'timeout' | 'closed';

/** A timer that rings so much too late was not kept by a running process: it was stopped, suspended or starved. */
const oversleep = 1_000;

/** The kept connection is opened again after so many milliseconds when it was closed under a beat. */
const reopenAfter = 50;

/** And after so many when nothing listened on it yet. */
const bindGap = 2;

/** So often may the connection of the first beat be closed before there is no way through. */
const firstTries = 3;

/** Beats that are too late still prove life; so many are remembered. */
const remembered = 16;

/** The latest beat, as long as it has not come back. */
interface AwaitedBeat {
  readonly line: string;
  readonly sentAt: number;
  closed: boolean;
}

/** The beats of one ssh: the first proves it ready, the others that it still is. */
export class Heartbeat {
  readonly #settings: HeartbeatSettings;
  readonly #channel: BeatChannel;
  readonly #listener: HeartbeatListener;
  readonly #compose: (nonce: Buffer) => string;
  /** Sent and not answered, oldest first, with the time they went out. */
  readonly #outstanding = new Map<string, number>();
  readonly #next = new Alarm();
  readonly #deadline = new Alarm();
  readonly #look = new Alarm();
  readonly #reopen = new Alarm();
  #awaited: AwaitedBeat | undefined;
  #misses = 0;
  #closes = 0;
  #isClosed = false;
  #first: ((proven: boolean) => void) | undefined;
  /** Who wants to know of the beat that is out, and of the one after it. */
  #asking: ((alive: boolean) => void)[] = [];
  #askingNext: ((alive: boolean) => void)[] = [];

  constructor(
    settings: HeartbeatSettings,
    open: (listener: ChannelListener) => BeatChannel,
    listener: HeartbeatListener,
    compose: (nonce: Buffer) => string,
  ) {
    this.#compose = compose;
    this.#settings = settings;
    this.#listener = listener;
    this.#channel = open({
      onLine: (line) => this.#receive(line),
      onClose: (absent) => {
        this.#closed(absent);
      },
    });
  }

  /** Sends the first beat. `true`: it came back; `false`: there is no way through for it. */
  async prove(): Promise<boolean> {
    return new Promise((resolve) => {
      this.#first = resolve;
      this.#send();
    });
  }

  /** Begins the regular beats. */
  start(): void {
    this.#next.set(this.#settings.firstInterval, () => {
      this.#beat();
    });
  }

  /**
   * Whether the tunnel is alive now: `true` when a beat that was sent after this call has come back, `false` at the first
   * miss. However many ask at once, one beat is out at a time.
   */
  async probe(): Promise<boolean> {
    return new Promise((resolve) => {
      if (this.#isClosed) {
        resolve(false);
      } else if (this.#awaited || this.#first) {
        this.#askingNext.push(resolve);
      } else {
        this.#asking.push(resolve);
        // It would give this one its own time.
        this.#next.stop();
        this.#beat();
      }
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#answer(false);
    this.#next.stop();
    this.#deadline.stop();
    this.#look.stop();
    this.#reopen.stop();
    this.#outstanding.clear();
    this.#awaited = undefined;
    this.#channel.close();
    this.#first?.(false);
  }

  #send(): number {
    const line = Buffer.from(this.#compose(randomBytes(16))).toString('latin1');
    const sentAt = now();
    this.#outstanding.set(line, sentAt);
    for (const old of this.#outstanding.keys()) {
      if (this.#outstanding.size <= remembered) break;
      this.#outstanding.delete(old);
    }
    this.#awaited = {line, sentAt, closed: false};
    this.#channel.send(line);
    this.#listener.onSend();
    return sentAt;
  }

  #beat(): void {
    const sentAt = this.#send();
    if (this.#awaited) this.#await(this.#awaited, sentAt);
  }

  #await(beat: AwaitedBeat, since: number): void {
    const {timeout} = this.#settings;
    const due = since + timeout;
    // Half of the time is left for what it sees then to move.
    this.#look.set(due - timeout / 2 - now(), () => {
      void this.#listener.evidence?.look();
    });
    this.#deadline.set(due - now(), () => {
      // What has arrived while this process was busy is heard first.
      setImmediate(() => {
        void this.#judge(beat, since, now() - due);
      });
    });
  }

  /** Its time is over. Other signs of life give it more. */
  async #judge(beat: AwaitedBeat, since: number, oversleptBy: number): Promise<void> {
    if (this.#awaited !== beat) return;
    const heardAt = this.#listener.heardAt?.() ?? 0;
    if (heardAt > since) {
      this.#await(beat, heardAt);
      return;
    }
    // One whose connection was closed waits for nothing.
    const isMoving = !beat.closed && (await this.#listener.evidence?.isMoving());
    if (this.#awaited !== beat) return;
    if (isMoving) this.#await(beat, now());
    else this.#late(beat, oversleptBy);
  }

  #late({sentAt, closed}: AwaitedBeat, oversleptBy: number): void {
    if (oversleptBy > oversleep) {
      // Nothing is known about the time when nobody looked: ask first.
      this.#beat();
      return;
    }
    this.#misses++;
    this.#answer(false);
    this.#listener.onMiss({
      misses: this.#misses,
      waited: Math.round(now() - sentAt),
      reason: closed ? 'closed' : 'timeout',
    });
    if (!this.#awaited) return;
    if (this.#misses >= this.#settings.maxMisses) {
      this.#awaited = undefined;
      this.#listener.onDead(this.#misses);
    } else {
      this.#beat();
    }
  }

  #receive(line: string): boolean {
    const sentAt = this.#outstanding.get(line);
    if (sentAt === undefined) return false;
    // It was the answer to this one or a later: what was sent before it on the way is answered or lost.
    this.#outstanding.delete(line);
    this.#misses = 0;
    this.#closes = 0;
    this.#awaited = undefined;
    this.#deadline.stop();
    this.#look.stop();
    this.#reopen.stop();
    const first = this.#first;
    this.#first = undefined;
    const asked = this.#asking;
    this.#asking = this.#askingNext;
    this.#askingNext = [];
    for (const resolve of asked) resolve(true);
    if (!first && this.#asking.length > 0) {
      this.#next.stop();
      queueMicrotask(() => {
        if (!this.#isClosed && !this.#awaited) this.#beat();
      });
    } else if (!first) {
      this.#next.set(Math.max(0, sentAt + this.#settings.interval - now()), () => {
        this.#beat();
      });
    }
    this.#listener.onBeat(now() - sentAt);
    first?.(true);
    return true;
  }

  #answer(alive: boolean): void {
    const asked = [...this.#asking, ...this.#askingNext];
    this.#asking = [];
    this.#askingNext = [];
    for (const resolve of asked) resolve(alive);
  }

  #closed(absent: boolean): void {
    const awaited = this.#awaited;
    // Between two beats nothing is lost: the next one opens it again.
    if (!awaited) return;
    awaited.closed = true;
    // ssh binds a socket an instant before it listens on it, and its socket outlives it: that says nothing of the way.
    if (!absent) this.#closes++;
    if (this.#first && this.#closes >= firstTries) {
      this.#awaited = undefined;
      this.#first(false);
      this.#first = undefined;
      return;
    }
    this.#reopen.set(absent ? bindGap : reopenAfter, () => {
      if (this.#awaited === awaited) this.#channel.send(awaited.line);
    });
  }
}
