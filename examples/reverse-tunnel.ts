/**
 * Makes a service of this machine reachable on a server: for a webhook, for a colleague, for a device behind a NAT.
 *
 *     SSH_HOST=me@example.com REMOTE_PORT=8080 npx tsx examples/reverse-tunnel.ts
 *
 * Then, on the server: curl http://127.0.0.1:8080/. Without REMOTE_PORT the server chooses a port. It listens on its loopback
 * only; REMOTE_HOST=0.0.0.0 makes it public, if the server's GatewayPorts allows that.
 */
import {once} from 'node:events';
import {createServer} from 'node:http';
import {AutoSSH} from 'node-autossh';

const {SSH_HOST = 'localhost', SSH_CONFIG, REMOTE_HOST = '127.0.0.1', REMOTE_PORT = '0'} = process.env;

const service = createServer((request, response) => {
  response.end(`Hello from behind the tunnel, you asked for ${request.url ?? '/'}\n`);
}).listen(0, '127.0.0.1');
await once(service, 'listening');
const local = service.address();
if (local === null || typeof local === 'string') throw new Error('unreachable: the service listens on a port');

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());

const tunnel = new AutoSSH({
  host: SSH_HOST,
  ...(SSH_CONFIG && {configFile: SSH_CONFIG}),
  forwards: [{type: 'remote', listen: {host: REMOTE_HOST, port: Number(REMOTE_PORT)}, target: {port: local.port}}],
  signal: interrupted.signal,
});
// At each connect, not only the first: a port that the server chose is another one after a restart.
tunnel.on('connect', ({forwards}) => {
  for (const {listen} of forwards)
    if (listen.port !== undefined) console.log(`reachable at ${listen.host}:${listen.port}`);
});
tunnel.on('disconnect', ({outcome}) => console.log(`unreachable: ${outcome.message}`));
tunnel.on('restart', ({delay}) => console.log(`next try in ${Math.round(delay)} ms`));
tunnel.on('stop', ({reason, error}) => {
  console.log(`ended: ${reason}`);
  if (error) {
    console.error(`${error.message}\n${error.hint}`);
    process.exitCode = 1;
  }
  service.close();
});
// How it went is said by the events.
await tunnel.start().catch(() => undefined);
