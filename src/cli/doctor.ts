import {styleText} from 'node:util';
import type {CommandLine} from '../index.js';
import {findings} from './doctor-findings.js';
import {type Paint, report, type Tone} from './doctor-report.js';
import {effectiveConfiguration, type Refusal} from './effective-configuration.js';
import {longestUnnoticed} from './heartbeat-findings.js';
import {examine} from './machine.js';
import {oneLine} from './status-words.js';

/** Where a report goes: a terminal, or not. */
export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/**
 * `autossh --doctor`: tells what will become of a command line, from what ssh reads (`ssh -G`) and a look at this machine.
 * Connects to no server, only asks for its address, and changes nothing.
 *
 * @param input - where answers come from: a terminal, or not
 * @returns the exit code: 1 if something will break
 */
export async function doctor(
  line: CommandLine,
  env: NodeJS.ProcessEnv,
  output: Output,
  input: {readonly isTTY?: boolean},
): Promise<0 | 1> {
  const paint = painter(env, output);
  const print = (lines: readonly string[]): void => void output.write(`${lines.join('\n')}\n`);
  const configuration = await effectiveConfiguration(line, env);
  if ('refused' in configuration) {
    print(refusal(line, configuration, paint));
    return 1;
  }
  const machine = await examine(configuration, line.monitor, env);
  const terminal = input.isTTY === true || output.isTTY === true;
  const facts = {line, configuration, machine, terminal};
  const found = findings(facts);
  const value = (key: string): string => configuration.values.get(key)?.[0] ?? '';
  const [alias, host] = [value('host'), value('hostname')];
  const server = `${value('user')}@${host}, port ${value('port')}`;
  // ssh writes names of hosts in small letters.
  const destination = alias === '' || alias.toLowerCase() === host ? server : `${alias} (${server})`;
  const width = Math.min(output.columns ?? widest, widest);
  print(report({destination, found, unnoticed: longestUnnoticed(facts)}, paint, width));
  return found.some(({severity}) => severity === 'breaks') ? 1 : 0;
}

const widest = 80;

const styles = {
  bad: ['red', 'bold'],
  doubtful: ['yellow'],
  good: ['green'],
  strong: ['bold'],
  quiet: ['dim'],
} as const satisfies Record<Tone, readonly string[]>;

function painter(env: NodeJS.ProcessEnv, output: Output): Paint {
  if (!output.isTTY || (env['NO_COLOR'] ?? '') !== '') return (_tone, text) => text;
  return (tone, text) => styleText([...styles[tone]], text, {validateStream: false});
}

/** What to do about that which ssh says when it refuses to start: its messages are in readconf.c and ssh.c. */
const remedies: readonly (readonly [RegExp, string])[] = [
  [/^Cannot fork into background without a command/m, '-N, or -o ForkAfterAuthentication=no'],
  [/^Cannot execute command-line and remote command/m, '-o RemoteCommand=none'],
  [/^Bad local forwarding specification '(?:.*:)?0:/m, 'a port: ssh chooses none for -L and -D'],
  [
    /^Bad (?:local|remote|dynamic) forwarding specification '[^']{108}/m,
    'a shorter path: a socket has 107 bytes at most',
  ],
  [/Bad configuration option: (\S+)/m, 'correct the option, or take it away: this ssh does not know it'],
  [/Bad owner or permissions on (\S+)/m, 'chmod 600 on that file'],
];

function refusal({sshPath}: CommandLine, {refused, message}: Refusal, paint: Paint): readonly string[] {
  const {title, remedy} = {
    'not-found': {
      title: `${sshPath} cannot be started`,
      remedy: 'install OpenSSH, or name the program: --ssh-path FILE',
    },
    'no-answer': {
      title: 'ssh does not finish reading its configuration',
      remedy: 'look for a `Match exec` that waits, and for names that are looked up',
    },
    configuration: {
      title: 'ssh refuses this command line',
      remedy: remedies.find(([pattern]) => pattern.test(message))?.[1],
    },
  }[refused];
  return [
    paint('strong', oneLine(title)),
    ...message.split('\n').map((text) => `  ${paint('bad', '✖')} ${oneLine(text)}`),
    ...(remedy === undefined ? [] : [`    → ${paint('strong', remedy)}`]),
    '',
    paint('bad', '✖ This tunnel will not start.'),
  ];
}
