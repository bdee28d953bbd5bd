// @ts-check
/**
 * A plain Node process that keeps tunnels with the package `tunnel-ssh`, as a service would.
 *
 * Talks with the bench over the IPC channel; when that closes, it ends, and its connections with it.
 */
import {readFileSync} from 'node:fs';
import {performance} from 'node:perf_hooks';
import process from 'node:process';
import {createTunnel} from 'tunnel-ssh';

/**
 * @typedef {object} Order
 * @property {string} host
 * @property {number} port
 * @property {string} username
 * @property {string} identity The file of its key.
 * @property {number} listen The local port of the forward.
 * @property {number} target The port of the target, as the server sees it.
 * @property {{interval: number, countMax: number}} keepalive
 */

/** @type {Record<string, (order: Order) => unknown>} */
const methods = {open, pids: () => [process.pid]};

process.on('message', (/** @type {{id: number, method: string, value: Order}} */ {id, method, value}) => {
  Promise.resolve()
    .then(() => methods[method]?.(value))
    .then(
      (result) => process.send?.({id, result}),
      (/** @type {unknown} */ error) => process.send?.({id, error: String(error)}),
    );
});
process.on('disconnect', () => process.exit());
// Of a connection that comes while it is not connected it makes an exception that nobody can catch. A service would end
// with it; here it may go on, to show whether it finds back.
process.on('uncaughtException', () => undefined);
process.on('unhandledRejection', () => undefined);

/**
 * Resolves with how long it took, in milliseconds.
 * @param {Order} order
 */
async function open({host, port, username, identity, listen, target, keepalive}) {
  const begun = performance.now();
  await createTunnel(
    {autoClose: false, reconnectOnError: true},
    {host: '127.0.0.1', port: listen},
    {
      host,
      port,
      username,
      privateKey: readFileSync(identity),
      keepaliveInterval: keepalive.interval,
      keepaliveCountMax: keepalive.countMax,
    },
    {srcAddr: '127.0.0.1', srcPort: listen, dstAddr: '127.0.0.1', dstPort: target},
  );
  return performance.now() - begun;
}
