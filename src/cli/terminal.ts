import {spawnSync} from 'node:child_process';
import {closeSync, readFileSync} from 'node:fs';
import {isatty} from 'node:tty';

/** The settings of the terminal that ssh will change, to be put back if it does not come to that itself. */
export class Terminal {
  readonly #settings: string | undefined;

  constructor() {
    const terminals = [0, 1, 2].filter((descriptor) => isatty(descriptor));
    process.once('exit', () => {
      leaveToOthers(terminals);
    });
    // `process.stdin` would open it, and that is for ssh alone.
    if (!isatty(0)) return;
    const {status, stdout} = spawnSync('stty', ['-g'], {stdio: ['inherit', 'pipe', 'ignore'], encoding: 'utf8'});
    if (status === 0) this.#settings = stdout.trim();
  }

  /** Puts them back, unless another job has the terminal: the kernel would stop this one, ssh included, for trying. */
  restore(): void {
    if (this.#settings === undefined || isInBackground()) return;
    spawnSync('stty', [this.#settings], {stdio: ['inherit', 'ignore', 'ignore'], timeout: 500, killSignal: 'SIGKILL'});
  }
}

/**
 * At its end Node gives each terminal that it finds open the settings that it had at the start (`ResetStdio` in node.cc),
 * from the background too, where whoever has it then, an editor for one, would lose his own; and with one that is gone it
 * crashes.
 */
function leaveToOthers(terminals: readonly number[]): void {
  const isOthers = isInBackground();
  for (const descriptor of terminals) if (isOthers || !isatty(descriptor)) closeSync(descriptor);
}

/** Whether another job of the shell has the terminal. */
function isInBackground(): boolean {
  const [group, foreground] = processGroups();
  // Without a controlling terminal there are no jobs.
  return foreground !== undefined && foreground > 0 && foreground !== group;
}

/** This process's group, and the one that its controlling terminal belongs to. */
function processGroups(): readonly number[] {
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1');
    // proc(5): after the name in brackets the state, the parent, the process group, the session, the terminal, its group.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return [Number(fields[2]), Number(fields[5])];
  } catch {
    const argv = ['-o', 'pgid=', '-o', 'tpgid=', '-p', String(process.pid)];
    const {stdout = ''} = spawnSync('ps', argv, {encoding: 'utf8'}) as {stdout?: string};
    return stdout.trim().split(/\s+/).map(Number);
  }
}
