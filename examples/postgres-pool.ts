/**
 * A plain `pg` pool through a tunnel whose ssh may be killed or replaced at any time.
 *
 *     SSH_HOST=bastion PGHOST=db.internal PGUSER=app PGPASSWORD=… npx tsx examples/postgres-pool.ts
 *
 * SSH_HOST is anything ssh accepts: a name, user@host or an alias of ssh_config (SSH_CONFIG names another file than
 * ~/.ssh/config). PGHOST and PGPORT are the database as seen from there; PGUSER, PGPASSWORD and PGDATABASE are read by pg.
 *
 * The tunnel's port is there all the time: a new connection waits until there is an ssh for it. What cannot be saved is a
 * connection that was open: it is cut off with its ssh, and a query on it fails, or the next one that the pool puts there.
 */
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
tunnel.on('disconnect', ({outcome}) => {
  if (outcome.reason !== 'requested') console.log(`ssh is lost: ${outcome.message}`);
});
tunnel.on('connect', ({elapsed}) => console.log(`a new ssh is ready after ${Math.round(elapsed)} ms`));

const {host, port} = tunnel.forward().listen;
// restart() lets the old ssh live for `drainTimeout` (30 s). Connections that are younger than that have moved on by then.
const pool = new pg.Pool({host, port, max: 5, maxLifetimeSeconds: 20});
// Idle connections are cut off with their ssh. The pool has already replaced them; unheard, the error would end the process.
pool.on('error', (error) => console.log(`an idle connection broke: ${error.message}`));

/** A query that may be repeated: one that only reads, or writes under a key of its own with ON CONFLICT DO NOTHING. */
async function query<Row extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> {
  for (let failures = 0; ; failures++) {
    try {
      return (await pool.query<Row>(text, values)).rows;
    } catch (error) {
      // What the server itself says would be the same the next time. Each old connection can fail once; a new one waits.
      if (error instanceof pg.DatabaseError || failures === pool.options.max) throw error;
    }
  }
}

async function ask(when: string): Promise<void> {
  const began = performance.now();
  const [row] = await query<{version: string}>('SELECT version()');
  console.log(`${when}: ${row?.version ?? 'no answer'} (${Math.round(performance.now() - began)} ms)`);
}

try {
  await ask('at first');
  if (tunnel.pid !== undefined) process.kill(tunnel.pid, 'SIGKILL');
  await ask('after ssh was killed');
  await tunnel.restart('to show that nothing breaks');
  await ask('after ssh was replaced');
} finally {
  await pool.end();
}
