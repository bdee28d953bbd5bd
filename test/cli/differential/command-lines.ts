import type {Deviation} from './comparison.js';
import type {Observed} from './programs.js';
import {accepted, complained, deviating, line, refused, type CommandLine} from './rows.js';

const loop = ['-L', '20000:127.0.0.1:20000', '-R', '20000:127.0.0.1:20001'];
const chosenLoop = ['-L', 'chosen:127.0.0.1:chosen', '-R', 'chosen:127.0.0.1:chosen+1'];

/** Both start ssh, with other arguments. */
function sends(why: string, original: readonly string[], ours: readonly string[]): Deviation<Observed> {
  return {why, original: {starts: [original]}, ours: {starts: [ours]}};
}

const strips = '1.4g takes -f out of arguments of options and, after --, out of what is no option of its own';
const cluster = '1.4g takes the port out of a cluster, and leaves it there for ssh too';
const letters = 'the letters are those of ssh, also of an ssh that is younger than 1.4g';

const wrongPort: Deviation<Observed> = {
  why: 'a wrong port is told on stderr too',
  original: {stderr: 'nothing'},
  ours: {stderr: 'something'},
};

const flags: CommandLine[] = [
  ...'1246AaCGgKkNnqsTtvXxYy'.split('').map((letter) => line(`-M 0 -${letter} host`)),
  deviating('-M 0 -P host', {why: letters, original: accepted('-P', 'host'), ours: refused}),
];

const withArgument: CommandLine[] = 'bcDEeFIiLlmOopQRSWw'
  .split('')
  .flatMap((letter) => [line(`-M 0 -${letter} value host`), line(`-M 0 -${letter}value host`)]);

const younger: CommandLine[] = [
  deviating('-M 0 -B eth0 host', {why: letters, original: refused, ours: accepted('-B', 'eth0', 'host')}),
  deviating('-M 0 -Beth0 host', {why: letters, original: refused, ours: accepted('-Beth0', 'host')}),
  line('-M 0 -J jump host'),
  deviating('-M 0 -Jjump host', {why: letters, original: refused, ours: accepted('-Jjump', 'host')}),
];

const unknown: CommandLine[] = ['-H', '-0', '-z', '-?', '-:'].map((option) => line(`-M 0 ${option} host`));

const clusters: CommandLine[] = [
  line('-M 0 -NT host'),
  line('-M 0 -NTvvv host'),
  line('-M 0 -4Nv host'),
  line('-M 0 -NL 8080:localhost:80 host'),
  line('-M 0 -NL8080:localhost:80 host'),
  line('-M 0 -vp 2222 host'),
  line('-M 0 -vp2222 host'),
  line('-M 0 -NTp host'),
  deviating('-NM 20000 host', sends(cluster, [...loop, '-NM', '20000', 'host'], [...loop, '-N', 'host'])),
  deviating('-NM20000 host', sends(cluster, [...loop, '-NM20000', 'host'], [...loop, '-N', 'host'])),
  deviating('-vNM 0 host', sends(cluster, ['-vNM', '0', 'host'], ['-vN', 'host'])),
];

const background: CommandLine[] = [
  line('-M 0 -f host'),
  line('-f -M 0 host'),
  line('-M 0 -fN host'),
  line('-M 0 -Nf host'),
  line('-M 0 -4fN host'),
  line('-M 0 -fNf host'),
  line('-M 0 -fNL 8080:localhost:80 host'),
  line('-M 0 host -f'),
  line('-M 0 -f -f -N host'),
  line('-M 20000 -fN host'),
  deviating('-M 0 -ff host', sends('1.4g leaves the second of two', ['-f', 'host'], ['host'])),
  deviating('-M 0 -NfL8080:foo:80 host', sends(strips, ['-NL8080:oo:80', 'host'], ['-NL8080:foo:80', 'host'])),
  deviating('-fM 20000 -N host', sends(cluster, [...loop, '-M', '20000', '-N', 'host'], [...loop, '-N', 'host'])),
  deviating('-fM20000 -N host', sends(cluster, [...loop, '-M20000', '-N', 'host'], [...loop, '-N', 'host'])),
  deviating('-fM 0 host', sends(cluster, ['-M', '0', 'host'], ['host'])),
  line('-M 0 -offoo host'),
  line('-M 0 -o foo=fff host'),
  line('-M 0 -L fff host'),
  line('-M 0 -Lfff host'),
  line('-M 0 -lf host'),
  deviating('-M 0 -o -f host', sends(strips, ['-o', 'host'], ['-o', '-f', 'host'])),
  deviating('-M 0 -o -foo host', sends(strips, ['-o', '-oo', 'host'], ['-o', '-foo', 'host'])),
  deviating('-M 0 -i -f host', sends(strips, ['-i', 'host'], ['-i', '-f', 'host'])),
  deviating('-M 0 -p -fN host', sends(strips, ['-p', '-N', 'host'], ['-p', '-fN', 'host'])),
  deviating('-M 0 -- host -f', sends(strips, ['host'], ['host', '-f'])),
  deviating('-M 0 -- host ls -f', sends(strips, ['host', 'ls'], ['host', 'ls', '-f'])),
  deviating('-M 0 -f -- host ls -f', sends(strips, ['host', 'ls'], ['host', 'ls', '-f'])),
  deviating('-M 0 -- -f host', sends(strips, ['host'], ['-f', 'host'])),
  deviating('-M 0 -- --foo host', sends(strips, ['--oo', 'host'], ['--foo', 'host'])),
];

