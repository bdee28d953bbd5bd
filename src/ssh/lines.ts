import {StringDecoder} from 'node:string_decoder';

/**
 * Text in pieces → whole lines, fit to be read and printed by anyone: no terminal sequences, control characters, bytes that are not
 * UTF-8, or marks that turn the direction of text. Empty lines are left out.
 *
 * Never holds more than one line of `limit` characters; the rest of a longer one is dropped and stands as `…`.
 */
export class LineSplitter {
  readonly #decoder = new StringDecoder('utf8');
  readonly #limit: number;
  #line = '';
  #isCut = false;

  constructor(limit = 2048) {
    this.#limit = limit;
  }

  /** The lines that are complete with this piece. */
  feed(chunk: Uint8Array | string): string[] {
    const [first = '', ...others] = (typeof chunk === 'string' ? chunk : this.#decoder.write(chunk)).split('\n');
    const lines: string[] = [];
    this.#append(first);
    for (const part of others) {
      this.#flush(lines);
      this.#append(part);
    }
    return lines;
  }

  /** The last line, if no line break ended it. */
  end(): string[] {
    const lines: string[] = [];
    this.#append(this.#decoder.end());
    this.#flush(lines);
    return lines;
  }

  #append(part: string): void {
    const room = this.#limit - this.#line.length;
    // ssh's own line end is CR LF, which must not count as text that was dropped.
    if (/[^\r]/.test(part.slice(room))) this.#isCut = true;
    this.#line += part.slice(0, room);
  }

  #flush(lines: string[]): void {
    const line = clean(this.#line);
    if (line !== '') lines.push(this.#isCut ? `${line}…` : line);
    this.#line = '';
    this.#isCut = false;
  }
}

/** ECMA-48: control sequences, control strings up to their end, and two-character escapes. */
// eslint-disable-next-line no-control-regex -- control characters are what is looked for
const terminalSequence = /\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])/g;

function clean(text: string): string {
  return text
    .replace(terminalSequence, '')
    .replaceAll('\t', ' ')
    .replace(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u{200e}\u{200f}\u{202a}-\u{202e}\u{2066}-\u{2069}]/gu, '')
    .trimEnd();
}
