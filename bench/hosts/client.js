// @ts-check
/**
 * A plain Node process that uses a forward as the clients of a service would: nothing that the bench or a tunnel has to
 * do at the moment holds its clock up.
 *
 * Talks with the bench over the IPC channel; when that closes, it ends. Times are milliseconds on the system's monotonic
 * clock, which all processes share.
 */
import {Buffer} from 'node:buffer';
import {connect} from 'node:net';
import process from 'node:process';
import {clearInterval, setInterval} from 'node:timers';
import {setTimeout as delay} from 'node:timers/promises';

/** How long one connection waits for its echo before it is given up. */
const patience = 6_000;

/** @type {Record<string, (value: any) => unknown>} */
const methods = {pids: () => [process.pid], begin, finish, talk, silence, oneByOne, rush};

process.on('message', (/** @type {{id: number, method: string, value: unknown}} */ {id, method, value}) => {
  Promise.resolve()
    .then(() => methods[method]?.(value))
    .then(
      (result) => process.send?.({id, result}),
      (/** @type {unknown} */ error) => process.send?.({id, error: String(error)}),
    );
});
process.on('disconnect', () => process.exit());

function now() {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** @type {NodeJS.Timeout | undefined} */
let pacemaker;
/** @type {Promise<import('../outage.js').Attempt>[]} */
let attempts = [];

/**
 * Opens a new connection every `pace` milliseconds from now on, whether or not those before it were answered.
 * @param {{port: number, pace: number}} order
 */
function begin({port, pace}) {
  attempts = [];
  const begun = now();
  pacemaker = setInterval(() => {
    // A timer that comes late does not make the pace slower.
    while (begun + attempts.length * pace <= now()) attempts.push(attempt(port));
  }, pace);
}

/** Opens no more, and resolves with all of them, once each was answered, has failed or has waited long enough. */
async function finish() {
  clearInterval(pacemaker);
  return await Promise.all(attempts);
}

/**
 * @param {number} port
 * @returns {Promise<import('../outage.js').Attempt>}
 */
async function attempt(port) {
  const begun = now();
  try {
    const {echoed} = await exchange(port, Buffer.from(`${attempts.length}\n`));
    return {begun, echoed};
  } catch {
    return {begun, failed: now()};
  }
}

/**
 * Connects, sends, waits for the echo, closes. Rejects unless exactly the message has come back.
 * @param {number} port
 * @param {Buffer} message
 * @returns {Promise<{echoed: number, closed: Promise<void>}>}
 */
function exchange(port, message) {
  return new Promise((resolve, reject) => {
    const socket = connect({port, host: '127.0.0.1', noDelay: true});
    /** @type {Promise<void>} */
    const closed = new Promise((settle) => {
      socket.on('close', () => {
        reject(new Error('closed without an answer'));
        settle();
      });
    });
    let answer = Buffer.alloc(0);
    socket.setTimeout(patience, () => socket.destroy());
    socket.on('error', reject);
    socket.on('data', (bytes) => {
      answer = Buffer.concat([answer, bytes]);
      if (answer.length < message.length) return;
      if (answer.equals(message)) resolve({echoed: now(), closed});
      socket.end();
    });
    socket.write(message);
  });
}

/** @type {{socket: import('node:net').Socket, sent: number, returned: number, ended: Promise<boolean>}[]} */
let talks = [];
/** @type {NodeJS.Timeout | undefined} */
let metronome;

/**
 * Opens so many connections, and sends a byte on each every so many milliseconds until `silence`.
 * @param {{port: number, count: number, every: number}} order
 */
function talk({port, count, every}) {
  talks = Array.from({length: count}, () => {
    const socket = connect({port, host: '127.0.0.1', noDelay: true});
    /** @type {Promise<boolean>} */
    const ended = new Promise((resolve) => {
      // What was cut off has an error, or is closed without an end.
      socket.on('error', () => resolve(false));
      socket.on('end', () => resolve(true));
      socket.on('close', () => resolve(false));
      socket.setTimeout(patience, () => socket.destroy());
    });
    const talking = {socket, sent: 0, returned: 0, ended};
    socket.on('data', (bytes) => {
      talking.returned += bytes.length;
    });
    return talking;
  });
  metronome = setInterval(() => {
    for (const talking of talks) {
      if (!talking.socket.writable) continue;
      talking.sent++;
      talking.socket.write('.');
    }
  }, every);
}

/** Says that all has been said. Resolves with the number of connections that did not get everything back, to its end. */
async function silence() {
  clearInterval(metronome);
  const whole = await Promise.all(
    talks.map(async (talking) => {
      // One that has ended already, and not because of this.
      if (!talking.socket.writable) return false;
      talking.socket.end();
      return (await talking.ended) && talking.sent > 0 && talking.returned === talking.sent;
    }),
  );
  return whole.filter((one) => !one).length;
}

/**
 * One connection after the other, so many milliseconds apart. Resolves with how long each took to its echo.
 * @param {{port: number, count: number, pause: number}} order
 */
async function oneByOne({port, count, pause}) {
  const times = [];
  for (let left = count; left > 0; left--) {
    const begun = now();
    const {echoed, closed} = await exchange(port, Buffer.from('.'));
    times.push(echoed - begun);
    await closed;
    if (pause > 0) await delay(pause);
  }
  return times;
}

/**
 * So many connections of 64 bytes there and back, some at a time. Resolves with how long all took.
 * @param {{port: number, count: number, atOnce: number}} order
 */
async function rush({port, count, atOnce}) {
  const message = Buffer.alloc(64, 'node-autossh');
  const begun = now();
  let left = count;
  const worker = async () => {
    while (left-- > 0) await (await exchange(port, message)).closed;
  };
  await Promise.all(Array.from({length: atOnce}, worker));
  return now() - begun;
}
