/**
 * A PostgreSQL server, an ssh server and a tunnel between them, a service that writes and reads through the tunnel, and five
 * faults, one after the other. At the end the table is compared with what was acknowledged.
 *
 *     npm run demo [-- --pace fast]
 */
import {setMaxListeners} from 'node:events';
import {setTimeout as sleep} from 'node:timers/promises';
import {parseArgs} from 'node:util';
import {AutoSSH, AutoSSHError} from 'node-autossh';
import {findProgram} from '../../test/support/processes.js';
import {PrivateSshd, type SshdOptions} from '../../test/support/sshd.js';
import {faults} from './faults.js';
import {poolThrough} from './pool.js';
import {startPostgres} from './postgres.js';
import {Screen} from './screen.js';
import {Story} from './story.js';
import {isGood, liveLines, milliseconds, stepLine, summaryLines} from './timeline.js';
import {Workload} from './workload.js';

/** Milliseconds of peace before each fault and after the last. */
const paces: Readonly<Record<string, number>> = {slow: 3000, fast: 600};
const queriesPerSecond = 200;
const connections = 8;

const interruption = new AbortController();
const {signal} = interruption;
// Each query that waits to be repeated listens to it.
setMaxListeners(0, signal);
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    interruption.abort(new Error('interrupted'));
  });
}
// The reader of our pipe has gone.
process.stdout.on('error', () => {
  interruption.abort(new Error('nobody reads this any more'));
});

const screen = new Screen(process.stdout);
try {
  process.exitCode = (await play(peaceFrom(process.argv.slice(2)))) ? 0 : 1;
} catch (error) {
  screen.close();
  process.exitCode = signal.aborted ? 130 : 1;
  process.stderr.write(`demo: ${signal.aborted ? 'interrupted, everything is put away' : inOneLine(error)}\n`);
} finally {
  screen.close();
}

async function play(peace: number): Promise<boolean> {
  screen.print([['A service uses PostgreSQL through an ssh tunnel, and things break.', 'bold']], []);
  await using postgres = await step(
    'PostgreSQL',
    startPostgres(),
    ({address}) => `listens on ${address.host}:${address.port}`,
  );
  await using sshd = await step(
    'sshd',
    PrivateSshd.start(outOfReach()),
    ({host, port}) => `listens on ${host}:${port}`,
  );
  await using tunnel = new AutoSSH({
    host: 'tunnel',
    configFile: sshd.configFile,
    forwards: [{type: 'local', target: {host: postgres.address.host, port: postgres.address.port}}],
    // A beat every quarter of a second, and an ssh that leaves one unanswered for half a second is replaced.
    heartbeat: {interval: 250, timeout: 500, maxMisses: 1},
    restart: {minTimeout: 200, stableAfter: 500},
    signal,
  });
  const route = (): string => `${address(tunnel.forward().listen)} -> ${address(tunnel.forward().target)}`;
  await step('tunnel', tunnel.start(), () => `ssh ${tunnel.pid ?? 0} is up, ${route()}`);

  const pool = poolThrough(tunnel, postgres.address, connections);
  const workload = new Workload(pool, signal);
  const story = new Story(tunnel, sshd, workload, screen, signal);
  try {
    await step(
      'queries',
      workload.start(queriesPerSecond),
      () => `${queriesPerSecond} a second over ${connections} connections`,
    );
    screen.show(() => {
      const next = faults.slice(story.reports.length).map(({title}) => title);
      return liveLines(story.scene(route(), next), screen.width);
    });
    for (const [index, fault] of faults.entries()) {
      await sleep(peace, undefined, {signal});
      await story.play(fault, index + 1, faults.length);
    }
    await sleep(peace, undefined, {signal});
    workload.end();
    await workload.settled(Infinity);
  } finally {
    workload.end();
    screen.clear();
    // In this order: a query that still waits is let go by the tunnel's end.
    await tunnel.stop();
    await pool.end();
  }

  const verdict = {...(await workload.verify(postgres.address)), starts: tunnel.stats().starts};
  screen.print([], ...summaryLines(story.reports, verdict));
  return isGood(story.reports, verdict);
}

function peaceFrom(args: string[]): number {
  const {values} = parseArgs({args, options: {pace: {type: 'string', default: 'slow'}}});
  const peace = paces[values.pace];
  if (peace !== undefined) return peace;
  throw new TypeError(`Expected --pace to be ${Object.keys(paces).join(' or ')}, got ${values.pace}`);
}

/** A Ctrl-C ends a whole process group at once. The server is in one of its own, so that its end comes when it is its turn. */
function outOfReach(): SshdOptions {
  const setsid = findProgram('setsid');
  return setsid === undefined ? {} : {wrapper: [setsid]};
}

/** Something that takes a while: said at once, and again with how it went. */
async function step<T>(subject: string, work: Promise<T>, result: (value: T) => string): Promise<T> {
  const began = performance.now();
  const announcement = stepLine(began, subject, 'starting');
  if (screen.isLive) screen.show(() => [announcement]);
  else screen.print(announcement);
  const value = await work;
  const now = performance.now();
  screen.clear();
  screen.print(stepLine(now, subject, `${result(value)} (${milliseconds(now - began)})`));
  return value;
}

function address(where: {host: string; port: number} | {path: string} | undefined): string {
  if (where === undefined) return 'anywhere';
  return 'path' in where ? where.path : `${where.host}:${where.port}`;
}

function inOneLine(error: unknown): string {
  if (error instanceof AutoSSHError) return `${error.message}. ${error.hint}`.replaceAll('\n', ' ');
  return (error instanceof Error ? error.message : String(error)).replaceAll('\n', ' ');
}
