import process from 'node:process';
import type {AutoSSH, AutoSSHEventPayloads} from '../index.js';
import {hintOf} from './hint.js';
import {drawFrame} from './status-frame.js';
import {type Moment, StatusModel, type ToldEvent, inWords, lastWords, toldEvents} from './status-model.js';
import {oneLine} from './status-words.js';

/** What there is to know of a `process.stdout`. */
export type Output = Pick<NodeJS.WriteStream, 'write' | 'on' | 'off'> &
  Partial<Pick<NodeJS.WriteStream, 'isTTY' | 'columns' | 'rows'>>;

/** And of a `process.stdin`. */
export type Input = Pick<NodeJS.ReadStream, 'on' | 'off' | 'resume' | 'pause' | 'unref'> &
  Partial<Pick<NodeJS.ReadStream, 'isTTY' | 'setRawMode'>>;

export interface StatusViewOptions {
  /** As on the command line. */
  readonly destination: string;
  /** Whether beats are sent, the first of which shows that the tunnel works. */
  readonly isMonitored: boolean;
  /** Where the keys come from. */
  readonly input: Input;
  /** What is written to. */
  readonly output: Output;
  /** `NO_COLOR` and `TERM` are looked at. */
  readonly env: NodeJS.ProcessEnv;
  /** The tunnel is to end: q, Ctrl-C, or nobody is there any more to see it. Called for every such key. */
  readonly onQuit?: () => void;
  /** ssh is to be replaced: r. */
  readonly onRestart?: () => void;
}

/** The alternate screen, no cursor, and no line that goes on in the next one. */
const enter = '\u001B[?1049h\u001B[?25l\u001B[?7l\u001B[2J';
const leave = '\u001B[0m\u001B[?7h\u001B[?25h\u001B[?1049l';

/** Two frames are at least so many milliseconds apart, however much happens. */
const pause = 40;
/** What counts in tenths of a second is drawn as often. */
const quickTick = 100;

/**
 * A tunnel to look at: on a terminal a window full that is drawn in place, elsewhere one line for each event.
 *
 * The terminal is given back by `close()`, by the end of the tunnel and by that of the process. A signal ends a process
 * without a word, so whoever opens a view has to listen to those that he wants to survive.
 */
export class StatusView {
  readonly #tunnel: AutoSSH;
  readonly #options: StatusViewOptions;
  readonly #model: StatusModel;
  readonly #isLive: boolean;
  readonly #colour: boolean;
  readonly #listeners: (() => void)[] = [];
  /** The lines that stand on the terminal. */
  #drawn: readonly string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #lastDrawn = -Infinity;
  #state: 'new' | 'open' | 'closed' = 'new';

  constructor(tunnel: AutoSSH, options: StatusViewOptions) {
    const {output, env, destination, isMonitored} = options;
    this.#tunnel = tunnel;
    this.#options = options;
    this.#isLive = output.isTTY === true && env['TERM'] !== 'dumb';
    // https://no-color.org: present and not empty
    this.#colour = !env['NO_COLOR'];
    this.#model = new StatusModel(destination, isMonitored, performance.now(), tunnel.state);
  }

