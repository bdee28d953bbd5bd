import {setTimeout as delay} from 'node:timers/promises';
import {signal as send} from '../test/support/processes.js';
import type {Host} from './contenders/contender.js';
import type {Ground} from './ground.js';

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
  inject: (ground) => signalSessions(ground, 'SIGKILL'),
};

export const sessionFrozen: Fault = {
  name: 'server session frozen',
  inject: (ground) => signalSessions(ground, 'SIGSTOP'),
  mend: ({sshd}) => sshd.killSessions(),
};

/** As when a firewall or an address translation on the way has forgotten the connection; new ones pass. */
export const flowForgotten: Fault = {
  name: 'flow forgotten',
  relayed: true,
  inject({relay}) {
    relay.forgetOld();
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

function signalSessions({sshd}: Ground, name: NodeJS.Signals): Promise<number> {
  // Looked up before the clock starts: that takes some milliseconds.
  const pids = sshd.sessions();
  const now = performance.now();
  for (const pid of pids) send(pid, name);
  return Promise.resolve(now);
}
