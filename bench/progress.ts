/** Says on a terminal's stderr what is going on, in one line that is written over; elsewhere in a line for each thing. */
export class Progress implements Disposable {
  readonly #begun = performance.now();
  readonly #stream = process.stderr;
  readonly #timer: NodeJS.Timeout | undefined;
  #what = '';

  constructor() {
    if (!this.#stream.isTTY) return;
    this.#timer = setInterval(() => this.#draw(), 500);
  }

  get seconds(): number {
    return (performance.now() - this.#begun) / 1_000;
  }

  say(what: string): void {
    this.#what = what;
    if (this.#timer === undefined) this.#stream.write(`${this.#line()}\n`);
    else this.#draw();
  }

  /** Takes the line away, so that something can be printed. */
  clear(): void {
    if (this.#timer !== undefined) this.#stream.write('\r\x1b[K');
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.clear();
  }

  #draw(): void {
    const line = this.#line();
    this.#stream.write(`\r\x1b[K${line.slice(0, Math.max(20, this.#stream.columns - 1))}`);
  }

  #line(): string {
    const seconds = Math.floor(this.seconds);
    const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
    return `[${clock.padStart(5)}] ${this.#what}`;
  }
}
