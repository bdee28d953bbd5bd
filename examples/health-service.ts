/**
 * A service that tells its orchestrator how its tunnel is.
 *
 *     SSH_HOST=bastion TARGET=db.internal:5432 PORT=8080 npx tsx examples/health-service.ts
 *     curl -i http://127.0.0.1:8080/healthz
 *
 * /healthz answers 200 while the tunnel is up and 503 while it is not, both with the figures; /livez answers 200 as long as the
 * tunnel is still tried, so that nobody restarts a service whose tunnel mends itself.
 */
import {once} from 'node:events';
import {createServer, type ServerResponse} from 'node:http';
import {AutoSSH} from 'node-autossh';

const {SSH_HOST = 'localhost', SSH_CONFIG, TARGET = '127.0.0.1:5432', PORT = '8080'} = process.env;

const tunnel = new AutoSSH({
  host: SSH_HOST,
  ...(SSH_CONFIG && {configFile: SSH_CONFIG}),
  forwards: [{type: 'local', target: TARGET, name: 'target'}],
  // A service starts although its server is away at that moment, and is unhealthy until it comes.
  gateTime: 0,
});

const server = createServer((request, response) => {
  const ended = tunnel.state === 'stopping' || tunnel.state === 'stopped';
  if (request.url === '/healthz') reply(response, tunnel.state === 'up' ? 200 : 503, tunnel.stats());
  else if (request.url === '/livez') reply(response, ended ? 503 : 200, {state: tunnel.state});
  else reply(response, 404, {paths: ['/healthz', '/livez']});
});
server.listen(Number(PORT), '127.0.0.1');
await once(server, 'listening');
const address = server.address();
if (address !== null && typeof address !== 'string') console.log(`health: http://127.0.0.1:${address.port}/healthz`);

tunnel.on('state', ({from, to}) => console.log(`tunnel: ${from} -> ${to}`));
tunnel.on('fatal', (error) => console.error(`${error.message}\n${error.hint}`));
// Its outcome shows in /healthz and in the events.
tunnel.start().catch(() => undefined);

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    server.close();
    server.closeAllConnections();
    void tunnel.stop();
  });
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, {'content-type': 'application/json'}).end(`${JSON.stringify(body, null, 2)}\n`);
}
