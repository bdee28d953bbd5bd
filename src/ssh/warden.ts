import {type ChildProcess, spawn} from 'node:child_process';
import {once} from 'node:events';

/**
 * What the warden runs. A constant: all it works on comes in lines on its standard input, which ends when the host is
 * gone, however it went. `+ pid` and `- pid` come and go with each ssh (a negative one is a process group, as for
 * kill(1)), `d folder` and `r folder` with each private folder.
 * TERM, then CONT so that a stopped process can act on it, then KILL.
 */
const script = `
trap '' HUP INT QUIT TERM
targets=' '
folders=' '
while read -r sign what; do
  case $sign in
    +) targets="$targets$what " ;;
    -) targets="\${targets%% $what *} \${targets#* $what }" ;;
    d) folders="$folders$what " ;;
    r) folders="\${folders%% $what *} \${folders#* $what }" ;;
  esac
done
[ "$targets" = ' ' ] || {
  for target in $targets; do kill -s TERM -- "$target"; kill -s CONT -- "$target"; done
  sleep 0.2 || sleep 1
  for target in $targets; do kill -s KILL -- "$target"; done
}
for folder in $folders; do
  for kind in sock pub known_hosts config sh; do rm -f -- "$folder"/*."$kind"; done
  rmdir -- "$folder"
done
`;

/** So often is a shell that something has killed replaced at once; after that with the next ssh. */
const replacements = 5;

/** A path that a shell takes as one word, whatever it does with it. */
export const plainPath = /^[\w./-]+$/;

/**
 * Ends what a killed host leaves behind: every ssh with its whole process group (a ProxyCommand, the ssh of a
 * ProxyJump) and the private folders. One small shell for all tunnels of a process, there while it has any.
 *
 * It is the only means where setpriv(1) is missing; where that is there, the kernel ends ssh itself, and the warden the
 * rest of its group.
 */
export class Warden {
  static #shared: Warden | undefined;

  readonly #targets = new Set<number>();
  readonly #folders = new Set<string>();
  #shell: ChildProcess | undefined;
  #users = 0;
  #replaced = 0;

  /** The warden of this process; {@link release} it when done. */
  static acquire(): Warden {
    Warden.#shared ??= new Warden();
    Warden.#shared.#users++;
    return Warden.#shared;
  }

  /** A process, or as a negative number a process group, to end with the host. */
  watch(target: number): void {
    this.#targets.add(target);
    this.#say(`+ ${String(target)}`);
  }

  /** It has ended. */
  forget(target: number): void {
    if (this.#targets.delete(target)) this.#say(`- ${String(target)}`);
  }

  /** A folder to remove with the host. One whose name a shell would split is left alone. */
  watchFolder(folder: string): void {
    if (this.#folders.has(folder) || !plainPath.test(folder)) return;
    this.#folders.add(folder);
    this.#say(`d ${folder}`);
  }

  /** It is gone. */
  forgetFolder(folder: string): void {
    if (this.#folders.delete(folder)) this.#say(`r ${folder}`);
  }

  /** One user less; after the last one the shell has ended. */
  async release(): Promise<void> {
    if (--this.#users > 0) return;
    Warden.#shared = undefined;
    const shell = this.#shell;
    if (!shell) return;
    const ended = once(shell, 'exit');
    shell.stdin?.end();
    await ended;
  }

  #say(line: string): void {
    if (this.#shell) this.#shell.stdin?.write(`${line}\n`);
    else this.#employ();
  }

  /** Starts the shell, or a new one in place of one that something has killed, and tells it all. */
  #employ(): void {
    // Detached: a signal to the host's process group must not reach it.
    const shell = spawn('/bin/sh', ['-c', script, 'autossh-warden'], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
      cwd: '/',
      env: {PATH: '/usr/bin:/bin'},
    });
    // Where it cannot be started, the tunnel works all the same; it is tried again with the next ssh.
    shell.on('error', ignore);
    if (shell.pid === undefined) return;
    this.#shell = shell;
    shell.once('exit', () => {
      if (this.#shell !== shell) return;
      this.#shell = undefined;
      if (this.#users > 0 && this.#targets.size > 0 && this.#replaced++ < replacements) this.#employ();
    });
    shell.unref();
    const stdin = shell.stdin as (NodeJS.WritableStream & {unref?: () => void}) | null;
    stdin?.on('error', ignore);
    stdin?.unref?.();
    for (const target of this.#targets) stdin?.write(`+ ${String(target)}\n`);
    for (const folder of this.#folders) stdin?.write(`d ${folder}\n`);
  }
}

function ignore(): void {
  // Nothing is to be done, and the next line is tried on a new shell.
}
