import {lookup} from 'node:dns/promises';
import {once} from 'node:events';
import {existsSync, readFileSync} from 'node:fs';
import {connect, isIP} from 'node:net';
import {setTimeout as sleep} from 'node:timers/promises';
import {bindAddresses, isLoopback} from './addresses.js';
import {type AskedForward, type EffectiveConfiguration, run} from './effective-configuration.js';
import {expand, type Lookup} from './expand.js';
import {type Holder, holderOf, type Listening, vacancies} from './listening.js';

/** Whether a key can log in with nobody there. */
export type KeyState = 'open' | 'agent' | 'passphrase' | 'touch' | 'unprotected' | 'unknown';

/** What this machine has to say about a command line. */
export interface Machine {
  /** Every port that is to be listened on here. */
  readonly ports: ReadonlyMap<number, {readonly listening: readonly Listening[]; readonly holder?: Holder}>;
  /** Paths that are to be listened on here, and where something is already. */
  readonly pathsTaken: readonly string[];
  /** Whether a master answers at `ControlPath`. */
  readonly master: boolean;
  /** The key files that are there. */
  readonly keys: readonly {readonly path: string; readonly state: KeyState}[];
  readonly agent: {readonly running: boolean; readonly keys: number; readonly unknown?: true};
  /** Whether known_hosts has the server. */
  readonly hostKey: 'known' | 'unknown' | 'unknowable';
  /** Whether the name of the server has an address. `unasked`: it is one, or a proxy is to find it. */
  readonly name: 'known' | 'unknown' | 'unanswered' | 'unasked';
  /** The kernel's keep-alive of TCP, in seconds. */
  readonly keepAlive?: {readonly time: number; readonly interval: number; readonly probes: number};
  /** Whether a program could ask for a passphrase without a terminal. */
  readonly askpass: boolean;
}

/** Looks at this machine, and changes nothing on it. */
export async function examine(
  configuration: EffectiveConfiguration,
  monitor: {readonly port: number; readonly echoPort?: number} | undefined,
  env: NodeJS.ProcessEnv,
): Promise<Machine> {
  const first: Lookup = (key) => configuration.values.get(key)?.[0];
  const value = (key: string): string => first(key) ?? '';
  const local = configuration.forwards.filter(({kind}) => kind !== 'R');
  const agent = await agentOf(first, env);
  const keepAlive = kernelKeepAlive();
  const [ports, master, keys, hostKey, name] = await Promise.all([
    portsOf(local, monitor, value),
    answers(value('controlpath')),
    keysOf(configuration.values.get('identityfile') ?? [], first, agent.fingerprints, env),
    hostKeyOf(first, env),
    nameOf(value),
  ]);
  return {
    ports,
    pathsTaken: local.flatMap(({listen}) => ('path' in listen && existsSync(listen.path) ? [listen.path] : [])),
    master,
    keys,
    agent: {running: agent.running, keys: agent.fingerprints.length, ...(agent.unknown && {unknown: true})},
    hostKey,
    name,
    ...(keepAlive && {keepAlive}),
    askpass: (env['DISPLAY'] ?? env['WAYLAND_DISPLAY'] ?? env['SSH_ASKPASS_REQUIRE'] ?? '') !== '',
  };
}

async function portsOf(
  forwards: readonly AskedForward[],
  monitor: {readonly port: number; readonly echoPort?: number} | undefined,
  value: (key: string) => string,
): Promise<Machine['ports']> {
  const settings = {gatewayPorts: value('gatewayports') === 'yes', family: value('addressfamily')};
  const wanted = new Map<number, Set<string>>();
  const want = (port: number, addresses: readonly string[]): void => {
    wanted.set(port, new Set([...(wanted.get(port) ?? []), ...addresses]));
  };
  for (const {listen} of forwards) if ('port' in listen) want(listen.port, bindAddresses(listen.host, settings));
  // What comes back from the server goes there.
  if (monitor && monitor.echoPort === undefined) want(monitor.port + 1, ['127.0.0.1']);
  const found = [...wanted].map(async ([port, addresses]) => {
    const listening = await vacancies(port, [...addresses]);
    const holder = listening.some(({vacancy}) => vacancy === 'busy') ? await holderOf(port) : undefined;
    return [port, {listening, ...(holder && {holder})}] as const;
  });
  return new Map(await Promise.all(found));
}

