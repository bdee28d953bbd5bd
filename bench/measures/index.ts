import {command} from './command/index.js';
import {cost} from './cost.js';
import {importCost} from './import.js';
import type {Measure} from './measure.js';
import {outage} from './outage.js';
import {ready} from './ready.js';
import {steady} from './steady/index.js';

/** In the order in which they are taken. */
export const measures: readonly Measure[] = [ready, outage, steady, cost, command, importCost];
