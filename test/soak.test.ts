import {createHash} from 'node:crypto';
import {connect, type Socket} from 'node:net';
import {setFlagsFromString} from 'node:v8';
import {runInNewContext} from 'node:vm';
import {afterAll, expect, test} from 'vitest';
import type {AutoSSH} from '../src/index.js';
import {
  canListen,
  openFds,
  pollUntil,
  serve,
  signal,
  temporaryEntries,
  within,
  type SmallServer,
} from './support/index.js';
import {once, placeOf, quickRestart, setScene} from './faults/scene.js';

/**
 * Many connections through one steady forward, while one fault after the other is put in. What each of them said is known
 * on both sides: a number that is its own, so many bytes that only it has, and their hash.
 */

const scene = setScene();

/** Dead after well under a second, so that many faults have room. */
const heartbeat = {interval: 100, timeout: 400, maxMisses: 2} as const;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** What the target has heard of a connection with this number, each time that it came. */
interface Heard {
  bytes: number;
  hash: string;
  complete: boolean;
}

/** Reads 'number length\n' and so many bytes; answers with number, length and hash, and all the bytes once more. */
async function recorder(): Promise<{target: SmallServer; heard: Map<number, Heard[]>}> {
  const heard = new Map<number, Heard[]>();
  const target = await serve({}, (socket) => {
    const chunks: Buffer[] = [];
    let record: Heard | undefined;
    let length = 0;
    let header = '';
    socket.on('data', (chunk: Buffer) => {
      let rest = chunk;
      if (!record) {
        const end = chunk.indexOf('\n');
        header += chunk.subarray(0, end < 0 ? chunk.length : end).toString('latin1');
        if (end < 0) return;
        const [number = '', size = ''] = header.split(' ');
        length = Number(size);
        record = {bytes: 0, hash: '', complete: false};
        const same = heard.get(Number(number)) ?? [];
        same.push(record);
        heard.set(Number(number), same);
        rest = chunk.subarray(end + 1);
      }
      chunks.push(rest);
      record.bytes += rest.length;
      if (record.bytes !== length) return;
      const body = Buffer.concat(chunks);
      record.hash = createHash('sha1').update(body).digest('hex');
      record.complete = true;
      socket.end(Buffer.concat([Buffer.from(`${header} ${record.hash}\n`), body]));
    });
    socket.on('end', () => socket.end());
  });
  return {target, heard};
}

/** What a connection says: nobody else says the same. */
function bodyOf(number: number): Buffer {
  // Mostly small, some larger than what waits in any buffer.
  const length = number % 97 === 0 ? 150_000 : (number * 7_919) % 3_000;
  const body = Buffer.alloc(length);
  let state = (number + 1) * 2_654_435_761;
  for (let place = 0; place < length; place++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    body[place] = state >>> 24;
  }
  return body;
}

/** Open files, without the one with which Node watches folders: it keeps that once it has had to. */
function descriptors(): number {
  return openFds(process.pid).filter((target) => target !== 'anon_inode:inotify').length;
}

type Fate = 'complete' | 'cut';

/** One connection from its connect to its end. Whatever is neither complete nor seen as cut is thrown. */
async function visit(tunnel: AutoSSH, number: number): Promise<Fate> {
  const body = bodyOf(number);
  const hash = createHash('sha1').update(body).digest('hex');
  const socket: Socket = connect({...placeOf(tunnel), allowHalfOpen: true, noDelay: true});
  const chunks: Buffer[] = [];
  const said = {ended: false};
  const codes: (string | undefined)[] = [];
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      resolve();
    });
  });
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', (error: NodeJS.ErrnoException) => codes.push(error.code));
  socket.write(`${String(number)} ${String(body.length)}\n`);
  socket.write(body);
  socket.on('end', () => {
    said.ended = true;
    // libuv takes a reset that it finds together with data for an end. The kernel knows better, and says so to a write.
    socket.write('', () => socket.end());
  });
  await within(60_000, `the end of connection ${String(number)}`, closed);
  const [code] = codes;
  if (code !== undefined) {
    if (code !== 'ECONNRESET' && code !== 'EPIPE') throw new Error(`Connection ${String(number)} failed with ${code}`);
    return 'cut';
  }
  const expected = Buffer.concat([Buffer.from(`${String(number)} ${String(body.length)} ${hash}\n`), body]);
  const got = Buffer.concat(chunks);
  if (said.ended && got.equals(expected)) return 'complete';
  throw new Error(
    `Connection ${String(number)} ended (${String(said.ended)}) after ${String(got.length)} of ${String(expected.length)} bytes`,
  );
}

type Fault = 'kill' | 'restart' | 'freeze' | 'session';

const faults: Record<Fault, (tunnel: AutoSSH) => Promise<unknown>> = {
  kill: async (tunnel) => {
    const again = once(tunnel, 'connect', {unless: ['stop']});
    signal(tunnel.pid ?? 0, 'SIGKILL');
    await again;
  },
  restart: (tunnel) => tunnel.restart(),
  freeze: async (tunnel) => {
    const again = once(tunnel, 'connect', {unless: ['stop']});
    signal(tunnel.pid ?? 0, 'SIGSTOP');
    await again;
  },
  session: async (tunnel) => {
    const again = once(tunnel, 'connect', {unless: ['stop']});
    await scene.sshd.killSessions();
    await again;
  },
};

