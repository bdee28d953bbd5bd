/**
 * A PostgreSQL server, an ssh server and a tunnel between them, a service that writes and reads through the tunnel, and seven
 * faults, one after the other; then all of it again with a standby. No query may fail that was not in flight, and at the end
 * the table is compared with what was acknowledged.
 *
 *     npm run demo [-- --pace fast]
 */
import {setMaxListeners} from 'node:events';
import {setTimeout as sleep} from 'node:timers/promises';
import {parseArgs} from 'node:util';
import {AutoSSH, AutoSSHError} from 'node-autossh';
import {findProgram} from '../../test/support/processes.js';
import {Relay} from '../../test/support/relay.js';
import {PrivateSshd, type SshdOptions, defaultKeyExchange} from '../../test/support/sshd.js';
import {faults} from './faults.js';
import {poolsThrough} from './pool.js';
import {startPostgres, type PostgresAddress} from './postgres.js';
import {Screen} from './screen.js';
import {Story} from './story.js';
import {isGood, legendLines, liveLines, milliseconds, stepLine, summaryLines} from './timeline.js';
import {Workload} from './workload.js';

/** Milliseconds of peace before each fault and after the last. */
const paces: Readonly<Record<string, number>> = {slow: 1500, fast: 400};

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
    PrivateSshd.start(asEverywhere()),
    ({host, port}) => `listens on ${host}:${port}`,
  );
  // A network that can forget: all that the tunnel sends goes through it.
  await using relay = await Relay.start({port: sshd.port});
  const stage: Stage = {postgres: postgres.address, sshd, relay, configFile: sshd.config({port: relay.port}), peace};

  screen.print([], [['With one ssh', 'bold']]);
  const alone = await act(stage, 'with one ssh', 'entry', false);
  screen.print([], [['With a standby, a second ssh that waits (a broken server or path breaks both)', 'bold']]);
  const doubled = await act(stage, 'with a standby', 'entry_standby', true);
  screen.print([], ...alone.summary, [], ...doubled.summary, [], ...legendLines());
  return alone.isGood && doubled.isGood;
}

/** What both acts have in common. */
interface Stage {
  readonly postgres: PostgresAddress;
  readonly sshd: PrivateSshd;
  readonly relay: Relay;
  readonly configFile: string;
  readonly peace: number;
}

/** All faults, with a tunnel and a table of its own. */
async function act(stage: Stage, title: string, table: string, standby: boolean) {
  const {postgres, sshd, relay, configFile, peace} = stage;
  await using tunnel = new AutoSSH({
    host: 'tunnel',
    configFile,
    forwards: [{type: 'local', target: {host: postgres.host, port: postgres.port}}],
    // A beat every quarter of a second, and an ssh that leaves one unanswered for half a second is replaced.
    heartbeat: {interval: 250, timeout: 500, maxMisses: 1},
    restart: {minTimeout: 200, stableAfter: 500},
    standby,
    signal,
  });
  const story = new Story({tunnel, sshd, relay, signal}, screen, standby ? 2 : 1);
  const route = (): string => `${address(tunnel.forward().listen)} -> ${address(tunnel.forward().target)}`;
  const upAndWhole = async (): Promise<void> => {
    await tunnel.start();
    await story.whole();
  };
  await step('tunnel', upAndWhole(), () => `ssh ${tunnel.pid ?? 0} is up, ${route()}`);

  const pools = poolsThrough(tunnel, postgres);
  const workload = new Workload(pools, signal, table);
  try {
    await step('queries', workload.start(), (perSecond) => `${perSecond} a second, a third on new connections`);
    screen.show(() => {
      const next = faults.slice(story.reports.length).map(({title: name}) => name);
      return liveLines(story.scene(workload, route(), next), screen.width);
    });
    for (const [index, fault] of faults.entries()) {
      await sleep(peace, undefined, {signal});
      await story.play(fault, workload, index + 1, faults.length);
    }
    await sleep(peace, undefined, {signal});
    workload.end();
    await workload.settled(Infinity);
  } finally {
    workload.end();
    screen.clear();
    // In this order: a query that still waits is let go by the tunnel's end.
    await tunnel.stop();
    await Promise.all([pools.kept.end(), pools.fresh.end()]);
  }

  const verdict = {...(await workload.verify(postgres)), starts: tunnel.stats().starts};
  return {summary: summaryLines(title, story.reports, verdict), isGood: isGood(story.reports, verdict)};
}

function peaceFrom(args: string[]): number {
  const {values} = parseArgs({args, options: {pace: {type: 'string', default: 'slow'}}});
  const peace = paces[values.pace];
  if (peace !== undefined) return peace;
  throw new TypeError(`Expected --pace to be ${Object.keys(paces).join(' or ')}, got ${values.pace}`);
}

/**
 * A server as it is everywhere. A Ctrl-C ends a whole process group at once. The server is in one of its own, so that its end comes when it is its
 * turn.
 */
function asEverywhere(): SshdOptions {
  const setsid = findProgram('setsid');
  return {config: [defaultKeyExchange], ...(setsid !== undefined && {wrapper: [setsid]})};
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
