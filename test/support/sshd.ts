import {execFile, spawn, type ChildProcess} from 'node:child_process';
import {EventEmitter} from 'node:events';
import {appendFileSync, mkdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {userInfo} from 'node:os';
import {join} from 'node:path';
import {createInterface} from 'node:readline';
import {promisify} from 'node:util';
import {patience} from './events.js';
import {freePort, randomPort} from './ports.js';
import {
  alive,
  descendants,
  dyingWithUs,
  findProgram,
  guard,
  processFacts,
  signal,
  temporaryFolder,
  waitForExit,
  pollUntil,
} from './processes.js';

const run = promisify(execFile);

export interface SshdOptions {
  /** More lines of `sshd_config`; they win over the ones that are there anyway. */
  config?: readonly string[];
  /** Default: a free one. */
  port?: number;
  /** Default 127.0.0.1. */
  listenAddress?: string;
  /** Of sshd. Default: this process's. */
  env?: NodeJS.ProcessEnv;
  /** What starts sshd, e.g. `['ip', 'netns', 'exec', 'name']`. Has to exec it, not fork. */
  wrapper?: readonly string[];
  /** The absolute path of the sshd to run. Default: the installed one. */
  program?: string;
}

/**
 * A line of `sshd_config`: the key exchange that OpenSSH has by default. Since 9.0 it takes a tenth of a second of processor
 * time; tests log in thousands of times, and are none about it.
 */
export const defaultKeyExchange = 'KexAlgorithms +curve25519-sha256';

export interface ConfigOptions {
  /** Where ssh is to connect to, if not to the server itself: a relay. */
  host?: string;
  port?: number;
  /** More lines of `ssh_config`, before the others: so they win. */
  lines?: readonly string[];
}

interface SshdEvents {
  line: [line: string];
}

/**
 * A real OpenSSH server that is nobody else's: on loopback, run by whoever runs the tests, with keys made on the spot and
 * everything it needs in one private folder.
 */
export class PrivateSshd {
  readonly host: string;
  readonly user = userInfo().username;
  /** Mode 0700, deleted by `stop()`. */
  readonly folder: string;
  readonly identityFile: string;
  readonly knownHostsFile: string;
  readonly hostKeyFile: string;
  readonly authorizedKeysFile: string;
  /** With it, `ssh -F configFile tunnel` just works. */
  readonly configFile: string;
  /** All that sshd has logged so far. */
  readonly log: string[] = [];
  port: number;

  readonly #options: SshdOptions;
  #extraConfig: readonly string[];
  readonly #events = new EventEmitter<SshdEvents>();
  #child: ChildProcess | undefined;
  /** Session processes that have outlived their listener, with their start times. */
  #orphans: {pid: number; startTime: string}[] = [];
  #configs = 0;

  static async start(options: SshdOptions = {}): Promise<PrivateSshd> {
    const sshd = new PrivateSshd(options, options.port ?? (await somePort(options)));
    try {
      await sshd.#makeKeys();
      await sshd.#listen(options.port === undefined);
      sshd.#writeConfig(sshd.configFile, {});
    } catch (error) {
      await sshd.stop();
      throw error;
    }
    return sshd;
  }

  private constructor(options: SshdOptions, port: number) {
    this.#options = options;
    this.#extraConfig = options.config ?? [];
    this.#events.setMaxListeners(0);
    this.host = options.listenAddress ?? '127.0.0.1';
    this.port = port;
    this.folder = temporaryFolder('sshd-');
    this.identityFile = join(this.folder, 'identity');
    this.hostKeyFile = join(this.folder, 'host_key');
    this.knownHostsFile = join(this.folder, 'known_hosts');
    this.authorizedKeysFile = join(this.folder, 'authorized_keys');
    this.configFile = join(this.folder, 'ssh_config');
  }

  /** Of the listener, or `undefined` while nothing listens. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Calls back for every line sshd logs from now on; returns how to end that. */
  onLine(listener: (line: string) => void): () => void {
    this.#events.on('line', listener);
    return () => {
      this.#events.off('line', listener);
    };
  }

  /** The next line that matches. `after` also looks at old ones, from that index of `log` on. */
  waitForLine(
    pattern: RegExp,
    {after = this.log.length, timeout = patience}: {after?: number; timeout?: number} = {},
  ): Promise<string> {
    const old = this.log.slice(after).find((line) => pattern.test(line));
    if (old !== undefined) return Promise.resolve(old);
    return new Promise((resolve, reject) => {
      const end = this.onLine((line) => {
        if (!pattern.test(line)) return;
        clearTimeout(timer);
        end();
        resolve(line);
      });
      const timer = setTimeout(() => {
        end();
        reject(
          new Error(`sshd did not log ${String(pattern)} within ${timeout} ms:\n${this.log.slice(-20).join('\n')}`),
        );
      }, timeout);
    });
  }

  /** A second `ssh_config`, say for a way through a relay. The alias is `tunnel` again. */
  config(options: ConfigOptions): string {
    const path = join(this.folder, `ssh_config-${++this.#configs}`);
    this.#writeConfig(path, options);
    return path;
  }

  /** The processes that serve connections: monitor, user process and those still logging in. */
  sessions(): number[] {
    this.#orphans = this.#orphans.filter(
      ({pid, startTime}) => processFacts(pid)?.startTime === startTime && alive(pid),
    );
    const roots = this.#orphans.map(({pid}) => pid);
    const attached = this.pid === undefined ? [] : descendants(this.pid);
    return [...new Set([...attached, ...roots, ...roots.flatMap((pid) => descendants(pid))])];
  }

  /** Ends every session and waits until they are gone. The listener goes on. */
  async killSessions(name: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const pids = this.sessions();
    for (const pid of pids) signal(pid, name);
    await Promise.all(pids.map((pid) => waitForExit(pid)));
  }

  async freezeSessions(): Promise<number[]> {
    const pids = this.sessions();
    for (const pid of pids) signal(pid, 'SIGSTOP');
    // One that was about to end by itself, as what logs a client in does, may do so all the same: with its parent frozen
    // it stays a zombie.
    await Promise.all(pids.map((pid) => pollUntil(`process ${pid} frozen`, () => !alive(pid) || isStopped(pid))));
    return pids.filter(isStopped);
  }

  thawSessions(): void {
    for (const pid of this.sessions()) signal(pid, 'SIGCONT');
  }

  /** Kills the listener alone: sessions live on, new connections are refused. */
  async stopListening(): Promise<void> {
    const child = this.#child;
    if (child?.pid === undefined) return;
    this.#adopt();
    this.#child = undefined;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    signal(child.pid, 'SIGKILL');
    await gone;
  }

  /** The whole server goes away, as after a power cut; `restart()` brings it back. */
  async halt(): Promise<void> {
    await this.stopListening();
    await this.killSessions();
  }

  /** A new listener on the same port, with other extra lines in its configuration if they are given. */
  async restart({
    keepSessions = false,
    config = this.#extraConfig,
  }: {keepSessions?: boolean; config?: readonly string[]} = {}): Promise<void> {
    this.#extraConfig = config;
    await this.stopListening();
    if (!keepSessions) await this.killSessions();
    await this.#listen(false);
  }

  /** A new host key, as after a reinstallation or with an impostor. Sessions live on. */
  async swapHostKey(): Promise<void> {
    await this.#makeKey(this.hostKeyFile);
    await this.restart({keepSessions: true});
  }

  /** Ends everything, frozen or not, and deletes the folder. */
  async stop(): Promise<void> {
    await this.halt();
    rmSync(this.folder, {recursive: true, force: true});
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #makeKeys(): Promise<void> {
    await Promise.all([this.#makeKey(this.hostKeyFile), this.#makeKey(this.identityFile)]);
    writeFileSync(this.authorizedKeysFile, readFileSync(`${this.identityFile}.pub`), {mode: 0o600});
  }

  async #makeKey(path: string): Promise<void> {
    rmSync(path, {force: true});
    rmSync(`${path}.pub`, {force: true});
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', path]);
  }

  /** Starts sshd until it has a port. On a port that has to be this one it waits for it to become free. */
  async #listen(anyPort: boolean): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const problem = await this.#launch();
      if (problem === undefined) return;
      if (!problem.includes('Address already in use') || attempt === 100)
        throw new Error(`sshd did not start:\n${problem}`);
      if (anyPort) this.port = await somePort(this.#options);
      else await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** One attempt: what sshd said if it ended, nothing if it listens. */
  async #launch(): Promise<string | undefined> {
    const config = join(this.folder, 'sshd_config');
    writeFileSync(config, this.#serverConfig().join('\n') + '\n', {mode: 0o600});
    const program = this.#options.program ?? sshdPath();
    const [command = program, ...args] = dyingWithUs([
      ...(this.#options.wrapper ?? []),
      // sshd executes itself anew for every connection and insists on an absolute path for that.
      ...[program, '-D', '-e', '-f', config],
    ]);
    const child = spawn(command, args, {
      cwd: '/',
      env: this.#options.env ?? process.env,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const said: string[] = [];
    createInterface({input: child.stderr}).on('line', (line) => {
      said.push(line);
      this.log.push(line);
      this.#events.emit('line', line);
    });
    const outcome = await new Promise<'listens' | Error>((resolve) => {
      const end = this.onLine((line) => {
        if (!line.startsWith('Server listening on')) return;
        end();
        resolve('listens');
      });
      child.once('error', resolve);
      // Not 'exit': the last words have to be in as well. At this moment there is no session that could hold the pipe.
      child.once('close', () => {
        end();
        resolve(new Error(said.join('\n')));
      });
    });
    if (outcome !== 'listens') return outcome.message;
    this.#child = child;
    if (child.pid !== undefined) guard('process', child.pid);
    return undefined;
  }

  #serverConfig(): string[] {
    const keyword = (line: string): string => line.split(/\s+/, 1)[0]?.toLowerCase() ?? '';
    const given = new Set(this.#extraConfig.map(keyword));
    const own = [
      `Port ${this.port}`,
      `ListenAddress ${this.host}`,
      `HostKey ${this.hostKeyFile}`,
      `PidFile ${join(this.folder, 'sshd.pid')}`,
      `AuthorizedKeysFile ${this.authorizedKeysFile}`,
      `UsePAM ${hasLockedAccount(this.user) ? 'yes' : 'no'}`,
      'StrictModes no',
      'PermitRootLogin yes',
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      'UseDNS no',
      'MaxStartups 100:30:200',
      'LogLevel VERBOSE',
      // What login shells do at their start is their owner's business, and can take longer than the login.
      `SetEnv HOME=${this.folder}`,
      'KexAlgorithms curve25519-sha256',
      // OpenSSH 9.8 began to punish addresses whose logins fail. All the tests come from one address.
      ...(sshdKnows('PerSourcePenalties') ? ['PerSourcePenalties no'] : []),
    ];
    // For most keywords the first line counts, for MaxStartups the last.
    return [...this.#extraConfig, ...own.filter((line) => !given.has(keyword(line)))];
  }

  #writeConfig(path: string, {host = this.host, port = this.port, lines = []}: ConfigOptions): void {
    const [type = '', key = ''] = readFileSync(`${this.hostKeyFile}.pub`, 'utf8').split(' ');
    appendFileSync(this.knownHostsFile, `${port === 22 ? host : `[${host}]:${port}`} ${type} ${key}\n`);
    const settings = [
      ...lines,
      `HostName ${host}`,
      `Port ${port}`,
      `User ${this.user}`,
      `IdentityFile ${this.identityFile}`,
      'IdentitiesOnly yes',
      'IdentityAgent none',
      `UserKnownHostsFile ${this.knownHostsFile}`,
      'GlobalKnownHostsFile none',
      'StrictHostKeyChecking yes',
    ];
    writeFileSync(path, `Host tunnel\n${settings.map((line) => `  ${line}\n`).join('')}`, {mode: 0o600});
  }

  /** Remembers the sessions of a listener that is about to end: after that nothing leads from it to them. */
  #adopt(): void {
    for (const pid of this.sessions()) {
      const facts = processFacts(pid);
      if (facts === undefined || this.#orphans.some((orphan) => orphan.pid === pid)) continue;
      this.#orphans.push({pid, startTime: facts.startTime});
      guard('process', pid);
    }
  }
}

/** Behind a wrapper there may be another network, whose ports cannot be tried from here. */
function somePort({wrapper, listenAddress}: SshdOptions): Promise<number> {
  return wrapper === undefined ? freePort(listenAddress) : Promise.resolve(randomPort());
}

/** Where the installed sshd is. It finds there what it needs to run. */
export function sshdPath(): string {
  const path = findProgram('sshd');
  if (path === undefined) throw new Error('sshd is not installed (Debian: apt-get install openssh-server)');
  // The folder that privilege separation wants is normally made by the service manager.
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', {recursive: true, mode: 0o755});
  return path;
}

/** Without PAM sshd refuses an account whose password is locked, even with a key. */
function hasLockedAccount(user: string): boolean {
  try {
    return readFileSync('/etc/shadow', 'utf8')
      .split('\n')
      .some((line) => line.startsWith(`${user}:!`));
  } catch {
    return false;
  }
}

const known = new Map<string, boolean>();

/** Whether the installed sshd has ever heard of a keyword of its configuration. */
export function sshdKnows(keyword: string): boolean {
  const before = known.get(keyword);
  if (before !== undefined) return before;
  const answer = readFileSync(sshdPath(), 'latin1').includes(keyword.toLowerCase());
  known.set(keyword, answer);
  return answer;
}

function isStopped(pid: number): boolean {
  return processFacts(pid)?.state === 'T';
}
