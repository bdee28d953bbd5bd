import {existsSync} from 'node:fs';
import {join} from 'node:path';
import {opensNoSession, runsNoCommand} from './command-line/sort-tokens.js';
import {AutoSSHError} from './errors.js';
import type {Warning} from './events.js';
import {LoopPort} from './heartbeat/loop-port.js';
import {MonitorListener} from './heartbeat/monitor-port.js';
import {freePort} from './local-port.js';
import {heldBy} from './local-socket.js';
import type {Settings} from './options.js';
import type {Adaptation} from './outcome.js';
import type {SessionOptions} from './session.js';
import {cannotListen} from './ssh/bind-error.js';
import {Credentials, type Equipment} from './ssh/credentials.js';
import type {Forward} from './ssh/forward.js';
import {uncheckedBy} from './ssh/host-key.js';
import {makePrivateFolder, removePrivateFolder} from './ssh/private-folder.js';
import {findProgram, parentDeathPrefix} from './ssh/program.js';
import {Warden} from './ssh/warden.js';

/** So often is a local port chosen anew that another took in the instant before ssh bound it. */
const portChoices = 5;

/** What each next life of ssh is given, and what was learnt from those before it. */
export class Provision {
  /** First, because this can fail, and a warden that was acquired has to be released. A raw command line needs none. */
  #folder: string | undefined;
  readonly warden: Warden;
  readonly loop: LoopPort;

  readonly #settings: Settings;
  readonly #credentials: Credentials | undefined;
  readonly #unknownOptions = new Set<string>();
  readonly #ephemeral = new Set<number>();
  #prefix: readonly string[];
  #forwards: readonly Forward[];
  #starts = 0;
  #deadAgent: string | undefined;
  /** What was said already about host keys that nobody keeps. */
  readonly #unkept = new Set<string>();
  #portsAreKnown = false;
  #portChoices = 0;
  #monitor: MonitorListener | undefined;

  constructor(settings: Settings) {
    if (!settings.sshArguments) this.#folder = makePrivateFolder();
    this.warden = Warden.acquire();
    this.#settings = settings;
    if (!settings.sshArguments) this.#credentials = new Credentials(settings);
    this.#forwards = settings.forwards;
    const remote = settings.forwards.filter(({type}) => type === 'remote');
    this.loop = new LoopPort(
      settings.heartbeat,
      remote.flatMap(({listen: {port}}) => port ?? []),
    );
    this.#prefix = parentDeathPrefix(settings.env ?? process.env);
  }

  /** Where the sockets of the lives are. */
  get folder(): string | undefined {
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
    await this.#openMonitor();
  }

  async #openMonitor(): Promise<void> {
    const {heartbeat} = this.#settings;
    if (!heartbeat || heartbeat.monitorPort === undefined || heartbeat.mode !== 'forward-loop') return;
    const port = heartbeat.monitorPort + 1;
    try {
      this.#monitor = await MonitorListener.open(port);
    } catch (error) {
      const {message} = error as Error;
      throw new AutoSSHError(
        'ERR_AUTOSSH_FORWARD',
        `The heartbeat cannot listen on 127.0.0.1:${String(port)}, the port above its own: ${message}`,
        {cause: error, retryable: false},
      );
    }
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

  /** What the host should know before the first ssh. */
  warnings(): readonly Warning[] {
    const by = uncheckedBy(this.#settings);
    if (by === undefined) return [];
    const message = `The host key of the server is not checked (${by}): whoever is in between can be the server, and read what goes through the tunnel`;
    return [{code: 'WARN_AUTOSSH_HOST_KEY_UNCHECKED', message}];
  }

  /** The same for an ssh-agent that is not there, once as long as it is not. */
  deadAgentWarning(socket: string | undefined): Warning | undefined {
    const isNews = socket !== undefined && socket !== this.#deadAgent;
    this.#deadAgent = socket;
    if (!isNews) return undefined;
    const message = `No ssh-agent answers at ${socket} (${this.#settings.login.agent === 'inherit' ? 'SSH_AUTH_SOCK' : '`agent`'}): ssh has to do without`;
    return {code: 'WARN_AUTOSSH_AGENT', message};
  }

  /** The same for a known_hosts file that could not be written, once for each. */
  unkeptWarning(file: string): Warning | undefined {
    return this.#warnUnkept(
      `ssh could not write the host key that it accepted down in ${file}: it is new again to whatever connects next, and any other is as good as this one (the rest of a tunnel with \`hostKeyCheck: 'accept-new'\` keeps it by itself)`,
    );
  }

