import type {Contender} from '../contenders/contender.js';
import type {Ground} from '../ground.js';
import {median, quantile} from '../statistics.js';

export type Unit = 'ms' | 'kB' | 'MB' | 'MB/s' | '/s' | 'count';

/** A thing measured; `'never'`: it did not happen within the bound that the measure sets. */
export type Sample = number | 'never';

/** What one contender did in one respect, each time it was measured. */
export interface Series {
  /** The respect, e.g. `ssh killed`. */
  quantity: string;
  /** The contender's name. */
  contender: string;
  unit: Unit;
  samples: Sample[];
}

/** Something that must be reached. Whether it was is worked out in the report, from the numbers given here. */
export interface Target {
  what: string;
  /** `×` is a ratio. */
  unit: Unit | '×';
  measured: Sample;
  limit: number;
  /** Whether the measured number must be at most the limit or at least. */
  must: 'at most' | 'at least';
  /** What the measured number was made of. */
  because: string;
}

export interface Findings {
  series: Series[];
  targets: Target[];
  /** What a reader has to know to understand the numbers. */
  notes: string[];
}

export interface Measure {
  /** For `--only`. */
  key: string;
  title: string;
  run(ground: Ground): Promise<Findings>;
}

/** Samples of one unit, by quantity and contender, in the order in which they first came. */
export class Samples {
  readonly all: Series[] = [];
  readonly #unit: Unit;

  constructor(unit: Unit) {
    this.#unit = unit;
  }

  add(quantity: string, {name}: Pick<Contender, 'name'>, sample: Sample): void {
    const series = this.#find(quantity, name);
    if (series === undefined) this.all.push({quantity, contender: name, unit: this.#unit, samples: [sample]});
    else series.samples.push(sample);
  }

  of(quantity: string, {name}: Pick<Contender, 'name'>): readonly Sample[] {
    return this.#find(quantity, name)?.samples ?? [];
  }

  median(quantity: string, contender: Pick<Contender, 'name'>): Sample {
    return middle(this.of(quantity, contender));
  }

  /** How the samples of one contender relate to those of another: the measured part of a target. */
  ratio(quantity: string, one: Contender, other: Contender): Pick<Target, 'unit' | 'measured' | 'because'> {
    const others = this.of(quantity, other);
    return pairedRatio(this.of(quantity, one).map((sample, round) => [sample, others[round] ?? 'never']));
  }

  #find(quantity: string, contender: string): Series | undefined {
    return this.all.find((series) => series.quantity === quantity && series.contender === contender);
  }
}

/** The median, where `'never'` is longer than any number. */
export function middle(samples: readonly Sample[]): Sample {
  const value = median(samples.map((sample) => (sample === 'never' ? Infinity : sample)));
  return Number.isFinite(value) ? value : 'never';
}

export function difference(one: Sample, other: Sample): Sample {
  return one === 'never' || other === 'never' ? 'never' : one - other;
}

/**
 * The median of the ratios of samples that were taken one right after the other: whatever else the machine had to do
 * meanwhile weighed on both.
 */
export function pairedRatio(
  pairs: readonly (readonly [one: Sample, other: Sample])[],
): Pick<Target, 'unit' | 'measured' | 'because'> {
  const ratios = pairs.map(([one, other]) => (one === 'never' || other === 'never' ? Infinity : one / other));
  const [lower, upper] = [quantile(ratios, 0.25), quantile(ratios, 0.75)].map((ratio) => ratio.toFixed(2));
  return {
    unit: '×',
    measured: middle(ratios),
    because: `${ratios.length} pairs, quartiles ${lower ?? ''}–${upper ?? ''}`,
  };
}

/** A sample with its unit, to three digits or so. */
export function inWords(sample: Sample, unit: Unit | '×'): string {
  if (sample === 'never') return sample;
  if (unit === 'count') return String(Math.round(sample));
  const digits = Math.abs(sample) >= 100 ? 0 : Math.abs(sample) >= 10 ? 1 : 2;
  return unit === '×' ? `${sample.toFixed(2)} ×` : `${sample.toFixed(digits)} ${unit}`;
}
