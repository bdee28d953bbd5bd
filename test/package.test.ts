import {build} from 'esbuild';
import {execFile} from 'node:child_process';
import {cp, mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {basename, join, resolve} from 'node:path';
import {promisify} from 'node:util';
import {afterAll, beforeAll, expect, test} from 'vitest';

const run = promisify(execFile);

let folder: string;
let tarball: string;
let consumer: string;

/** The package as it would be published, installed from its tarball where nothing else is. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'node-autossh-package-'));

  // Packed in a copy: packing builds, and a build must not take dist away from whoever uses it meanwhile.
  const copy = join(folder, 'copy');
  const left = ['node_modules', 'dist', 'docs', 'coverage', '.git'];
  await cp('.', copy, {recursive: true, filter: (path) => !left.includes(basename(path))});
  await symlink(resolve('node_modules'), join(copy, 'node_modules'));
  await npm(copy, 'pack', '--pack-destination', folder);
  const packed = (await readdir(folder)).find((name) => name.endsWith('.tgz'));
  tarball = join(folder, packed ?? 'nothing was packed');

  consumer = join(folder, 'consumer');
  await mkdir(consumer);
  await writeFile(join(consumer, 'package.json'), '{"private": true}');
  await npm(consumer, 'install', '--no-audit', '--no-fund', '--prefer-offline', tarball);
  await cp('test/fixtures/consumer', consumer, {recursive: true});
});

afterAll(async () => {
  await rm(folder, {recursive: true, force: true});
});

test('the package is under 100 KB', async () => {
  expect((await stat(tarball)).size).toBeLessThan(100_000);
});

test('the package has the compiled library, its declarations and its papers in it, and nothing else', async () => {
  const {stdout} = await run('tar', ['-tzf', tarball]);
  const packed = stdout.trim().split('\n').sort();
  const sources = await readdir('src', {recursive: true});
  const declarations = sources.filter((name) => name.endsWith('.ts')).map((name) => name.replace(/\.ts$/, '.d.ts'));
  const compiled = ['index.js', 'debug.cjs', ...declarations].map((name) => `dist/${name}`);
  const papers = ['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json'];
  expect(packed).toEqual([...compiled, ...papers].map((name) => `package/${name}`).sort());
});

test('installing it brings its three dependencies and theirs, five packages in all', async () => {
  const installed = (await readdir(join(consumer, 'node_modules'))).filter((name) => !name.startsWith('.'));
  expect(installed.sort()).toEqual(['debug', 'eventemitter3', 'is-network-error', 'ms', 'node-autossh', 'p-retry']);
});

test.each([
  ['import', 'javascript.mjs'],
  ['require', 'javascript.cjs'],
])('%s gives a JavaScript program the library, and no warning', async (_how, program) => {
  await expectToRun(consumer, program);
});

test('its classes have the names that they are exported by', async () => {
  const {stdout} = await run(process.execPath, ['-p', "require('node-autossh').AutoSSH.name"], {
    cwd: consumer,
    env: {},
  });
  expect(stdout).toBe('AutoSSH\n');
});

test('a host can bundle it into one CommonJS file that needs no package any more', async () => {
  const elsewhere = await mkdtemp(join(tmpdir(), 'node-autossh-bundle-'));
  try {
    const outfile = join(elsewhere, 'host.cjs');
    const entryPoints = [join(consumer, 'javascript.mjs')];
    const {warnings} = await build({entryPoints, outfile, bundle: true, format: 'cjs', platform: 'node'});
    expect(warnings).toEqual([]);
    await expectToRun(elsewhere, 'host.cjs');
  } finally {
    await rm(elsewhere, {recursive: true, force: true});
  }
});

test('its declarations compile for TypeScript, by import and by require, without skipping any check', async () => {
  const tsc = resolve('node_modules/typescript/bin/tsc');
  const typeRoots = resolve('node_modules/@types');
  const compilation = run(process.execPath, [tsc, '-p', '.', '--typeRoots', typeRoots], {cwd: consumer});
  // The compiler says on stdout what is wrong.
  await expect(compilation.catch((error: unknown) => error)).resolves.toMatchObject({stdout: '', stderr: ''});
});

async function expectToRun(cwd: string, program: string): Promise<void> {
  const {stdout, stderr} = await run(process.execPath, [program], {cwd, env: {}});
  expect(stderr).toBe('');
  expect(JSON.parse(stdout)).toEqual({
    state: 'idle',
    isError: true,
    refused: {isTypeError: true, message: expect.stringMatching(/`port`.*'many'/) as string},
  });
}

async function npm(cwd: string, ...args: string[]): Promise<void> {
  await run('npm', args, {cwd});
}
