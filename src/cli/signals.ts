import {constants} from 'node:os';

/** The signals that mean something to autossh. */
export type Signal = 'SIGTERM' | 'SIGINT' | 'SIGQUIT' | 'SIGABRT' | 'SIGHUP' | 'SIGUSR1' | 'SIGUSR2';

const all: readonly Signal[] = ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGABRT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'];

/** The signals of this process. Those that come before somebody cares for them wait. */
export class Signals {
  #handle: ((signal: Signal) => void) | undefined;
  readonly #early: Signal[] = [];

  constructor() {
    for (const signal of all) {
      process.on(signal, () => {
        if (this.#handle) this.#handle(signal);
        else this.#early.push(signal);
      });
    }
    this.#closeDebugger();
    // One that came an instant before is opened an instant later.
    setImmediate(() => {
      this.#closeDebugger();
    });
  }

  /** A USR1 that came before anybody listened has made Node open its debugger, on a port that all users can reach. */
  #closeDebugger(): void {
    const inspector = process.getBuiltinModule('node:inspector');
    if (inspector.url() === undefined || isDebuggerWanted()) return;
    inspector.close();
    this.#early.push('SIGUSR1');
  }

  /** From now on they go there. */
  handle(handle: (signal: Signal) => void): void {
    this.#handle = handle;
    for (const signal of this.#early.splice(0)) handle(signal);
  }

  /** These, and those that come, wait until somebody handles them. */
  hold(signals: readonly Signal[]): void {
    this.#handle = undefined;
    this.#early.push(...signals);
  }
}

/** The number by which the log and `kill -l` know it. */
export function numberOf(signal: NodeJS.Signals): number {
  return constants.signals[signal];
}

function isDebuggerWanted(): boolean {
  return [...process.execArgv, process.env['NODE_OPTIONS'] ?? ''].some((option) => option.includes('--inspect'));
}
