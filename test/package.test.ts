import {build} from 'esbuild';
import {execFile} from 'node:child_process';
import {cp, mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {basename, join, resolve} from 'node:path';
import {promisify} from 'node:util';
import {afterAll, beforeAll, expect, inject, test} from 'vitest';

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

test('the package is under 150 KB, the command and its papers included', async () => {
  expect((await stat(tarball)).size).toBeLessThan(150_000);
});

test('the package has the compiled library, its declarations, the command and its papers in it, and nothing else', async () => {
  const {stdout} = await run('tar', ['-tzf', tarball]);
  const packed = stdout.trim().split('\n').sort();
  const sources = await readdir('src', {recursive: true});
  // The command has no declarations: nothing can be imported from it.
  const library = sources.filter((name) => name.endsWith('.ts') && !name.startsWith('cli/'));
  const declarations = packed.filter((name) => name.endsWith('.d.ts'));
  const known = library.map((name) => `package/dist/${name.replace(/\.ts$/, '.d.ts')}`);
  expect(declarations.filter((name) => !known.includes(name))).toEqual([]);
  expect(declarations).toContain('package/dist/index.d.ts');
  // Nothing public leads there.
  expect(declarations).not.toContain('package/dist/session.d.ts');
  const compiled = ['index.js', 'debug.cjs', 'cli/main.js'].map((name) => `dist/${name}`);
  const completions = (await readdir('completions')).map((name) => `completions/${name}`);
  const papers = ['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json', 'man/autossh.1'];
  const chunks = packed.filter((name) => partOfTheCommand.test(name));
  expect(chunks.length).toBeGreaterThan(0);
  const named = [...compiled, ...papers, ...completions].map((name) => `package/${name}`);
  expect(packed).toEqual([...named, ...declarations, ...chunks].sort());
});

/** What the command reads when it needs it: the name has a hash in it. */
const partOfTheCommand = /^package\/dist\/cli\/[\w-]+-[A-Z0-9]{8}\.js$/;

test('no part of the command is there that none of its files reads', async () => {
  const parts = (await readdir(join(consumer, 'node_modules/node-autossh/dist/cli'))).filter(
    (name) => name !== 'main.js',
  );
  const read = (name: string): Promise<string> =>
    readFile(join(consumer, 'node_modules/node-autossh/dist/cli', name), 'utf8');
  const text = (await Promise.all(['main.js', ...parts].map(read))).join('\n');
  expect(parts.filter((name) => !text.includes(`"./${name}"`))).toEqual([]);
});

test.each([
  ['npx autossh -V', ['npx', 'autossh', '-V'], /^autossh \d+\.\d+\.\d+ \(node-autossh,/],
  ['node_modules/.bin/autossh --help', ['node_modules/.bin/autossh', '--help'], /^usage: autossh \[-V\]/],
  ['node_modules/.bin/autossh --completion fish', ['node_modules/.bin/autossh', '--completion', 'fish'], /complete /],
])('`%s` works where it is installed', async (_what, [program = '', ...argv], expected) => {
  const {stdout} = await run(program, argv, {cwd: consumer});
  expect(stdout).toMatch(expected);
});

test('installed for the whole machine, the command has its manual page beside it, where man looks for it', async () => {
  const prefix = join(folder, 'prefix');
  await npm(folder, 'install', '--global', '--prefix', prefix, '--no-audit', '--no-fund', '--prefer-offline', tarball);
  const {stdout} = await run(join(prefix, 'bin/autossh'), ['-V']);
  expect(stdout).toMatch(/^autossh /);
  expect(await readFile(join(prefix, 'share/man/man1/autossh.1'), 'utf8')).toBe(
    await readFile('man/autossh.1', 'utf8'),
  );
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
  await run('npm', args, {cwd, env: {...process.env, NODE_EXTRA_CA_CERTS: inject('certificates')}});
}
