import {existsSync, readFileSync} from 'node:fs';
import {join, resolve} from 'node:path';
import {onAbort} from '../abort.js';
import {Alarm, now} from '../clock.js';
import {AutoSSHError} from '../errors.js';
import type {Settings} from '../options.js';
import {isShortage, shortage} from '../shortage.js';
import {agentLives} from './agent.js';
import {Answers} from './answers.js';
import {askpassScript, askpassVariables} from './askpass.js';
import {isAnswered} from './credential-options.js';
import {readOffered} from './host-key.js';
import {KeyRing} from './key-ring.js';
import type {Login} from './life.js';
import {offeredKey, ownerName, planLogin} from './login.js';
import {writePrivateFile} from './private-folder.js';
import {findProgram} from './program.js';
import {Secrets} from './secrets.js';
import type {Doubt} from './verdict.js';

/** What one ssh is given beside its forwards. */
export interface Equipment extends Login {
  readonly env: NodeJS.ProcessEnv | undefined;
  /** Answers what it asks; absent where it may not ask. */
  readonly answers: ((signal: AbortSignal) => Answers) | undefined;
  /** Takes the secrets that were given out from a line. */
  readonly conceal: (line: string) => string;
  /** The socket of an ssh-agent that should be there and is not. */
  readonly deadAgent: string | undefined;
  /** What may be why nobody is let in. */
  readonly doubts: readonly Doubt[];
}

const askpassName = 'askpass.sh';

/** So long an ssh-agent may take to answer, in milliseconds: one that is silent may be at the end of a slow connection. */
const agentPatience = 300;

/** Node's timers may ring early by nearly a millisecond. */
const timerError = 1;

/**
 * What the lives of one tunnel log in with: fetched anew for each ssh, held by an ssh-agent and by this process, and told to
 * ssh when it asks. What lies in the private folder for ssh to read (public keys, certificates, known hosts, the
 * configurations of hops) is no secret.
 */
export class Credentials {
  readonly #settings: Settings;
  readonly #keyRing: KeyRing;
  readonly #secrets = new Secrets();
  /** One ssh after the other is equipped: the agent and the files are there once. */
  #turn: Promise<unknown> = Promise.resolve();
  /** By their paths, what the files say. */
  readonly #written = new Map<string, string>();
  /** By their owners, the host keys that were accepted as new. */
  readonly #kept = new Map<string, string>();

