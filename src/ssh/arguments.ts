import type {Settings} from '../options.js';
import {forwardArguments} from './forward.js';
import {type Life, seconds} from './life.js';

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
  if (settings.sshArguments) return rawArguments(settings, settings.sshArguments, life.monitorRemote);
  const named = new Set(settings.sshOptions.map(([name]) => name.toLowerCase()));
  const own = [
    ...[...defence, ...life.equipment.options].filter(([name]) => !life.unknownOptions.has(name.toLowerCase())),
    ...(settings.connectTimeout > 0 && settings.connectTimeout < Infinity
      ? [['ConnectTimeout', String(seconds(settings.connectTimeout))] as const]
      : []),
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
    ...life.equipment.words,
    ...settings.identityFiles.flatMap((file) => ['-i', file]),
    ...(settings.port === undefined ? [] : ['-p', String(settings.port)]),
    ...(settings.username === undefined ? [] : ['-l', settings.username]),
    ...life.forwards.flatMap(forwardArguments),
    ...forwardArguments({
      name: '',
      type: marker.target ? 'local' : 'dynamic',
      steady: false,
      listen: {path: marker.socket},
      target: marker.target,
    }),
    ...(loop
      ? forwardArguments({
          name: '',
          type: 'remote',
          steady: false,
          listen: {host: '127.0.0.1', port: loop.port},
          target: {path: loop.socket},
        })
      : []),
    // Without it a destination `-oProxyCommand=…` would be an option and run a command.
    '--',
    settings.host,
  ];
}

/**
 * A raw command line. The loop of autossh goes over another port of the server where its own is held, by its predecessor as
 * long as the server has not noticed that it is dead; where the server refuses it, it is left out.
 */
function rawArguments({heartbeat}: Settings, given: readonly string[], remote: number | undefined): readonly string[] {
  if (!heartbeat || heartbeat.monitorPort === undefined || remote === undefined) return given;
  const port = String(heartbeat.monitorPort);
  const back = `:127.0.0.1:${String(heartbeat.monitorPort + 1)}`;
  const moved = new Map([
    [`-L ${port}:127.0.0.1:${port}`, `${port}:127.0.0.1:${String(remote)}`],
    [`-R ${port}${back}`, `${String(remote)}${back}`],
  ]);
  const isLoop = (index: number): boolean => moved.has(`${given[index] ?? ''} ${given[index + 1] ?? ''}`);
  if (remote === 0) return given.filter((_word, index) => !isLoop(index) && !isLoop(index - 1));
  return given.map((word, index) => moved.get(`${given[index - 1] ?? ''} ${word}`) ?? word);
}

/**
 * Options that carry a secret by themselves have no place in ssh_config; a command line in one of these may. They stand
 * alone behind `-o` or are joined to it, with `=` or white space before their value.
 */
const secretive =
  /^(?:-\w*o)?\s*(?:ProxyCommand|SetEnv|KnownHostsCommand|LocalCommand|RemoteCommand)(?:\s*=\s*|\s+)(?!none$)/i;

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