const report: string[] = [];
afterAll(() => {
  // For who wants to know what this machine could afford.
  if (report.length > 0 && process.env['SOAK_REPORT']) process.stderr.write(`${report.join('\n')}\n`);
});

async function soak({
  standby,
  concurrent,
  successive,
}: {
  standby: boolean;
  concurrent: number;
  successive: number;
}): Promise<void> {
  const {target, heard} = await recorder();
  scene.use(target);
  const subject = scene.tunnel({
    forwards: [`-L 0:127.0.0.1:${String(target.port)}`],
    heartbeat,
    standby,
    maxHeld: concurrent,
    drainTimeout: 2_000,
    restart: {...quickRestart, maxTimeout: 100},
  });
  const {tunnel, events} = subject;
  // Only what is counted here; each of the others has thousands.
  events.end();
  const ends = new Map<string, number>();
  tunnel.on('connection-end', ({end}) => ends.set(end, (ends.get(end) ?? 0) + 1));
  const fdsBefore = descriptors();
  await tunnel.start();
  const port = tunnel.forward().listen.port ?? 0;
  await Promise.all(Array.from({length: 50}, (_, n) => visit(tunnel, 1_000_000 + n)));
  collectGarbage();
  const heapBefore = process.memoryUsage().heapUsed;

  const started = performance.now();
  const total = concurrent + successive;
  let number = 0;
  let done = false;
  const fates: Fate[] = [];
  const come = async (until: number): Promise<void> => {
    while (number < until) {
      const mine = number++;
      fates[mine] = await visit(tunnel, mine);
    }
  };
  const inTurn: Fault[] = ['kill', 'restart', 'freeze', 'restart', 'session'];
  let count = 0;
  const harm = (async () => {
    const goesOn = (): boolean => !done;
    while (goesOn()) {
      const fault = inTurn[count++ % inTurn.length] ?? 'kill';
      await faults[fault](tunnel);
      // So many go through in peace, and then comes the next.
      const from = number;
      await pollUntil('some connections', () => done || number >= Math.min(total, from + total / 40), {
        timeout: 30_000,
      });
    }
  })();
  // All at once, and then a few side by side, one after the other.
  await Promise.all(Array.from({length: concurrent}, () => come(concurrent)));
  await Promise.all(Array.from({length: 16}, () => come(total)));
  done = true;
  await harm;
  const seconds = (performance.now() - started) / 1_000;

  const complete = fates.flatMap((fate, mine) => (fate === 'complete' ? [mine] : []));
  expect(fates).toHaveLength(total);
  report.push(
    `${standby ? 'with' : 'without'} standby: ${String(total)} connections in ${seconds.toFixed(1)} s, ${String(count)} faults, ` +
      `${String(total - complete.length)} cut; ${JSON.stringify(Object.fromEntries(ends))}`,
  );
  // Who has heard an answer to its end was heard exactly once, whole and unchanged.
  for (const mine of complete) {
    const records = heard.get(mine) ?? [];
    expect(records, `connection ${String(mine)}`).toHaveLength(1);
    expect(records[0]).toMatchObject({
      complete: true,
      hash: createHash('sha1').update(bodyOf(mine)).digest('hex'),
    });
  }
  // And nobody, not even who was cut off, was heard twice.
  expect([...heard].filter(([, records]) => records.length > 1)).toEqual([]);
  expect(ends.get('refused') ?? 0).toBe(0);
  // Only what was under way in the moment of a fault is cut.
  expect(count).toBeGreaterThan(inTurn.length);
  expect(complete.length).toBeGreaterThan(total * 0.8);
  expect(tunnel.stats().forwards[0]?.connections).toMatchObject({waiting: 0, refused: 0});

  heard.clear();
  await pollUntil('every connection has ended', () => tunnel.stats().forwards[0]?.connections?.open === 0);
  await new Promise((resolve) => setImmediate(resolve));
  collectGarbage();
  // The code that has become warm, and a little each; a connection that is not let go is many kilobytes.
  expect(process.memoryUsage().heapUsed - heapBefore).toBeLessThan(5 * 2 ** 20 + total * 300);
  await tunnel.stop();
  expect(await canListen(port)).toBe(true);
  expect(temporaryEntries()).toEqual([]);
  await pollUntil('no descriptor more than before', () => descriptors() <= fdsBefore);
}

test('1 000 at once and 20 000 one after the other: what ends cleanly is whole, what is cut is seen as cut', async () => {
  await soak({standby: false, concurrent: 1_000, successive: 20_000});
}, 180_000);

test('the same with a standby: 300 at once and 5 000 one after the other', async () => {
  await soak({standby: true, concurrent: 300, successive: 5_000});
}, 120_000);
