import type {Ground} from '../../ground.js';
import {StartedSSH} from '../../started-ssh.js';
import {turns} from '../../statistics.js';
import {difference, inWords, middle, Samples, type Findings} from '../measure.js';
import {nodeAlone, ours, present, theirs, withAgent, type Program} from './programs.js';
import {end, run} from './running.js';

const unmonitored = 'start, until its ssh is executed, -M 0';
const monitored = 'the same, with a monitor port';

/** From the start of the command to that of its ssh. */
export async function start(ground: Ground): Promise<Findings> {
  const {quick, ports, signal, say} = ground;
  const times = new Samples('ms');
  const field = present([ours, theirs, withAgent, nodeAlone]);
  const rounds = quick ? 5 : 40;
  for (let round = 0; round < rounds; round++) {
    say(`start of the command, round ${round + 1} of ${rounds}`);
    for (const program of turns(field, round)) {
      times.add(unmonitored, program, await startOf(program, 0, signal));
      if (program === nodeAlone) continue;
      times.add(monitored, program, await startOf(program, await ports(2), signal));
    }
  }
  const original = times.of(unmonitored, theirs);
  const more = times.of(unmonitored, ours).map((time, round) => difference(time, original[round] ?? 'never'));
  const [one, other] = [times.median(unmonitored, ours), times.median(unmonitored, theirs)];
  return {
    series: times.all,
    targets:
      original.length === 0
        ? []
        : [
            {
              what: "the command, start to ssh, over Debian's autossh",
              unit: 'ms',
              measured: middle(more),
              limit: 120,
              must: 'at most',
              because: `median of ${more.length} differences; ${inWords(one, 'ms')} and ${inWords(other, 'ms')}`,
            },
          ],
    notes: [
      'The command `autossh` beside the one that Debian has. For its start a small program stands in place of ssh and tells, ' +
        'first of all, that it has been executed. "Node that starts ssh" does nothing else; what it needs is what no ' +
        'command on Node can do without.',
    ],
  };
}

async function startOf(program: Program, port: number, signal: AbortSignal): Promise<number> {
  using started = new StartedSSH();
  const begun = performance.now();
  const {pid = 0} = run(program, ['-M', String(port), '-N', 'tunnel'], started.env);
  try {
    return (await started.number(1, signal)).at - begun;
  } finally {
    await end([pid, ...started.all.map((one) => one.pid)]);
  }
}
