/** What the demo breaks, and how. */
import {setTimeout as sleep} from 'node:timers/promises';
import type {AutoSSH} from 'node-autossh';
import type {PrivateSshd} from '../../test/support/sshd.js';

export interface Scenery {
  readonly tunnel: AutoSSH;
  readonly sshd: PrivateSshd;
  readonly signal: AbortSignal;
  /** Called when the server is there again. */
  readonly onReturn: () => void;
}

export interface Fault {
  readonly title: string;
  /** How it is done, with the processes as they are now. */
  readonly how: (scenery: Scenery) => string;
  /** Resolves when it is broken and, if it has to come back by itself, when it is back. */
  readonly inflict: (scenery: Scenery) => Promise<void> | void;
  /** Afterwards, when the tunnel is up again. */
  readonly tidy?: (scenery: Scenery) => void;
}

/** How long the server stays away. */
const away = 3000;

export const faults: readonly Fault[] = [
  {
    title: 'ssh killed',
    how: ({tunnel}) => `SIGKILL to ssh, pid ${tunnel.pid ?? 0}`,
    inflict: ({tunnel}) => {
      toSSH(tunnel, 'SIGKILL');
    },
  },
  {
    title: 'ssh frozen',
    how: ({tunnel}) => `SIGSTOP to ssh, pid ${tunnel.pid ?? 0}: it listens, but moves nothing`,
    inflict: ({tunnel}) => {
      toSSH(tunnel, 'SIGSTOP');
    },
  },
  {
    title: 'server session killed',
    how: ({sshd}) => `SIGKILL to the sshd that serves us, pid ${sshd.sessions().join(', ')}`,
    inflict: ({sshd}) => sshd.killSessions(),
  },
  {
    title: 'server session frozen',
    how: ({sshd}) => `SIGSTOP to the sshd that serves us, pid ${sshd.sessions().join(', ')}`,
    inflict: async ({sshd}) => {
      await sshd.freezeSessions();
    },
    tidy: ({sshd}) => {
      sshd.thawSessions();
    },
  },
  {
    title: 'server away for 3 s',
    how: () => 'sshd killed, listener and sessions; started again after 3 s',
    inflict: async ({sshd, signal, onReturn}) => {
      await sshd.halt();
      await sleep(away, undefined, {signal});
      await sshd.restart();
      onReturn();
    },
  },
];

function toSSH({pid}: AutoSSH, signal: NodeJS.Signals): void {
  if (pid !== undefined) process.kill(pid, signal);
}
