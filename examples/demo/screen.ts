/** Puts lines on a terminal or into a pipe. */
import {styleText} from 'node:util';
import type {Line, Tone} from './timeline.js';

const styles = {dim: 'dim', bold: 'bold', good: 'green', warn: 'yellow', bad: 'red'} as const;
const hideCursor = '\u001B[?25l';
const showCursor = '\u001B[?25h';
const eraseBelow = '\u001B[J';

/** What there is to know of a `process.stdout`. */
export type Output = Pick<NodeJS.WriteStream, 'write' | 'on' | 'off'> &
  Partial<Pick<NodeJS.WriteStream, 'isTTY' | 'columns' | 'rows'>>;

/**
 * Lines that stay, and, on a terminal, a region below them that is redrawn in place. In a pipe there is no such region, and
 * no escape sequence either.
 */
export class Screen implements Disposable {
  readonly isLive: boolean;
  readonly #output: Output;
  readonly #colours: boolean;
  #region: () => readonly Line[] = () => [];
  #timer: NodeJS.Timeout | undefined;
  /** The widths of the region's lines as they stand on the terminal. */
  #drawn: readonly number[] = [];
  #closed = false;

  constructor(output: Output, environment: NodeJS.ProcessEnv = process.env) {
    this.#output = output;
    this.isLive = output.isTTY === true && environment['TERM'] !== 'dumb';
    // https://no-color.org: present and not empty
    this.#colours = this.isLive && !environment['NO_COLOR'];
    if (!this.isLive) return;
    output.write(hideCursor);
    output.on('resize', this.#redraw);
    // However the program ends, its user wants the cursor back.
    process.on('exit', this.#restore);
  }

  get width(): number {
    return Math.max(20, Math.min(this.#columns, 120));
  }

  // A terminal that does not know its size says 0.
  get #columns(): number {
    const {columns = 0} = this.#output;
    return columns > 0 ? columns : 80;
  }

  get #rows(): number {
    const {rows = 0} = this.#output;
    return rows > 0 ? rows : 24;
  }

  /** Lines that stay. */
  print(...lines: readonly Line[]): void {
    if (this.#closed) return;
    const text = lines.map((line) => `${this.#paint(line, Infinity)}\n`).join('');
    this.#output.write(this.#erase() + text + this.#draw());
  }

  /** What the region shows from now on: asked for ten times a second, and whenever something is printed above it. */
  show(region: () => readonly Line[]): void {
    if (!this.isLive || this.#closed) return;
    this.#region = region;
    this.#timer ??= setInterval(this.#redraw, 100);
    this.#redraw();
  }

  /** No region any more. */
  clear(): void {
    this.show(() => []);
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Takes the region away and gives the cursor back. */
  close(): void {
    if (this.#closed) return;
    this.clear();
    this.#closed = true;
    if (!this.isLive) return;
    this.#output.off('resize', this.#redraw);
    process.off('exit', this.#restore);
    this.#restore();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  readonly #redraw = (): void => {
    this.#output.write(this.#erase() + this.#draw());
  };

  readonly #restore = (): void => {
    this.#output.write(showCursor);
  };

  /** From below the region to its first line. A line that was drawn on a wider terminal now takes several rows. */
  #erase(): string {
    const rows = this.#drawn.reduce((sum, width) => sum + Math.max(1, Math.ceil(width / this.#columns)), 0);
    this.#drawn = [];
    return rows === 0 ? '' : `\u001B[${rows}F${eraseBelow}`;
  }

  /** No line of the region is longer than a row, so that one line is one row. */
  #draw(): string {
    if (!this.isLive) return '';
    const lines = this.#region().slice(0, Math.max(0, this.#rows - 1));
    this.#drawn = lines.map((line) =>
      Math.min(
        this.width,
        line.reduce((sum, [text]) => sum + text.length, 0),
      ),
    );
    return lines.map((line) => `${this.#paint(line, this.width)}\n`).join('');
  }

  #paint(line: Line, width: number): string {
    let room = width;
    let painted = '';
    for (const [text, tone = 'plain'] of line) {
      const part = text.slice(0, room);
      room -= part.length;
      painted += this.#colour(part, tone);
    }
    return this.#colours ? painted : painted.trimEnd();
  }

  #colour(text: string, tone: Tone): string {
    if (!this.#colours || tone === 'plain' || text === '') return text;
    return styleText(styles[tone], text, {validateStream: false});
  }
}
