import {mkdtempSync, readFileSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import {fileURLToPath} from 'node:url';
import {descendants, processFacts} from '../../../test/support/processes.js';
import type {Ground} from '../../ground.js';
import {proportionalSetSizeOfAll, residentSetSize} from '../../processes.js';
import {sum, turns} from '../../statistics.js';
import {Samples, type Findings} from '../measure.js';
import {ours, present, theirs, withAgent, type Program} from './programs.js';
import {end, run} from './running.js';

const resident = 'resident memory of the command';
const residentOfAll = 'the same, with what it keeps beside ssh';
const proportional = 'proportional memory of these';

/** Client and server are on one machine here, and would listen on the same port; see there. */
const AUTOSSH_PATH = fileURLToPath(new URL('../../hosts/ssh-for-autossh', import.meta.url));

/** Until a beat has come back, in milliseconds. */
const patience = 30_000;

/** The memory of the command that keeps a tunnel and watches it. */
export async function rest(ground: Ground): Promise<Findings> {
  const megabytes = new Samples('MB');
  const rounds = ground.quick ? 2 : 8;
  for (let round = 0; round < rounds; round++) {
    for (const program of turns(present([ours, theirs, withAgent]), round)) {
      ground.say(`memory of the command, ${program.name}, round ${round + 1} of ${rounds}`);
      await atRest(ground, program, (pid) => {
        const all = [pid, ...descendants(pid).filter((one) => processFacts(one)?.name !== 'ssh')];
        megabytes.add(resident, program, residentSetSize(pid) / 1_024);
        megabytes.add(residentOfAll, program, sum(all.map(residentSetSize)) / 1_024);
        megabytes.add(proportional, program, proportionalSetSizeOfAll(all) / 1_024);
      });
    }
  }
  return {
    series: megabytes.all,
    targets: [
      {
        what: resident,
        unit: 'MB',
        measured: megabytes.median(resident, ours),
        limit: 60,
        must: 'at most',
        because: `median of ${rounds}, with a beat a second`,
      },
    ],
    notes: [
      'Memory at rest: 2 s after the first beat of a real tunnel, with a beat each second. What the command keeps beside ssh ' +
        'is a shell that clears up after it should it be killed, and the ssh-agent. Resident memory counts pages that ' +
        'processes share in each of them, proportional memory once for all.',
    ],
  };
}

/** Looks at a command that has been left in peace for a while. */
async function atRest({config, ports, signal}: Ground, program: Program, look: (pid: number) => void): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  const log = join(folder, 'log');
  const {pid = 0} = run(program, ['-M', String(await ports(2)), '-N', '-F', config.direct, 'tunnel'], {
    AUTOSSH_PATH,
    AUTOSSH_POLL: '1',
    AUTOSSH_FIRST_POLL: '1',
    AUTOSSH_LOGFILE: log,
    AUTOSSH_LOGLEVEL: '7',
  });
  try {
    for (const due = performance.now() + patience; !said(log, 'connection ok');) {
      if (performance.now() > due) throw new Error(`no beat of ${program.name} came back`);
      await delay(20, undefined, {signal});
    }
    await delay(2_000, undefined, {signal});
    look(pid);
  } finally {
    await end([pid]);
    rmSync(folder, {recursive: true, force: true});
  }
}

function said(log: string, words: string): boolean {
  try {
    return readFileSync(log, 'utf8').includes(words);
  } catch {
    return false;
  }
}
