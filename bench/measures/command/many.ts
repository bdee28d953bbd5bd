import {readFileSync} from 'node:fs';
import {setTimeout as delay} from 'node:timers/promises';
import {descendants} from '../../../test/support/processes.js';
import type {Ground} from '../../ground.js';
import {proportionalSetSizeOfAll} from '../../processes.js';
import {StartedSSH} from '../../started-ssh.js';
import {Samples, type Findings} from '../measure.js';
import {oneProcess, ours, present, theirs, type Program} from './programs.js';
import {end, ended, run} from './running.js';

/** What a command in the background, and the one that it is started from, may need at the most, in megabytes. */
const apiece = 25;

/** So many are started at a time. */
const workers = 4;

/** Many commands in the background, and what does without them. */
export async function many(ground: Ground): Promise<Findings> {
  const wanted = ground.quick ? 10 : 100;
  const count = Math.min(wanted, Math.floor(availableMemory() / 2 / apiece));
  const seconds = new Samples('ms');
  const megabytes = new Samples('MB');
  const library = oneProcess(count);
  for (const program of present([ours, theirs, library])) {
    ground.say(`${count} tunnels, ${program.name}`);
    using started = new StartedSSH();
    const launched: number[] = [];
    try {
      const begun = performance.now();
      if (program === library) launched.push(run(library, [], started.env).pid ?? 0);
      else await launchAll(ground, program, count, started, launched);
      const last = await started.number(count, ground.signal);
      seconds.add(`${count} tunnels: until each has its ssh`, program, last.at - begun);
      await delay(2_000, undefined, {signal: ground.signal});
      const ssh = new Set(started.all.map(({pid}) => pid));
      const keepers = [...new Set(started.all.map(({keeper}) => keeper))];
      const all = keepers.flatMap((pid) => [pid, ...descendants(pid)]).filter((pid) => !ssh.has(pid));
      megabytes.add(
        `${count} tunnels: proportional memory, without ssh`,
        program,
        proportionalSetSizeOfAll(all) / 1_024,
      );
    } finally {
      await end([...launched, ...started.all.flatMap(({keeper}) => keeper)]);
      await end(started.all.map(({pid}) => pid));
    }
  }
  return {
    series: [...seconds.all, ...megabytes.all],
    targets: [],
    notes: [
      `${count} tunnels${count < wanted ? ` (for ${wanted} there was not enough memory)` : ''} as commands in the background, ` +
        `\`autossh -M 0 -f\`, ${workers} started at a time, and as objects of the library in one Node process, all at ` +
        'once; its start counts. The same small program in place of ssh; once.',
    ],
  };
}

async function launchAll(
  {signal}: Ground,
  program: Program,
  count: number,
  {env}: StartedSSH,
  launched: number[],
): Promise<void> {
  let left = count;
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      signal.throwIfAborted();
      const child = run(program, ['-M', '0', '-f', '-N', 'tunnel'], env);
      launched.push(child.pid ?? 0);
      await ended(child);
    }
  };
  await Promise.all(Array.from({length: workers}, worker));
}

/** In megabytes. */
function availableMemory(): number {
  const found = /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'));
  return Number(found?.[1] ?? 0) / 1_024;
}
