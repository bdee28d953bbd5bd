import type {Warning} from '../events.js';
import {quietPorts} from '../local-port.js';
import {randomInt} from '../random.js';
import type {HeartbeatSettings} from './options.js';

/** What the heartbeat of the next ssh goes by. */
export interface LoopSettings {
  readonly heartbeat: HeartbeatSettings | false;
  /** The server's port that the loop goes through; 0: there is no loop. */
  readonly loopPort: number;
  /** The one that a raw command line's loop has instead of its own, where that was moved; 0: nowhere. */
  readonly monitorRemote: number | undefined;
}

/**
 * The port of the server that the heartbeat's loop is given, from one ssh to the next: it can be in use there, or the server
 * may allow none. One refusal is chance, two in a row are a server that allows none.
 */
export class LoopPort {
  readonly #given: HeartbeatSettings | false;
  /** Ports of the server that the host has other plans with. */
  readonly #taken: ReadonlySet<number>;
  #heartbeat: HeartbeatSettings | false;
  /** The one that the host wants; `undefined`: any. */
  #fixed: number | undefined;
  /** The one of a raw command line. */
  #monitor: number | undefined;
  #refusals = 0;
  #moves = 0;
  /** {@link shift} chose the one of the raw command line, and nobody knows yet whether the server allows it. */
  #isTried = false;

  constructor(heartbeat: HeartbeatSettings | false, taken: readonly number[]) {
    this.#given = this.#heartbeat = heartbeat;
    this.#taken = new Set(taken);
    this.#fixed = heartbeat ? heartbeat.remotePort : undefined;
    this.#monitor = heartbeat ? heartbeat.monitorPort : undefined;
  }

  /** For the next ssh; a new port each time where any will do. */
  next(): LoopSettings {
    return {
      heartbeat: this.#heartbeat,
      loopPort: this.#monitor ?? this.#fixed ?? (this.#heartbeat ? this.#fresh() : 0),
      monitorRemote: this.#movedTo(),
    };
  }

  /** Whether the last was not refused: the next may be another. */
  get mayMove(): boolean {
    return this.#refusals === 0;
  }

  /** How many starts only gave the loop of a raw command line another port: they are none of the host's. */
  get moves(): number {
    return this.#moves;
  }

  /** One more. */
  countMove(): void {
    this.#moves++;
  }

  /** The server allows the port. */
  settle(): void {
    this.#refusals = 0;
    this.#isTried = false;
  }

  /** The server lets no beat through: ssh's own keep-alives have to do. */
  degrade(why: string): Warning {
    if (this.#monitor !== undefined) return this.#forgo(why);
    if (this.#heartbeat) this.#heartbeat = {...this.#heartbeat, mode: 'server-alive'};
    return {
      code: 'WARN_AUTOSSH_HEARTBEAT_DEGRADED',
      message: `The heartbeat goes on with ssh's own keep-alives ('server-alive'), because ${why}; a frozen ssh will go unnoticed`,
    };
  }

  /** The server refused the port: the next ssh gets another, or none. `undefined`: that is nobody's concern. */
  refuse(): Warning | undefined {
    if (this.#fixed !== undefined) {
      const message = `Port ${String(this.#fixed)} of the server could not be listened on for the heartbeat: from now on a fresh port is used for every ssh`;
      this.#fixed = undefined;
      return {code: 'WARN_AUTOSSH_HEARTBEAT_PORT', message};
    }
    if (++this.#refusals < 2) return undefined;
    return this.degrade('the server refuses the remote forward that the heartbeat needs');
  }

  /**
   * The same for a raw command line.
   *
   * @param goesOn - whether the ssh that was refused it goes on, without a heartbeat
   */
  move(goesOn: boolean): Warning {
    const refused = this.#monitor ?? 0;
    if (++this.#refusals >= 2) return this.#forgo('the server refuses the remote forward that it needs');
    // A server that allows only the one that was asked for shall have that again.
    const asked = this.#given ? this.#given.monitorPort : undefined;
    const next = (this.#monitor = this.#isTried ? asked : this.#fresh());
    this.#isTried = false;
    return {
      code: 'WARN_AUTOSSH_HEARTBEAT_PORT',
      message: `Port ${String(refused)} of the server could not be listened on for the heartbeat: ${goesOn ? 'this ssh goes on without one, and ' : ''}the next ssh gets port ${String(next)} in its place`,
    };
  }

  /**
   * An ssh with a raw command line has ended for its beats, and none had ever come back. The server may have given it less than
   * it said: it listens for ssh on 127.0.0.1 and ::1, and is content with one of them.
   */
  shift(): Warning | undefined {
    if (this.#monitor === undefined || !this.#heartbeat || this.#heartbeat.mode !== 'forward-loop') return undefined;
    const [silent, fresh] = [this.#monitor, (this.#monitor = this.#fresh())];
    this.#isTried = true;
    return {
      code: 'WARN_AUTOSSH_HEARTBEAT_PORT',
      message: `No beat came back through port ${String(silent)} of the server: the next ssh gets port ${String(fresh)} in its place`,
    };
  }

  /** A raw command line has no keep-alives of ours to go on with. */
  #forgo(why: string): Warning {
    this.#heartbeat = false;
    this.#monitor = this.#given ? this.#given.monitorPort : undefined;
    return {
      code: 'WARN_AUTOSSH_HEARTBEAT_DEGRADED',
      message: `There is no heartbeat from now on, because ${why}`,
    };
  }

  #movedTo(): number | undefined {
    if (!this.#given) return undefined;
    if (!this.#heartbeat) return 0;
    return this.#given.monitorPort === this.#monitor ? undefined : this.#monitor;
  }

  #fresh(): number {
    for (;;) {
      const port = randomInt(quietPorts.from, quietPorts.to);
      if (!this.#taken.has(port)) return port;
    }
  }
}
