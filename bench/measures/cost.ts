import {setTimeout as delay} from 'node:timers/promises';
import {descendants, processFacts} from '../../test/support/processes.js';
import {autossh, library, present} from '../contenders/index.js';
import type {Contender, Host} from '../contenders/contender.js';
import type {Ground} from '../ground.js';
import {processorTime, proportionalSetSize} from '../processes.js';
import {slope, sum} from '../statistics.js';
import {Samples, type Measure} from './measure.js';

const steps = [10, 30, 50];
const beatEvery = 1_000;

const memory = 'memory of the host per further tunnel';
const collected = 'the same, after garbage collection';
const sshMemory = 'memory of ssh per tunnel';
const processor = 'processor time per beat, host and ssh';
const hostProcessor = 'of that the host';

/** What it costs to keep many tunnels, each with one beat a second. */
export const cost: Measure = {
  key: 'cost',
  title: 'Cost of 50 tunnels',
  async run(ground) {
    const kilobytes = new Samples('kB');
    const milliseconds = new Samples('ms');
    for (const contender of present([library, autossh])) {
      await using host = await contender.host(ground.signal);
      const grown: [number, number][] = [];
      const kept: [number, number][] = [];
      let open = 0;
      for (const step of steps) {
        await openMore(ground, contender, host, open, step);
        open = step;
        ground.say(`memory, ${contender.name}, ${step} tunnels`);
        // Some beats, so that what the first one brings along is there.
        await delay(4 * beatEvery, undefined, {signal: ground.signal});
        grown.push([step, memoryOf(await host.keepers())]);
        await host.collect();
        kept.push([step, memoryOf(await host.keepers())]);
      }
      kilobytes.add(memory, contender, slope(grown));
      kilobytes.add(collected, contender, slope(kept));
      kilobytes.add(sshMemory, contender, memoryOf(await sshOf(host)) / open);

      const seconds = ground.quick ? 5 : 25;
      ground.say(`processor time, ${contender.name}, ${open} tunnels, ${seconds} s`);
      const spent = await watch(ground, host, seconds * 1_000);
      const beats = spent.beats ?? (open * seconds * 1_000) / beatEvery;
      milliseconds.add(processor, contender, (spent.keepers + spent.ssh) / beats);
      milliseconds.add(hostProcessor, contender, spent.keepers / beats);
    }
    return {
      series: [...kilobytes.all, ...milliseconds.all],
      targets: [
        {
          what: memory,
          unit: 'kB',
          measured: kilobytes.median(memory, library),
          limit: 200,
          must: 'at most',
          because: `slope over ${steps.join(', ')} tunnels`,
        },
        ...(present([autossh]).length === 0
          ? []
          : [
              {
                what: `${processor}, to autossh`,
                ...milliseconds.ratio(processor, library, autossh),
                limit: 1,
                must: 'at most' as const,
              },
            ]),
      ],
      notes: [
        'Memory is the proportional set size, without the pages of programs and libraries, which do not grow with the ' +
          'tunnels; the slope over 10, 30 and 50 of them. The host is one Node process for all tunnels of the library, and ' +
          'one process per tunnel with autossh. The target is about the first line: as it is, nothing collected.',
        'autossh does not tell how many beats it sent; it is one a second.',
      ],
    };
  },
};

/** A few at a time, as a server lets only so many log in at once. */
async function openMore(ground: Ground, contender: Contender, host: Host, open: number, wanted: number): Promise<void> {
  const {config, target, ports} = ground;
  let left = wanted - open;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left--;
      ground.say(`opening tunnels, ${contender.name}, ${wanted - left} of ${steps.at(-1) ?? wanted}`);
      await host.open({config: config.direct, listen: await ports(), target, beats: 'every second', ports});
    }
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
}

async function watch(
  ground: Ground,
  host: Host,
  time: number,
): Promise<{keepers: number; ssh: number; beats?: number}> {
  const [keepers, ssh] = [await host.keepers(), await sshOf(host)];
  const look = async (): Promise<{keepers: number; ssh: number; beats: number | undefined}> => ({
    keepers: sum(keepers.map(processorTime)),
    ssh: sum(ssh.map(processorTime)),
    beats: await host.beats(),
  });
  const before = await look();
  await delay(time, undefined, {signal: ground.signal});
  const after = await look();
  const survivors = await sshOf(host);
  if (ssh.some((pid) => !survivors.includes(pid))) throw new Error('an ssh was replaced while it was being watched');
  return {
    keepers: after.keepers - before.keepers,
    ssh: after.ssh - before.ssh,
    ...(before.beats !== undefined && after.beats !== undefined && {beats: after.beats - before.beats}),
  };
}

async function sshOf(host: Host): Promise<number[]> {
  return (await host.keepers()).flatMap(descendants).filter((pid) => processFacts(pid)?.name === 'ssh');
}

function memoryOf(pids: readonly number[]): number {
  return sum(pids.map(proportionalSetSize));
}