  #warnUnkept(message: string): Warning | undefined {
    if (this.#unkept.has(message)) return undefined;
    this.#unkept.add(message);
    return {code: 'WARN_AUTOSSH_HOST_KEY_UNCHECKED', message};
  }

  /** How often ssh has been started. */
  get starts(): number {
    return this.#starts;
  }

  /**
   * What the next life is made of.
   *
   * @throws AutoSSHError if there is nothing that it could log in with; after an abort of the signal that error says nothing
   */
  async next(signal: AbortSignal): Promise<SessionOptions> {
    const {sshPath, env = process.env, cwd} = this.#settings;
    this.#keepFolder();
    // The host may be killed while it waits for what a function gives.
    if (this.#folder !== undefined && this.#credentials?.areFetched) this.warden.watchFolder(this.#folder);
    const equipment = (await this.#credentials?.equip(this.#folder ?? '', signal)) ?? bare;
    const number = ++this.#starts;
    return {
      equipment: {...equipment, env: equipment.env ?? this.#settings.env},
      settings: this.#settings,
      program: () => [...this.#prefix, findProgram(sshPath, env, cwd)],
      folder: this.#folder ?? '',
      number,
      forwards: this.#forwards.map((forward, index) => behind(forward, this.#folder ?? '', number, index)),
      ephemeralPorts: this.#portsAreKnown ? new Set() : new Set(this.#ephemeral),
      ...this.loop.next(),
      monitor: this.#monitor,
      isExpendable: this.#isExpendable(),
      unknownOptions: this.#unknownOptions,
    };
  }

  /** Something that clears temporary files may have taken it for an old one. */
  #keepFolder(): void {
    if (this.#folder === undefined || existsSync(this.#folder)) return;
    this.warden.forgetFolder(this.#folder);
    this.#folder = makePrivateFolder();
  }

  /** A life was proven ready: its local ports are given out, and stay, and so does the host key. Returns what the host should know of that. */
  settle(): Warning | undefined {
    this.#portsAreKnown = true;
    // What a raw command line is ready for says nothing of its loop.
    if (!this.#settings.sshArguments) this.loop.settle();
    if (this.#folder === undefined || this.#credentials?.keepHostKeys(this.#folder) !== false) return undefined;
    return this.#warnUnkept(
      "This ssh does not tell which host key it has accepted (`hostKeyCheck: 'accept-new'` needs KnownHostsCommand of OpenSSH 8.5 for that): only known_hosts can keep it, and where it does not, the next ssh accepts any other",
    );
  }

  /** Does what a failed life asks for. `false`: it cannot be done once more; else what the host should know of it. */
  async adapt(adaptation: Adaptation): Promise<Warning | boolean> {
    switch (adaptation.type) {
      case 'unknown-option':
        if (this.#unknownOptions.has(adaptation.name) || this.#isNeeded(adaptation.name)) return false;
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
        return this.loop.refuse() ?? true;
      case 'monitor-port':
        return false;
    }
  }

  /** Without it, no fingerprint could be compared: what is accepted would be less than was said. */
  #isNeeded(option: string): boolean {
    const {pins} = this.#settings.hostKey;
    return option === 'knownhostscommand' && pins !== undefined && pins.fingerprints.length > 0;
  }

  /**
   * Whether an ssh with a raw command line may be ended because the server refuses its loop: it runs nothing there, or it has
   * just followed another one with a shell in which nobody has typed; another one may be started, and the port is not refused
   * for the second time.
   */
  #isExpendable(): boolean {
    const {sshArguments, restart} = this.#settings;
    if (sshArguments === undefined || !this.loop.mayMove || this.#starts >= restart.maxStarts) return false;
    const isFirst = this.#starts - this.loop.moves === 1;
    return opensNoSession(sshArguments) || (!isFirst && runsNoCommand(sshArguments));
  }

  async close(): Promise<void> {
    this.#monitor?.close();
    await this.#credentials?.close();
    if (this.#folder !== undefined) {
      // One that cannot be removed is left to the warden.
      if (removePrivateFolder(this.#folder)) this.warden.forgetFolder(this.#folder);
    }
    await this.warden.release();
  }
}

/** A raw command line has all of that by itself. */
const bare: Equipment = {
  options: [],
  words: [],
  env: undefined,
  answers: undefined,
  conceal: (line) => line,
  deadAgent: undefined,
  doubts: [],
};

/** Behind a listener of ours, ssh listens on a private socket of this life. */
function behind(forward: Forward, folder: string, life: number, index: number): Forward {
  if (!forward.steady) return forward;
  return {...forward, listen: {path: join(folder, `${String(life)}-${String(index)}.sock`)}};
}
