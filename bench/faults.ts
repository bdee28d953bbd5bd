import {setTimeout as delay} from 'node:timers/promises';
import {children, descendants, processFacts, signal as send} from '../test/support/processes.js';
import type {Host} from './contenders/contender.js';
import type {Ground} from './ground.js';

/** Where a tunnel has a second ssh in reserve, a fault is one of the ssh in service. */
export interface Fault {
  name: string;
  /** The tunnel has to go through the relay. */
  relayed?: true;
  /** Puts the fault in. Resolves with the time from which the outage counts. */
  inject(ground: Ground, host: Host): Promise<number>;
  /** Ends what `inject` has left. */
  mend?(ground: Ground): Promise<void> | void;
}

export const sshKilled: Fault = {name: 'ssh killed', inject: (_, host) => signalSsh(host, 'SIGKILL')};

export const sshFrozen: Fault = {name: 'ssh frozen', inject: (_, host) => signalSsh(host, 'SIGSTOP')};

export const sessionKilled: Fault = {
  name: 'server session killed',
  inject: (ground) => signalSession(ground, 'SIGKILL'),
};

export const sessionFrozen: Fault = {
  name: 'server session frozen',
  inject: (ground) => signalSession(ground, 'SIGSTOP'),
  mend: ({sshd}) => sshd.killSessions(),
};

/** As when a firewall or an address translation on the way has forgotten the connection; new ones pass. */
export const flowForgotten: Fault = {
  name: 'flow forgotten',
  relayed: true,
  inject({relay}) {
    relay.forgetOldest();
    return Promise.resolve(performance.now());
  },
  mend: ({relay}) => relay.cut(),
};

const away = 3_000;

/** Counted from the server's return. */
export const serverAway: Fault = {
  name: `server away for ${away / 1_000} s, from its return`,
  async inject({sshd, signal}) {
    const gone = performance.now();
    await sshd.halt();
    await delay(gone + away - performance.now(), undefined, {signal});
    await sshd.restart();
    return performance.now();
  },
  async mend({sshd}) {
    if (sshd.pid === undefined) await sshd.restart();
  },
};

async function signalSsh(host: Host, name: NodeJS.Signals): Promise<number> {
  const pid = await host.current();
  const now = performance.now();
  send(pid, name);
  return now;
}

/** To the server's end of the ssh in service, which is the oldest: a standby is started after it. */
function signalSession({sshd}: Ground, name: NodeJS.Signals): Promise<number> {
  // Looked up before the clock starts: that takes some milliseconds.
  const [oldest] = children(sshd.pid ?? 0).sort((one, other) => born(one) - born(other));
  if (oldest === undefined) throw new Error('nobody is logged in');
  const pids = [oldest, ...descendants(oldest)];
  const now = performance.now();
  for (const pid of pids) send(pid, name);
  return Promise.resolve(now);
}

function born(pid: number): number {
  return Number(processFacts(pid)?.startTime ?? Infinity);
}
