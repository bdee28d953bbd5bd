import {once} from 'node:events';
import {type AddressInfo, createServer} from 'node:net';

/** A port of this machine that nobody listens on, from the kernel's ephemeral range: bind(2) with port 0. */
export async function freePort(host: string): Promise<number> {
  const server = createServer();
  // Exclusive: in a cluster's worker the primary would share one port among all.
  server.listen({host, port: 0, exclusive: true});
  await once(server, 'listening');
  const {port} = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
