import {isatty} from 'node:tty';
import {AutoSSH, type AutoSSHOptions, type CommandLine, type SSHAgent, tunnelOptions} from '../index.js';
import {addKeysTo} from './add-keys-to.js';
import {Background, goToBackground} from './background.js';
import {Log} from './log.js';
import {PidFile} from './pid-file.js';
import {report} from './report.js';
import {obey} from './obey.js';
import type {Signals} from './signals.js';
import {systemMessage} from './system-message.js';
import {Terminal} from './terminal.js';

/** Runs the tunnel of a command line to its end, and returns the exit code. */
export async function run(line: CommandLine, signals: Signals): Promise<number> {
  const background = Background.ofThisProcess();
  if (line.background && !background) return goToBackground(line, signals);
  const log = new Log(line, background);
  for (const note of line.notes) log.write('info', note);
  // As daemon(3) does, so that no file system is kept busy; after the log file, before everything else.
  if (background) process.chdir('/');
  if (line.pidFile !== undefined) writePidFile(line.pidFile, log);
  const code = await runTunnel(line, signals, log, background);
  await log.flush();
  return code;
}

/** A disk that is full or cannot be written is no reason to go without the tunnel. */
function writePidFile(path: string, log: Log): void {
  try {
    new PidFile(path);
  } catch (error) {
    const message = `cannot open pid file "${path}": ${systemMessage(error)}`;
    log.write('err', message, 'pid-file');
    log.complain(message);
  }
}

async function runTunnel(
  line: CommandLine,
  signals: Signals,
  log: Log,
  background: Background | undefined,
): Promise<number> {
  if (line.maxStart === 0) {
    log.write('info', 'max start count reached; exiting', 'stop');
    return 0;
  }
  const agent = line.agent ? await openAgent(line, signals, log, background) : undefined;
  const notifier = process.env['NOTIFY_SOCKET'] === undefined ? undefined : await openNotifier(log);
  const env = {...(notifier?.env ?? process.env), ...(agent && {SSH_AUTH_SOCK: agent.socket})};
  let tunnel: AutoSSH;
  try {
    tunnel = new AutoSSH({...optionsOf(line), env});
  } catch (error) {
    await agent?.close();
    if (!(error instanceof TypeError)) throw error;
    // A wrong option of the library is a wrong value on the command line.
    log.write('err', error.message, 'command-line');
    if (background) background.fail(error.message);
    else log.complain(error.message);
    return 1;
  }
  notifier?.attach(tunnel);
  const code = report(tunnel, line, log);
  // Before a signal that came early can end it.
  const ended = new Promise<void>((resolve) => {
    tunnel.once('stop', () => {
      resolve();
    });
  });
  obey(signals, tunnel, log);
  const terminal = background || line.action === 'status' ? undefined : new Terminal();
  tunnel.on('disconnect', ({outcome}) => {
    // ssh that is killed leaves the terminal as it had it.
    if (outcome.signal !== undefined) terminal?.restore();
  });
  background?.accompany(tunnel);
  const closeView = line.action === 'status' ? await openView(tunnel, line) : undefined;
  // How it ends is told by its events.
  await tunnel.start().catch(() => undefined);
  await ended;
  closeView?.();
  await notifier?.close();
  await agent?.close();
  return code();
}

function optionsOf(line: CommandLine): AutoSSHOptions {
  const options = tunnelOptions(line);
  if (line.action === 'status') {
    // The terminal is the view's: there is none for a shell.
    const shell = line.remoteCommand.length === 0 ? ['-N'] : [];
    return {...options, stdio: 'pipe', sshArguments: [...shell, ...line.sshArguments]};
  }
  return line.background ? options : {...options, stderr: process.stderr};
}

async function openAgent(
  line: CommandLine,
  signals: Signals,
  log: Log,
  background: Background | undefined,
): Promise<SSHAgent | undefined> {
  const {openSessionAgent} = await import('./agent.js');
  const agent = await openSessionAgent(process.env, (why) => {
    log.write('notice', why, 'agent');
  });
  if (!agent) return undefined;
  const {socket} = agent;
  log.write('debug', `started an ssh-agent, pid ${String(agent.pid)}`, 'agent', {agent: agent.pid});
  if (background) background.addKeys(socket);
  else if (isatty(0) && isatty(2)) await addKeysTo(socket, line, signals);
  return agent;
}

async function openView(tunnel: AutoSSH, line: CommandLine): Promise<() => void> {
  const {StatusView} = await import('./status-view.js');
  const view = new StatusView(tunnel, {
    destination: line.destination,
    isMonitored: line.monitor !== undefined,
    input: process.stdin,
    output: process.stdout,
    env: process.env,
    // The keys mean what the signals mean, the second of them too.
    onQuit: () => process.kill(process.pid, 'SIGINT'),
    onRestart: () => process.kill(process.pid, 'SIGUSR1'),
  });
  view.open();
  return () => {
    view.close();
  };
}

async function openNotifier(log: Log): Promise<{
  readonly env: NodeJS.ProcessEnv;
  attach(tunnel: AutoSSH): void;
  close(): Promise<void>;
}> {
  const {Notifier, withoutNotify} = await import('./notifier.js');
  const notifier = new Notifier(process.env, {
    debug: (message) => {
      log.write('debug', message, 'systemd');
    },
  });
  return {
    env: withoutNotify(process.env),
    attach: (tunnel) => {
      notifier.attach(tunnel);
    },
    close: async () => notifier.close(),
  };
}
