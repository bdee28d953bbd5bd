import {HostProcess} from './contenders/host-process.js';
import type {Attempt} from './outage.js';

/** Clients of a tunnel, in a process of their own. All connections expect an echo of what they send. */
export class ClientProcess implements AsyncDisposable {
  readonly #process: HostProcess;

  private constructor(process: HostProcess) {
    this.#process = process;
  }

  static async start(signal: AbortSignal): Promise<ClientProcess> {
    return new ClientProcess(await HostProcess.start('client.js', signal));
  }

  /** Opens a new connection every `pace` milliseconds from now on, whether or not those before it were answered. */
  async begin(port: number, pace = 5): Promise<void> {
    await this.#process.call('begin', {port, pace});
  }

  /** Opens no more, and resolves with what became of each, on the clock of `performance.now()`. */
  async finish(): Promise<Attempt[]> {
    const attempts = (await this.#process.call('finish')) as Attempt[];
    return attempts.map(({begun, echoed, failed}) => ({
      begun: begun - ahead,
      ...(echoed !== undefined && {echoed: echoed - ahead}),
      ...(failed !== undefined && {failed: failed - ahead}),
    }));
  }

  /** Opens so many connections that exchange a byte every so many milliseconds until `silence`. */
  async talk(port: number, count: number, every: number): Promise<void> {
    await this.#process.call('talk', {port, count, every});
  }

  /** Lets them end. Resolves with the number of those that did not come to their end whole. */
  async silence(): Promise<number> {
    return (await this.#process.call('silence')) as number;
  }

  /** One connection after the other, `pause` milliseconds apart: how long each took to its echo. */
  async oneByOne(port: number, count: number, pause = 0): Promise<number[]> {
    return (await this.#process.call('oneByOne', {port, count, pause})) as number[];
  }

  /** So many connections of 64 bytes, some at a time: how many there were in a second. */
  async rush(port: number, count: number, atOnce: number): Promise<number> {
    return (1_000 * count) / ((await this.#process.call('rush', {port, count, atOnce})) as number);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

/** By how much the system's monotonic clock is ahead of this process's. */
const ahead = Number(process.hrtime.bigint()) / 1e6 - performance.now();
