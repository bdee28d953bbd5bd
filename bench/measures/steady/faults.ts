import {setTimeout as delay} from 'node:timers/promises';
import {pollUntil} from '../../../test/support/processes.js';
import {ClientProcess} from '../../client-process.js';
import {library, libraryDirect, libraryStandby, plainSsh, tunnelSsh} from '../../contenders/index.js';
import type {Contender} from '../../contenders/contender.js';
import {flowForgotten, sessionFrozen, sessionKilled, sshFrozen, sshKilled, type Fault} from '../../faults.js';
import type {Ground} from '../../ground.js';
import {sum, turns} from '../../statistics.js';
import {toll, type Toll} from '../../toll.js';
import {difference, inWords, middle, Samples, type Findings, type Sample, type Target} from '../measure.js';

/** With `beats: 'fast'`: the interval and the time-out. */
const detection = 250 + 500;

interface Trial {
  fault: Fault;
  /** After how long the fault can be known of, and how long a connection may wait where there is a standby. */
  limits?: {known: number; standby: number};
  /** It is one of ssh's own process. */
  ofProcess?: true;
}

const trials: readonly Trial[] = [
  {fault: sshKilled, limits: {known: 0, standby: 50}, ofProcess: true},
  {fault: sshFrozen, limits: {known: detection, standby: 700}, ofProcess: true},
  // What a killed ssh is to the others, for those that have none.
  {fault: sessionKilled},
  {fault: sessionFrozen, limits: {known: detection, standby: 700}},
  {fault: flowForgotten, limits: {known: detection, standby: 700}},
];

/** So long clients go on after a fault: longer than the library needs to detect it and to start another ssh. */
const aftermath = 2_000;

/** One round shows of the others what there is to see; the outages of the one are a chapter of their own. */
const forOthers = 1;

const handshake = 'start, until the forward accepts';

/** What clients see of a fault while a listener of the library's own holds their connections. */
export async function faults(ground: Ground): Promise<Findings> {
  const waits = new Samples('ms');
  const counts = new Samples('count');
  const targets: Target[] = [];
  for (const {fault, limits, ofProcess} of trials) {
    const rounds = ground.quick || !limits ? 1 : 3;
    const contenders = [libraryDirect, library, libraryStandby, ...(ofProcess ? [] : [tunnelSsh])];
    const beyond: Sample[] = [];
    for (let round = 0; round < rounds; round++) {
      ground.say(`steady, handshake, ${plainSsh.name}, round ${round + 1}`);
      const bare = await startPlain(ground);
      waits.add(handshake, plainSsh, bare);
      for (const contender of turns(contenders, round)) {
        const isOther = contender === libraryDirect || contender === tunnelSsh;
        if (isOther && round >= forOthers) continue;
        ground.say(`steady, ${fault.name}, ${contender.name}, round ${round + 1}`);
        const {failed, longestWait, lost} = await suffer(ground, contender, fault);
        waits.add(longest(fault), contender, longestWait);
        counts.add(failures(fault), contender, failed);
        counts.add(`${fault.name}: in flight, lost`, contender, lost);
        if (contender === library) beyond.push(difference(longestWait, bare + (limits?.known ?? 0)));
      }
    }
    if (!limits) continue;
    targets.push(
      noneFailed(counts, fault, library),
      {
        what: `${fault.name}: longest wait, without detection and handshake`,
        unit: 'ms',
        measured: middle(beyond),
        limit: 100,
        must: 'at most',
        because: `longest waits ${inARow(waits.of(longest(fault), library))} − ${limits.known} ms − the handshake, median`,
      },
      noneFailed(counts, fault, libraryStandby),
      {
        what: `${fault.name}, with a standby: longest wait`,
        unit: 'ms',
        measured: waits.median(longest(fault), libraryStandby),
        limit: limits.standby,
        must: 'at most',
        because: `median of ${inARow(waits.of(longest(fault), libraryStandby))}`,
      },
    );
  }
  return {series: [...waits.all, ...counts.all], targets, notes};
}

const notes = [
  'Clients in a process of their own open a new connection every 5 ms and wait for an echo. The longest wait is from the ' +
    `connect to the echo, of those opened in the ${aftermath / 1_000} s after the fault. A connection "in flight" was opened ` +
    'before the fault and not answered by then: nothing that wraps ssh can give back what its ssh had taken, so these are ' +
    'counted apart and not as failed.',
  'Each fault is one of the ssh in service: its process, its session at the server, its flow on the way. What befalls the ' +
    'standby too leaves nothing to stand by. tunnel-ssh has no ssh whose process could be killed or frozen, that would be its host.',
  'The library beats each 250 ms with a time-out of 500 ms and one miss allowed, tunnel-ssh has keep-alives each 250 ms, of ' +
    'which one may stay without an answer, and `reconnectOnError`. Where an exception of tunnel-ssh would end its host, the host goes on.',
];

function longest({name}: Fault): string {
  return `${name}: longest wait`;
}

function failures({name}: Fault): string {
  return `${name}: failed`;
}

function noneFailed(counts: Samples, fault: Fault, contender: Contender): Target {
  const failed = counts.of(failures(fault), contender).map((count) => (count === 'never' ? Infinity : count));
  return {
    what: `${fault.name}${contender === libraryStandby ? ', with a standby' : ''}: failed connections`,
    unit: 'count',
    measured: sum(failed),
    limit: 0,
    must: 'at most',
    because: `all of ${failed.length} rounds`,
  };
}

function inARow(samples: readonly Sample[]): string {
  return samples.map((sample) => inWords(sample, 'ms')).join(', ');
}

async function suffer(ground: Ground, contender: Contender, fault: Fault): Promise<Toll> {
  const {ports, config, target, signal, sshd, relay} = ground;
  // Which end at the server is the oldest tells which ssh is in service, so none must be left of those before.
  await pollUntil('an empty server', () => sshd.sessions().length === 0 && relay.connections === 0);
  const listen = await ports();
  await using client = await ClientProcess.start(signal);
  await using host = await contender.host(signal);
  await host.open({config: fault.relayed ? config.throughRelay : config.direct, listen, target, beats: 'fast', ports});
  await client.begin(listen);
  // The fault meets the heartbeat at any point between two beats.
  await delay(500 + 250 * Math.random(), undefined, {signal});
  try {
    const since = await fault.inject(ground, host);
    await delay(aftermath, undefined, {signal});
    return toll(await client.finish(), since);
  } finally {
    await fault.mend?.(ground);
  }
}

/** How long a bare ssh takes to be ready, with the same clients at work. */
async function startPlain({config, ports, target, signal}: Ground): Promise<number> {
  const listen = await ports();
  await using client = await ClientProcess.start(signal);
  await using host = await plainSsh.host(signal);
  await client.begin(listen);
  const bare = await host.open({config: config.direct, listen, target, beats: 'none', ports});
  await client.finish();
  return bare;
}
