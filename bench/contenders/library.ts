import {existsSync} from 'node:fs';
import {readFile} from 'node:fs/promises';
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

/** What is not as it is by default. */
interface Variant {
  steady?: false;
  standby?: true;
  /** The private key is given as text. */
  key?: true;
}

/** This package as it is by default, in one plain Node process for all its tunnels: the listener is the library's own. */
export const library = contender('node-autossh', 'node-autossh', {});

/** ssh itself listens, as it does with everybody else. */
export const libraryDirect = contender('node-autossh-direct', 'node-autossh, direct', {steady: false});

/** A second ssh waits for the loss of the first. */
export const libraryStandby = contender('node-autossh-standby', 'node-autossh, standby', {standby: true});

/** The private key is a text, for which there is an ssh-agent of the tunnel's own. */
export const libraryKey = contender('node-autossh-key', 'node-autossh, a key as text', {key: true});

function contender(key: string, name: string, variant: Variant): Contender {
  return {
    key,
    name,
    absent: () => (existsSync(built) ? undefined : 'the package is not built (npm run build)'),
    host: async (signal) => new LibraryHost(await HostProcess.start('library.js', signal), variant),
  };
}

class LibraryHost implements Host {
  readonly #host: HostProcess;
  readonly #variant: Variant;

  constructor(host: HostProcess, variant: Variant) {
    this.#host = host;
    this.#variant = variant;
  }

  async open({config, listen, target, beats, identityFile = ''}: TunnelOrder): Promise<number> {
    const {steady, standby, key} = this.#variant;
    const options: AutoSSHOptions = {
      host: 'tunnel',
      configFile: config,
      forwards: [
        {
          type: 'local',
          listen: {host: '127.0.0.1', port: listen},
          target: {host: '127.0.0.1', port: target},
          ...(steady !== undefined && {steady}),
        },
      ],
      heartbeat: heartbeats[beats],
      ...(standby && {standby}),
      ...(key && {privateKey: await readFile(identityFile, 'utf8')}),
    };
    return (await this.#host.call('open', {options, listen})) as number;
  }

  async restart(): Promise<void> {
    await this.#host.call('restart');
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
