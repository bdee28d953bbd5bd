import {randomInt} from 'node:crypto';
import {existsSync} from 'node:fs';
import {join} from 'node:path';
import type {WarningCode} from './events.js';
import type {HeartbeatSettings} from './heartbeat/options.js';
import {freePort} from './local-port.js';
import {heldBy} from './local-socket.js';
import type {Settings} from './options.js';
import type {Adaptation} from './outcome.js';
import type {SessionOptions} from './session.js';
import {cannotListen} from './ssh/bind-error.js';
import type {Forward} from './ssh/forward.js';
import {makePrivateFolder, removePrivateFolder} from './ssh/private-folder.js';
import {findProgram, parentDeathPrefix} from './ssh/program.js';
import {Warden} from './ssh/warden.js';

/** Below the range that Linux takes its own outgoing ports from (32768 and up), above what services are given. */
const loopPorts = {from: 10_240, to: 32_768} as const;

/** So often is a local port chosen anew that another took in the instant before ssh bound it. */
const portChoices = 5;

/** Something to tell the host about what the next life does without. */
export interface Concession {
  readonly code: WarningCode;
  readonly message: string;
}

/** What each next life of ssh is given, and what was learnt from those before it. */
export class Provision {
  /** First, because this can fail, and a warden that was acquired has to be released. */
  #folder = makePrivateFolder();
  readonly warden = Warden.acquire();

  readonly #settings: Settings;
  readonly #unknownOptions = new Set<string>();
  readonly #ephemeral = new Set<number>();
  #prefix: readonly string[];
  #heartbeat: HeartbeatSettings | false;
  #forwards: readonly Forward[];
  #starts = 0;
  #portsAreKnown = false;
  #portChoices = 0;
  #loopRefusals = 0;
  #fixedLoopPort: number | undefined;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#forwards = settings.forwards;
    this.#heartbeat = settings.heartbeat;
    this.#fixedLoopPort = settings.heartbeat ? settings.heartbeat.remotePort : undefined;
    this.#prefix = parentDeathPrefix(settings.env ?? process.env);
  }

  /** Where the sockets of the lives are. */
  get folder(): string {
    return this.#folder;
  }

  /**
   * Sees to it that ssh will replace nobody's file, and chooses the local ports that were left to us.
   *
   * @throws AutoSSHError if it cannot listen there
   */
  async prepare(): Promise<void> {
    for (const forward of this.#settings.forwards) {
      if (forward.type === 'remote' || forward.listen.path === undefined) continue;
      const held = await heldBy(forward.listen.path);
      if (held !== undefined) throw cannotListen(forward, held);
    }
    await this.#choosePorts();
  }

  async #choosePorts(): Promise<void> {
    this.#ephemeral.clear();
    const chosen: Forward[] = [];
    for (const forward of this.#settings.forwards) {
      if (forward.steady || forward.type === 'remote' || forward.listen.port !== 0) {
        chosen.push(forward);
        continue;
      }
      const {host} = forward.listen;
      let port: number;
      do {
        port = await freePort(host).catch((error: unknown) => {
          throw cannotListen(forward, (error as Error).message, error);
        });
      } while (this.#ephemeral.has(port));
      this.#ephemeral.add(port);
      chosen.push(Object.freeze({...forward, listen: Object.freeze({host, port})}));
    }
    this.#forwards = Object.freeze(chosen);
  }

  /** How often ssh has been started. */
  get starts(): number {
    return this.#starts;
  }

  /** What the next life is made of. */
  next(): SessionOptions {
    const number = ++this.#starts;
    const {sshPath, env = process.env, cwd} = this.#settings;
    this.#keepFolder();
    return {
      settings: this.#settings,
      program: () => [...this.#prefix, findProgram(sshPath, env, cwd)],
      folder: this.folder,
      number,
      forwards: this.#forwards.map((forward, index) => behind(forward, this.folder, number, index)),
      ephemeralPorts: this.#portsAreKnown ? new Set() : new Set(this.#ephemeral),
      heartbeat: this.#heartbeat,
      loopPort: this.#fixedLoopPort ?? this.#freshLoopPort(),
      unknownOptions: this.#unknownOptions,
    };
  }

  /** Something that clears temporary files may have taken it for an old one. */
  #keepFolder(): void {
    if (existsSync(this.#folder)) return;
    this.warden.forgetFolder(this.#folder);
    this.#folder = makePrivateFolder();
  }

  /** A life was proven ready: its local ports are given out, and stay. */
  settle(): void {
    this.#portsAreKnown = true;
    this.#loopRefusals = 0;
  }

  /** Does without the loop of forwards from now on. */
  degrade(): void {
    if (this.#heartbeat) this.#heartbeat = {...this.#heartbeat, mode: 'server-alive'};
  }

  /** Does what a failed life asks for. `false`: it cannot be done once more; else what the host should know of it. */
  async adapt(adaptation: Adaptation): Promise<Concession | boolean> {
    switch (adaptation.type) {
      case 'unknown-option':
        if (this.#unknownOptions.has(adaptation.name)) return false;
        this.#unknownOptions.add(adaptation.name);
        return true;
      case 'no-setpriv':
        if (this.#prefix.length === 0) return false;
        this.#prefix = [];
        return true;
      case 'local-port':
        if (++this.#portChoices > portChoices) return false;
        await this.#choosePorts();
        return true;
      case 'loop-port':
        return this.#adaptLoop();
    }
  }

  async close(): Promise<void> {
    removePrivateFolder(this.folder);
    this.warden.forgetFolder(this.folder);
    await this.warden.release();
  }

  #adaptLoop(): Concession | boolean {
    if (this.#fixedLoopPort !== undefined) {
      const message = `Port ${String(this.#fixedLoopPort)} of the server could not be listened on for the heartbeat: from now on a fresh port is used for every ssh`;
      this.#fixedLoopPort = undefined;
      return {code: 'WARN_AUTOSSH_HEARTBEAT_PORT', message};
    }
    // One port can be taken by chance, two in a row are a server that allows none.
    if (++this.#loopRefusals < 2) return true;
    this.degrade();
    return {
      code: 'WARN_AUTOSSH_HEARTBEAT_DEGRADED',
      message: degradedMessage('the server refuses the remote forward that the heartbeat needs'),
    };
  }

  #freshLoopPort(): number {
    const taken = new Set(
      this.#forwards.flatMap((one) =>
        one.type === 'remote' && one.listen.port !== undefined ? [one.listen.port] : [],
      ),
    );
    for (;;) {
      const port = randomInt(loopPorts.from, loopPorts.to);
      if (!taken.has(port)) return port;
    }
  }
}

/** Behind a listener of ours, ssh listens on a private socket of this life. */
function behind(forward: Forward, folder: string, life: number, index: number): Forward {
  if (!forward.steady) return forward;
  return {...forward, listen: {path: join(folder, `${String(life)}-${String(index)}.sock`)}};
}

/** What a tunnel says that goes on without the loop of forwards. */
export function degradedMessage(why: string): string {
  return `The heartbeat goes on with ssh's own keep-alives ('server-alive'), because ${why}; a frozen ssh will go unnoticed`;
}
