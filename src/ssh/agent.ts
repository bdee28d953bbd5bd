import {connect} from 'node:net';
import {join} from 'node:path';
import {onAbort} from '../abort.js';
import {abortSignal, defined, fields, number, optional, record, text} from '../checks.js';
import {now, sleep} from '../clock.js';
import {AutoSSHError} from '../errors.js';
import {resolveEnvironment} from '../options.js';
import {isShortage, shortage} from '../shortage.js';
import {Child} from './child.js';
import {makePrivateFolder, removePrivateFolder} from './private-folder.js';
import {findProgram, parentDeathPrefix} from './program.js';
import {Warden} from './warden.js';

/** What an {@link SSHAgent} is started with. */
export interface SSHAgentOptions {
  /**
   * The program, looked for in the `PATH` of `env`.
   *
   * @default 'ssh-agent'
   */
  readonly agentPath?: string | undefined;
  /**
   * Its environment.
   *
   * @default that of this process
   */
  readonly env?: NodeJS.ProcessEnv | undefined;
  /**
   * Milliseconds from its start to its first answer.
   *
   * @default 10_000
   */
  readonly readyTimeout?: number | undefined;
  /**
   * Milliseconds from TERM to KILL.
   *
   * @default 5_000
   */
  readonly killTimeout?: number | undefined;
  /** Aborting it gives the start up. */
  readonly signal?: AbortSignal | undefined;
}

const defaults = {agentPath: 'ssh-agent', readyTimeout: 10_000, killTimeout: 5_000} as const;

const optionFields = fields<SSHAgentOptions>({
  agentPath: true,
  env: true,
  readyTimeout: true,
  killTimeout: true,
  signal: true,
});

/** Node has no longer timer. */
const longest = 2 ** 31 - 1;

/** One that has not answered yet has nothing to put in order, in milliseconds. */
const grace = 250;

/** Between two looks for its socket, which it announces to nobody in all its versions. */
const pause = 5;

/**
 * An ssh-agent of our own: the system's `ssh-agent`, with a socket in a folder that only this user can enter.
 *
 * It keeps no process alive, and ends with the process that has started it, however that ends.
 */
export class SSHAgent {
  /** Its socket, for `SSH_AUTH_SOCK`. */
  readonly socket: string;

  readonly #settings: Settings;
  /** First, because this can fail, and a warden that was acquired has to be released. */
  readonly #folder = makePrivateFolder();
  readonly #warden = Warden.acquire();
  readonly #said: string[] = [];
  readonly #ended = new AbortController();
  #child: Child | undefined;
  #closing: Promise<void> | undefined;

  /**
   * Starts one, and resolves when it has answered.
   *
   * @throws TypeError for a wrong option
   * @throws {@link AutoSSHError} `ERR_AUTOSSH_SPAWN`: it could not be started, ended at once or did not answer
   */
  static async open(options: SSHAgentOptions = {}): Promise<SSHAgent> {
    const settings = resolve(options);
    const prefix = parentDeathPrefix(settings.env);
    try {
      return await SSHAgent.#open(settings, prefix);
    } catch (error) {
      // A setpriv that may not do its work, as in some containers; what the warden does remains.
      const refused = error instanceof AutoSSHError && error.stderr.some((line) => line.startsWith('setpriv: '));
      if (prefix.length === 0 || !refused) throw error;
      return SSHAgent.#open(settings, []);
    }
  }

