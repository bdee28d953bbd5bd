/**
 * The library as one file, after `tsc` has written its declarations: Node takes about as long to find and open each
 * module as to run it.
 */
import {build} from 'esbuild';
import {chmod, readFile, readdir, rm, writeFile} from 'node:fs/promises';
import {dirname, join} from 'node:path';

await build({
  entryPoints: ['src/index.ts'],
  outfile: 'dist/index.js',
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  packages: 'external',
  // Classes and functions have their names, in stack traces too; what is shorter is what they are called inside the file.
  keepNames: true,
  minifyIdentifiers: true,
  // Node prints the whole line of an uncaught exception.
  minifyWhitespace: true,
  minifySyntax: true,
  lineLimit: 160,
  legalComments: 'none',
  logLevel: 'warning',
  plugins: [
    {
      name: 'debug by require',
      setup(bundler) {
        bundler.onResolve({filter: /^debug$/}, () => ({path: './debug.cjs', external: true}));
      },
    },
  ],
});

await pruneDeclarations();

/*
 * The command: what it does not need for a start is in files of its own. The library is the one that programs import, so
 * that there is one of it.
 */
await build({
  entryPoints: ['src/cli/main.ts'],
  outdir: 'dist/cli',
  bundle: true,
  splitting: true,
  minifyWhitespace: true,
  minifySyntax: true,
  lineLimit: 160,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  legalComments: 'none',
  logLevel: 'warning',
  plugins: [
    {
      name: 'the library as it is',
      setup(bundler) {
        bundler.onResolve({filter: /^\.\.\/index\.js$/}, ({path}) => ({path, external: true}));
      },
    },
  ],
});
await chmod('dist/cli/main.js', 0o755);

/*
 * Node scans a CommonJS package that ESM imports, and all that it hands on, for the names that it exports; what a
 * CommonJS file requires for itself is not scanned. `module.exports = require(…)` would be handing on. `createRequire`
 * would do as well, but a host that bundles itself into one CommonJS file has no `import.meta.url`.
 */
await writeFile('dist/debug.cjs', "const debug = require('debug');\nmodule.exports = debug;\n");

/** Only what the public declarations lead to is anything to a program that imports the package. */
async function pruneDeclarations(): Promise<void> {
  const wanted = new Set<string>();
  const visit = async (file: string): Promise<void> => {
    if (wanted.has(file)) return;
    wanted.add(file);
    const text = await readFile(file, 'utf8');
    for (const [, path = ''] of text.matchAll(/(?:from |import\()'(\.[^']*)\.js'/g))
      await visit(join(dirname(file), `${path}.d.ts`));
  };
  await visit('dist/index.d.ts');
  const all = await readdir('dist', {recursive: true});
  const idle = all.filter((name) => name.endsWith('.d.ts') && !wanted.has(join('dist', name)));
  await Promise.all(idle.map(async (name) => rm(join('dist', name))));
}
