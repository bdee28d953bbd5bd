import {isDeepStrictEqual} from 'node:util';
import {expect} from 'vitest';

/** What is meant to be different, and how each of the two behaves then. Everything else is the same all the same. */
export interface Deviation<Seen extends object> {
  readonly why: string;
  /** One of these, where a race inside the original decides. */
  readonly original: Partial<Seen> | readonly Partial<Seen>[];
  readonly ours: Partial<Seen>;
}

/** Both did the same, except for what is named. */
export function compare<Seen extends object>(original: Seen, ours: Seen, deviates?: Deviation<Seen>): void {
  const expected = deviates === undefined ? [] : ([deviates.original].flat() as Partial<Seen>[]);
  const named = Object.keys(deviates?.ours ?? {});
  expect(without(ours, named), 'ours, compared with the original').toEqual(without(original, named));
  if (deviates === undefined) return;
  expect(expected, 'the original, where it deviates').toContainEqual(only(original, named));
  expect(only(ours, named), 'ours, where it deviates').toEqual(deviates.ours);
}

/**
 * Runs both and compares. Now and then the original overlooks the end of an ssh, between its look for it and its `pause()`, or
 * takes a port that is not free: it has three goes to do what ours does in one.
 */
export async function beside<Seen extends object>(
  original: () => Promise<Seen>,
  ours: () => Promise<Seen>,
  deviates?: Deviation<Seen>,
): Promise<void> {
  const [mine, first] = await Promise.allSettled([ours(), original()]);
  if (mine.status === 'rejected') throw mine.reason;
  let theirs: PromiseSettledResult<Seen> = first;
  for (let go = 1; ; go++) {
    try {
      if (theirs.status === 'rejected') throw theirs.reason;
      compare(theirs.value, mine.value, deviates);
      return;
    } catch (error) {
      if (go === 3) throw error;
      [theirs] = await Promise.allSettled([original()]);
    }
  }
}

/** The fields of a deviation in which the two do not differ at all. */
export function needless<Seen extends object>({original, ours}: Deviation<Seen>): string[] {
  const all = [original].flat() as Partial<Seen>[];
  return Object.entries(ours)
    .filter(([name, value]) => all.every((one) => isDeepStrictEqual(one[name as keyof Seen], value)))
    .map(([name]) => name);
}

function only(seen: object, names: readonly string[]): object {
  return Object.fromEntries(Object.entries(seen).filter(([name]) => names.includes(name)));
}

function without(seen: object, names: readonly string[]): object {
  return Object.fromEntries(Object.entries(seen).filter(([name]) => !names.includes(name)));
}
