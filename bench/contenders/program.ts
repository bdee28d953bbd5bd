import {descendants, processFacts} from '../../test/support/processes.js';
import type {Host, TunnelOrder} from './contender.js';
import {HostProcess} from './host-process.js';

/** What to start for one tunnel. */
export interface Program {
  command: string;
  args: readonly string[];
  env?: Readonly<Record<string, string>>;
}

type Recipe = (order: TunnelOrder) => Program | Promise<Program>;

/** A contender that is a program on the command line: each tunnel is one process of it. */
export class ProgramHost implements Host {
  readonly #host: HostProcess;
  readonly #program: Recipe;

  private constructor(host: HostProcess, program: Recipe) {
    this.#host = host;
    this.#program = program;
  }

  static async start(program: Recipe, signal: AbortSignal): Promise<ProgramHost> {
    return new ProgramHost(await HostProcess.start('spawner.js', signal), program);
  }

  async open(order: TunnelOrder): Promise<number> {
    const {command, args, env = {}} = await this.#program(order);
    const {listen, arrival} = order.loop ?? {listen: order.listen, arrival: undefined};
    return (await this.#host.call('open', {command, args, env, listen, arrival})) as number;
  }

  async keepers(): Promise<readonly number[]> {
    return (await this.#started()).filter((pid) => !isSsh(pid));
  }

  async current(): Promise<number> {
    const started = await this.#started();
    const found = [...started, ...started.flatMap(descendants)].find(isSsh);
    if (found === undefined) throw new Error('no ssh is running');
    return found;
  }

  beats(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  collect(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#host[Symbol.asyncDispose]();
  }

  async #started(): Promise<number[]> {
    return (await this.#host.call('pids')) as number[];
  }
}

function isSsh(pid: number): boolean {
  return processFacts(pid)?.name === 'ssh';
}
