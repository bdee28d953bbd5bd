import {autossh, autosshAlive} from './autossh.js';
import type {Contender} from './contender.js';
import {library, libraryDirect, libraryKey, libraryStandby} from './library.js';
import {plainSsh, shellLoop} from './plain-ssh.js';
import {tunnelSsh} from './tunnel-ssh.js';

export {autossh, autosshAlive, library, libraryDirect, libraryKey, libraryStandby, plainSsh, shellLoop, tunnelSsh};

/** Those of a field that can take part on this machine. */
export function present(field: readonly Contender[]): Contender[] {
  return field.filter((contender) => contender.absent() === undefined);
}
