import {execFile} from 'node:child_process';
import {promisify} from 'node:util';
import type {Contender, Host, TunnelOrder} from './contender.js';
import {HostProcess} from './host-process.js';

const run = promisify(execFile);

/** ssh2's own keep-alives; none is what it does by default. */
const keepalives: Record<TunnelOrder['beats'], {interval: number; countMax: number}> = {
  none: {interval: 0, countMax: 3},
  default: {interval: 0, countMax: 3},
  'every second': {interval: 1_000, countMax: 1},
  fast: {interval: 250, countMax: 1},
};

/** A tunnel of JavaScript alone: the protocol too is spoken by the host, and no ssh is started. */
export const tunnelSsh: Contender = {
  key: 'tunnel-ssh',
  name: 'tunnel-ssh',
  absent: () => undefined,
  host: async (signal) => new TunnelSshHost(await HostProcess.start('tunnel-ssh.js', signal)),
};

class TunnelSshHost implements Host {
  readonly #host: HostProcess;

  constructor(host: HostProcess) {
    this.#host = host;
  }

  async open({config, listen, target, beats}: TunnelOrder): Promise<number> {
    const order = {...(await whereTo(config)), listen, target, keepalive: keepalives[beats]};
    return (await this.#host.call('open', order)) as number;
  }

  async keepers(): Promise<readonly number[]> {
    return (await this.#host.call('pids')) as number[];
  }

  current(): Promise<never> {
    return Promise.reject(new Error('tunnel-ssh runs no ssh'));
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
}

/** It reads no configuration of ssh's, so ssh itself is asked what is in there. */
async function whereTo(config: string): Promise<{host: string; port: number; username: string; identity: string}> {
  const {stdout} = await run('ssh', ['-G', '-F', config, 'tunnel']);
  const valueOf = (name: string): string => {
    const value = new RegExp(`^${name} (.+)$`, 'm').exec(stdout)?.[1];
    if (value === undefined) throw new Error(`ssh -G told no ${name}`);
    return value;
  };
  return {
    host: valueOf('hostname'),
    port: Number(valueOf('port')),
    username: valueOf('user'),
    identity: valueOf('identityfile'),
  };
}
