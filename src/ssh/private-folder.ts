import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {plainPath} from './warden.js';

/** Room for `/1234567890-back.sock` and for the name that ssh binds first, in the 103 bytes of a socket's path. */
const longestPath = 70;

/** Makes a folder that only this user can enter (mkdtemp(3) makes it 0700), at a path that is short enough for sockets and plain enough
 * for the warden. */
export function makePrivateFolder(): string {
  const name = 'autossh-XXXXXX';
  const wanted = join(tmpdir(), name);
  const parent = Buffer.byteLength(wanted) <= longestPath && plainPath.test(wanted) ? tmpdir() : '/tmp';
  return mkdtempSync(join(parent, 'autossh-'));
}

/** Removes it and what is in it. */
export function removePrivateFolder(folder: string): void {
  rmSync(folder, {recursive: true, force: true});
}
