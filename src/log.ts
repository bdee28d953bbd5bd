import createDebug from 'debug';

/** One line of the log; `%s`, `%d`, `%o` as in `debug`. */
export type Log = (format: string, ...values: unknown[]) => void;

/** The rooms that log: `DEBUG=autossh:*` shows them all on stderr. */
export type LogRoom = 'state' | 'ssh' | 'heartbeat';

const rooms = new Map<LogRoom, createDebug.Debugger>();

/** A log of one room. `series` numbers the tunnels of a process. */
export function log(room: LogRoom, series: number): Log {
  let write = rooms.get(room);
  if (write === undefined) {
    write = createDebug(`autossh:${room}`);
    rooms.set(room, write);
  }
  const debug = write;
  return (format, ...values) => {
    if (debug.enabled) debug(`#${String(series)} ${format}`, ...values.map(redact));
  };
}

const secret =
  /((?:pass(?:word|wd|phrase)|secret|token)["']?\s*[=:]\s*)(?:"[^"]*"|'[^']*'|\S+)|(\/\/[^\s/:@]+:)[^\s/]+(?=@)/gi;

/** Takes out what looks like a secret: `password=…` and the password of a URL. */
export function redact(value: unknown): unknown {
  return typeof value === 'string' ? value.replace(secret, '$1$2***') : value;
}
