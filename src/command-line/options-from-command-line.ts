import type {AutoSSHOptions} from '../options.js';
import type {CommandLine} from './command-line.js';
import {CommandLineError} from './error.js';
import {freeMonitorPort} from './free-monitor-port.js';
import {readCommandLine} from './read-command-line.js';
import {opensNoSession} from './sort-tokens.js';

/**
 * Reads a command line of autossh and its environment.
 *
 * @param argv - the arguments, without the program
 * @param env - where the `AUTOSSH_…` variables are
 * @throws CommandLineError if it cannot be read
 */
export function parseCommandLine(argv: readonly string[], env: NodeJS.ProcessEnv): CommandLine {
  return readCommandLine(argv, env, freeMonitorPort);
}

/**
 * The options of a tunnel that does what `autossh` would do for a command line and its environment, so that a program can
 * take over one that exists. What belongs to a command alone (a log, a pid file, going to the background) is left out; with
 * `-N` or `-f` the terminal is not handed to ssh.
 *
 * @example
 * ```ts
 * const argv = ['-M', '20000', '-N', '-L', '15432:db.internal:5432', 'bastion.example.com'];
 * const tunnel = await AutoSSH.open(optionsFromCommandLine(argv, {...process.env, AUTOSSH_POLL: '60'}));
 * ```
 *
 * @param argv - the arguments, without the program: `process.argv.slice(2)`
 * @param env - where the `AUTOSSH_…` variables are; nothing else is taken from it
 * @throws CommandLineError if it cannot be read, or asks for something else than a tunnel (`-V`, `AUTOSSH_MAXSTART=0`)
 */
export function optionsFromCommandLine(argv: readonly string[], env: NodeJS.ProcessEnv): AutoSSHOptions {
  const line = parseCommandLine(argv, env);
  if (line.action !== 'run' && line.action !== 'status')
    throw new CommandLineError(`this command line is not one of a tunnel: it asks for ${line.action}`);
  if (line.maxStart === 0) throw new CommandLineError('with a max start number of 0 ssh is never started');
  const options = tunnelOptions(line);
  return opensNoSession(line.sshArguments) ? {...options, stdio: 'pipe'} : options;
}

/** Node has no longer one: 24 days. */
const longestTimer = 2 ** 31 - 1;

/** The options of the tunnel that a command line describes. */
export function tunnelOptions(line: CommandLine): AutoSSHOptions {
  const {monitor} = line;
  return {
    sshPath: line.sshPath,
    sshArguments: line.sshArguments,
    stdio: line.background ? 'pipe' : 'inherit',
    gateTime: line.gateTime,
    maxLifetime: line.maxLifetime,
    heartbeat: monitor
      ? {
          mode: monitor.echoPort === undefined ? 'forward-loop' : 'echo-port',
          monitorPort: monitor.port,
          interval: line.poll,
          firstInterval: line.firstPoll,
          timeout: line.netTimeout,
          maxMisses: 2,
          message: line.message,
        }
      : false,
    restart: {
      policy: 'autossh',
      maxTimeout: Math.min(line.poll, longestTimer),
      ...(line.maxStart > 0 && {maxStarts: line.maxStart}),
    },
  };
}
