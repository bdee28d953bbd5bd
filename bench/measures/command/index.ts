import type {Findings, Measure} from '../measure.js';
import {many} from './many.js';
import {rest} from './rest.js';
import {start} from './start.js';

/** What the command costs that a program in C does not. */
export const command: Measure = {
  key: 'command',
  title: 'The command',
  async run(ground) {
    const all: Findings = {series: [], targets: [], notes: []};
    for (const part of [start, rest, many]) {
      const {series, targets, notes} = await part(ground);
      all.series.push(...series);
      all.targets.push(...targets);
      all.notes.push(...notes);
    }
    return all;
  },
};
