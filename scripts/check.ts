/**
 * All checks that need no test run, on two processors: eslint alone takes as long as all the others together.
 *
 *     tsx scripts/check.ts
 */
import {spawn} from 'node:child_process';

const lanes = [['lint'], ['format:check', 'types', 'knip', 'docs', 'check:package']];

const results = await Promise.all(lanes.map(inTurn));
process.exitCode = results.every(Boolean) ? 0 : 1;

/** Whether all of them pass; the first that does not is the last of its lane. */
async function inTurn(names: readonly string[]): Promise<boolean> {
  for (const name of names) if (!(await passes(name))) return false;
  return true;
}

/** What it says is printed when it has ended, so that two do not talk at the same time. */
async function passes(name: string): Promise<boolean> {
  const began = performance.now();
  const check = spawn('npm', ['run', '--silent', name], {stdio: ['ignore', 'pipe', 'pipe']});
  const said: Buffer[] = [];
  for (const stream of [check.stdout, check.stderr]) stream.on('data', (chunk: Buffer) => said.push(chunk));
  const end = await new Promise<number | NodeJS.Signals | null>((resolve, reject) => {
    check.once('error', reject);
    check.once('close', (code, signal) => {
      resolve(code ?? signal);
    });
  });
  const verdict = end === 0 ? 'passed' : `FAILED (${String(end)})`;
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  process.stdout.write(`${Buffer.concat(said).toString()}${name} ${verdict} after ${seconds} s\n`);
  return end === 0;
}
