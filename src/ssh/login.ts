import type {Settings} from '../options.js';
import {type KeySettings, isAnswered} from './credential-options.js';
import {type HostKeyFiles, hostKeyArguments, hostKeyScript, keepScript} from './host-key.js';
import {type Hop, jumpArgument} from './jump.js';
import {type Login, seconds} from './life.js';

type Options = Login['options'];

/** Where things are that ssh reads. */
export interface LoginPlace {
  /** The private folder. Its name is plain: no shell and no configuration makes anything else of it. */
  readonly folder: string;
  /** The socket of the tunnel's own ssh-agent, if it has one; as plain. */
  readonly agent: string | undefined;
  /** The program that hops with a configuration of ours are started with. */
  readonly sshPath: string;
  /** The host's `configFile` as an absolute path, or `none`. */
  readonly configFile: string | undefined;
  /** By the names of owners, the lines of keys that were accepted as new; `'signed'`: an authority that is known vouches for it. */
  readonly kept: ReadonlyMap<string, string>;
}

/** A file in the private folder, which tells nothing secret. */
export interface LoginFile {
  readonly name: string;
  readonly text: string;
}

/** Whose key, certificate and host key it is, for the names of files: the tunnel's own, or those of a hop. */
export function ownerName(hop?: number): string {
  return hop === undefined ? 'login' : `hop-${String(hop + 1)}`;
}

/** How ssh logs in, how it gets there, and how it knows each server on the way. */
export function planLogin(settings: Settings, place: LoginPlace): Login & {readonly files: readonly LoginFile[]} {
  const {login, hostKey} = settings;
  const {plain, chain} = wayOf(settings, place);
  const last = chain.length - 1;
  const hostKeys = [hostKey, ...chain.map((hop) => hop.hostKey)];
  const scripts = [
    ...(hostKeys.some(({pins}) => pins && pins.fingerprints.length > 0)
      ? [{name: hostKeyCommand, text: hostKeyScript}]
      : []),
    ...(hostKeys.some(({check}) => check === 'accept-new') ? [{name: keepCommand, text: keepScript}] : []),
  ];
  return {
    options: [
      ...hostKeyArguments(hostKey, hostKeyFiles(place, ownerName()), place.kept.has(ownerName())),
      ...agentArguments(login.agent, place),
      ...(login.agent === 'session' ? [unforwarded] : []),
      ...(login.privateKey === undefined ? [] : [['IdentitiesOnly', 'yes'] as const]),
      ...questionArguments(settings),
      ...(settings.jump === 'none' ? [['ProxyJump', 'none'] as const] : []),
      ...(chain[last] ? [['ProxyCommand', hopCommand(chain[last], last, place)] as const] : []),
    ],
    words: [...keyWords(login, place, ownerName()), ...(plain === undefined ? [] : ['-J', plain])],
    files: [
      ...scripts,
      ...hostKeys.flatMap(({pins}, index) => {
        const owner = ownerName(index === 0 ? undefined : index - 1);
        const kept = place.kept.get(owner);
        const known = pins?.lines ?? (kept === undefined || kept === 'signed' ? [] : [kept]);
        return known.length > 0 ? [{name: knownHosts(owner), text: lines(known)}] : [];
      }),
      ...chain.map((_, index) => ({name: hopFile(index), text: hopConfiguration(settings, chain, index, place)})),
    ],
  };
}

/** The names of the files of a key: its public half, which tells ssh which of an agent's it is, and its certificate. */
export function keyFiles(owner: string): {readonly identity: string; readonly certificate: string} {
  return {identity: `${owner}.pub`, certificate: `${owner}-cert.pub`};
}

/** The hops as `-J` says them, or as a chain of our own where that is too little. */
function wayOf(
  {jump, login, configFile}: Settings,
  {sshPath}: LoginPlace,
): {readonly plain: string | undefined; readonly chain: readonly Hop[]} {
  const hops = jump === 'none' ? [] : jump;
  // For -J ssh makes a line for a shell of these, without quotes.
  const isPlain = [sshPath, configFile ?? ''].every((path) => /^[\w@+=:,./-]*$/.test(path));
  // The ssh of a -J hop does not get our BatchMode: it would ask, where somebody answers for the server alone. Nor does it get
  // our agent, where ssh_config names another.
  const isAsConfigured = !isAnswered(login) && login.agent === 'inherit';
  const plain = hops.length > 0 && isPlain && isAsConfigured ? jumpArgument(hops) : undefined;
  return {plain, chain: plain === undefined ? hops : []};
}

/**
 * Without a session ssh asks for no forwarding, but gives its agent to a server that opens a channel to it, if ssh_config has
 * ForwardAgent (`client_request_agent` in clientloop.c): it could use all keys that are there.
 */
const unforwarded = ['ForwardAgent', 'no'] as const;

function agentArguments(which: Settings['login']['agent'], {agent}: LoginPlace): Options {
  if (which === 'inherit') return [];
  if (which === false) return [['IdentityAgent', 'none']];
  // A path of the host's could have any characters in it: it is in the variable.
  return [['IdentityAgent', which === 'session' ? (agent ?? 'none') : 'SSH_AUTH_SOCK']];
}

function keyWords({privateKey, certificate}: KeySettings, {folder}: LoginPlace, owner: string): readonly string[] {
  const files = keyFiles(owner);
  return [
    ...(privateKey === undefined ? [] : ['-i', `${folder}/${files.identity}`]),
    ...(certificate === undefined ? [] : ['-o', `CertificateFile=${folder}/${files.certificate}`]),
  ];
}

/**
 * What is asked for, in which order. Keys that nobody has named come last: each counts as an attempt, and a server takes only
 * a few (sshd_config(5), MaxAuthTries).
 */
