/** What the demo breaks, and how. */
import {setTimeout as sleep} from 'node:timers/promises';
import type {AutoSSH} from 'node-autossh';
import type {Relay} from '../../test/support/relay.js';
import type {PrivateSshd} from '../../test/support/sshd.js';

export interface Scenery {
  readonly tunnel: AutoSSH;
  readonly sshd: PrivateSshd;
  /** Between ssh and sshd. */
  readonly relay: Relay;
  readonly signal: AbortSignal;
  /** Called when the server is there again. */
  readonly onReturn: () => void;
}

export interface Fault {
  readonly title: string;
  /** Which ssh are lost by it, where there is a standby. */
  readonly hits: 'the one that serves' | 'every one';
  /** Nothing at all may be lost by it. */
  readonly isGentle?: boolean;
  /** How it is done, with the processes as they are now. */
  readonly how: (scenery: Scenery) => string;
  /** What has to be done before, and breaks nothing yet. */
  readonly prepare?: (scenery: Scenery) => Promise<void>;
  /** Breaks it before it returns. Resolves when, if it has to come back by itself, it is back. */
  readonly inflict: (scenery: Scenery) => Promise<void> | void;
  /** Afterwards, when the tunnel is up again. */
  readonly tidy?: (scenery: Scenery) => void;
}

/** How long the server stays away. */
const away = 3000;

export const faults: readonly Fault[] = [
  {
    title: 'ssh killed',
    hits: 'the one that serves',
    how: ({tunnel}) => `SIGKILL to ssh, pid ${tunnel.pid ?? 0}`,
    inflict: ({tunnel}) => {
      toSSH(tunnel, 'SIGKILL');
    },
  },
  {
    title: 'ssh frozen',
    hits: 'the one that serves',
    how: ({tunnel}) => `SIGSTOP to ssh, pid ${tunnel.pid ?? 0}: it listens, but moves nothing`,
    inflict: ({tunnel}) => {
      toSSH(tunnel, 'SIGSTOP');
    },
  },
  {
    title: 'server session killed',
    hits: 'every one',
    how: ({sshd}) => `SIGKILL to each sshd that serves us, pid ${sshd.sessions().join(', ')}`,
    inflict: ({sshd}) => sshd.killSessions(),
  },
  {
    title: 'server session frozen',
    hits: 'every one',
    how: ({sshd}) => `SIGSTOP to each sshd that serves us, pid ${sshd.sessions().join(', ')}`,
    inflict: async ({sshd}) => {
      await sshd.freezeSessions();
    },
    tidy: ({sshd}) => {
      sshd.thawSessions();
    },
  },
  {
    title: 'path forgets the flow',
    hits: 'every one',
    how: () => 'nothing passes in the connections that are open, no end and no reset either',
    inflict: ({relay}) => {
      relay.forgetOld();
    },
  },
  {
    title: 'server away for 3 s',
    hits: 'every one',
    how: () => 'sshd killed, listener and sessions; started again after 3 s',
    prepare: async ({sshd, relay}) => {
      await relay.refuse();
      await sshd.stopListening();
    },
    inflict: async ({sshd, relay, signal, onReturn}) => {
      await sshd.killSessions();
      await sleep(away, undefined, {signal});
      await sshd.restart();
      await relay.accept();
      onReturn();
    },
  },
  {
    title: 'restart()',
    hits: 'every one',
    isGentle: true,
    how: () => 'a new ssh first; the old one finishes what it has',
    inflict: ({tunnel}) => tunnel.restart('the demo asked for it'),
  },
];

function toSSH({pid}: AutoSSH, signal: NodeJS.Signals): void {
  if (pid !== undefined) process.kill(pid, signal);
}
