import type {Span} from './spans.js';

const blocks = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'] as const;

/** The newest beats as columns of blocks, the newest at the right; a beat that was missed is a cross below a faint bar. */
export function chartRows(beats: readonly (number | null)[], columns: number, rows: number): readonly Span[][] {
  const shown = beats.slice(-columns);
  const {max} = scaleOf(shown);
  const missing = columns - shown.length;
  return Array.from({length: rows}, (_, row) => {
    const floor = (rows - 1 - row) * blocks.length;
    const spans: Span[] = [[(floor === 0 ? '·' : ' ').repeat(missing), 'dim']];
    for (const beat of shown) {
      if (beat === null) spans.push(floor === 0 ? ['×', 'bad'] : ['╎', 'bad']);
      else spans.push([block(levelOf(beat, max, rows) - floor), 'accent']);
    }
    return joined(spans);
  });
}

/** Of the answered ones; `now` is the last of them. */
export function scaleOf(beats: readonly (number | null)[]): {
  readonly min: number;
  readonly now: number;
  readonly max: number;
  readonly answered: number;
} {
  const answered = beats.filter((beat) => beat !== null);
  if (answered.length === 0) return {min: 0, now: 0, max: 0, answered: 0};
  return {
    min: Math.min(...answered),
    now: answered.at(-1) ?? 0,
    max: Math.max(...answered),
    answered: answered.length,
  };
}

/** From zero by the square root, so that one slow answer does not flatten all others; even the quickest is seen. */
function levelOf(beat: number, max: number, rows: number): number {
  if (max <= 0) return 1;
  return Math.max(1, Math.round(Math.sqrt(beat / max) * rows * blocks.length));
}

function block(level: number): string {
  return level <= 0 ? ' ' : (blocks[Math.min(level, blocks.length) - 1] ?? ' ');
}

/** Neighbours of one tone are one span: a chart is redrawn often. */
function joined(spans: readonly Span[]): Span[] {
  const result: Span[] = [];
  for (const [text, tone = 'plain'] of spans) {
    const last = result.at(-1);
    if (last?.[1] === tone) result[result.length - 1] = [last[0] + text, tone];
    else result.push([text, tone]);
  }
  return result;
}