  static async #open(settings: Settings, prefix: readonly string[]): Promise<SSHAgent> {
    let agent: SSHAgent | undefined;
    try {
      agent = new SSHAgent(settings);
      await agent.#start(prefix);
      return agent;
    } catch (error) {
      await agent?.close();
      throw error instanceof AutoSSHError ? error : notStarted(error as NodeJS.ErrnoException);
    }
  }

  private constructor(settings: Settings) {
    this.#settings = settings;
    // The warden removes what is called so.
    this.socket = join(this.#folder, 'agent.sock');
  }

  /** Of the process; `undefined` once it has ended. */
  get pid(): number | undefined {
    return this.#ended.signal.aborted ? undefined : this.#child?.pid;
  }

  /**
   * Ends it and forgets its keys: asks (TERM), kills after `killTimeout`. Resolves when neither the process nor the socket
   * nor its folder is left; twice is the same. A folder that cannot be removed then, for want of a file descriptor, goes with
   * the last tunnel or agent of this process.
   */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  /** {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #start(prefix: readonly string[]): Promise<void> {
    const {agentPath, env, readyTimeout, killTimeout, signal: wanted} = this.#settings;
    this.#warden.watchFolder(this.#folder);
    const child = new Child({
      // In the foreground: it stays a child of this process, whose exit is noticed.
      command: [...prefix, findProgram(agentPath, env), '-D', '-a', this.socket],
      env,
      // Anywhere else it would hold a file system.
      cwd: '/',
      stdio: 'pipe',
      isHeld: true,
      onLine: (line) => {
        this.#said.push(line);
        if (this.#said.length > 20) this.#said.shift();
      },
    });
    this.#child = child;
    // The kernel forgets what setpriv has asked for when a program is set-group-ID (prctl(2), PR_SET_PDEATHSIG), as many
    // systems install ssh-agent: there the warden is all that ends it.
    if (child.target !== undefined) this.#warden.watch(child.target);
    child.begin();
    const exit = child.exited.finally(() => {
      this.#ended.abort();
      if (child.target !== undefined) this.#warden.forget(child.target);
    });
    exit.catch(nothing);
    const stopListening = wanted && onAbort(wanted, () => child.end(Math.min(killTimeout, grace)));
    const answered = await this.#answer(readyTimeout);
    stopListening?.();
    if (this.#ended.signal.aborted) {
      const {exitCode, signal} = await exit;
      const how = signal === undefined ? `exited with code ${String(exitCode)}` : `was ended by ${signal}`;
      const last = this.#said.at(-1);
      // The shell that was to become it (sh(1), EXIT STATUS).
      if (exitCode === 126 || exitCode === 127)
        throw unfit(`ssh-agent could not be started: ${last ?? how}`, this.#said);
      throw unfit(`ssh-agent ${how}${last === undefined ? '' : `: ${last}`}`, this.#said);
    }
    if (!answered) throw unfit(`ssh-agent did not answer within ${String(readyTimeout)} ms`, this.#said);
  }

  /** Whether it answers within this time. */
  async #answer(timeout: number): Promise<boolean> {
    // Unlike everything else that it has, this keeps the process alive: somebody waits.
    const anchor = setInterval(nothing, longest);
    try {
      const due = now() + timeout;
      for (let left = timeout; left > 0 && !this.#ended.signal.aborted; left = due - now()) {
        if (await agentAnswers(this.socket, Math.min(left, longest))) return true;
        await sleep(pause, this.#ended.signal);
      }
      return false;
    } finally {
      clearInterval(anchor);
    }
  }

  async #close(): Promise<void> {
    const anchor = setInterval(nothing, longest);
    try {
      this.#child?.end(this.#settings.killTimeout);
      await this.#child?.exited.catch(nothing);
      // One that cannot be removed is left to the warden.
      if (removePrivateFolder(this.#folder)) this.#warden.forgetFolder(this.#folder);
    } finally {
      await this.#warden.release();
      clearInterval(anchor);
    }
  }
}

/**
 * Whether an ssh-agent lives behind a socket: connects and asks for its keys, which no agent asks anybody about
 * (`SSH_AGENTC_REQUEST_IDENTITIES`, draft-miller-ssh-agent, as in OpenSSH's PROTOCOL.agent).
 *
 * A socket that is not there, or on which nobody listens or answers, is no agent.
 *
 * @param socket - its path, as in `SSH_AUTH_SOCK`
 * @param timeout - for its answer, in milliseconds
 */
export async function agentAnswers(socket: string, timeout = 3_000): Promise<boolean> {
  return agentLives(socket, timeout).catch(() => false);
}

/**
 * As {@link agentAnswers}.
 *
 * @throws the system's error where it has too little of something to ask: that says nothing of any agent
 */
export function agentLives(socket: string, timeout: number): Promise<boolean> {
  // To Node that is no path but a port that was not given.
  if (socket === '') return Promise.resolve(false);
  return new Promise((tell, fail) => {
    const connection = connect({path: socket});
    let answer = Buffer.alloc(0);
    let lives = false;
    const timer = setTimeout(() => connection.destroy(), timeout);
    connection.on('error', (error) => {
      if (isShortage(error)) fail(error);
    });
    connection.on('data', (chunk) => {
      answer = Buffer.concat([answer, chunk]);
      // The length and the type; the rest is of no interest.
      if (answer.length < 5) return;
      lives = answers.includes(answer.readUInt8(4));
      connection.destroy();
    });
    connection.once('close', () => {
      clearTimeout(timer);
      tell(lives);
    });
    connection.write(requestIdentities);
  });
}

/** A message: its length, and its type (`SSH_AGENTC_REQUEST_IDENTITIES`). */
const requestIdentities = Buffer.from([0, 0, 0, 1, 11]);

/** `SSH_AGENT_IDENTITIES_ANSWER`, or `SSH_AGENT_FAILURE`: one that refuses lives, too. */
const answers = [12, 5];

interface Settings {
  readonly agentPath: string;
  readonly env: NodeJS.ProcessEnv;
  readonly readyTimeout: number;
  readonly killTimeout: number;
  readonly signal: AbortSignal | undefined;
}

function resolve(options: SSHAgentOptions): Settings {
  const given = {...defaults, ...defined(record('', options, optionFields))} as Readonly<Record<string, unknown>>;
  return Object.freeze({
    agentPath: text('agentPath', given['agentPath']),
    env: optional(given['env'], resolveEnvironment) ?? process.env,
    readyTimeout: number('readyTimeout', given['readyTimeout'], {off: true}) || Infinity,
    killTimeout: number('killTimeout', given['killTimeout'], {off: true}),
    signal: optional(given['signal'], (value) => abortSignal('signal', value)),
  });
}

/** For a program of the OpenSSH client that is not there. */
export const missingHint =
  'Install the OpenSSH client, which has it (Debian, Ubuntu: apt-get install openssh-client; Alpine: apk add openssh-client; Fedora: dnf install openssh-clients), or see that PATH leads to it.';

function notStarted(error: NodeJS.ErrnoException): AutoSSHError {
  const absent = error.code === 'ENOENT' || error.code === 'EACCES';
  return new AutoSSHError('ERR_AUTOSSH_SPAWN', `ssh-agent could not be started: ${error.message}`, {
    hint: absent ? missingHint : 'See `cause`.',
    ...(isShortage(error) && shortage),
    cause: error,
  });
}

function unfit(message: string, stderr: readonly string[]): AutoSSHError {
  const hint = 'See that `agentPath` is an ssh-agent of OpenSSH; its own words are in `stderr`.';
  return new AutoSSHError('ERR_AUTOSSH_SPAWN', message, {hint, stderr});
}

function nothing(): void {
  // An anchor does nothing but be there.
}
