/** A connection pool of `pg` that lives behind a tunnel. */
import type {AutoSSH} from 'node-autossh';
import pg from 'pg';
import type {PostgresAddress} from './postgres.js';

/**
 * A pool whose new connections wait until the tunnel is up. While it is down nothing listens on its local port; without the
 * wait each queued query would fail at once with ECONNREFUSED.
 */
export function poolThrough(tunnel: AutoSSH, {user, password, database}: PostgresAddress, max: number): pg.Pool {
  const {listen} = tunnel.forward();
  if (listen.port === undefined) throw new TypeError('Expected a tunnel that listens on a port');

  class PatientClient extends pg.Client {
    override connect(): Promise<pg.Client>;
    override connect(callback: (error: Error) => void): void;
    override connect(callback?: (error: Error) => void): unknown {
      const ready = tunnel.ready();
      if (!callback) return ready.then(() => super.connect());
      // This is how a pool connects.
      return void ready.then(() => super.connect(callback), callback);
    }
  }
  const pool = new pg.Pool({
    host: '127.0.0.1',
    port: listen.port,
    user,
    password,
    database,
    max,
    Client: PatientClient,
  });
  // An idle connection that breaks is reported here, and the pool has already replaced it. Unheard, it would end the process.
  pool.on('error', () => undefined);
  return pool;
}

/** Whether it was the connection that failed. What the server says about a statement is no reason to repeat it. */
export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof pg.DatabaseError) return /^(08|57P0)/.test(error.code ?? '');
  const {code} = error as NodeJS.ErrnoException;
  return code === undefined ? /connection/i.test(error.message) : /^E(CONN|PIPE|TIMEDOUT|HOST|NET)/.test(code);
}
