/** The connection pools of a service: plain ones of `pg`, on the port of the tunnel. */
import type {AutoSSH} from 'node-autossh';
import pg from 'pg';
import type {PostgresAddress} from './postgres.js';

/** Two ways to use a pool. */
export interface Pools {
  /** Its connections are used again and again, as usual. */
  readonly kept: pg.Pool;
  /** Each query has a connection of its own. */
  readonly fresh: pg.Pool;
}

export function poolsThrough(tunnel: AutoSSH, {user, password, database}: PostgresAddress): Pools {
  const {listen} = tunnel.forward();
  if (listen.port === undefined) throw new TypeError('Expected a tunnel that listens on a port');
  const common = {host: listen.host, port: listen.port, user, password, database};
  return {
    // Younger than the tunnel's drainTimeout: when restart() has replaced ssh, each of them can move on before the old one ends.
    kept: tolerant(new pg.Pool({...common, max: 8, maxLifetimeSeconds: 2})),
    fresh: tolerant(new pg.Pool({...common, max: 16, maxUses: 1})),
  };
}

/** Whether it was the connection that failed. What the server says about a statement is no reason to repeat it. */
export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof pg.DatabaseError) return /^(08|57P0)/.test(error.code ?? '');
  const {code} = error as NodeJS.ErrnoException;
  return code === undefined ? /connection/i.test(error.message) : /^E(CONN|PIPE|TIMEDOUT|HOST|NET)/.test(code);
}

/** A connection that breaks says so, idle or not, and the pool replaces it. Unheard, that would end the process. */
function tolerant(pool: pg.Pool): pg.Pool {
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}
