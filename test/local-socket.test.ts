import {once} from 'node:events';
import {chmodSync, existsSync, mkdirSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync} from 'node:fs';
import {createServer} from 'node:net';
import {join} from 'node:path';
import {afterEach, beforeEach, expect, test} from 'vitest';
import {heldBy, removeSocket, unlock} from '../src/local-socket.js';
import {temporaryFolder} from './support/index.js';

let folder: string;
let path: string;

beforeEach(() => {
  folder = temporaryFolder('l-');
  path = join(folder, 'a.sock');
});
afterEach(() => {
  rmSync(folder, {recursive: true});
});

test('nothing is there: ssh may listen', async () => {
  expect(await heldBy(path)).toBeUndefined();
  expect(await heldBy(join(folder, 'nowhere', 'a.sock'))).toBeUndefined();
});

/** As a process leaves it that is killed. */
async function leaveSocket(): Promise<void> {
  const server = createServer().listen(join(folder, 'other.sock'));
  await once(server, 'listening');
  // What closes takes its file along, if it finds it.
  renameSync(join(folder, 'other.sock'), path);
  server.close();
  await once(server, 'close');
}

test('a socket that was left behind: ssh may replace it', async () => {
  await leaveSocket();
  expect(await heldBy(path)).toBeUndefined();
  expect(existsSync(path)).toBe(true);
});

test('a socket on which somebody listens: ssh must not', async () => {
  const server = createServer().listen(path);
  await once(server, 'listening');
  const [connected, held] = await Promise.all([once(server, 'connection'), heldBy(path)]);
  expect(held).toBe('another program listens there');
  const [socket] = connected as [{destroy: () => void}];
  socket.destroy();
  server.close();
  await once(server, 'close');
});

test.each([
  ['a file', () => writeFileSync(path, 'precious')],
  ['a folder', () => mkdirSync(path)],
  ['a link to nowhere', () => symlinkSync('nowhere', path)],
])('%s: ssh must not', async (_what, put) => {
  put();
  expect(await heldBy(path)).toBe('something that is no socket is there');
});

test('a socket that was left behind is removed, and may be gone already', async () => {
  await leaveSocket();
  removeSocket(path);
  expect(existsSync(path)).toBe(false);
  removeSocket(path);
  removeSocket(join(folder, 'nowhere', 'a.sock'));
});

test('nothing else is removed', async () => {
  writeFileSync(path, 'precious');
  removeSocket(path);
  removeSocket(folder);
  expect(existsSync(path)).toBe(true);
  rmSync(path);
  await leaveSocket();
  symlinkSync(path, join(folder, 'link'));
  removeSocket(join(folder, 'link'));
  expect(existsSync(join(folder, 'link'))).toBe(true);
});

test('a socket is unlocked for its owner alone, and may be gone already', async () => {
  await leaveSocket();
  chmodSync(path, 0o000);
  unlock(path);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  rmSync(path);
  unlock(path);
});
