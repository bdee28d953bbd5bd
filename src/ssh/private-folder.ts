import {mkdtempSync, renameSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join, resolve} from 'node:path';
import {plainPath} from './warden.js';

/** Room for `/1234567890-back.sock` and for the name that ssh binds first, in the 103 bytes of a socket's path. */
const longestPath = 70;

/** Makes a folder that only this user can enter (mkdtemp(3) makes it 0700), at a path that is short enough for sockets and plain enough
 * for the warden. */
export function makePrivateFolder(): string {
  const name = 'autossh-XXXXXX';
  // TMPDIR may be relative, and ssh and its agent have working directories of their own.
  const wanted = resolve(tmpdir());
  const isFit = Buffer.byteLength(join(wanted, name)) <= longestPath && plainPath.test(wanted);
  const parent = isFit ? wanted : '/tmp';
  return mkdtempSync(join(parent, 'autossh-'));
}

/**
 * Removes it and what is in it.
 *
 * @returns whether it is gone: that takes a file descriptor, and there may be none
 */
export function removePrivateFolder(folder: string): boolean {
  try {
    rmSync(folder, {recursive: true, force: true});
    return true;
  } catch {
    return false;
  }
}

/**
 * Writes a file that only this user can read, at once: another ssh may be reading the one that it replaces. The warden has to
 * know its kind by the end of its name.
 */
export function writePrivateFile(folder: string, name: string, content: string, mode = 0o600): void {
  const draft = join(folder, `new-${name}`);
  writeFileSync(draft, content, {mode});
  renameSync(draft, join(folder, name));
}
