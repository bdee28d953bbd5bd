import {spawnSync} from 'node:child_process';
import {chmodSync, mkdirSync, rmSync, rmdirSync, statSync, symlinkSync, writeFileSync} from 'node:fs';
import {basename, join, relative} from 'node:path';
import {afterEach, beforeEach, describe, expect, test} from 'vitest';
import {makePrivateFolder, removePrivateFolder} from '../src/ssh/private-folder.js';
import {findProgram, parentDeathPrefix} from '../src/ssh/program.js';
import {temporaryFolder} from './support/index.js';

let folder: string;

beforeEach(() => {
  folder = temporaryFolder('p-');
});
afterEach(() => {
  rmSync(folder, {recursive: true});
});

/** A program in a folder of its own: its path and that folder. */
function program(directory: string, name: string, mode = 0o755): string {
  const path = join(folder, directory, name);
  mkdirSync(join(folder, directory), {recursive: true});
  writeFileSync(path, '#!/bin/sh\n');
  chmodSync(path, mode);
  return path;
}

function searchPath(...directories: string[]): {PATH: string} {
  return {PATH: directories.map((one) => (one.startsWith('/') ? one : join(folder, one))).join(':')};
}

describe('a program', () => {
  test('is the first that can be executed in PATH', () => {
    program('a', 'other');
    program('b', 'ssh', 0o644);
    const wanted = program('c', 'ssh');
    program('d', 'ssh');
    expect(findProgram('ssh', searchPath('nowhere', 'a', 'b', 'c', 'd'))).toBe(wanted);
  });

  test('is no folder of that name', () => {
    mkdirSync(join(folder, 'a', 'ssh'), {recursive: true});
    const wanted = program('b', 'ssh');
    expect(findProgram('ssh', searchPath('a', 'b'))).toBe(wanted);
  });

  test('is found behind parts of PATH that cannot be looked into', () => {
    symlinkSync('circle', join(folder, 'circle'));
    writeFileSync(join(folder, 'file'), '');
    mkdirSync(join(folder, 'closed'), {mode: 0o000});
    const wanted = program('b', 'ssh');
    expect(findProgram('ssh', searchPath('circle', 'file', 'closed', 'x'.repeat(5_000), 'b'))).toBe(wanted);
  });

  test('with a slash is looked for only there, from the working directory on', () => {
    const wanted = program('a', 'ssh');
    expect(findProgram(wanted, {})).toBe(wanted);
    expect(findProgram('./ssh', searchPath('b'), join(folder, 'a'))).toBe(wanted);
    expect(findProgram('a/ssh', {}, folder)).toBe(wanted);
    expect(() => findProgram('./ssh', searchPath('a'), folder)).toThrow('./ssh was not found');
  });

  test('in an empty part of PATH is in the working directory, as for execvp', () => {
    const wanted = program('a', 'ssh');
    expect(findProgram('ssh', {PATH: '/nonexistent:'}, join(folder, 'a'))).toBe(wanted);
  });

  test('is found without a PATH as well', () => {
    expect(findProgram('sh', {})).toMatch(/^\/(usr\/)?bin\/sh$/);
  });

  test('is found although the folder that this process is in was removed', () => {
    const before = process.cwd();
    const wanted = program('a', 'ssh');
    mkdirSync(join(folder, 'gone'));
    process.chdir(join(folder, 'gone'));
    try {
      rmdirSync(join(folder, 'gone'));
      expect(findProgram('ssh', searchPath('a'))).toBe(wanted);
      expect(findProgram(wanted, {})).toBe(wanted);
    } finally {
      process.chdir(before);
    }
  });

  test('may be a link', () => {
    const target = program('a', 'ssh-9');
    symlinkSync(target, join(folder, 'ssh'));
    expect(findProgram('ssh', {PATH: folder})).toBe(join(folder, 'ssh'));
  });

  test.each<[what: string, name: string, error: {code: string; message: string}]>([
    ['nowhere in PATH', 'ssh', {code: 'ENOENT', message: 'ssh was not found in PATH'}],
    ['not at a path', './a/ssh', {code: 'ENOENT', message: './a/ssh was not found'}],
    ['not at an absolute path', '/nonexistent/ssh', {code: 'ENOENT', message: '/nonexistent/ssh was not found'}],
  ])('%s is an error that says so', (_what, name, error) => {
    const find = (): string => findProgram(name, searchPath('a', 'b'), folder);
    expect(find).toThrow(expect.objectContaining(error));
  });

  test('that may not be executed is an error that names it', () => {
    const path = program('b', 'ssh', 0o644);
    const error = expect.objectContaining({code: 'EACCES', message: `${path} may not be executed`});
    expect(() => findProgram('ssh', searchPath('a', 'b'))).toThrow(error);
    expect(() => findProgram(path, {})).toThrow(error);
  });

  test('that is a directory is an error that says so, as one that is only met in PATH is not', () => {
    mkdirSync(join(folder, 'b', 'ssh'), {recursive: true});
    const error = expect.objectContaining({code: 'EACCES', message: './b/ssh is a directory'});
    expect(() => findProgram('./b/ssh', {}, folder)).toThrow(error);
    expect(() => findProgram('ssh', searchPath('b'))).toThrow('ssh was not found in PATH');
  });

  test('in a working directory that is not there is an error that names the directory', () => {
    const cwd = join(folder, 'gone');
    const error = expect.objectContaining({code: 'ENOENT', message: `the working directory ${cwd} is not there`});
    expect(() => findProgram('/bin/sh', {}, cwd)).toThrow(error);
    const file = program('a', 'file');
    expect(() => findProgram('/bin/sh', {}, file)).toThrow(`the working directory ${file} is not there`);
  });
});

