import {isatty} from 'node:tty';
import type {AutoSSH, AutoSSHError, CommandLine, Outcome} from '../index.js';
import type {Level} from './level.js';
import type {Log} from './log.js';
import {numberOf} from './signals.js';

/**
 * Logs what happens to a tunnel, in the words that scripts look for in autossh's log.
 *
 * @returns the exit code, once the tunnel has stopped
 */
export function report(tunnel: AutoSSH, {maxStart, background}: CommandLine, log: Log): () => number {
  let exitCode = 1;
  let last: Outcome | undefined;
  log.write('debug', 'checking for grace period, tries = 0', 'grace', {tries: 0});
  tunnel.on('start', ({starts, pid}) => {
    const count = maxStart < 0 ? String(starts) : `${String(starts)} of ${String(maxStart)}`;
    log.write('info', `starting ssh (count ${count})`, 'start', {starts});
    log.write('info', `ssh child pid is ${String(pid)}`, 'child', {child: pid});
  });
  tunnel.on('heartbeat', ({rtt, beats}) => {
    log.write('debug', 'connection ok', 'heartbeat', {rtt: Math.round(rtt * 1000) / 1000, beats});
  });
  tunnel.on('heartbeat-miss', ({misses, maxMisses, waited, reason}) => {
    const what = `no answer to a beat after ${String(waited)} ms (${reason}), ${String(misses)} of ${String(maxMisses)}`;
    log.write('info', what, 'heartbeat-miss', {misses, maxMisses, waited, reason});
  });
  tunnel.on('disconnect', ({outcome}) => {
    last = outcome;
  });
  tunnel.on('restart', ({outcome, attempt, delay}) => {
    logLoss(outcome, background, log);
    log.write('debug', `checking for grace period, tries = ${String(attempt)}`, 'grace', {tries: attempt});
    const seconds = Math.floor(delay / 1000);
    if (seconds > 0) log.write('debug', `sleeping for grace time ${String(seconds)} secs`, 'grace', {delay});
  });
  tunnel.on('warning', ({code, message}) => {
    log.write('warning', message, 'warning', {code});
  });
  tunnel.on('fatal', (error) => {
    if (error.code === 'ERR_AUTOSSH_GAVE_UP') {
      // The limit that autossh has: its end is as good as any.
      exitCode = 0;
      if (last) logLoss(last, background, log);
      log.write('info', 'max start count reached; exiting', 'stop');
      return;
    }
    const [level, message] = epitaph(error);
    log.write(level, message, 'fatal', {code: error.code, exitCode: error.exitCode});
    // Scripts get from autossh nothing but ssh's own words then.
    if (level === 'err' && error.code !== 'ERR_AUTOSSH_GATE') log.complain(message);
    else if (error.code === 'ERR_AUTOSSH_GATE' && isatty(2)) log.complain(`${message} (--gate-time 0 allows it)`);
  });
  tunnel.on('stop', ({reason}) => {
    if (reason === 'exit') {
      exitCode = 0;
      log.write('info', 'ssh exited with status 0; autossh exiting', 'stop', {exitCode: 0});
    } else if (reason === 'max-lifetime') {
      exitCode = 0;
      log.write('info', 'exceeded maximum time to live, shutting down', 'stop');
    }
  });
  return () => exitCode;
}

/** Logs how an ssh ended that is, or would be, followed by another. */
function logLoss(outcome: Outcome, isUnseen: boolean, log: Log): void {
  const {reason, code, exitCode, signal, message} = outcome;
  const words = sentence(outcome);
  // One that was asked to end was logged then.
  if (words === undefined) return;
  log.write('info', words, 'disconnect', {reason, code, exitCode, signal});
  // What ssh itself says of it, where that is more and nobody sees it.
  if (isUnseen && reason === 'exit' && code !== 'ERR_AUTOSSH_EXIT') log.write('info', message, 'reason', {code});
}

function sentence({reason, exitCode, signal, message}: Outcome): string | undefined {
  switch (reason) {
    case 'requested':
      return undefined;
    case 'heartbeat':
      return 'port down, restarting ssh';
    case 'signal':
      return `ssh exited on signal ${signal === undefined ? '?' : String(numberOf(signal))}, restarting ssh`;
    case 'exit':
      return `ssh exited with error status ${String(exitCode)}; restarting ssh`;
    case 'spawn':
    case 'timeout':
    case 'credentials':
      return message;
  }
}

/** The last words of a tunnel that will not be restarted. */
function epitaph({code, exitCode, message}: AutoSSHError): [Level, string] {
  if (code === 'ERR_AUTOSSH_GATE')
    return ['err', `ssh exited prematurely with status ${String(exitCode)}; autossh exiting`];
  return exitCode === undefined
    ? ['err', message]
    : ['info', `ssh exited with status ${String(exitCode)}; autossh exiting`];
}
