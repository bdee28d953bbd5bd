// @ts-check
/**
 * A plain Node process that keeps tunnels with the built package, as a service would.
 *
 * Talks with the bench over the IPC channel; when that closes, it stops its tunnels and ends.
 */
import {connect} from 'node:net';
import {performance} from 'node:perf_hooks';
import process from 'node:process';
import {setTimeout as delay} from 'node:timers/promises';
import {setFlagsFromString} from 'node:v8';
import {runInNewContext} from 'node:vm';
import {AutoSSH} from 'node-autossh';

/** @type {AutoSSH[]} */
const tunnels = [];

/** @type {Record<string, (value: any) => unknown>} */
const methods = {
  /** How long `start()` took, in milliseconds; a standby is waited for, but not counted. */
  async open(/** @type {{options: import('node-autossh').AutoSSHOptions, listen: number}} */ {options, listen}) {
    const tunnel = new AutoSSH(options);
    tunnels.push(tunnel);
    trace(tunnel);
    const second = connects(tunnel, 2);
    const begun = performance.now();
    await tunnel.start();
    const elapsed = performance.now() - begun;
    if (options.standby) await second;
    await accepts(listen);
    return elapsed;
  },
  pids: () => [process.pid],
  /** The ssh in service of the tunnel opened last. */
  current: () => tunnels.at(-1)?.pid,
  restart: () => tunnels.at(-1)?.restart(),
  beats: () => tunnels.reduce((total, tunnel) => total + tunnel.stats().heartbeats.answered, 0),
  /** Throws away what is garbage by now; twice, as what the first run has set free is given back some time after it. Kilobytes left. */
  async collect() {
    setFlagsFromString('--expose-gc');
    for (let run = 0; run < 2; run++) {
      runInNewContext('gc()');
      await delay(250);
    }
    const {heapUsed, external} = process.memoryUsage();
    return (heapUsed + external) / 1024;
  },
};

process.on('message', (/** @type {{id: number, method: string, value: unknown}} */ {id, method, value}) => {
  Promise.resolve()
    .then(() => methods[method]?.(value))
    .then(
      (result) => process.send?.({id, result}),
      (/** @type {unknown} */ error) => process.send?.({id, error: String(error)}),
    );
});
process.on('disconnect', () => {
  void Promise.allSettled(tunnels.map((tunnel) => tunnel.stop())).then(() => process.exit());
});

/**
 * Rejects unless the forward that is said to be ready accepts a connection at once.
 * @param {number} port
 * @returns {Promise<void>}
 */
function accepts(port) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve();
    });
    socket.on('error', (error) => {
      reject(new Error(`the tunnel said it was ready, but its forward refused: ${error.message}`));
    });
  });
}

/**
 * Resolves when so many of its ssh have become ready.
 * @param {AutoSSH} tunnel
 * @param {number} wanted
 * @returns {Promise<void>}
 */
function connects(tunnel, wanted) {
  return new Promise((resolve) => {
    tunnel.on('connect', () => {
      if (--wanted === 0) resolve();
    });
  });
}

/**
 * With BENCH_TRACE=1: the tunnel's events on stderr, with the time.
 * @param {AutoSSH} tunnel
 */
function trace(tunnel) {
  if (!process.env['BENCH_TRACE']) return;
  for (const name of /** @type {const} */ ([
    'state',
    'start',
    'connect',
    'heartbeat-miss',
    'disconnect',
    'restart',
    'warning',
    'stderr',
    'fatal',
    'stop',
  ])) {
    tunnel.on(name, (/** @type {unknown} */ payload) => {
      process.stderr.write(
        `${(performance.timeOrigin + performance.now()).toFixed(1)} ${name} ${JSON.stringify(payload)}\n`,
      );
    });
  }
}
