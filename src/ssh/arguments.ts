import type {Settings} from '../options.js';
import {type Address, type Forward, forwardArguments} from './forward.js';

/** What one life of ssh has of its own. */
export interface Life {
  /** The user's forwards, local ports filled in. */
  readonly forwards: readonly Forward[];
  /** A private socket that ssh binds after all other local forwards, and what it leads to on the server's side. */
  readonly marker: {readonly socket: string; readonly target: Address};
  /** The way back of a forward-loop: a port at the server that leads to a private socket on this side. */
  readonly loop: {readonly port: number; readonly socket: string} | undefined;
  /** ssh's own keep-alives, in seconds; `undefined`: as configured. */
  readonly keepAlive: {readonly interval: number; readonly countMax: number} | undefined;
  /** Options of {@link defence} that this ssh does not know. */
  readonly unknownOptions: ReadonlySet<string>;
}

/**
 * What a user's ssh_config must not do to a supervised ssh. The first value that ssh sees wins, and the command line
 * comes before the files (ssh_config(5)), so the user's own `sshOptions` go before these.
 */
const defence: readonly (readonly [name: string, value: string])[] = [
  // A live master would take the forwards over and ssh exit 0 at once; ControlPersist would send ssh to the background.
  ['ControlMaster', 'no'],
  ['ControlPath', 'none'],
  ['ControlPersist', 'no'],
  // Since 8.7; exits 0 and lives on unsupervised.
  ['ForkAfterAuthentication', 'no'],
  // Drops the forwards silently.
  ['ClearAllForwardings', 'no'],
  // A forward that is not bound ends ssh, instead of a tunnel with a part missing.
  ['ExitOnForwardFailure', 'yes'],
  // A socket file left behind by an ssh that was killed must not stop its successor.
  ['StreamLocalBindUnlink', 'yes'],
  ['RemoteCommand', 'none'],
  ['RequestTTY', 'no'],
  // QUIET would leave nothing to classify. VERBOSE adds the line that says who was logged in how.
  ['LogLevel', 'VERBOSE'],
];

/** The arguments of one ssh. */
export function sshArguments(settings: Settings, life: Life): readonly string[] {
  if (settings.sshArguments) return settings.sshArguments;
  const named = new Set(settings.sshOptions.map(([name]) => name.toLowerCase()));
  const own = [
    ...defence.filter(([name]) => !life.unknownOptions.has(name.toLowerCase())),
    // Nothing may wait for an answer on a terminal, unless the terminal is handed to ssh.
    ...(settings.stdio === 'pipe' ? [['BatchMode', 'yes'] as const] : []),
    ...(settings.connectTimeout > 0 ? [['ConnectTimeout', seconds(settings.connectTimeout)] as const] : []),
    ...(life.keepAlive
      ? [
          ['ServerAliveInterval', String(life.keepAlive.interval)] as const,
          ['ServerAliveCountMax', String(life.keepAlive.countMax)] as const,
        ]
      : []),
  ].filter(([name]) => !named.has(name.toLowerCase()));
  const {marker, loop} = life;
  return [
    ...settings.extraArgs,
    '-N',
    ...[...settings.sshOptions, ...own].flatMap(([name, value]) => ['-o', `${name}=${value}`]),
    ...(settings.configFile === undefined ? [] : ['-F', settings.configFile]),
    ...settings.identityFiles.flatMap((file) => ['-i', file]),
    ...(settings.port === undefined ? [] : ['-p', String(settings.port)]),
    ...(settings.username === undefined ? [] : ['-l', settings.username]),
    ...life.forwards.flatMap(forwardArguments),
    // Local forwards are bound in this order, and before any remote one is asked for: the marker's socket proves them.
    ...forwardArguments({name: '', type: 'local', listen: {path: marker.socket}, target: marker.target}),
    ...(loop
      ? forwardArguments({
          name: '',
          type: 'remote',
          listen: {host: '127.0.0.1', port: loop.port},
          target: {path: loop.socket},
        })
      : []),
    // Without it a destination `-oProxyCommand=…` would be an option and run a command.
    '--',
    settings.host,
  ];
}

/** Whole seconds, as ssh counts them; at least one, because 0 means never to it. */
export function seconds(milliseconds: number): string {
  return String(Math.max(1, Math.ceil(milliseconds / 1000)));
}

/** Options that carry a secret by themselves have no place in ssh_config; a command line in one of these may. */
const secretive = /^(ProxyCommand|SetEnv|KnownHostsCommand|LocalCommand|RemoteCommand)=(?!none$)/i;

/** A command for people to read, quoted as for a shell, secrets out. */
export function printable(command: readonly string[]): string {
  return command
    .map(hide)
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`))
    .join(' ');
}

function hide(word: string): string {
  const match = secretive.exec(word);
  return match ? `${match[0]}***` : word;
}
