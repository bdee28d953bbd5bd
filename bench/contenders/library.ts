import {existsSync} from 'node:fs';
import type {AutoSSHOptions, HeartbeatOptions} from 'node-autossh';
import type {Contender, Host, TunnelOrder} from './contender.js';
import {HostProcess} from './host-process.js';

const heartbeats: Record<TunnelOrder['beats'], HeartbeatOptions | false> = {
  none: false,
  default: {},
  'every second': {interval: 1_000},
  fast: {interval: 250, timeout: 500, maxMisses: 1},
};

/** What `node-autossh` resolves to in a plain Node process. */
const built = new URL('../../dist/index.js', import.meta.url);

/** This package, in one plain Node process for all its tunnels. */
export const library: Contender = {
  key: 'node-autossh',
  name: 'node-autossh',
  absent: () => (existsSync(built) ? undefined : 'the package is not built (npm run build)'),
  host: async (signal) => new LibraryHost(await HostProcess.start('library.js', signal)),
};

class LibraryHost implements Host {
  readonly #host: HostProcess;

  constructor(host: HostProcess) {
    this.#host = host;
  }

  async open({config, listen, target, beats}: TunnelOrder): Promise<number> {
    const options: AutoSSHOptions = {
      host: 'tunnel',
      configFile: config,
      forwards: [{type: 'local', listen: {host: '127.0.0.1', port: listen}, target: {host: '127.0.0.1', port: target}}],
      heartbeat: heartbeats[beats],
    };
    return (await this.#host.call('open', {options, listen})) as number;
  }

  async keepers(): Promise<readonly number[]> {
    return (await this.#host.call('pids')) as number[];
  }

  async current(): Promise<number> {
    return (await this.#host.call('current')) as number;
  }

  async beats(): Promise<number> {
    return (await this.#host.call('beats')) as number;
  }

  async collect(): Promise<number> {
    return (await this.#host.call('collect')) as number;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#host[Symbol.asyncDispose]();
  }
}
