import type {CommandLine} from '../index.js';
import {type Level, levels} from './level.js';
import {LogFile} from './log-file.js';
import {Syslog} from './syslog.js';
import {systemMessage} from './system-message.js';

/** Facts of a line, for a machine that reads it. */
export type Facts = Readonly<Record<string, string | number | boolean | undefined>>;

/** The process that was started on a terminal, for the one that it has left in the background. */
export interface Elsewhere {
  /** Has something said there. */
  complain(message: string): void;
  /** The log file, if it could be opened there: its name may mean something else here, as /dev/stdout does. */
  readonly logDescriptor: number | undefined;
}

/** The log of the command: a file, or syslog, or stderr; never a reason for the tunnel to end. */
export class Log {
  readonly #highest: number;
  readonly #json: boolean;
  readonly #stderr: boolean;
  readonly #isSilent: boolean;
  readonly #elsewhere: Elsewhere | undefined;
  #file: LogFile | undefined;
  readonly #syslog: Syslog | undefined;

  /** @param elsewhere - where this process has no terminal any more, one that has */
  constructor(
    line: Pick<CommandLine, 'action' | 'background' | 'logFile' | 'logLevel' | 'debug' | 'jsonLog'>,
    elsewhere?: Elsewhere,
  ) {
    this.#elsewhere = elsewhere;
    // A view that is drawn there would be spoilt.
    this.#isSilent = line.action === 'status' && process.stderr.isTTY;
    this.#highest = line.logLevel;
    this.#json = line.jsonLog;
    // As syslog's LOG_PERROR: only beside syslog.
    const isFiled = line.logFile !== undefined;
    this.#stderr = !isFiled && !this.#isSilent && !line.background && (line.debug || line.jsonLog);
    this.#syslog = isFiled || (line.jsonLog && this.#stderr) ? undefined : new Syslog();
    try {
      if (line.logFile !== undefined) this.#file = new LogFile(line.logFile, elsewhere?.logDescriptor);
      if (!this.#file?.isOpen) this.#file?.open();
    } catch (error) {
      this.complain(`${line.logFile ?? ''}: ${systemMessage(error)}; nothing is logged until SIGHUP`);
    }
  }

  /** Tells a person at the terminal, unless the log does already. */
  complain(message: string): void {
    if (this.#stderr || this.#isSilent) return;
    if (this.#elsewhere) this.#elsewhere.complain(message);
    else process.stderr.write(`autossh: ${message}\n`);
  }

  /** @param event - what happened, in one word, and its facts: for a log in JSON */
  write(level: Level, message: string, event = 'note', facts: Facts = {}): void {
    const severity = levels.indexOf(level);
    if (severity > this.#highest) return;
    const now = new Date();
    const text = this.#json
      ? JSON.stringify({time: now.toISOString(), level, pid: process.pid, event, message, ...facts})
      : message;
    const sender = `autossh[${String(process.pid)}]: `;
    this.#file?.append(this.#json ? `${text}\n` : `${stamp(now)} ${sender}${text}\n`);
    this.#syslog?.send(level, text);
    // As ssh ends its own: it has turned off what would lead a terminal back to the left, for a shell at the other end.
    const end = process.stderr.isTTY ? '\r\n' : '\n';
    if (this.#stderr) process.stderr.write((this.#json ? text : sender + text) + end);
  }

  /** Opens a file anew, which something has moved away to begin another. */
  reopen(): void {
    try {
      this.#file?.open();
    } catch {
      // It is tried again with the next SIGHUP.
    }
  }

  /** Waits for what is under way, but not for long. */
  async flush(): Promise<void> {
    await this.#syslog?.flush();
  }
}

/** Logs what is wrong with a command line, of which nothing else is known. */
export async function logMistake(message: string, env: NodeJS.ProcessEnv): Promise<void> {
  const {AUTOSSH_LOGFILE: logFile, AUTOSSH_LOGLEVEL, AUTOSSH_DEBUG} = env;
  const logLevel = AUTOSSH_DEBUG === undefined ? Number(AUTOSSH_LOGLEVEL ?? 6) : 7;
  const log = new Log({
    action: 'run',
    background: false,
    logLevel,
    debug: false,
    jsonLog: false,
    ...(logFile && {logFile}),
  });
  log.write('err', message, 'command-line');
  await log.flush();
}

/** `YYYY/MM/DD HH:MM:SS`, local time. */
function stamp(date: Date): string {
  const [month, day, hours, minutes, seconds] = [
    date.getMonth() + 1,
    date.getDate(),
    date.getHours(),
    date.getMinutes(),
    date.getSeconds(),
  ].map((part) => String(part).padStart(2, '0'));
  return `${String(date.getFullYear())}/${month ?? ''}/${day ?? ''} ${hours ?? ''}:${minutes ?? ''}:${seconds ?? ''}`;
}
