import type {Findings, Measure} from '../measure.js';
import {connections} from './connections.js';
import {faults} from './faults.js';
import {restart} from './restart.js';
import {throughput} from './throughput.js';

/** What a listener of the library's own is good for, and what it costs over one of ssh's. */
export const steady: Measure = {
  key: 'steady',
  title: 'Steady forwards',
  async run(ground) {
    const all: Findings = {series: [], targets: [], notes: []};
    for (const part of [faults, restart, throughput, connections]) {
      const {series, targets, notes} = await part(ground);
      all.series.push(...series);
      all.targets.push(...targets);
      all.notes.push(...notes);
    }
    return all;
  },
};
