import {isUtf8} from 'node:buffer';
import {readFileSync} from 'node:fs';
import {CommandLineError} from '../index.js';

/**
 * Node reads the arguments of its process as UTF-8, and hands those of a child on as such: with other bytes, ssh would get
 * another file name or remote command than was written.
 *
 * @param broken - an argument with U+FFFD in it: Node puts that in place of such bytes, but somebody may have written it, too
 * @throws CommandLineError if there are such bytes
 */
export function refuseOtherThanUTF8(broken: string): void {
  if (areArgumentsUTF8()) return;
  const remedy = 'write it in UTF-8, or into ssh_config';
  throw new CommandLineError(`Node.js cannot hand "${broken}" on to ssh as it is, because it is not UTF-8: ${remedy}`);
}

function areArgumentsUTF8(): boolean {
  try {
    return isUtf8(readFileSync('/proc/self/cmdline'));
  } catch {
    // Only Linux shows them.
    return true;
  }
}
