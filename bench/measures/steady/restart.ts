import {setTimeout as delay} from 'node:timers/promises';
import {ClientProcess} from '../../client-process.js';
import {library, libraryDirect, libraryStandby} from '../../contenders/index.js';
import type {Contender} from '../../contenders/contender.js';
import type {Ground} from '../../ground.js';
import {sum, turns} from '../../statistics.js';
import {toll, type Toll} from '../../toll.js';
import {inWords, Samples, type Findings, type Sample} from '../measure.js';

/** Of the first one round shows all there is to see: with a listener of ssh's own there is nothing to be reached. */
const contenders = [libraryDirect, library, libraryStandby];
const talking = 5;

const undisturbed = 'nothing happens: longest wait';
const longest = 'restart(): longest wait';
const failures = 'restart(): failed';
const cutOff = `restart(): of ${talking} connections open before it, cut off`;

/** What clients see when ssh is replaced because it was asked for. */
export async function restart(ground: Ground): Promise<Findings> {
  const waits = new Samples('ms');
  const counts = new Samples('count');
  const rounds = ground.quick ? 1 : 3;
  for (let round = 0; round < rounds; round++) {
    for (const contender of turns(contenders, round)) {
      if (contender === libraryDirect && round > 0) continue;
      ground.say(`steady, restart(), ${contender.name}, round ${round + 1} of ${rounds}`);
      const {before, after, cut} = await replace(ground, contender);
      waits.add(undisturbed, contender, before.longestWait);
      waits.add(longest, contender, after.longestWait);
      counts.add(failures, contender, before.failed + before.lost + after.failed + after.lost);
      counts.add(cutOff, contender, cut);
    }
  }
  const total = (quantity: string): number => sum(counts.of(quantity, library).map(Number));
  return {
    series: [...waits.all, ...counts.all],
    targets: [
      {
        what: failures,
        unit: 'count',
        measured: total(failures),
        limit: 0,
        must: 'at most',
        because: `all of ${rounds} rounds, in flight or not`,
      },
      {
        what: longest,
        unit: 'ms',
        measured: waits.median(longest, library),
        limit: 20,
        must: 'at most',
        because: `median of ${inARow(waits.of(longest, library))}; before it ${inARow(waits.of(undisturbed, library))}`,
      },
      {
        what: cutOff,
        unit: 'count',
        measured: total(cutOff),
        limit: 0,
        must: 'at most',
        because: `all of ${rounds} rounds`,
      },
    ],
    notes: [
      `\`restart()\` under the same clients, while ${talking} older connections exchange a byte each 10 ms, and end half a second ` +
        'after it. What the clients wait at the longest in the second before it shows how much of that is the machine.',
    ],
  };
}

async function replace(
  {config, ports, target, signal}: Ground,
  contender: Contender,
): Promise<{before: Toll; after: Toll; cut: number}> {
  const listen = await ports();
  await using client = await ClientProcess.start(signal);
  await using host = await contender.host(signal);
  await host.open({config: config.direct, listen, target, beats: 'default', ports});
  await client.talk(listen, talking, 10);
  await client.begin(listen);
  // The first connections find code that has never run.
  await delay(500, undefined, {signal});
  const begun = performance.now();
  await delay(1_000, undefined, {signal});
  const asked = performance.now();
  await host.restart?.();
  await delay(500, undefined, {signal});
  const cut = await client.silence();
  const attempts = await client.finish();
  return {before: toll(attempts, begun, asked), after: toll(attempts, asked), cut};
}

function inARow(samples: readonly Sample[]): string {
  return samples.map((sample) => inWords(sample, 'ms')).join(', ');
}
