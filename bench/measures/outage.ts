import {setTimeout as delay} from 'node:timers/promises';
import {Client} from '../client.js';
import {autossh, autosshAlive, libraryDirect, plainSsh, present, shellLoop} from '../contenders/index.js';
import type {Contender} from '../contenders/contender.js';
import {flowForgotten, serverAway, sessionFrozen, sessionKilled, sshFrozen, sshKilled, type Fault} from '../faults.js';
import type {Ground} from '../ground.js';
import type {Outage} from '../outage.js';
import {turns} from '../statistics.js';
import {difference, inWords, pairedRatio, Samples, type Measure, type Sample, type Target} from './measure.js';

/** An outage that lasts longer is one that never ends. */
const bound = 12_000;

const handshake = 'start, until the forward accepts';
const firstEcho = 'start, until the client has an echo';

/** How often each fault is put in: where a target hangs on it, and for the others' sake. */
const faults: {fault: Fault; rounds: number; forOthers: number}[] = [
  {fault: sshKilled, rounds: 15, forOthers: 5},
  {fault: sshFrozen, rounds: 5, forOthers: 3},
  {fault: sessionKilled, rounds: 5, forOthers: 3},
  {fault: sessionFrozen, rounds: 5, forOthers: 3},
  {fault: flowForgotten, rounds: 5, forOthers: 3},
  {fault: serverAway, rounds: 5, forOthers: 2},
];

/** How long clients of a tunnel are without it, fault by fault. */
export const outage: Measure = {
  key: 'outage',
  title: 'Outage where ssh listens itself',
  async run(ground) {
    const contenders = present([shellLoop, autossh, autosshAlive, libraryDirect]);
    const lasted = new Samples('ms');
    const failed = new Samples('count');
    const killedToBare: [Sample, Sample][] = [];
    for (const {fault, rounds, forOthers} of faults) {
      for (let round = 0; round < (ground.quick ? 1 : rounds); round++) {
        ground.say(`handshake, ${plainSsh.name}, round ${round + 1}`);
        const bare = await startPlain(ground, lasted);
        for (const contender of turns(contenders, round)) {
          if (contender !== libraryDirect && round >= forOthers) continue;
          // What once did not come back in so long a time will not do it the next time either.
          if (lasted.of(fault.name, contender).includes('never')) continue;
          ground.say(`outage, ${fault.name}, ${contender.name}, round ${round + 1}`);
          const seen = await suffer(ground, contender, fault);
          lasted.add(fault.name, contender, seen?.lasted ?? 'never');
          if (fault === sshKilled && contender === libraryDirect) killedToBare.push([seen?.lasted ?? 'never', bare]);
          if (seen !== undefined) failed.add(`${fault.name}: failed connections`, contender, seen.failed);
        }
      }
    }
    return {series: [...lasted.all, ...failed.all], targets: targets(lasted, killedToBare), notes};
  },
};

const notes = [
  'How fast ssh is replaced. So all have ssh itself listen, the library with `steady: false`; what its own listener makes ' +
    'of the same faults is under "Steady forwards".',
  'What a client sees that opens a new connection through the forward every 5 ms and waits for an echo from the target: ' +
    'the time from the fault to the first echo after which no new connection failed any more.',
  `"never": not within ${bound / 1_000} s. A contender that did not come back once is not tried again with that fault.`,
  'The handshake that outages are held against is the time plain `ssh -N -L` needs until its forward accepts, with the ' +
    'same client at work; once in every round.',
  'The library beats each 250 ms with a time-out of 500 ms and one miss allowed; the others cannot go below one second. ' +
    'All have `ExitOnForwardFailure=yes`, autossh `AUTOSSH_GATETIME=0`.',
];

async function suffer(ground: Ground, contender: Contender, fault: Fault): Promise<Outage | undefined> {
  const {ports, config, target, signal} = ground;
  const listen = await ports();
  await using host = await contender.host(signal);
  await host.open({config: fault.relayed ? config.throughRelay : config.direct, listen, target, beats: 'fast', ports});
  using client = new Client(listen);
  if ((await client.recovered(performance.now(), bound, signal)) === undefined) {
    throw new Error(`${contender.name} had no tunnel to begin with`);
  }
  // Every contender's monitor is at work by then, and the fault meets it at any point between two beats.
  await delay(1_100 + 1_000 * Math.random(), undefined, {signal});
  try {
    return await client.recovered(await fault.inject(ground, host), bound, signal);
  } finally {
    await fault.mend?.(ground);
  }
}

/** What everything here is measured against: a bare ssh, with the same client at work. */
async function startPlain({config, ports, target, signal}: Ground, lasted: Samples): Promise<number> {
  const listen = await ports();
  await using host = await plainSsh.host(signal);
  using client = new Client(listen);
  const begun = performance.now();
  const bare = await host.open({config: config.direct, listen, target, beats: 'none', ports});
  lasted.add(handshake, plainSsh, bare);
  lasted.add(firstEcho, plainSsh, (await client.recovered(begun, bound, signal))?.lasted ?? 'never');
  return bare;
}

function targets(lasted: Samples, killedToBare: readonly (readonly [Sample, Sample])[]): Target[] {
  const one = lasted.median(handshake, plainSsh);
  const beyondHandshake = (fault: Fault, limit: number): Target => {
    const whole = lasted.median(fault.name, libraryDirect);
    return {
      what: `${fault.name}: back, without the handshake`,
      unit: 'ms',
      measured: difference(whole, one),
      limit,
      must: 'at most',
      because: `${inWords(whole, 'ms')} − ${inWords(one, 'ms')}`,
    };
  };
  return [
    {
      what: 'ssh killed: outage, to the handshake of plain ssh',
      ...pairedRatio(killedToBare),
      limit: 1.15,
      must: 'at most',
    },
    beyondHandshake(sshFrozen, 1_000),
    beyondHandshake(sessionFrozen, 1_000),
    beyondHandshake(flowForgotten, 1_000),
    beyondHandshake(serverAway, 500),
  ];
}
