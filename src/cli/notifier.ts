import {spawn} from 'node:child_process';
import type {AutoSSH} from '../index.js';
import {duration, oneLine} from './status-words.js';

export interface NotifierOptions {
  /** Told once if nothing can be told to systemd. */
  readonly debug?: (message: string) => void;
  /** The program that talks to systemd. @default 'systemd-notify', as found on `PATH` */
  readonly program?: string;
}

/** What systemd gives to a service that it supervises, and to nobody else: sd_notify(3), sd_watchdog_enabled(3). */
const variables = ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID'] as const;

/** Milliseconds for one call: systemd-notify itself waits up to 5 s until systemd has read what it sent. */
const patience = 10_000;
/** Milliseconds for the last call: nobody waits longer for an end. */
const lastPatience = 2_000;
/** systemd shows a status in one line. */
const statusLength = 300;
/** Messages that may wait. */
const backlog = 10;
const alive = 'WATCHDOG=1';

/** The environment for ssh: what it starts (a ProxyCommand, a LocalCommand) is not the service. */
export function withoutNotify(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const rest = {...env};
  for (const name of variables) Reflect.deleteProperty(rest, name);
  return rest;
}

/**
 * Tells systemd how the tunnel is, where this process is a service of `Type=notify`; elsewhere it does nothing.
 *
 * It talks through systemd-notify(1), as Node has no Unix datagram sockets. Only plain assignments are passed: every version
 * takes them, while `--no-block` (246) and `--stopping` (253) are newer. It sends them in the name of the process that
 * started it, which root may, so that `NotifyAccess=main` is enough; without the privilege it sends them in its own name, and
 * the unit needs `NotifyAccess=all`. From 246 on it then waits until systemd has read them: of a sender that is gone systemd
 * could not tell any more to which unit it belonged. `--pid=` would only add MAINPID, which systemd knows.
 */
export class Notifier {
  readonly #env: NodeJS.ProcessEnv;
  readonly #debug: (message: string) => void;
  readonly #program: string;
  /** Milliseconds between two signs of life; 0: none are wanted. */
  readonly #watchdog: number;
  /** What has still to be said, a message each. */
  readonly #queue: (readonly string[])[] = [];
  #running: Promise<void> | undefined;
  #cancel: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isReady = false;
  #isUseless: boolean;

  constructor(env: NodeJS.ProcessEnv, {debug = nothing, program = 'systemd-notify'}: NotifierOptions = {}) {
    this.#env = env;
    this.#debug = debug;
    this.#program = program;
    this.#isUseless = !env['NOTIFY_SOCKET'];
    this.#watchdog = watchdogInterval(env);
  }

  /** Whether there is anybody to be told. */
  get isWanted(): boolean {
    return !this.#isUseless;
  }

  /** Tells of this tunnel from now on, until its end. */
  attach(tunnel: AutoSSH): void {
    if (this.#isUseless) return;
    tunnel.on('start', ({starts}) => {
      this.#say(status(`starting ssh (${String(starts)})`));
    });
    tunnel.on('connect', ({pid}) => {
      const {restarts} = tunnel.stats();
      const up = status(`ssh runs since ${clock()}, pid ${String(pid)}, restarts: ${String(restarts)}`);
      this.#say(...(this.#isReady ? [] : ['READY=1']), up);
      this.#isReady = true;
    });
    tunnel.on('restart', ({delay, outcome}) => {
      // While another ssh serves, the tunnel is up.
      if (tunnel.state !== 'waiting') return;
      const when = delay < 1 ? 'at once' : `in ${duration(delay)}`;
      this.#say(status(`restarting ssh ${when} because ${oneLine(outcome.message)}`));
    });
    tunnel.on('state', ({to}) => {
      if (to !== 'stopping') return;
      this.#say('STOPPING=1', status('stopping'));
    });
    tunnel.on('fatal', ({message}) => {
      this.#say(status(`ended: ${oneLine(message)}`));
    });
    tunnel.on('stop', () => {
      clearInterval(this.#timer);
    });
    if (this.#watchdog === 0) return;
    // A loop that hangs sends none: that is what systemd waits for.
    this.#timer = setInterval(() => {
      if (!this.#queue.some(([first]) => first === alive)) this.#say(alive);
    }, this.#watchdog).unref();
  }

  /** Resolves when all is told, or after a bounded time; nothing is told afterwards. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#running) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, lastPatience);
      });
      await Promise.race([this.#running, late]);
      clearTimeout(timer);
    }
    this.#isUseless = true;
    this.#cancel?.();
  }

  #say(...assignments: readonly string[]): void {
    if (this.#isUseless) return;
    this.#queue.push(assignments);
    // Of a slow systemd nobody will read what has long been otherwise.
    const old = this.#queue.length > backlog ? this.#queue.findIndex((one) => one.length === 1) : -1;
    if (old !== -1) this.#queue.splice(old, 1);
    this.#running ??= this.#run();
  }

  /** One call after the other, so that systemd hears in order. */
  async #run(): Promise<void> {
    for (let next = this.#queue.shift(); next && !this.#isUseless; next = this.#queue.shift()) await this.#call(next);
    this.#running = undefined;
  }

  #call(assignments: readonly string[]): Promise<void> {
    return new Promise((resolve) => {
      const give = (why: string): void => {
        if (!this.#isUseless) this.#debug(`systemd is told nothing: ${why}`);
        this.#isUseless = true;
      };
      let child;
      try {
        child = spawn(this.#program, assignments, {env: this.#env, stdio: 'ignore', cwd: '/'});
      } catch (error) {
        give(String(error));
        resolve();
        return;
      }
      const running = child;
      const timer = setTimeout(() => running.kill('SIGKILL'), patience).unref();
      this.#cancel = () => running.kill('SIGKILL');
      running.unref();
      running.on('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT' || error.code === 'EACCES') give(`${this.#program} is not there (${error.code})`);
        done();
      });
      // One that fails says nothing of the next: systemd may have been restarted.
      running.on('exit', done);

      const release = (): void => {
        clearTimeout(timer);
        this.#cancel = undefined;
      };
      function done(): void {
        release();
        resolve();
      }
    });
  }
}

/** Half of the time after which systemd takes a silent service for hung; a watchdog of another process is not ours. */
function watchdogInterval({WATCHDOG_USEC: microseconds, WATCHDOG_PID: pid}: NodeJS.ProcessEnv): number {
  if (pid !== undefined && pid !== '' && Number(pid) !== process.pid) return 0;
  const half = Number(microseconds ?? 0) / 2_000;
  return Number.isFinite(half) && half > 0 ? Math.min(Math.max(1, half), 2 ** 31 - 1) : 0;
}

function status(text: string): string {
  return `STATUS=${text.slice(0, statusLength)}`;
}

function clock(): string {
  const date = new Date();
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((one) => String(one).padStart(2, '0')).join(':');
}

function nothing(): void {
  // Nobody wants to know.
}
