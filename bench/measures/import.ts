import {execFile} from 'node:child_process';
import {mkdir, mkdtemp, rm, symlink, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {promisify} from 'node:util';
import {turns} from '../statistics.js';
import {difference, inWords, middle, Samples, type Measure} from './measure.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));

const empty = {name: 'an empty script'};
const importing = {name: "import('node-autossh')"};
const thePackage = {name: 'the package'};
const wholeRun = 'a Node process from start to end';
const processor = 'processor time of it';

/** The last thing a script does: tells what it has used, in microseconds. */
const tell = 'const {user, system} = process.cpuUsage();\nprocess.stdout.write(String(user + system));\n';

/** What the package costs before it does anything. */
export const importCost: Measure = {
  key: 'import',
  title: 'Import and size',
  async run({signal, quick, say}) {
    const times = new Samples('ms');
    const folder = await mkdtemp(join(tmpdir(), 'bench-'));
    try {
      await mkdir(join(folder, 'node_modules'));
      await symlink(root, join(folder, 'node_modules', 'node-autossh'));
      const scripts = [
        {what: empty, file: join(folder, 'empty.mjs'), text: tell},
        {what: importing, file: join(folder, 'import.mjs'), text: `await import('node-autossh');\n${tell}`},
      ];
      for (const {file, text} of scripts) await writeFile(file, text);
      const rounds = quick ? 10 : 40;
      for (let round = 0; round < rounds; round++) {
        say(`import, round ${round + 1} of ${rounds}`);
        for (const {what, file} of turns(scripts, round)) {
          const begun = performance.now();
          const {stdout} = await run(process.execPath, [file], {signal});
          times.add(wholeRun, what, performance.now() - begun);
          times.add(processor, what, Number(stdout) / 1_000);
        }
      }
    } finally {
      await rm(folder, {recursive: true, force: true});
    }

    say('size of the package');
    const {packed, unpacked} = await size(signal);
    const sizes = new Samples('kB');
    sizes.add('packed', thePackage, packed / 1_000);
    sizes.add('unpacked', thePackage, unpacked / 1_000);

    // Each pair ran one right after the other, so what else the machine had to do falls out of the difference.
    const without = times.of(wholeRun, empty);
    const over = middle(
      times.of(wholeRun, importing).map((time, round) => difference(time, without[round] ?? 'never')),
    );
    return {
      series: [...times.all, ...sizes.all],
      targets: [
        {
          what: "import('node-autossh'), over an empty script",
          unit: 'ms',
          measured: over,
          limit: 30,
          because: `median of ${without.length} differences`,
          must: 'at most',
        },
        {
          what: 'packed package',
          unit: 'kB',
          measured: packed / 1_000,
          limit: 100,
          must: 'at most',
          because: `${inWords(unpacked / 1_000, 'kB')} unpacked`,
        },
      ],
      notes: [],
    };
  },
};

async function size(signal: AbortSignal): Promise<{packed: number; unpacked: number}> {
  const {stdout} = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {cwd: root, signal});
  const [found] = JSON.parse(stdout) as {size: number; unpackedSize: number}[];
  if (found === undefined) throw new Error('npm pack told no size');
  return {packed: found.size, unpacked: found.unpackedSize};
}
