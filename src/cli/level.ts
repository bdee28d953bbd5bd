/** syslog's levels, by number: syslog(3). */
export const levels = ['emerg', 'alert', 'crit', 'err', 'warning', 'notice', 'info', 'debug'] as const;

/** One of syslog's levels. */
export type Level = (typeof levels)[number];
