import {setTimeout as delay} from 'node:timers/promises';
import {descendants, processFacts} from '../../test/support/processes.js';
import {autossh, library, present} from '../contenders/index.js';
import type {Contender, Host} from '../contenders/contender.js';
import type {Ground} from '../ground.js';
import {processorTime, proportionalSetSize} from '../processes.js';
import {slope, sum} from '../statistics.js';
import {Samples, type Measure, type Sample} from './measure.js';

const steps = [10, 20, 30, 40, 50];
const beatEvery = 1_000;
/** Of one window in which processor time is watched. */
const seconds = 4;

const memory = 'memory of the host per further tunnel';
const grown = 'the same, before garbage collection';
const objects = 'live objects of it';
const sshMemory = 'memory of ssh per tunnel';
const processor = 'processor time per beat, host and ssh';
const hostProcessor = 'of that the host';

/** What it costs to keep many tunnels, each with one beat a second. */
export const cost: Measure = {
  key: 'cost',
  title: 'Cost of 50 tunnels',
  async run(ground) {
    const {signal, quick, say} = ground;
    const kilobytes = new Samples('kB');
    const milliseconds = new Samples('ms');
    const contenders = present([library, autossh]);
    await using hosts = new Hosts();
    for (const contender of contenders) await fill(ground, contender, await hosts.add(contender, signal), kilobytes);

    // All at once: whatever else the machine has to do meanwhile weighs on all alike.
    const windows = quick ? 2 : 8;
    for (let window = 0; window < windows; window++) {
      say(`processor time, ${windows} times ${seconds} s, ${window + 1}`);
      const before = await hosts.look();
      await delay(seconds * 1_000, undefined, {signal});
      const after = await hosts.look();
      for (const [contender, spent] of after) {
        const beats = spent.beats - (before.get(contender)?.beats ?? 0);
        const keepers = spent.keepers - (before.get(contender)?.keepers ?? 0);
        const ssh = spent.ssh - (before.get(contender)?.ssh ?? 0);
        milliseconds.add(processor, contender, (keepers + ssh) / beats);
        milliseconds.add(hostProcessor, contender, keepers / beats);
      }
    }
    return {
      series: [...kilobytes.all, ...milliseconds.all],
      targets: [
        {
          what: memory,
          unit: 'kB',
          measured: largest(kilobytes, [memory, grown, objects]),
          limit: 200,
          must: 'at most',
          because: 'the largest of the three slopes',
        },
        ...(contenders.includes(autossh)
          ? [
              {
                what: `${processor}, to autossh`,
                ...milliseconds.ratio(processor, library, autossh),
                limit: 1,
                must: 'at most' as const,
              },
            ]
          : []),
      ],
      notes,
    };
  },
};

const notes = [
  'Memory is the proportional set size, without the pages of programs and libraries, which do not grow with the tunnels; ' +
    `the slope over ${steps.join(', ')} of them, before and after a garbage collection. The host is one Node process for ` +
    'all tunnels of the library, and one process per tunnel with autossh. A tunnel needs so little that what V8 keeps in ' +
    'hand can drown it, and the slope come out negative: the live objects are what it needs.',
  `Processor time is that of the host and of its ssh, over windows of ${seconds} s in which all contenders keep their ` +
    'tunnels side by side. autossh does not tell how many beats it sent; it is one a second.',
];

function largest(kilobytes: Samples, quantities: readonly string[]): Sample {
  const slopes = quantities.map((quantity) => kilobytes.median(quantity, library));
  return slopes.reduce((one, other) => (one === 'never' || (other !== 'never' && one > other) ? one : other));
}

/** Opens all tunnels of a contender, and sees how its memory grows with them. */
async function fill(ground: Ground, contender: Contender, host: Host, kilobytes: Samples): Promise<void> {
  const before: [number, number][] = [];
  const after: [number, number][] = [];
  const live: [number, number][] = [];
  let open = 0;
  for (const step of steps) {
    await openMore(ground, contender, host, open, step);
    open = step;
    ground.say(`memory, ${contender.name}, ${step} tunnels`);
    // Some beats, so that what the first one brings along is there.
    await delay(2.5 * beatEvery, undefined, {signal: ground.signal});
    before.push([step, memoryOf(await host.keepers())]);
    const left = await host.collect();
    if (left !== undefined) live.push([step, left]);
    after.push([step, memoryOf(await host.keepers())]);
  }
  kilobytes.add(memory, contender, slope(after));
  kilobytes.add(grown, contender, slope(before));
  if (live.length > 0) kilobytes.add(objects, contender, slope(live));
  kilobytes.add(sshMemory, contender, memoryOf(await sshOf(host)) / open);
}

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

interface Spent {
  keepers: number;
  ssh: number;
  beats: number;
}

class Hosts implements AsyncDisposable {
  readonly #hosts = new Map<Contender, Host>();
  #ssh: string | undefined;

  async add(contender: Contender, signal: AbortSignal): Promise<Host> {
    const host = await contender.host(signal);
    this.#hosts.set(contender, host);
    return host;
  }

  /** What each has spent so far. */
  async look(): Promise<Map<Contender, Spent>> {
    const spent = new Map<Contender, Spent>();
    const running: number[] = [];
    for (const [contender, host] of this.#hosts) {
      const [keepers, ssh] = [await host.keepers(), await sshOf(host)];
      running.push(...ssh);
      spent.set(contender, {
        keepers: sum(keepers.map(processorTime)),
        ssh: sum(ssh.map(processorTime)),
        beats: (await host.beats()) ?? (performance.now() / beatEvery) * ssh.length,
      });
    }
    this.#ssh ??= running.join();
    if (this.#ssh !== running.join()) throw new Error('an ssh was replaced while it was being watched');
    return spent;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#hosts.values()].map((host) => host[Symbol.asyncDispose]()));
  }
}

async function sshOf(host: Host): Promise<number[]> {
  return (await host.keepers()).flatMap(descendants).filter((pid) => processFacts(pid)?.name === 'ssh');
}

function memoryOf(pids: readonly number[]): number {
  return sum(pids.map(proportionalSetSize));
}
