import {build} from 'esbuild';
import {chmod, mkdtemp, readdir, rm} from 'node:fs/promises';
import {join, resolve} from 'node:path';
import type {TestProject} from 'vitest/node';

declare module 'vitest' {
  interface ProvidedContext {
    /** Where the programs in `test/fixtures` that are written in TypeScript are, compiled. */
    programs: string;
    /** `NODE_EXTRA_CA_CERTS` of whoever started the tests. */
    certificates: string;
  }
}

/**
 * Compiles the programs in `test/fixtures` once for a run: some hundred times one is started, and a compiler in each takes
 * more of the processor than all that it does then.
 */
export default async function compileFixtures(project: TestProject): Promise<() => Promise<void>> {
  const names = (await readdir('test/fixtures')).filter((name) => name.endsWith('.ts'));
  // Beside the packages that they import.
  const folder = await mkdtemp(resolve('node_modules', '.fixtures-'));
  const remove = async (): Promise<void> => rm(folder, {recursive: true, force: true});
  // Some are run as another user.
  await chmod(folder, 0o755);
  await build({
    entryPoints: names.map((name) => join('test/fixtures', name)),
    outdir: folder,
    outExtension: {'.js': '.mjs'},
    bundle: true,
    splitting: true,
    packages: 'external',
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    keepNames: true,
    logLevel: 'warning',
  }).catch(async (error: unknown) => {
    await remove();
    throw error;
  });
  project.provide('programs', folder);
  return remove;
}
