/** One connection that a client opened through the forward. All times are milliseconds on one clock. */
export interface Attempt {
  begun: number;
  /** When its echo was back; not set: it failed, or is still waiting. */
  echoed?: number;
  /** When it failed. */
  failed?: number;
}

export interface Outage {
  /** From the fault to the first echo after which no newly opened connection failed. */
  lasted: number;
  /** How many of the connections opened after the fault got no echo. */
  failed: number;
  /** The longest that a connection opened after the fault took to its echo. */
  longestWait: number;
}

/** How many connections in a row must have been answered before a tunnel counts as up again. */
const enough = 40;

/**
 * What a client saw of a fault, or `undefined` while it is not over.
 *
 * A single echo is no proof: a connection may slip through just before a process dies, or a supervisor may have the
 * forward up for a moment and lose it again. So the end of the outage is the first echo of the unbroken run of answered
 * connections that the latest attempts form.
 */
export function outage(attempts: readonly Attempt[], fault: number): Outage | undefined {
  const since = attempts.filter(({begun}) => begun >= fault);
  let settled = since.length;
  while (settled > 0 && isOpen(since[settled - 1])) settled--;
  let first = settled;
  while (first > 0 && since[first - 1]?.echoed !== undefined) first--;
  const run = since.slice(first, settled);
  if (run.length < enough) return undefined;

  const answered = since.filter((attempt) => attempt.echoed !== undefined);
  return {
    lasted: Math.min(...run.map(({echoed}) => echoed ?? Infinity)) - fault,
    failed: settled - answered.length,
    longestWait: Math.max(...answered.map(({begun, echoed}) => (echoed ?? begun) - begun)),
  };
}

function isOpen(attempt: Attempt | undefined): boolean {
  return attempt !== undefined && attempt.echoed === undefined && attempt.failed === undefined;
}