const monitor: CommandLine[] = [
  line('-M 20000 host'),
  line('-M20000 host'),
  line('-M 20000:7 host'),
  line('-M20000:7 host'),
  line('-M 20000:07 host'),
  line('-M 20000:0x7 host'),
  line('-M 0 host'),
  line('-M0 host'),
  line('-M 00 host'),
  line('-M 0x0 host'),
  line('-M 0:7 host'),
  line('-M 0x4e20 host'),
  line('-M 047040 host'),
  line('-M +20000 host'),
  line('-M _20000 host'),
  line('-M 65534:7 host'),
  line('host -M'),
  line('-N -M'),
  line('-M'),
  line('-M 20000'),
  line('-M 20000 -M 0 host'),
  line('-M 0 -M 20000 host'),
  line('-M 20000 -M 20000:7 host'),
  line('-N -M 20000 -v host'),
  line('-N -v host -M 20000'),
  line('host -M 20000'),
  line('host -M20000 -N'),
  line('host -M 0 -N -v'),
  line('-L 8080:localhost:80 -M 20000 -R 9090:localhost:90 host'),
  deviating(
    '-o -M host -M 0',
    sends('1.4g takes -M for its own where it is the argument of an option', ['-o', '0', 'host'], ['-o', '-M', 'host']),
  ),
];

const wrongPorts: CommandLine[] = [
  ...['0', '', 'x', '7:8'].map((echo) => deviating(`-M 20000:${echo} host`, wrongPort)),
  deviating('-M 0:0 host', wrongPort),
  deviating('-M : host', wrongPort),
  deviating('-M :7 host', wrongPort),
  ...['0x4E2G', '08', '20000.5', 'abc', '20000abc', '-N'].map((port) => deviating(`-M ${port} host`, wrongPort)),
  deviating('-M 20000_ host', wrongPort),
  deviating("-M '' host", wrongPort),
  ...['65535', '65536', '99999', '-1', '-5'].map((port) => deviating(`-M ${port} host`, wrongPort)),
  deviating('-M 65535:7 host', wrongPort),
  deviating('-M 99999999999999999999 host', {
    why: 'more than 32 bits are cut off by 1.4g',
    original: {log: ['monitor port (-1) out of range'], stderr: 'nothing'},
    ours: {log: ['monitor port (2147483647) out of range'], stderr: 'something'},
  }),
  deviating('-f -M x host', wrongPort),
  ...['99999', '-1'].map((echo) =>
    deviating(`-M 20000:${echo} host`, {
      why: 'ssh refuses such a forward at each of its starts',
      original: accepted('-L', `20000:127.0.0.1:${echo}`, 'host'),
      ours: {...complained, log: [`invalid echo port  "${echo}"`]},
    }),
  ),
  deviating('-M 4294967296 host', {
    why: 'more than 32 bits are cut off by 1.4g',
    original: accepted('host'),
    ours: {...complained, log: ['monitor port (2147483647) out of range']},
  }),
];

const portInTheEnvironment: CommandLine[] = [
  line('host', {AUTOSSH_PORT: '20000'}),
  line('-N host', {AUTOSSH_PORT: '20000'}),
  line('-N host ls', {AUTOSSH_PORT: '20000:7'}),
  line('-N -v host', {AUTOSSH_PORT: '0'}),
  line('-M 20000 host', {AUTOSSH_PORT: '0'}),
  line('-N -M 0 host', {AUTOSSH_PORT: '20000'}),
  line('-N -M 20000 host', {AUTOSSH_PORT: '21000'}),
  line('-N host -M 20000', {AUTOSSH_PORT: '21000'}),
  line('-N host', {AUTOSSH_PORT: '0x4e20'}),
  line('-- host', {AUTOSSH_PORT: '20000'}),
  line('-f -N host', {AUTOSSH_PORT: '20000'}),
  line('', {AUTOSSH_PORT: '20000'}),
  line('-N', {AUTOSSH_PORT: '20000'}),
  deviating('-N -M abc host', wrongPort, {AUTOSSH_PORT: '20000'}),
  deviating("-N -M '' host", wrongPort, {AUTOSSH_PORT: '20000'}),
  deviating('-N host', wrongPort, {AUTOSSH_PORT: 'abc'}),
  deviating('-N host', wrongPort, {AUTOSSH_PORT: '-1'}),
  deviating('-N host', wrongPort, {AUTOSSH_PORT: '65535'}),
  deviating('-N host', wrongPort, {AUTOSSH_PORT: '20000:'}),
];

