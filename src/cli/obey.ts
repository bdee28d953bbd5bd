import type {AutoSSH} from '../index.js';
import type {Log} from './log.js';
import {type Signals, numberOf} from './signals.js';

/** Does what signals ask of a tunnel. The second that asks for the end gets it at once. */
export function obey(signals: Signals, tunnel: AutoSSH, log: Log): void {
  let child: number | undefined;
  let isEnding = false;
  tunnel.on('start', ({pid}) => (child = pid));
  tunnel.on('disconnect', () => (child = undefined));
  signals.handle((signal) => {
    switch (signal) {
      case 'SIGTERM':
      case 'SIGINT':
      case 'SIGQUIT':
      case 'SIGABRT':
        if (isEnding) endAtOnce(child);
        isEnding = true;
        log.write('info', `received signal to exit (${String(numberOf(signal))})`, 'signal', {signal});
        void tunnel.stop();
        return;
      case 'SIGUSR1':
        log.write('info', 'signalled to kill and restart ssh', 'signal', {signal});
        tunnel.restart('a restart was asked for').catch(ignore);
        return;
      case 'SIGHUP':
        log.reopen();
        if (tunnel.state === 'waiting') tunnel.restart('a restart was asked for').catch(ignore);
        return;
      case 'SIGUSR2':
        return;
    }
  });
}

function endAtOnce(child: number | undefined): never {
  try {
    if (child !== undefined) process.kill(child, 'SIGKILL');
  } catch {
    // It has just ended.
  }
  process.exit(1);
}

function ignore(): void {
  // The tunnel has ended, and says so by its own events.
}