async function answers(controlPath: string): Promise<boolean> {
  if (controlPath === '') return false;
  const socket = connect({path: controlPath});
  try {
    await once(socket, 'connect', {signal: AbortSignal.timeout(2_000)});
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

interface Agent {
  readonly running: boolean;
  readonly fingerprints: readonly string[];
  /** It cannot be told where it would be. */
  readonly unknown?: true;
}

async function agentOf(first: Lookup, env: NodeJS.ProcessEnv): Promise<Agent> {
  const setting = first('identityagent') ?? '';
  const variable = /^\$\{?(\w+)\}?$/.exec(setting)?.[1] ?? 'SSH_AUTH_SOCK';
  const named = setting === '' || setting === 'SSH_AUTH_SOCK' || /^\$\{?\w+\}?$/.test(setting);
  const socket = named ? env[variable] : expand(setting, first, env);
  if (!named && socket === undefined) return {running: false, fingerprints: [], unknown: true};
  if (setting === 'none' || socket === undefined || socket === '') return {running: false, fingerprints: []};
  const {code, stdout} = await run('ssh-add', ['-l'], {...env, SSH_AUTH_SOCK: socket});
  // 1: it has no keys. 2: it does not answer.
  return {running: code === 0 || code === 1, fingerprints: code === 0 ? (stdout.match(/\bSHA256:\S+/g) ?? []) : []};
}

/** The key files that are there, and those of which nobody can tell whether they are. */
async function keysOf(
  paths: readonly string[],
  first: Lookup,
  agent: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<Machine['keys']> {
  const found = paths.map(async (path) => {
    const file = expand(path, first, env);
    if (file === undefined) return {path, state: 'unknown'} as const;
    if (!existsSync(file) && !existsSync(`${file}.pub`)) return undefined;
    return {path: file, state: await keyState(file, agent, env)};
  });
  return (await Promise.all(found)).filter((one) => one !== undefined);
}

async function keyState(path: string, agent: readonly string[], env: NodeJS.ProcessEnv): Promise<KeyState> {
  const print = await run('ssh-keygen', ['-l', '-f', path], env);
  const fingerprint = /\bSHA256:\S+/.exec(print.stdout)?.[0];
  if (print.stdout.includes('-SK)')) return 'touch';
  if (fingerprint !== undefined && agent.includes(fingerprint)) return 'agent';
  const {code, stderr} = await run('ssh-keygen', ['-y', '-P', '', '-f', path], env);
  if (code === 0) return 'open';
  if (stderr.includes('incorrect passphrase')) return 'passphrase';
  return stderr.includes('UNPROTECTED PRIVATE KEY') ? 'unprotected' : 'unknown';
}

async function hostKeyOf(first: Lookup, env: NodeJS.ProcessEnv): Promise<Machine['hostKey']> {
  const value = (key: string): string => first(key) ?? '';
  if (value('knownhostscommand') !== '' || value('verifyhostkeydns') === 'true') return 'unknowable';
  const [alias, host, port] = [value('hostkeyalias'), value('hostname'), value('port')];
  if (value('nohostauthenticationforlocalhost') === 'yes' && isLoopback(host)) return 'known';
  // A key that is known without its port counts as well: check_host_key() of sshconnect.c.
  const names = alias !== '' ? [alias] : port === '22' ? [host] : [`[${host}]:${port}`, host];
  const files = `${value('userknownhostsfile')} ${value('globalknownhostsfile')}`.split(' ');
  const named = files.filter((file) => file !== '' && file !== 'none').map((file) => expand(file, first, env));
  // What does not begin at the root may be the rest of a name with a blank in it.
  const areClear = named.every((file) => file?.startsWith('/'));
  const there = named.flatMap((file) => (file !== undefined && existsSync(file) ? [file] : []));
  const searches = names.flatMap((name) => there.map(async (file) => run('ssh-keygen', ['-F', name, '-f', file], env)));
  const found = await Promise.all(searches);
  if (found.some(({missing}) => missing !== undefined)) return 'unknowable';
  if (found.some(({code}) => code === 0)) return 'known';
  return areClear ? 'unknown' : 'unknowable';
}

/** In milliseconds: a name service that is gone is asked for long. */
const namePatience = 3_000;

/** Asks as ssh does, /etc/hosts included. */
async function nameOf(value: (key: string) => string): Promise<Machine['name']> {
  const host = value('hostname');
  if (isIP(host) || value('proxycommand') !== '' || value('proxyjump') !== '') return 'unasked';
  const family = ({inet: 4, inet6: 6} as const)[value('addressfamily')] ?? 0;
  const late = new AbortController();
  const found = lookup(host, {family}).then(
    () => 'known' as const,
    () => 'unknown' as const,
  );
  const unanswered = sleep(namePatience, 'unanswered' as const, {signal: late.signal});
  unanswered.catch(() => undefined);
  const name = await Promise.race([found, unanswered]);
  late.abort();
  return name;
}

function kernelKeepAlive(): Machine['keepAlive'] {
  try {
    const read = (name: string): number => Number(readFileSync(`/proc/sys/net/ipv4/tcp_keepalive_${name}`, 'utf8'));
    return {time: read('time'), interval: read('intvl'), probes: read('probes')};
  } catch {
    return undefined;
  }
}
