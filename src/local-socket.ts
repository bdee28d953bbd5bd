import {once} from 'node:events';
import {chmodSync, lstatSync, rmSync} from 'node:fs';
import {connect} from 'node:net';

/**
 * Why ssh must not listen on a path: it replaces what is there, whatever that is (`StreamLocalBindUnlink`). `undefined`:
 * nothing is there, or a socket on which nobody listens any more.
 */
export async function heldBy(path: string): Promise<string | undefined> {
  const found = lstatSync(path, {throwIfNoEntry: false});
  if (!found) return undefined;
  if (!found.isSocket()) return 'something that is no socket is there';
  const socket = connect({path});
  try {
    await once(socket, 'connect');
    return 'another program listens there';
  } catch {
    return undefined;
  } finally {
    socket.destroy();
  }
}

/** Lets us connect to a socket of ssh's, whatever `StreamLocalBindMask` the user has, which no argument overrules. */
export function unlock(path: string): void {
  try {
    chmodSync(path, 0o600);
  } catch {
    // Gone with its ssh.
  }
}

/** ssh leaves its sockets behind when it is killed. What is no socket was not made by it. */
export function removeSocket(path: string): void {
  if (lstatSync(path, {throwIfNoEntry: false})?.isSocket()) rmSync(path, {force: true});
}
