/**
 * PostgreSQL and HTTP over streams that lead straight into a tunnel, instead of over its local ports.
 *
 *     SSH_HOST=bastion PGHOST=db.internal PGUSER=app PGPASSWORD=… npx tsx examples/streams.ts http://intranet.example/
 *
 * So both clients keep the real names of their servers, for virtual hosts and certificates. PGHOST and PGPORT are the database
 * as seen from SSH_HOST, the URL as well; PGUSER, PGPASSWORD and PGDATABASE are read by pg.
 */
import {Agent, get} from 'node:http';
import {AutoSSH} from 'node-autossh';
import pg from 'pg';

const {SSH_HOST = 'localhost', SSH_CONFIG, PGHOST = '127.0.0.1', PGPORT = '5432'} = process.env;
const url = new URL(process.argv[2] ?? 'http://example.com/');

await using tunnel = await AutoSSH.open({
  host: SSH_HOST,
  ...(SSH_CONFIG && {configFile: SSH_CONFIG}),
  forwards: [
    {name: 'db', type: 'local', target: {host: PGHOST, port: Number(PGPORT)}},
    {name: 'web', type: 'local', target: {host: url.hostname, port: Number(url.port || 80)}},
  ],
});

const agent = new Agent();
agent.createConnection = () => tunnel.connect('web');

async function status(from: URL): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get(from, {agent}, (response) => {
      response.once('close', () => resolve(`${response.statusCode ?? 0} ${response.statusMessage ?? ''}`)).resume();
    });
    request.on('error', reject);
  });
}

async function ask(when: string): Promise<void> {
  const client = new pg.Client({stream: () => tunnel.connect('db')});
  await client.connect();
  const {rows} = await client.query<{version: string}>('SELECT version()');
  await client.end();
  console.log(`${when}: ${rows[0]?.version ?? 'no answer'}`);
  console.log(`${when}: ${url.href} answered ${await status(url)}`);
}

await ask('at first');
const lost = new Promise<void>((resolve) => tunnel.once('disconnect', () => resolve()));
if (tunnel.pid !== undefined) process.kill(tunnel.pid, 'SIGKILL');
await lost;
// There is no ssh at this moment. What is opened now waits for the next.
await ask('after ssh was killed');