  /** Takes the terminal and shows the tunnel from now on. */
  open(): void {
    if (this.#state !== 'new') return;
    this.#state = 'open';
    this.#listenToTunnel();
    const {output} = this.#options;
    this.#listen(output, 'error', this.#abandon);
    if (!this.#isLive) return;
    this.#listen(output, 'resize', this.#redraw);
    this.#listen(process, 'exit', this.#restore);
    // After a stop the shell has had the terminal, and has put it into its own mode.
    this.#listen(process, 'SIGCONT', this.#take);
    if (this.#hasKeys) {
      const {input} = this.#options;
      this.#listen(input, 'data', this.#onKeys);
      this.#listen(input, 'end', this.#abandon);
      this.#listen(input, 'error', this.#abandon);
    }
    this.#take();
  }

  /** Gives the terminal back, and leaves on it how the tunnel stands, and why it ended if it has. */
  close(): void {
    if (this.#state !== 'open') return;
    this.#state = 'closed';
    clearTimeout(this.#timer);
    for (const end of this.#listeners.splice(0)) end();
    if (!this.#isLive) return;
    this.#restore();
    const words = lastWords(this.#model, this.#tunnel.stats());
    this.#options.output.write(words.map((line) => `autossh: ${line}\n`).join(''));
  }

  get #hasKeys(): boolean {
    return this.#options.input.isTTY === true;
  }

  #listenToTunnel(): void {
    for (const name of toldEvents) {
      const listener = (payload: AutoSSHEventPayloads[typeof name]): void => {
        this.#tell({name, payload} as ToldEvent);
      };
      this.#tunnel.on(name, listener);
      this.#listeners.push(() => this.#tunnel.off(name, listener));
    }
  }

  #listen(source: Pick<NodeJS.EventEmitter, 'on' | 'off'>, name: string, listener: (chunk: Buffer) => void): void {
    source.on(name, listener);
    this.#listeners.push(() => source.off(name, listener));
  }

  #tell(event: ToldEvent): void {
    const moment = momentNow();
    this.#model.apply(event, moment);
    if (this.#isLive) {
      this.#drawIn(0);
    } else {
      const lines = inWords(event).map(({kind, text}) => `${moment.date} ${moment.clock} ${kind}: ${text}\n`);
      if (lines.length > 0) this.#options.output.write(lines.join(''));
      const hint = event.name === 'fatal' ? hintOf(event.payload) : undefined;
      if (hint !== undefined) this.#options.output.write(`${moment.date} ${moment.clock} hint: ${oneLine(hint)}\n`);
    }
    if (event.name === 'stop') this.close();
  }

  /** The keys one by one; a sequence (an arrow, a paste between brackets) is none of ours. */
  readonly #onKeys = (chunk: Buffer | string): void => {
    const keys = chunk.toString();
    if (keys.startsWith('\u001B')) return;
    for (const key of keys) {
      if (key === 'q' || key === 'Q' || key === '\u0003') this.#options.onQuit?.();
      else if (key === 'r' || key === 'R') this.#options.onRestart?.();
      else if (key === '\u000C') this.#redraw();
    }
  };

  /** Nobody is there any more: the terminal, or the reader of the pipe, has gone. */
  readonly #abandon = (): void => {
    if (this.#state !== 'open') return;
    this.#state = 'closed';
    clearTimeout(this.#timer);
    for (const end of this.#listeners.splice(0)) end();
    // What is still on its way there fails as well, and that is no news.
    this.#options.output.on('error', nothing);
    this.#options.input.on('error', nothing);
    if (this.#isLive) this.#restore();
    this.#options.onQuit?.();
  };

  readonly #take = (): void => {
    if (this.#hasKeys) {
      const {input} = this.#options;
      input.setRawMode?.(true);
      input.resume();
    }
    this.#options.output.write(enter);
    this.#redraw();
  };

  readonly #restore = (): void => {
    if (this.#hasKeys) {
      const {input} = this.#options;
      input.setRawMode?.(false);
      input.pause();
    }
    this.#options.output.write(leave);
  };

  readonly #redraw = (): void => {
    this.#drawn = [];
    this.#draw();
  };

  #drawIn(delay: number): void {
    const due = Math.max(delay, this.#lastDrawn + pause - performance.now());
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#draw, due).unref();
  }

  /** Writes the lines that have changed, all at once. */
  readonly #draw = (): void => {
    const stats = this.#tunnel.stats();
    const {columns = 0, rows = 0} = this.#options.output;
    const lines = drawFrame(
      {model: this.#model, stats, pid: this.#tunnel.pid, now: performance.now(), keys: this.#hasKeys},
      // A terminal that does not know its size says 0.
      {columns: columns || 80, rows: rows || 24, colour: this.#colour},
    );
    const isNew = this.#drawn.length !== lines.length;
    const changed = lines.flatMap((line, index) =>
      // A terminal that counts a character otherwise would leave the end of the old line: erased first.
      line === this.#drawn[index] ? [] : [`\u001B[${String(index + 1)};1H\u001B[2K${line}`],
    );
    this.#drawn = lines;
    this.#lastDrawn = performance.now();
    if (changed.length > 0) this.#options.output.write((isNew ? '\u001B[2J' : '') + changed.join(''));
    this.#drawIn(this.#model.state === 'up' ? 1_000 - (stats.uptime % 1_000) : quickTick);
  };
}

function momentNow(): Moment & {readonly date: string} {
  const date = new Date();
  const two = (number: number): string => String(number).padStart(2, '0');
  return {
    date: `${String(date.getFullYear())}-${two(date.getMonth() + 1)}-${two(date.getDate())}`,
    clock: `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`,
    now: performance.now(),
  };
}

function nothing(): void {
  // Nobody is left to be told.
}