describe('what stands in front of ssh', () => {
  test('is setpriv, where there is one', () => {
    const path = program('a', 'setpriv');
    expect(parentDeathPrefix(searchPath('a'))).toEqual([path, '--pdeathsig', 'TERM', '--']);
  });

  test('is nothing where there is none', () => {
    expect(parentDeathPrefix(searchPath('a'))).toEqual([]);
  });

  test('is nothing where that is busybox, which does not know the option', () => {
    const busybox = program('bin', 'busybox');
    mkdirSync(join(folder, 'a'));
    symlinkSync(busybox, join(folder, 'a', 'setpriv'));
    expect(parentDeathPrefix(searchPath('a'))).toEqual([]);
  });

  test('is nothing on another system', () => {
    program('a', 'setpriv');
    const platform = Object.getOwnPropertyDescriptor(process, 'platform');
    if (!platform) throw new Error('Expected a platform');
    Object.defineProperty(process, 'platform', {...platform, value: 'darwin'});
    try {
      expect(parentDeathPrefix(searchPath('a'))).toEqual([]);
    } finally {
      Object.defineProperty(process, 'platform', platform);
    }
  });

  test('becomes the program, with its arguments, its exit code and its pid', () => {
    const prefix = parentDeathPrefix(process.env);
    const [command, ...argv] = [...prefix, 'sh', '-c', 'echo $$ "$@"; exit 7', 'sh', '--', '-x', 'a b'];
    const {pid, status, stdout} = spawnSync(command, argv, {encoding: 'utf8'});
    expect(status).toBe(7);
    expect(stdout).toBe(`${pid} -- -x a b\n`);
  });
});

describe('the private folder', () => {
  const before = process.env['TMPDIR'];

  afterEach(() => {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
  });

  test('can be entered by this user alone, and is another each time', () => {
    process.env['TMPDIR'] = folder;
    const [one, two] = [makePrivateFolder(), makePrivateFolder()];
    expect(one).not.toBe(two);
    expect(one.startsWith(`${folder}/autossh-`)).toBe(true);
    expect(statSync(one).mode & 0o777).toBe(0o700);
  });

  test('is the same for programs with another working directory, where TMPDIR is relative', () => {
    process.env['TMPDIR'] = relative(process.cwd(), folder);
    expect(makePrivateFolder().startsWith(`${folder}/autossh-`)).toBe(true);
  });

  test('is short enough for sockets, wherever temporary files go', () => {
    const long = join(folder, 'x'.repeat(60));
    mkdirSync(long);
    process.env['TMPDIR'] = long;
    const made = makePrivateFolder();
    try {
      expect(made).toMatch(/^\/tmp\/autossh-\w{6}$/);
      expect(Buffer.byteLength(join(made, '1234567890-back.sock.1234567890123456'))).toBeLessThanOrEqual(103);
    } finally {
      removePrivateFolder(made);
    }
  });

  test.each([
    [70, true],
    [71, false],
  ])('of %d bytes is short enough: %s', (bytes, fits) => {
    const parent = join(folder, 'x'.repeat(bytes - '/autossh-XXXXXX'.length - folder.length - 1));
    mkdirSync(parent);
    process.env['TMPDIR'] = parent;
    const made = makePrivateFolder();
    removePrivateFolder(made);
    expect(made.length === bytes).toBe(fits);
    expect(made.startsWith(`${parent}/`)).toBe(fits);
  });

  test.each(['a b', "it's", 'é', '$HOME', 'a\nb'])('is none whose name the warden could not be told: %j', (name) => {
    const parent = join(folder, name);
    mkdirSync(parent);
    process.env['TMPDIR'] = parent;
    const made = makePrivateFolder();
    removePrivateFolder(made);
    expect(made).toMatch(/^\/tmp\/autossh-\w{6}$/);
  });

  test('counts bytes, not characters', () => {
    const long = join(folder, 'é'.repeat(30));
    mkdirSync(long);
    process.env['TMPDIR'] = long;
    const made = makePrivateFolder();
    removePrivateFolder(made);
    expect(made).toMatch(/^\/tmp\/autossh-\w{6}$/);
  });

  test('goes with all that is in it, and may be gone already', () => {
    process.env['TMPDIR'] = folder;
    const made = makePrivateFolder();
    writeFileSync(join(made, '1-out.sock'), '');
    removePrivateFolder(made);
    expect(() => statSync(made)).toThrow('ENOENT');
    removePrivateFolder(made);
    expect(basename(made)).toMatch(/^autossh-/);
  });
});
