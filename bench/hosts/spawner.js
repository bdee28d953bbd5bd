// @ts-check
/**
 * A plain Node process that starts programs which make a tunnel (ssh, autossh, a shell that loops) and says how long
 * each took. It keeps no eye on them: what they do about a fault is theirs alone.
 *
 * Talks with the bench over the IPC channel; when that closes, it ends and takes along what it started.
 */
import {spawn} from 'node:child_process';
import {connect, createServer} from 'node:net';
import {performance} from 'node:perf_hooks';
import process from 'node:process';
import {setTimeout} from 'node:timers';

/**
 * @typedef {object} Order
 * @property {string} command
 * @property {string[]} args
 * @property {Record<string, string>} env
 * @property {number} listen The local port of the forward.
 * @property {number} [arrival] The port where the far end of the loop comes out; without it, ready is when `listen` accepts.
 */

/** @type {Map<number, import('node:child_process').ChildProcess>} */
const children = new Map();

process.on('message', (/** @type {{id: number, method: string, value: Order}} */ {id, method, value}) => {
  /** @type {Record<string, (order: Order) => unknown>} */
  const methods = {open, pids: () => [...children.keys()]};
  Promise.resolve()
    .then(() => methods[method]?.(value))
    .then(
      (result) => process.send?.({id, result}),
      (/** @type {unknown} */ error) => process.send?.({id, error: String(error)}),
    );
});
process.on('disconnect', () => {
  for (const pid of children.keys()) kill(pid);
  process.exit();
});

/** @param {Order} order */
async function open({command, args, env, listen, arrival}) {
  const far = arrival === undefined ? undefined : await listenAt(arrival);
  const begun = performance.now();
  // A process group of its own, so that whatever it starts can be ended with it.
  const child = spawn(command, args, {env: {...process.env, ...env}, stdio: 'ignore', detached: true});
  if (child.pid === undefined) throw new Error(`${command} could not be started`);
  const pid = child.pid;
  children.set(pid, child);
  /** @type {Promise<never>} */
  const failed = new Promise((_, reject) => {
    child.on('exit', (code, signal) => {
      children.delete(pid);
      reject(new Error(`${command} ended with ${signal ?? code}`));
    });
  });
  failed.catch(() => undefined);
  try {
    await Promise.race([far === undefined ? accepts(listen) : arrives(listen, far), failed]);
    return performance.now() - begun;
  } finally {
    far?.close();
  }
}

/**
 * Resolves as soon as a connection to the port is accepted; tries again a millisecond after each refusal.
 * @param {number} port
 * @returns {Promise<void>}
 */
function accepts(port) {
  return new Promise((resolve) => {
    const attempt = () => {
      const socket = connect(port, '127.0.0.1');
      socket.on('connect', () => {
        resolve();
        socket.destroy();
      });
      socket.on('error', () => setTimeout(attempt, 1));
    };
    attempt();
  });
}

/**
 * Resolves as soon as a byte sent into the port has arrived at the far end.
 * @param {number} port
 * @param {import('node:net').Server} far
 * @returns {Promise<void>}
 */
function arrives(port, far) {
  return new Promise((resolve) => {
    let done = false;
    far.on('connection', (socket) => {
      socket.on('error', () => undefined);
      socket.on('data', () => {
        done = true;
        resolve();
        socket.destroy();
      });
    });
    const attempt = () => {
      if (done) return;
      const socket = connect({port, host: '127.0.0.1', noDelay: true});
      socket.write('.');
      socket.on('error', () => undefined);
      socket.on('close', () => setTimeout(attempt, 1));
      socket.resume();
    };
    attempt();
  });
}

/**
 * @param {number} port
 * @returns {Promise<import('node:net').Server>}
 */
function listenAt(port) {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject).listen(port, '127.0.0.1', () => {
      resolve(server);
    });
  });
}

/** @param {number} pid */
function kill(pid) {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}