const mistaken = "Debian's wrapper takes what stands after -- for a port, and then there is none";

const chosenPort: CommandLine[] = [
  line('host'),
  line('-N host'),
  line('-f -N host'),
  line('-v host ls'),
  line('-N host', {AUTOSSH_PORT: ''}),
  line('-- host'),
  line('-N -L 8080:localhost:80 host'),
  line(''),
  line('-N'),
  line('-x'),
  line('host command -M'),
  deviating('-- -M 20000 host', {
    why: mistaken,
    original: refused,
    ours: accepted(...chosenLoop, '-M', '20000', 'host'),
  }),
  deviating('-- -M 0 host', {why: mistaken, original: refused, ours: accepted(...chosenLoop, '-M', '0', 'host')}),
];

const doubleHyphen: CommandLine[] = [
  line('-M 0 -- host'),
  line('-M 0 -N -- host'),
  line('-M 0 host --'),
  line('-M 0 host -- ls'),
  line('-M 0 host -- ls -l'),
  line('-M 0 -- host ls -l'),
  line('-M 0 -- host -- ls'),
  line('-M 0 -- -- host'),
  line('-M 0 -- -M 20000 host'),
  line('-M 20000 -- host -M 0'),
  line('-M 20000 -- host -M0'),
  line('-M 0 -- -V host'),
  line('-M 0 --'),
  line('--'),
  line('-M 0 -N --foo host'),
  line('-M 0 - host'),
  line('-M 0 host -'),
  deviating(
    '-M 0 -o -- host',
    sends('1.4g takes -- for its own where it is the argument of an option', ['-o', 'host'], ['-o', '--', 'host']),
  ),
];

const remoteCommands: CommandLine[] = [
  line('-M 0 host ls'),
  line('-M 0 host ls /tmp /var'),
  line('-M 0 host ls -l'),
  line('-M 0 host ls -la'),
  line('-M 0 host ls -v'),
  line('-M 0 host tail -f /var/log/syslog'),
  line('-M 0 host uname -V'),
  line('-M 0 host grep -M 20000 x'),
  line('-M 0 host ls --all'),
  line('-M 0 host sh -c ls_-l'),
  line('-M 0 host -v ls'),
  line('-M 0 -v host -N'),
  line('-M 0 host -L 8080:localhost:80'),
  line('-M 0 host -p 2222 ls'),
  line('-M 20000 host ls -v'),
  line('-M 0 host ls_-l'),
  line('-M 0 host a b c d e f g h i j k l m n o p q r s t u v w x y z 1 2 3 4 5 6 7 8 9'),
  line('-M 0 host ls', {POSIXLY_CORRECT: '1'}),
  line('-M 0 host ls -v -- -l -- x', {POSIXLY_CORRECT: '1'}),
  deviating('-M 0 host tail -f x', sends(strips, ['host', 'tail', 'x'], ['host', 'tail', '-f', 'x']), {
    POSIXLY_CORRECT: '1',
  }),
];

const odd: CommandLine[] = [
  line("-M 0 '' host"),
  line("-M 0 host ''"),
  line("-M 0 -o '' host"),
  line("-M 0 -L '' host ''"),
  line("''"),
  line("-M 0 ''"),
  line('-M 0 -L'),
  line('-M 0 host -L'),
  line('-M 0 -N'),
  line('-M 0'),
  line('-M 0 ü host'),
  line('-M 0 -o SendEnv=Ü_1 host'),
  line('-M 0 -NT user@host'),
  line('-M 0 ssh://user@host:2222'),
];

const version: CommandLine[] = [
  line('-V'),
  line('-M 0 -V'),
  line('-V -M 0 host'),
  line('-M 0 host -V'),
  line('-NV'),
  line('-V foo'),
  line('-M 0 -Vx host'),
  line('-M abc -V'),
];

/** What stands on the command line, in every place it may have. */
export const commandLines: readonly CommandLine[] = [
  ...flags,
  ...withArgument,
  ...younger,
  ...unknown,
  ...clusters,
  ...background,
  ...monitor,
  ...wrongPorts,
  ...portInTheEnvironment,
  ...chosenPort,
  ...doubleHyphen,
  ...remoteCommands,
  ...odd,
  ...version,
];
