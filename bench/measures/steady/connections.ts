import {ClientProcess} from '../../client-process.js';
import {library, libraryDirect} from '../../contenders/index.js';
import type {Ground} from '../../ground.js';
import {median} from '../../statistics.js';
import {difference, inWords, middle, Samples, type Findings} from '../measure.js';
import {Tunnels} from './tunnels.js';

const inBlock = 100;
const afterSilence = 10;
const silence = 20;
const inRush = 500;
const atOnce = 8;

const latency = 'connect and echo, one after the other';
const latencyAfterSilence = `the same, after ${silence} ms of silence`;
const rate = `short connections, ${atOnce} at a time`;

/** What a new connection costs. */
export async function connections(ground: Ground): Promise<Findings> {
  const times = new Samples('ms');
  const rates = new Samples('/s');
  const rounds = ground.quick ? 4 : 20;
  const rushes = ground.quick ? 2 : 10;
  await using tunnels = await Tunnels.of(ground, ground.target);
  await using client = await ClientProcess.start(ground.signal);
  for (const {contender, listen} of tunnels.open) {
    ground.say(`steady, warming up, ${contender.name}`);
    await client.rush(listen, inRush, atOnce);
  }
  for (let round = 0; round < rounds; round++) {
    ground.say(`steady, latency, round ${round + 1} of ${rounds}`);
    for (const {contender, listen} of tunnels.inRound(round)) {
      times.add(latency, contender, median(await client.oneByOne(listen, inBlock)));
    }
    for (const {contender, listen} of tunnels.inRound(round)) {
      times.add(latencyAfterSilence, contender, median(await client.oneByOne(listen, afterSilence, silence)));
    }
  }
  for (let round = 0; round < rushes; round++) {
    ground.say(`steady, rate, round ${round + 1} of ${rushes}`);
    for (const {contender, listen} of tunnels.inRound(round)) {
      rates.add(rate, contender, await client.rush(listen, inRush, atOnce));
    }
  }
  const direct = times.of(latency, libraryDirect);
  const over = times.of(latency, library).map((time, round) => difference(time, direct[round] ?? 'never'));
  return {
    series: [...times.all, ...rates.all],
    targets: [
      {
        what: 'connect and echo, steady over direct',
        unit: 'ms',
        measured: middle(over),
        limit: 0.3,
        must: 'at most',
        because: `median of ${over.length} differences; ${inWords(times.median(latency, library), 'ms')} and ${inWords(times.median(latency, libraryDirect), 'ms')}`,
      },
      {
        what: 'rate of short connections, steady to direct',
        ...rates.ratio(rate, library, libraryDirect),
        limit: 0.8,
        must: 'at least',
      },
    ],
    notes: [
      `From the connect to the echo of one byte, one connection after the other, in blocks of ${inBlock} by turns; each number is ` +
        `the median of a block. After ${silence} ms of silence the library's own listener asks the tunnel whether it is alive ` +
        'before it leads anybody into it.',
      `Short connections: connect, 64 bytes, their echo, close; by turns in blocks of ${inRush}, ${rushes} for the library.`,
    ],
  };
}
