import {cut, displayWidth} from './display-width.js';

/** How a piece of a line looks. */
export type Tone = 'plain' | 'bold' | 'dim' | 'good' | 'warn' | 'bad' | 'accent' | 'key';

/** A piece of a line. */
export type Span = readonly [text: string, tone?: Tone];

/** The sixteen colours of every terminal, so that it looks like the rest of what its owner has chosen. */
const codes: Readonly<Record<Tone, string>> = {
  plain: '',
  bold: '1',
  dim: '2',
  good: '32',
  warn: '33',
  bad: '31',
  accent: '36',
  key: '7',
};

/** Spans as a text of exactly so many columns: what is too long is cut, what is too short is filled up. */
export function paint(spans: readonly Span[], columns: number, colour: boolean): string {
  let room = columns;
  let painted = '';
  for (const [text, tone = 'plain'] of spans) {
    if (room <= 0) break;
    const part = cut(text, room);
    room -= displayWidth(part);
    painted += colour && codes[tone] !== '' && part !== '' ? `\u001B[${codes[tone]}m${part}\u001B[0m` : part;
    // What stands behind a cut would look like its end.
    if (part !== text) break;
  }
  return painted + ' '.repeat(Math.max(0, room));
}

/** Two groups, one at each end of the line; on a narrow one the right group gives way. */
export function apart(left: readonly Span[], right: readonly Span[], columns: number): readonly Span[] {
  const gap = columns - widthOf(left) - widthOf(right);
  return gap < 2 ? left : [...left, [' '.repeat(gap)], ...right];
}

function widthOf(spans: readonly Span[]): number {
  return spans.reduce((sum, [text]) => sum + displayWidth(text), 0);
}
