import {describe, expect, it} from 'vitest';
import {outage, type Attempt} from '../bench/outage.js';
import type {Findings, Target} from '../bench/measures/measure.js';
import {asMarkdown, chapterAsText} from '../bench/report.js';
import {median, quantile, slope, turns} from '../bench/statistics.js';
import {toll} from '../bench/toll.js';

/** A connection every 5 ms; each is answered 2 ms later, unless `fate` says otherwise. */
function attempts(count: number, fate: (begun: number) => Partial<Attempt>): Attempt[] {
  return Array.from({length: count}, (_, index) => ({begun: index * 5, ...fate(index * 5)}));
}

describe('the outage a client sees', () => {
  it('lasts from the fault to the first echo', () => {
    const seen = outage(
      attempts(200, (begun) => (begun < 300 ? {failed: begun + 1} : {echoed: begun + 2})),
      100,
    );
    expect(seen).toEqual({lasted: 202, failed: 40, longestWait: 2});
  });

  it('is not over with a connection that slips through', () => {
    const seen = outage(
      attempts(200, (begun) => (begun < 300 && begun !== 105 ? {failed: begun + 1} : {echoed: begun + 2})),
      100,
    );
    expect(seen?.lasted).toBe(202);
  });

  it('is not over before enough connections in a row are answered', () => {
    expect(
      outage(
        attempts(70, (begun) => (begun < 300 ? {failed: begun + 1} : {echoed: begun + 2})),
        100,
      ),
    ).toBe(undefined);
  });

  it('ends with the echo of a connection that was held, and counts how long that waited', () => {
    const seen = outage(
      attempts(200, (begun) => ({echoed: Math.max(begun + 2, begun < 100 ? 0 : 600)})),
      100,
    );
    expect(seen).toEqual({lasted: 500, failed: 0, longestWait: 500});
  });

  it('goes on while a connection opened after the first echo fails', () => {
    const seen = outage(
      attempts(300, (begun) => (begun < 300 || begun === 505 ? {failed: begun + 1} : {echoed: begun + 2})),
      100,
    );
    expect(seen?.lasted).toBe(412);
  });
});

describe('the toll of a fault', () => {
  it('is the connections opened since that failed, and the longest wait of the others', () => {
    const all = attempts(100, (begun) => (begun === 105 ? {failed: 300} : {echoed: begun === 110 ? 150 : begun + 2}));
    expect(toll(all, 100)).toEqual({failed: 1, longestWait: 40, lost: 0});
  });

  it('counts those in flight apart, and of them the ones without an answer', () => {
    const all = attempts(100, (begun) => {
      if (begun === 90) return {failed: 300};
      if (begun === 50) return {failed: 60};
      return {echoed: begun === 95 ? 200 : begun + 2};
    });
    expect(toll(all, 100)).toEqual({failed: 0, longestWait: 2, lost: 1});
  });

  it('leaves out what was opened after its end', () => {
    const all = attempts(100, (begun) => (begun === 400 ? {failed: 500} : {echoed: begun + 2}));
    expect(toll(all, 100, 400)).toEqual({failed: 0, longestWait: 2, lost: 0});
  });

  it('has no longest wait where the last connections fail', () => {
    const all = attempts(100, (begun) => (begun >= 490 ? {failed: 500} : {echoed: begun + 2}));
    expect(toll(all, 100)).toEqual({failed: 2, longestWait: 'never', lost: 0});
  });
});

describe('the report', () => {
  const target = (measured: Target['measured'], must: Target['must'] = 'at most'): Target => ({
    what: 'a thing',
    unit: '×',
    measured,
    limit: 1.1,
    must,
    because: 'two numbers',
  });
  const findings = (...targets: Target[]): Findings => ({
    series: [
      {quantity: 'ssh killed', contender: 'autossh', unit: 'ms', samples: [250, 'never', 'never']},
      {quantity: 'ssh killed', contender: 'node-autossh', unit: 'ms', samples: [210, 190, 200]},
    ],
    targets,
    notes: ['As seen by a client.'],
  });

  it.each([
    [1.1, 'at most', 'yes'],
    [1.11, 'at most', 'NO'],
    ['never', 'at most', 'NO'],
    [1.1, 'at least', 'yes'],
    [1.09, 'at least', 'NO'],
  ] as const)('with %s measured and %s 1.1 wanted, says %s', (measured, must, reached) => {
    const text = chapterAsText({title: 'Outage', findings: findings(target(measured, must))});
    expect(text.split('\n').at(-1)).toContain(`  ${reached}  `);
  });

  it('writes medians with quartiles, and every number', () => {
    const text = asMarkdown([{title: 'Outage', findings: findings(target(1), target(2))}], {
      date: 'today',
      facts: {kernel: 'linux'},
      seconds: 1,
    });
    expect(text).toContain('| ssh killed | never | 200 ms (195–205) |');
    expect(text).toContain('1 of 2 are.');
    expect(text).toContain('- ssh killed, autossh, ms: 250 never never');
  });
});

describe('the statistics', () => {
  it('interpolate between samples', () => {
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(quantile([1, 2, 3, 4, 5], 0.25)).toBe(2);
    expect(quantile([1, Infinity, Infinity], 0.5)).toBe(Infinity);
  });

  it('find the slope of a line', () => {
    expect(
      slope([
        [10, 120],
        [30, 160],
        [50, 200],
      ]),
    ).toBe(2);
  });

  it('turn the order round after each round', () => {
    expect([turns(['a', 'b'], 0), turns(['a', 'b'], 1)]).toEqual([
      ['a', 'b'],
      ['b', 'a'],
    ]);
  });
});
