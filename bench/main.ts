/**
 * Puts this library, `autossh`, `tunnel-ssh` and plain ssh through the same faults in one run, prints what it measured and writes it to
 * `bench/results.md`.
 *
 *     npm run bench [-- [--only ready,outage,steady,cost,command,import] [--quick] [--out FILE]]
 *
 * A run that leaves something out is only printed, unless it is told where to write.
 */
import {writeFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';
import {circumstances} from './circumstances.js';
import {autossh, library} from './contenders/index.js';
import {onGround} from './ground.js';
import {measures} from './measures/index.js';
import {Progress} from './progress.js';
import {asMarkdown, chapterAsText, targetsAsText, type Chapter} from './report.js';

const {only, quick, out} = options();
const wanted = only?.split(',') ?? measures.map(({key}) => key);
const unknown = wanted.filter((key) => !measures.some((measure) => measure.key === key));
if (unknown.length > 0) {
  fail(`There is no measure '${unknown.join("', '")}'; there are ${measures.map(({key}) => key).join(', ')}`);
}
if (process.platform !== 'linux') fail('The bench reads /proc and so runs on Linux alone');
const unbuilt = library.absent();
if (unbuilt !== undefined) fail(unbuilt);

const interrupted = new AbortController();
let interruptedAt = Infinity;
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    // A key pressed once may arrive twice, from the terminal and from a parent that passes it on.
    if (performance.now() - interruptedAt > 1_000) process.exit(130);
    interruptedAt = Math.min(interruptedAt, performance.now());
    process.exitCode = 130;
    interrupted.abort();
  });
}

const facts = circumstances();
for (const [name, value] of Object.entries(facts)) console.log(`${name.padEnd(12)} ${value}`);
const absence = autossh.absent();
if (absence !== undefined) console.log(`\n${absence}; it is left out.`);

const chapters: Chapter[] = [];
const progress = new Progress();
try {
  await onGround({signal: interrupted.signal, quick, say: (what) => progress.say(what)}, async (ground) => {
    for (const measure of measures.filter(({key}) => wanted.includes(key))) {
      const chapter = {title: measure.title, findings: await measure.run(ground)};
      chapters.push(chapter);
      progress.clear();
      console.log(`\n${chapterAsText(chapter)}`);
    }
  });
} catch (error) {
  if (!interrupted.signal.aborted) throw error;
  progress.clear();
  console.error('Interrupted; everything that was started has been ended.');
} finally {
  progress[Symbol.dispose]();
}

if (!interrupted.signal.aborted) {
  console.log(`\nWhat must be reached\n\n${targetsAsText(chapters.flatMap(({findings}) => findings.targets))}\n`);
  const complete = !quick && only === undefined;
  const file = out ?? (complete ? fileURLToPath(new URL('results.md', import.meta.url)) : undefined);
  if (file === undefined) console.log('Not a complete run: bench/results.md stays as it is (--out FILE writes one).');
  else {
    const date = new Date().toISOString().slice(0, 16).replace('T', ' ');
    writeFileSync(file, asMarkdown(chapters, {date: `${date} UTC`, facts, seconds: progress.seconds}));
    console.log(`Written to ${file}`);
  }
}

function options(): {only?: string | undefined; quick: boolean; out?: string | undefined} {
  try {
    return parseArgs({
      options: {only: {type: 'string'}, quick: {type: 'boolean', default: false}, out: {type: 'string'}},
    }).values;
  } catch (error) {
    fail((error as Error).message);
  }
}

function fail(sentence: string): never {
  console.error(sentence);
  process.exit(2);
}
