import {existsSync, statSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {makePrivateFolder, removePrivateFolder, writePrivateFile} from '../src/ssh/private-folder.js';

test('a private folder and what is in it are its owner’s alone, until it is removed', () => {
  const folder = makePrivateFolder();
  writePrivateFile(folder, 'ask.sh', 'text', 0o700);
  writeFileSync(join(folder, 'other'), '');
  expect((statSync(folder).mode & 0o777).toString(8)).toBe('700');
  expect((statSync(join(folder, 'ask.sh')).mode & 0o777).toString(8)).toBe('700');
  expect(removePrivateFolder(folder)).toBe(true);
  expect(existsSync(folder)).toBe(false);
  expect(removePrivateFolder(folder)).toBe(true);
});

test.runIf(process.platform === 'linux')('one that cannot be removed is no error, but told', () => {
  expect(removePrivateFolder('/proc/self/task')).toBe(false);
});
