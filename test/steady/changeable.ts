import {chmodSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';

/** A program in a folder that is ssh until it is told otherwise, in lines of a shell. */
export function changeable(folder: string): {sshPath: string; become: (body: string) => void} {
  const sshPath = join(folder, 'ssh');
  const become = (body: string): void => {
    writeFileSync(sshPath, `#!/bin/sh\n${body}\n`);
    chmodSync(sshPath, 0o755);
  };
  become('exec ssh "$@"');
  return {sshPath, become};
}

/** What an ssh says that is not let in. */
export const denied = 'echo "me@h: Permission denied (publickey)." >&2; exit 255';

/** And one that finds nobody. */
export const refused = 'echo "ssh: connect to host h port 1: Connection refused" >&2; exit 255';