  constructor(settings: Settings) {
    this.#settings = settings;
    const {login, jump, killTimeout} = settings;
    const hops = jump === 'none' ? [] : jump;
    this.#keyRing = new KeyRing({
      owners: [
        {name: ownerName(), path: '', key: login},
        ...hops.map((key, index) => ({name: ownerName(index), path: `jump[${String(index)}].`, key})),
      ].filter(({key}) => key.privateKey !== undefined || key.certificate !== undefined),
      always: login.agent === 'session',
      killTimeout,
      onSecret: (secret) => {
        this.#secrets.add(secret);
      },
    });
    const given = [login, ...hops].flatMap(({privateKey, passphrase}) => [privateKey, passphrase]);
    for (const secret of [...given, login.password]) {
      if (typeof secret === 'string') this.#secrets.add(secret);
      else if (secret instanceof Uint8Array) this.#secrets.add(Buffer.from(secret).toString('utf8'));
    }
  }

  /**
   * Makes everything ready for an ssh that is about to be started.
   *
   * @param folder - the private one
   * @throws AutoSSHError what is wrong with a key, or whose function failed; after an abort of the signal that error says nothing
   */
  async equip(folder: string, signal: AbortSignal): Promise<Equipment> {
    const turn = this.#turn.then(async () => this.#inTime(signal, async (limit) => this.#equip(folder, limit)));
    this.#turn = turn.catch(nothing);
    return turn;
  }

  /** Whether there is something that may have to be waited for before an ssh is started. */
  get areFetched(): boolean {
    const {login, jump} = this.#settings;
    const keys = [login, ...(jump === 'none' ? [] : jump)];
    return (
      login.agent === 'session' || keys.some(({privateKey, certificate}) => (privateKey ?? certificate) !== undefined)
    );
  }

  /**
   * From now on the host keys that an ssh has accepted as new are the only ones. To be called once one is ready: what it was
   * offered before could have been refused.
   *
   * @returns whether it is known which they are
   */
  keepHostKeys(folder: string): boolean {
    const {hostKey, jump} = this.#settings;
    const hops = jump === 'none' ? [] : jump;
    const owners = [hostKey, ...hops.map((hop) => hop.hostKey)].flatMap(({check}, index) =>
      check === 'accept-new' ? [ownerName(index === 0 ? undefined : index - 1)] : [],
    );
    for (const owner of owners.filter((one) => !this.#kept.has(one))) {
      const kept = readOffered(contentOf(join(folder, offeredKey(owner))));
      if (kept !== undefined) this.#kept.set(owner, kept);
    }
    return owners.every((owner) => this.#kept.has(owner));
  }

  /** Ends the ssh-agent, if there is one. */
  async close(): Promise<void> {
    await this.#turn;
    await this.#keyRing.close();
  }

  async #inTime<Value>(signal: AbortSignal, work: (limit: AbortSignal) => Promise<Value>): Promise<Value> {
    const {readyTimeout} = this.#settings;
    signal.throwIfAborted();
    const limit = new AbortController();
    const alarm = new Alarm();
    const stopListening = onAbort(signal, () => {
      limit.abort();
    });
    alarm.set(readyTimeout, () => {
      const message = `What ssh logs in with was not there within ${String(readyTimeout)} ms`;
      const hint = 'See what the functions in the options wait for, or raise `readyTimeout`.';
      limit.abort(new AutoSSHError('ERR_AUTOSSH_TIMEOUT', message, {hint}));
    });
    try {
      return await work(limit.signal);
    } catch (error) {
      // One function has failed: nobody waits for the others.
      limit.abort();
      throw error instanceof AutoSSHError || signal.aborted ? error : unprepared(error);
    } finally {
      alarm.stop();
      stopListening();
    }
  }

  async #equip(folder: string, signal: AbortSignal): Promise<Equipment> {
    const settings = this.#settings;
    const {login, stdio, configFile, cwd, sshPath} = settings;
    const given = settings.env ?? process.env;
    const doubts = await this.#keyRing.load(folder, () => this.#withoutSecrets(given), signal);
    const plan = planLogin(settings, {
      folder,
      agent: this.#keyRing.socket,
      sshPath: settings.jump.length === 0 ? sshPath : whole(sshPath, given, cwd),
      configFile: configFile === undefined || configFile === 'none' ? configFile : resolve(cwd ?? '', configFile),
      kept: this.#kept,
    });
    for (const {name, text} of plan.files) this.#write(folder, name, text);
    const answered = isAnswered(login);
    // Where nobody answers, it is for the ssh of hops: else they would ask at a screen, or give their servers empty answers.
    const asksNobodyElse = answered || stdio === 'pipe';
    if (asksNobodyElse) this.#write(folder, askpassName, askpassScript(0), 0o700);
    const socket = this.#agentFor(given);
    const deadAgent =
      socket !== undefined && socket !== this.#keyRing.socket && (await isDead(socket)) ? socket : undefined;
    return {
      options: plan.options,
      words: plan.words,
      env: {
        ...this.#withoutSecrets(given),
        SSH_AUTH_SOCK: socket,
        ...(asksNobodyElse ? askpassVariables(join(folder, askpassName)) : {}),
      },
      answers: answered
        ? (over) =>
            new Answers(login, over, (secret) => {
              this.#secrets.add(secret);
            })
        : undefined,
      conceal: (line) => this.#secrets.conceal(line),
      deadAgent,
      doubts: deadAgent === undefined ? doubts : [deadAgentDoubt(deadAgent), ...doubts],
    };
  }

  /** Once: the next ssh needs no descriptor and no disk for what is there already. */
  #write(folder: string, name: string, text: string, mode?: number): void {
    const path = join(folder, name);
    if (this.#written.get(path) === text && existsSync(path)) return;
    writePrivateFile(folder, name, text, mode);
    this.#written.set(path, text);
  }

  #agentFor(env: NodeJS.ProcessEnv): string | undefined {
    const {agent} = this.#settings.login;
    if (agent === false) return undefined;
    // An empty name is none to ssh, too (`ssh_get_authentication_socket` in authfd.c).
    if (agent === 'inherit') return env['SSH_AUTH_SOCK'] === '' ? undefined : env['SSH_AUTH_SOCK'];
    return agent === 'session' ? this.#keyRing.socket : agent.path;
  }

  /** An environment can be read by every process of this user: what came in a variable does not go on in it. */
  #withoutSecrets(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
    // That of a process is slow to read, and a copy is made of what it gives.
    if (this.#secrets.isEmpty) return env;
    return Object.fromEntries(Object.entries(env).filter(([, value]) => !this.#secrets.areIn(value ?? '')));
  }
}

/** The path of ssh, for a shell that is somewhere else; where there is none, ssh cannot be started either, which tells. */
function whole(sshPath: string, env: NodeJS.ProcessEnv, cwd?: string): string {
  try {
    return findProgram(sshPath, env, cwd);
  } catch {
    return sshPath;
  }
}

/** `''`: there is none, or it cannot be read. */
function contentOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Of the system: a file could not be written, or the like. */
function unprepared(error: unknown): AutoSSHError {
  const {message} = error as Error;
  return new AutoSSHError('ERR_AUTOSSH_SPAWN', `What ssh logs in with could not be prepared: ${message}`, {
    hint: 'See `cause`.',
    ...(isShortage(error as NodeJS.ErrnoException) && shortage),
    cause: error,
  });
}

function deadAgentDoubt(socket: string): Doubt {
  return {
    what: `no ssh-agent answers at ${socket}`,
    hint: 'Start the agent again and add the key (ssh-add), or give another `agent`, `identityFile` or `privateKey`.',
  };
}

/** Nobody listens there. */
async function isDead(socket: string): Promise<boolean> {
  const since = now();
  const lives = await agentLives(socket, agentPatience).catch(() => true);
  return !lives && now() - since < agentPatience - timerError;
}

function nothing(): void {
  // Whoever waits for it hears of it.
}