function questionArguments(settings: Settings): Options {
  const {password, keyboardInteractive, privateKey} = settings.login;
  if (!isAnswered(settings.login)) return settings.stdio === 'pipe' ? [['BatchMode', 'yes']] : [];
  const hasKey = privateKey !== undefined || settings.identityFiles.length > 0;
  const asking = keyboardInteractive
    ? ['keyboard-interactive', ...(password === undefined ? [] : ['password'])]
    : ['password', 'keyboard-interactive'];
  const again = keyboardInteractive !== undefined || typeof password === 'function';
  return [
    ['BatchMode', 'no'],
    ['PreferredAuthentications', (hasKey ? ['publickey', ...asking] : [...asking, 'publickey']).join(',')],
    ['PasswordAuthentication', password === undefined ? 'no' : 'yes'],
    ['KbdInteractiveAuthentication', 'yes'],
    ['NumberOfPasswordPrompts', again ? '2' : '1'],
  ];
}

/** The ssh of a hop, as a ProxyCommand (which is a line for a shell, and has `%` for itself). */
function hopCommand({host}: Hop, index: number, {folder, sshPath}: LoginPlace): string {
  const word = (given: string): string => `'${given.replaceAll("'", String.raw`'\''`).replaceAll('%', '%%')}'`;
  return `${word(sshPath)} -F ${folder}/${hopFile(index)} -W '[%h]:%p' -- ${word(host)}`;
}

/** In front of the host's own configuration: the first value that ssh sees wins (ssh_config(5)). */
function hopConfiguration(settings: Settings, chain: readonly Hop[], index: number, place: LoginPlace): string {
  const hop = chain[index];
  if (!hop) return '';
  const {configFile = ''} = place;
  const before = chain[index - 1];
  const owner = ownerName(index);
  const included = configFile === '' ? ['~/.ssh/config', '/etc/ssh/ssh_config'] : [configFile];
  const options: Options = [
    // An older ssh knows less, and the host's own IgnoreUnknown would come too late. The ssh that starts this one reads the same
    // configuration, and complains.
    ['IgnoreUnknown', '*'],
    ['ForkAfterAuthentication', 'no'],
    ['BatchMode', 'yes'],
    ['ControlMaster', 'no'],
    ['ControlPath', 'none'],
    unforwarded,
    ['LogLevel', 'INFO'],
    ...(settings.connectTimeout > 0 && settings.connectTimeout < Infinity
      ? [['ConnectTimeout', String(seconds(settings.connectTimeout))] as const]
      : []),
    ...(hop.port === undefined ? [] : [['Port', String(hop.port)] as const]),
    ...(hop.username === undefined ? [] : [['User', quoted(hop.username)] as const]),
    ...hostKeyArguments(hop.hostKey, hostKeyFiles(place, owner), place.kept.has(owner)),
    // Known to some builds alone, and there Kerberos would do without any host key.
    ...(hop.hostKey.pins ? [['GSSAPIKeyExchange', 'no'] as const] : []),
    ...hopKeyArguments(settings, hop, owner, place),
    ...(hop.certificate === undefined
      ? []
      : [['CertificateFile', `${place.folder}/${keyFiles(owner).certificate}`] as const]),
    ...hop.identityFiles.map((file) => ['IdentityFile', quoted(file)] as const),
    ...(before ? [['ProxyCommand', hopCommand(before, index - 1, place)] as const] : []),
    ...(configFile === 'none' || configFile === '/dev/null'
      ? []
      : included.map((file) => ['Include', quoted(literal(file))] as const)),
  ];
  return lines(options.map(([name, value]) => `${name} ${value}`));
}

/** The agent that a hop asks, and which of its keys, where it is the tunnel's: that has the keys of others as well. */
function hopKeyArguments({login}: Settings, hop: Hop, name: string, place: LoginPlace): Options {
  const agent = hop.privateKey === undefined ? login.agent : 'session';
  const isKeyless = hop.privateKey === undefined && hop.identityFiles.length === 0;
  const {privateKey} = isKeyless ? login : hop;
  const identity = keyFiles(isKeyless ? ownerName() : name).identity;
  const isNamed = privateKey !== undefined || hop.identityFiles.length > 0;
  return [
    ...agentArguments(agent, place),
    ...(privateKey === undefined ? [] : [['IdentityFile', `${place.folder}/${identity}`] as const]),
    ...(agent === 'session' && isNamed ? [['IdentitiesOnly', 'yes'] as const] : []),
  ];
}

/** As glob(3) reads it. */
function literal(path: string): string {
  return path.replace(/[*?[\\]/g, String.raw`\$&`);
}

/** As `argv_split` in OpenSSH's misc.c reads it. */
function quoted(value: string): string {
  return `"${value.replace(/["\\]/g, String.raw`\$&`)}"`;
}

function hostKeyFiles({folder}: LoginPlace, owner: string): HostKeyFiles {
  return {
    knownHosts: `${folder}/${knownHosts(owner)}`,
    command: `${folder}/${hostKeyCommand}`,
    keeper: `${folder}/${keepCommand}`,
    offered: `${folder}/${offeredKey(owner)}`,
  };
}

/** The name of the file in which the host key is that a server has offered. */
export function offeredKey(owner: string): string {
  return `${owner}.offered.known_hosts`;
}

function knownHosts(owner: string): string {
  return `${owner}.known_hosts`;
}

function hopFile(index: number): string {
  return `${ownerName(index)}.config`;
}

const hostKeyCommand = 'host-key.sh';
const keepCommand = 'keep-host-key.sh';

function lines(all: readonly string[]): string {
  return all.map((line) => `${line}\n`).join('');
}
