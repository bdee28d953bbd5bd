/**
 * A `pg` pool through a tunnel that may break at any time.
 *
 *     SSH_HOST=bastion PGHOST=db.internal PGUSER=app PGPASSWORD=… npx tsx examples/postgres-pool.ts
 *
 * SSH_HOST is anything ssh accepts: a name, user@host or an alias of ssh_config (SSH_CONFIG names another file than
 * ~/.ssh/config). PGHOST and PGPORT are the database as seen from there; PGUSER, PGPASSWORD and PGDATABASE are read by pg.
 */
import {setTimeout as sleep} from 'node:timers/promises';
import {AutoSSH} from 'node-autossh';
import pg from 'pg';

const {SSH_HOST = 'localhost', SSH_CONFIG, PGHOST = '127.0.0.1', PGPORT = '5432'} = process.env;

await using tunnel = await AutoSSH.open({
  host: SSH_HOST,
  ...(SSH_CONFIG && {configFile: SSH_CONFIG}),
  forwards: [{type: 'local', target: {host: PGHOST, port: Number(PGPORT)}}],
  // A frozen connection is replaced after 2 s at the latest.
  heartbeat: {interval: 1000, timeout: 1000, maxMisses: 1},
});
tunnel.on('disconnect', ({outcome}) => console.log(`tunnel lost: ${outcome.message}`));
tunnel.on('connect', ({elapsed}) => console.log(`tunnel back after ${Math.round(elapsed)} ms`));

/** Connects when the tunnel is up: while it is down, the pool's queries wait instead of failing with ECONNREFUSED. */
class TunnelClient extends pg.Client {
  override connect(): Promise<pg.Client>;
  override connect(callback: (error: Error) => void): void;
  override connect(callback?: (error: Error) => void): unknown {
    const ready = tunnel.ready();
    return callback ? void ready.then(() => super.connect(callback), callback) : ready.then(() => super.connect());
  }
}

const {host, port} = tunnel.forward().listen;
// The port stays the same over all restarts, so the pool never has to be made again.
const pool = new pg.Pool({host, port, max: 5, Client: TunnelClient});
// Idle connections break with the tunnel. The pool replaces them; without a listener the error would end the process.
pool.on('error', (error) => console.log(`an idle connection broke: ${error.message}`));

/** A query that may be repeated: one that only reads, or writes under a key of its own with ON CONFLICT DO NOTHING. */
async function query<Row extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await pool.query<Row>(text, values)).rows;
    } catch (error) {
      // What the server itself says about a statement would be the same the next time.
      if (error instanceof pg.DatabaseError || attempt === 10) throw error;
      await sleep(20 * attempt);
    }
  }
}

try {
  for (let round = 1; round <= 3; round++) {
    const [row] = await query<{version: string}>('SELECT version()');
    console.log(`${round}: ${row?.version ?? 'no answer'}`);
    // Not waited for: the next query does that by itself, and fails if the tunnel has ended.
    if (round < 3) tunnel.restart('to show that the pool gets over it').catch(() => undefined);
  }
} finally {
  await pool.end();
}
