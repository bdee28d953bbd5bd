/** Milliseconds for people, as exact as it matters: `312 ms`, `3.2 s`, `45 s`, `3 min 2 s`, `2 h 4 min`, `3 d 2 h`. */
export function duration(milliseconds: number): string {
  if (milliseconds < 999.5) return `${String(Math.round(milliseconds))} ms`;
  const tenths = Math.round(milliseconds / 100) / 10;
  if (tenths < 60) return `${String(tenths)} s`;
  const seconds = Math.round(milliseconds / 1_000);
  if (seconds < 3_600) return pair(seconds, 60, 'min', 1, 's');
  if (seconds < 86_400) return pair(seconds, 3_600, 'h', 60, 'min');
  return pair(seconds, 86_400, 'd', 3_600, 'h');
}

/** Milliseconds as a clock that counts: `00:03:02`, `3 d 02:04:31`. */
export function stopwatch(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1_000));
  const two = (number: number): string => String(number).padStart(2, '0');
  const clock = `${two(Math.floor(seconds / 3_600) % 24)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return seconds < 86_400 ? clock : `${String(Math.floor(seconds / 86_400))} d ${clock}`;
}

/** A round trip time: `0.42 ms`, `3.1 ms`, `12 ms`, `1.2 s`. */
export function roundTrip(milliseconds: number): string {
  if (milliseconds < 0.995) return `${milliseconds.toFixed(2)} ms`;
  return milliseconds < 9.95 ? `${milliseconds.toFixed(1)} ms` : duration(milliseconds);
}

/** A number and its noun: `1 restart`, `2 restarts`. */
export function count(number: number, noun: string): string {
  return `${String(number)} ${noun}${number === 1 ? '' : 's'}`;
}

/** What may come from anywhere, as one line without control characters. */
export function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, ' ').trim();
}

function pair(seconds: number, large: number, largeUnit: string, small: number, smallUnit: string): string {
  const rest = Math.floor((seconds % large) / small);
  return `${String(Math.floor(seconds / large))} ${largeUnit}${rest === 0 ? '' : ` ${String(rest)} ${smallUnit}`}`;
}
