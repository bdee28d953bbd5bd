import {library, libraryKey, plainSsh, autossh, present} from '../contenders/index.js';
import type {Contender, TunnelOrder} from '../contenders/contender.js';
import type {Ground} from '../ground.js';
import {turns} from '../statistics.js';
import {Samples, inWords, type Measure} from './measure.js';

const bare = 'no heartbeat: until the forward accepts';
const looped = 'with a loop: until a byte has come back';
const again = 'no heartbeat, the second tunnel of a process';

/**
 * From the start of a tunnel to proven ready, as the process that starts it sees it. Each time a fresh process, so that
 * whatever is loaded and compiled on first use counts.
 */
export const ready: Measure = {
  key: 'ready',
  title: 'Time to ready',
  async run(ground) {
    const samples = new Samples('ms');
    const contenders = present([plainSsh, library, libraryKey, autossh]);
    const rounds = ground.quick ? 5 : 36;
    for (let round = 0; round < rounds; round++) {
      ground.say(`time to ready, round ${round + 1} of ${rounds}`);
      for (const contender of turns(contenders, round)) {
        {
          await using host = await contender.host(ground.signal);
          samples.add(bare, contender, await host.open(await order(ground, 'none')));
          if (contender !== autossh) samples.add(again, contender, await host.open(await order(ground, 'none')));
        }
        if (contender === autossh || contender === libraryKey) continue;
        await using host = await contender.host(ground.signal);
        samples.add(looped, contender, await host.open(await order(ground, 'default', contender)));
      }
    }
    const asText = samples.ratio(bare, libraryKey, library);
    return {
      series: samples.all,
      targets: [
        {
          what: 'start() without heartbeat, to plain ssh',
          ...samples.ratio(bare, library, plainSsh),
          limit: 1.1,
          must: 'at most',
        },
        {
          what: 'start() with forward-loop, to plain ssh -L -R',
          ...samples.ratio(looped, library, plainSsh),
          limit: 1.1,
          must: 'at most',
        },
      ],
      notes: [
        `With a key as text a tunnel took ${inWords(asText.measured, asText.unit)} the time of one with the key in a file (${asText.because}): ` +
          'an ssh-agent of its own is started and filled first. The next ssh of the same tunnel finds it there.',
        'ssh and autossh are ready when a connection to the forward is accepted, tried anew a millisecond after each refusal; ' +
          'with a loop, when a byte sent into the `-L` has come out of the `-R`. The library is ready when `start()` resolves; it ' +
          'is as it is by default, with a listener of its own.',
      ],
    };
  },
};

async function order(ground: Ground, beats: TunnelOrder['beats'], contender?: Contender): Promise<TunnelOrder> {
  const {ports} = ground;
  return {
    config: ground.config.direct,
    listen: await ports(),
    target: ground.target,
    beats,
    ports,
    identityFile: ground.sshd.identityFile,
    ...(contender === plainSsh && {loop: {listen: await ports(), remote: await ports(), arrival: await ports()}}),
  };
}
