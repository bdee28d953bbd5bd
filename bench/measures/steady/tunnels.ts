import {library, libraryDirect, plainSsh, tunnelSsh} from '../../contenders/index.js';
import type {Contender, Host} from '../../contenders/contender.js';
import type {Ground} from '../../ground.js';
import {turns} from '../../statistics.js';

/** Those that are compared are neighbours: they are measured one right after the other. */
const contenders = [plainSsh, libraryDirect, library, tunnelSsh];

/** How many rounds those take part in that no target hangs on. */
const forOthers = 3;

interface Tunnel {
  contender: Contender;
  /** The local port of its forward. */
  listen: number;
}

/** One tunnel of each contender, all open at once: only one at a time has something to do. */
export class Tunnels implements AsyncDisposable {
  readonly open: readonly Tunnel[];
  readonly #hosts: readonly Host[];

  private constructor(open: readonly Tunnel[], hosts: readonly Host[]) {
    this.open = open;
    this.#hosts = hosts;
  }

  static async of({config, ports, signal}: Ground, target: number): Promise<Tunnels> {
    const hosts: Host[] = [];
    const open: Tunnel[] = [];
    const tunnels = new Tunnels(open, hosts);
    try {
      for (const contender of contenders) {
        const host = await contender.host(signal);
        hosts.push(host);
        const listen = await ports();
        await host.open({config: config.direct, listen, target, beats: 'default', ports});
        open.push({contender, listen});
      }
    } catch (error) {
      await tunnels[Symbol.asyncDispose]();
      throw error;
    }
    return tunnels;
  }

  /** Those that take part in a round, in its order. */
  inRound(round: number): Tunnel[] {
    const compared = [library, libraryDirect];
    return turns(this.open, round).filter(({contender}) => compared.includes(contender) || round < forOthers);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#hosts.map((host) => host[Symbol.asyncDispose]()));
  }
}
