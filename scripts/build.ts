/**
 * The library as one file, after `tsc` has written its declarations: Node takes about as long to find and open each
 * module as to run it.
 */
import {build} from 'esbuild';
import {writeFile} from 'node:fs/promises';

await build({
  entryPoints: ['src/index.ts'],
  outfile: 'dist/index.js',
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  packages: 'external',
  // A class that mentions itself would else be called `_AutoSSH`.
  keepNames: true,
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

/*
 * Node scans a CommonJS package that ESM imports, and all that it hands on, for the names that it exports; what a
 * CommonJS file requires for itself is not scanned. `module.exports = require(…)` would be handing on. `createRequire`
 * would do as well, but a host that bundles itself into one CommonJS file has no `import.meta.url`.
 */
await writeFile('dist/debug.cjs', "const debug = require('debug');\nmodule.exports = debug;\n");
