import {spawn, type ChildProcess} from 'node:child_process';
import {once as nodeOnce} from 'node:events';
import {createInterface} from 'node:readline';
import {fileURLToPath} from 'node:url';
import {EventEmitter} from 'eventemitter3';
import type {AutoSSHEventPayloads, AutoSSHOptions} from '../../src/index.js';
import {
  type Collection,
  type WaitOptions,
  collect,
  compiled,
  dyingWithUs,
  guard,
  once,
  signal,
} from '../support/index.js';

interface Said extends AutoSSHEventPayloads {
  ready: {pid: number};
  done: {command: string; error?: string};
}

export type HostEvents = {[Name in keyof Said]: (payload: Said[Name]) => void};

export interface HostSetup {
  env?: NodeJS.ProcessEnv;
  /** Put before the command, which it has to exec. */
  wrapper?: readonly string[];
}

/** A program of its own that has a tunnel, for what cannot be done to the process that runs the tests. */
export class HostProcess extends EventEmitter<HostEvents> {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly events: Collection<HostEvents>;
  readonly exited: Promise<unknown>;

  static async start(options: AutoSSHOptions, setup: HostSetup = {}): Promise<HostProcess> {
    const host = new HostProcess(options, setup);
    await host.next('ready');
    return host;
  }

  private constructor(options: AutoSSHOptions, {env = process.env, wrapper = []}: HostSetup) {
    super();
    const [command = '', ...args] = dyingWithUs([
      ...wrapper,
      ...[process.execPath, compiled('host.ts'), JSON.stringify(options)],
    ]);
    this.child = spawn(command, args, {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      env,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.pid = this.child.pid ?? 0;
    guard('process', this.pid);
    this.exited = nodeOnce(this.child, 'exit');
    this.events = collect<HostEvents>(this, [
      'ready',
      'done',
      'state',
      'start',
      'connect',
      'heartbeat',
      'heartbeat-miss',
      'disconnect',
      'restart',
      'fatal',
      'stop',
    ]);
    if (this.child.stdout === null) throw new Error('No pipe');
    createInterface({input: this.child.stdout}).on('line', (line) => {
      const {name, payload} = JSON.parse(line) as {name: keyof HostEvents; payload: never};
      this.emit(name, payload);
    });
  }

  /** The next event of this name. */
  next<N extends keyof Said>(name: N, options: WaitOptions<HostEvents, N> = {}): Promise<Said[N]> {
    return once<HostEvents, N>(this, name, options) as Promise<Said[N]>;
  }

  /** Has it do something; resolves when it is done, with the code of the error if there was one. */
  async command(command: 'start' | 'stop' | 'restart'): Promise<string | undefined> {
    const done = this.next('done', {where: (payload) => payload.command === command});
    this.child.stdin?.write(`${command}\n`);
    return (await done).error;
  }

  /** Nothing more will be commanded: from now on only the tunnel keeps it alive. */
  closeInput(): void {
    this.child.stdin?.write('close\n');
    this.child.stdin?.end();
  }

  async kill(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) signal(this.pid, 'SIGKILL');
    await this.exited;
  }

  close(): Promise<void> {
    return this.kill();
  }
}
