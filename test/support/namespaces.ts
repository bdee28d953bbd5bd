import {execFile, execFileSync, spawn, type ChildProcess, type SpawnOptions} from 'node:child_process';
import {mkdirSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {promisify} from 'node:util';
import {dyingWithUs, guard, temporaryFolder} from './processes.js';

const run = promisify(execFile);

/**
 * Two hosts on a cable, for root alone: two network namespaces with a veth pair. Packets are lost by routing rules of the
 * receiving side (`ip rule … blackhole`), so that the sender learns nothing and nothing but iproute2 is needed.
 *
 * A Unix socket belongs to the file system, not to a network namespace: a test reaches forwards that listen on one, and
 * offers targets on one, without entering a namespace.
 */
export class Namespaces {
  readonly client: Host;
  readonly server: Host;
  readonly folder = temporaryFolder('netns-');
  #rules = 0;

  static async create(): Promise<Namespaces> {
    const id = `${process.pid.toString(36)}${(counter++).toString(36)}`;
    // Each pair its own network: two of them must not answer each other's addresses.
    const network = `10.${100 + (process.pid % 100)}.${counter % 250}`;
    const namespaces = new Namespaces(
      {name: `as-${id}-c`, device: `as${id}c`, address: `${network}.1`},
      {name: `as-${id}-s`, device: `as${id}s`, address: `${network}.2`},
    );
    await namespaces.#build();
    return namespaces;
  }

  private constructor(client: Host, server: Host) {
    this.client = client;
    this.server = server;
  }

  /** What to put before a command so that it runs there. A chain of execs: the pid stays the same. */
  enter(host: Host): string[] {
    return ['ip', 'netns', 'exec', host.name];
  }

  /** A process there that dies with this one. */
  spawn(host: Host, argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const [command = '', ...args] = dyingWithUs([...this.enter(host), ...argv]);
    const child = spawn(command, args, options);
    if (child.pid !== undefined) guard('process', child.pid);
    return child;
  }

  async run(host: Host, argv: readonly string[]): Promise<string> {
    const [command = '', ...args] = [...this.enter(host), ...argv];
    return (await run(command, args)).stdout;
  }

  /** A program that runs `program` on that host, with whatever arguments it is given: to be used as `sshPath`. */
  launcher(host: Host, program: string): string {
    const path = join(this.folder, `${program.replaceAll('/', '_')}-${host.name}`);
    writeFileSync(path, `#!/bin/sh\nexec ${this.enter(host).join(' ')} ${program} "$@"\n`, {mode: 0o755});
    return path;
  }

  /** Nothing passes, in either direction. */
  async dropBoth(): Promise<void> {
    await this.#drop(this.server, []);
    await this.#drop(this.client, []);
  }

  /** What `from` sends is lost; what it is sent arrives. */
  async dropOneWay(from: Host): Promise<void> {
    await this.#drop(from === this.client ? this.server : this.client, []);
  }

  /** The path has forgotten the connections that the client made from these ports; others work. */
  async forgetFlow(...ports: number[]): Promise<void> {
    for (const port of ports) {
      await this.#drop(this.server, ['ipproto', 'tcp', 'sport', String(port)]);
      await this.#drop(this.client, ['ipproto', 'tcp', 'dport', String(port)]);
    }
  }

  /** That host's `/proc/net/tcp`. */
  connections(host: Host): string {
    return execFileSync('ip', ['netns', 'exec', host.name, 'cat', '/proc/net/tcp'], {encoding: 'utf8'});
  }

  /** The client's ports of the connections that are open to the server now. */
  flows(): number[] {
    return this.connections(this.client)
      .split('\n')
      .slice(1)
      .flatMap((line) => {
        const [, local, remote, state] = line.trim().split(/\s+/);
        if (state !== '01' || remote?.split(':')[0] !== inProcNotation(this.server.address)) return [];
        return [parseInt(local?.split(':')[1] ?? '', 16)];
      });
  }

  /** Everything passes again. */
  async heal(): Promise<void> {
    for (; this.#rules > 0; this.#rules--) {
      for (const host of [this.client, this.server]) {
        await this.run(host, ['ip', 'rule', 'del', 'pref', String(this.#rules)]).catch(() => undefined);
      }
    }
  }

  async interface(host: Host, state: 'up' | 'down'): Promise<void> {
    await this.run(host, ['ip', 'link', 'set', host.device, state]);
  }

  /** What the resolver on that host reads in place of `/etc/resolv.conf`. Holds for processes started after this. */
  resolveWith(host: Host, resolvConf: string): void {
    mkdirSync(`/etc/netns/${host.name}`, {recursive: true});
    writeFileSync(`/etc/netns/${host.name}/resolv.conf`, resolvConf);
  }

  async close(): Promise<void> {
    for (const host of [this.client, this.server]) {
      await run('ip', ['netns', 'del', host.name]).catch(() => undefined);
      rmSync(`/etc/netns/${host.name}`, {recursive: true, force: true});
    }
    rmSync(this.folder, {recursive: true, force: true});
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #build(): Promise<void> {
    const {client, server} = this;
    for (const {name} of [client, server]) {
      guard('namespace', name);
      await run('ip', ['netns', 'add', name]);
    }
    await run('ip', [
      ...['link', 'add', client.device, 'netns', client.name, 'type', 'veth'],
      ...['peer', 'name', server.device, 'netns', server.name],
    ]);
    for (const host of [client, server]) {
      await this.run(host, ['ip', 'link', 'set', 'lo', 'up']);
      await this.run(host, ['ip', 'addr', 'add', `${host.address}/24`, 'dev', host.device]);
      await this.run(host, ['ip', 'link', 'set', host.device, 'up']);
      // The rule for local addresses stands before all others and would let everything in.
      await this.run(host, ['ip', 'rule', 'add', 'pref', '1000', 'lookup', 'local']);
      await this.run(host, ['ip', 'rule', 'del', 'pref', '0']);
      // Otherwise packets of established connections take a shortcut past the rules.
      for (const setting of ['tcp_early_demux', 'ip_early_demux']) {
        await this.run(host, ['sh', '-c', `echo 0 > /proc/sys/net/ipv4/${setting}`]);
      }
    }
    // An outage must not become "host unreachable" because nobody answers for the address.
    for (const [host, peer] of [
      [client, server],
      [server, client],
    ] as const) {
      const mac = (await this.run(peer, ['cat', `/sys/class/net/${peer.device}/address`])).trim();
      await this.run(host, [
        'ip',
        'neigh',
        'replace',
        peer.address,
        'lladdr',
        mac,
        'dev',
        host.device,
        'nud',
        'permanent',
      ]);
    }
  }

  async #drop(receiver: Host, selector: readonly string[]): Promise<void> {
    const preference = String(++this.#rules);
    await this.run(receiver, [
      'ip',
      'rule',
      'add',
      'pref',
      preference,
      'iif',
      receiver.device,
      ...selector,
      'blackhole',
    ]);
  }
}

export interface Host {
  /** Of the namespace. */
  name: string;
  device: string;
  address: string;
}

let counter = 0;
let usable: boolean | undefined;

/** Whether this user may make network namespaces here, found out by making one. */
export function canUseNamespaces(): boolean {
  usable ??= tryNamespace();
  return usable;
}

function tryNamespace(): boolean {
  if (process.getuid?.() !== 0) return false;
  const name = `as-${process.pid.toString(36)}-try`;
  const ip = (...args: string[]): void => {
    execFileSync('ip', args, {stdio: 'ignore'});
  };
  try {
    guard('namespace', name);
    ip('netns', 'add', name);
    ip('-n', name, 'link', 'add', 'one', 'type', 'veth', 'peer', 'name', 'two');
    ip('-n', name, 'rule', 'add', 'pref', '1', 'iif', 'one', 'ipproto', 'tcp', 'sport', '1', 'blackhole');
    return true;
  } catch {
    return false;
  } finally {
    try {
      ip('netns', 'del', name);
    } catch {
      // Was not made.
    }
  }
}

function inProcNotation(address: string): string {
  const bytes = address.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'));
  return bytes.reverse().join('').toUpperCase();
}
