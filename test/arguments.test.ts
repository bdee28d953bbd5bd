import {execFileSync} from 'node:child_process';
import fc from 'fast-check';
import {describe, expect, test} from 'vitest';
import type {AutoSSHOptions} from '../src/index.js';
import {resolveOptions} from '../src/options.js';
import {printable, sshArguments} from '../src/ssh/arguments.js';
import {type LifeOptions, planLife} from '../src/ssh/life.js';
import {planLogin} from '../src/ssh/login.js';

const [out, back, loopPort] = ['/t/1-out.sock', '/t/1-back.sock', 20_000];

function argvOf(options: AutoSSHOptions, life: Partial<LifeOptions> = {}): readonly string[] {
  const settings = resolveOptions(options, {});
  const {forwards, heartbeat} = settings;
  const place = {folder: '/t', agent: '/t/agent.sock', sshPath: '/usr/bin/ssh', configFile: undefined, kept: new Map()};
  const equipment = planLogin(settings, place);
  return sshArguments(
    settings,
    planLife(
      {forwards, heartbeat, loopPort, monitorRemote: undefined, unknownOptions: new Set(), equipment, ...life},
      out,
      back,
    ),
  );
}

/** `Name=value` of all `-o`, in order. */
function optionsIn(argv: readonly string[]): string[] {
  return argv.flatMap((one, index) => (argv[index - 1] === '-o' ? [one] : []));
}

/** The values that are there for one option, whatever its case. */
function valuesOf(argv: readonly string[], name: string): string[] {
  return optionsIn(argv)
    .filter((one) => one.toLowerCase().startsWith(`${name.toLowerCase()}=`))
    .map((one) => one.slice(name.length + 1));
}

const defence = [
  ...['-o', 'ControlMaster=no', '-o', 'ControlPath=none', '-o', 'ControlPersist=no'],
  ...['-o', 'ForkAfterAuthentication=no', '-o', 'ClearAllForwardings=no', '-o', 'ExitOnForwardFailure=yes'],
  ...['-o', 'StreamLocalBindUnlink=yes', '-o', 'RemoteCommand=none', '-o', 'RequestTTY=no', '-o', 'LogLevel=VERBOSE'],
];
const batch = ['-o', 'BatchMode=yes'];
const connect = ['-o', 'ConnectTimeout=15'];
const alive = ['-o', 'ServerAliveInterval=15', '-o', 'ServerAliveCountMax=3'];
const loop = ['-L', `${out}:127.0.0.1:20000`, '-R', `127.0.0.1:20000:${back}`];
/** Proves a remote forward by what the server answers. */
const marker = ['-L', `${out}:/`];
/** Proves local forwards by what ssh itself answers. */
const ownMarker = ['-D', out];

test.each<[options: AutoSSHOptions, argv: string[]]>([
  [{host: 'h'}, ['-N', ...defence, ...batch, ...connect, ...alive, ...loop, '--', 'h']],
  [{host: 'h', heartbeat: false}, ['-N', ...defence, ...batch, ...connect, ...ownMarker, '--', 'h']],
  [
    {host: 'h', heartbeat: {mode: 'server-alive', interval: 4_500, maxMisses: 4}},
    [
      ...['-N', ...defence, ...batch, ...connect, '-o', 'ServerAliveInterval=5', '-o', 'ServerAliveCountMax=4'],
      ...[...ownMarker, '--', 'h'],
    ],
  ],
  [
    {host: 'h', heartbeat: {mode: 'echo-port', echoHost: '::1', echoPort: 7007}},
    ['-N', ...defence, ...batch, ...connect, ...alive, '-L', `${out}:[::1]:7007`, '--', 'h'],
  ],
  [{host: 'h', stdio: 'inherit', connectTimeout: 0, heartbeat: {maxMisses: 0}}, ['-N', ...defence, ...loop, '--', 'h']],
  [
    {
      host: 'me@h',
      port: 2222,
      username: 'you',
      forwards: ['-L 1:db:2', '-R 3:web:4', '-D 5'],
      heartbeat: false,
      connectTimeout: 1_001,
      configFile: '/etc/c',
      identityFile: ['/k/a', '/k/b'],
      sshOptions: {Compression: true, SendEnv: ['A', 'B']},
      extraArgs: ['-4', '-v'],
    },
    [
      ...['-4', '-v', '-N', '-o', 'Compression=yes', '-o', 'SendEnv=A', '-o', 'SendEnv=B', ...defence, ...batch],
      ...['-o', 'ConnectTimeout=2', '-F', '/etc/c', '-i', '/k/a', '-i', '/k/b', '-p', '2222', '-l', 'you'],
      ...['-L', '127.0.0.1:1:db:2', '-R', '127.0.0.1:3:web:4', '-D', '127.0.0.1:5', ...marker, '--', 'me@h'],
    ],
  ],
  [{sshArguments: ['-M', '-N', '-L1:a:2', 'h', 'a command']}, ['-M', '-N', '-L1:a:2', 'h', 'a command']],
])('%j', (options, argv) => {
  expect(argvOf(options)).toEqual(argv);
});

test('the host is the last word, with nothing that could make an option of it', () => {
  for (const options of [{}, {extraArgs: ['-v']}, {heartbeat: false}, {stdio: 'inherit'}] as const) {
    expect(argvOf({host: 'h', ...options}).slice(-2)).toEqual(['--', 'h']);
  }
});

test('ssh is given the sockets after the user’s forwards, so that they prove those', () => {
  const argv = argvOf({host: 'h', forwards: ['-R 3:web:4', '-L 1:db:2']});
  const specifications = argv.filter((_one, index) => /^-[LRD]$/.test(argv[index - 1] ?? ''));
  expect(specifications).toEqual([
    '127.0.0.1:3:web:4',
    '127.0.0.1:1:db:2',
    `${out}:127.0.0.1:20000`,
    `127.0.0.1:20000:${back}`,
  ]);
});

describe('the user’s ssh options', () => {
  test.each([
    'ControlMaster',
    'controlmaster',
    'CONTROLPATH',
    'LogLevel',
    'BatchMode',
    'ConnectTimeout',
    'ServerAliveInterval',
  ])('%s stands in place of ours, in any spelling', (name) => {
    const argv = argvOf({host: 'h', sshOptions: {[name]: 'theirs'}});
    expect(valuesOf(argv, name)).toEqual(['theirs']);
  });

  test('come first, because the first value that ssh sees wins', () => {
    const argv = argvOf({host: 'h', sshOptions: {Compression: 'yes', User: 'a'}});
    expect(optionsIn(argv).slice(0, 3)).toEqual(['Compression=yes', 'User=a', 'ControlMaster=no']);
  });

  test('as raw arguments come before everything', () => {
    expect(argvOf({host: 'h', extraArgs: ['-oLogLevel=DEBUG']})[0]).toBe('-oLogLevel=DEBUG');
  });
});

test('an option that this ssh has turned out not to know is left out', () => {
  const argv = argvOf({host: 'h'}, {unknownOptions: new Set(['forkafterauthentication'])});
  expect(valuesOf(argv, 'ForkAfterAuthentication')).toEqual([]);
  expect(optionsIn(argv)).toHaveLength(optionsIn(argvOf({host: 'h'})).length - 1);
});

describe('times in whole seconds, as ssh counts them', () => {
  test.each([
    [1, '1'],
    [999, '1'],
    [1_000, '1'],
    [1_001, '2'],
    [15_000, '15'],
    [1e300, '2147483'],
  ])('connectTimeout %d: %s', (connectTimeout, seconds) => {
    expect(valuesOf(argvOf({host: 'h', connectTimeout}), 'ConnectTimeout')).toEqual([seconds]);
  });

  test.each([0, false, Infinity] as const)('connectTimeout %s: as configured', (connectTimeout) => {
    expect(valuesOf(argvOf({host: 'h', connectTimeout}), 'ConnectTimeout')).toEqual([]);
  });

  test.each<[heartbeat: AutoSSHOptions['heartbeat'], interval: string[], countMax: string[]]>([
    // The second net is not tighter than the first, and never quicker than 45 seconds.
    [{interval: 250, timeout: 500, maxMisses: 1}, ['15'], ['3']],
    [{interval: 60_000, timeout: 30_000, maxMisses: 3}, ['50'], ['3']],
    [{interval: 1e300}, ['2147483'], ['3']],
    [{interval: Infinity}, [], []],
    [{timeout: 0}, [], []],
    [{maxMisses: 0}, [], []],
    [false, [], []],
    [{mode: 'server-alive', interval: 1, maxMisses: 1}, ['1'], ['1']],
    [{mode: 'server-alive', interval: 30_000, maxMisses: 5, timeout: 0}, ['30'], ['5']],
    [{mode: 'server-alive', interval: 1e300, maxMisses: 1e15}, ['2147483'], ['2147483']],
    [{mode: 'server-alive', interval: Infinity}, [], []],
    [{mode: 'server-alive', maxMisses: 0}, [], []],
  ])('keep-alives of %j: %j × %j', (heartbeat, interval, countMax) => {
    const argv = argvOf({host: 'h', ...(heartbeat !== undefined && {heartbeat})});
    expect(valuesOf(argv, 'ServerAliveInterval')).toEqual(interval);
    expect(valuesOf(argv, 'ServerAliveCountMax')).toEqual(countMax);
  });
});

test.each<[what: string, options: AutoSSHOptions, lines: string[]]>([
  [
    'its own defence',
    {host: 'h'},
    ['controlmaster false', 'controlpersist no', 'clearallforwardings no', 'exitonforwardfailure yes', 'batchmode yes'],
  ],
  ['the longest time', {host: 'h', connectTimeout: 1e300}, ['connecttimeout 2147483']],
  [
    'the longest keep-alives',
    {host: 'h', heartbeat: {mode: 'server-alive', interval: 1e300, maxMisses: 1e15}},
    ['serveraliveinterval 2147483', 'serveralivecountmax 2147483'],
  ],
  [
    'what the user wants instead',
    {host: 'h', sshOptions: {batchmode: false, LogLevel: 'DEBUG1'}, extraArgs: ['-oExitOnForwardFailure=no']},
    ['batchmode no', 'loglevel DEBUG', 'exitonforwardfailure no'],
  ],
  [
    'host, user, port and forwards',
    {host: 'a.b', username: 'me', port: 2222, forwards: ['-L 1:[::1]:2', '-R 0.0.0.0:3:/r/a', '-D [::1]:4']},
    [
      ...['hostname a.b', 'user me', 'port 2222', 'localforward [127.0.0.1]:1 [::1]:2'],
      ...['remoteforward [0.0.0.0]:3 /r/a', 'dynamicforward [::1]:4', `localforward ${out} [127.0.0.1]:20000`],
    ],
  ],
])('ssh itself reads %s', (_what, options, lines) => {
  const argv = argvOf({...options, configFile: '/dev/null'});
  const read = execFileSync('ssh', ['-G', ...argv], {encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe']}).split('\n');
  expect(read).toEqual(expect.arrayContaining(lines));
});

describe('for people', () => {
  test.each<[command: string[], printed: string]>([
    [
      ['ssh', '-N', '-o', 'A=b', '127.0.0.1:1', '/a/b', 'x,y', 'a+b', '50%'],
      'ssh -N -o A=b 127.0.0.1:1 /a/b x,y a+b 50%',
    ],
    [['ssh', ''], "ssh ''"],
    [['ssh', 'a b'], "ssh 'a b'"],
    [['ssh', "it's"], String.raw`ssh 'it'\''s'`],
    [['ssh', '$HOME', '`id`', '~', '*', '#'], "ssh '$HOME' '`id`' '~' '*' '#'"],
    [['ssh', '[::1]:1'], "ssh '[::1]:1'"],
    [['ssh', 'é'], "ssh 'é'"],
  ])('%j is quoted as for a shell', (command, printed) => {
    expect(printable(command)).toBe(printed);
  });

  test('a shell reads the same words back', () => {
    const word = fc.oneof(
      fc.string({unit: 'binary', maxLength: 8}),
      fc.string({
        unit: fc.constantFrom("'", '"', '\\', '$', '`', ' ', '\n', '!', '*', '~', '=', '-', '#', 'a'),
        maxLength: 8,
      }),
    );
    const words = fc.array(
      word.map((text) => text.replaceAll('\0', '')),
      {minLength: 1, maxLength: 8},
    );
    fc.assert(
      fc.property(words, (wanted) => {
        const read = execFileSync('sh', ['-c', String.raw`printf '%s\0' ${printable(wanted)}`], {encoding: 'utf8'});
        expect(read.split('\0').slice(0, -1)).toEqual(wanted);
      }),
      {numRuns: 200},
    );
  });

  test.each<[words: string[], printed: string]>([
    [['-o', 'ProxyCommand=nc --password hunter2 %h'], "-o 'ProxyCommand=***'"],
    [['-o', 'proxycommand=hunter2'], "-o 'proxycommand=***'"],
    [['-o', 'SetEnv=TOKEN=hunter2'], "-o 'SetEnv=***'"],
    [['-o', 'KnownHostsCommand=/bin/x hunter2'], "-o 'KnownHostsCommand=***'"],
    [['-o', 'LocalCommand=hunter2', '-o', 'RemoteCommand=hunter2'], "-o 'LocalCommand=***' -o 'RemoteCommand=***'"],
    [['-oSetEnv=TOKEN=hunter2'], "'-oSetEnv=***'"],
    [['-o SetEnv TOKEN=hunter2'], "'-o SetEnv ***'"],
    [['-vvoProxyCommand = "hunter2"'], "'-vvoProxyCommand = ***'"],
    [['-o', 'setenv\tTOKEN=hunter2'], "-o 'setenv\t***'"],
    // These say nothing, and are among our own.
    [['-o', 'RemoteCommand=none', '-o', 'ProxyCommand=none'], '-o RemoteCommand=none -o ProxyCommand=none'],
    // And these have none to hide.
    [
      ['-o', 'ProxyCommands=a', '-o', 'ProxyJump=a', '-o', 'SendEnv=TOKEN'],
      '-o ProxyCommands=a -o ProxyJump=a -o SendEnv=TOKEN',
    ],
  ])('%j: secrets are left out', (words, printed) => {
    expect(printable(words)).toBe(printed);
  });

  test('what comes from the options is hidden as well', () => {
    const argv = argvOf({
      host: 'h',
      sshOptions: {ProxyCommand: 'x hunter2', SetEnv: ['A=hunter2', 'B=hunter2']},
      extraArgs: ['-oSetEnv=C=hunter2'],
    });
    expect(argv.join(' ')).toContain('hunter2');
    expect(printable(argv)).not.toContain('hunter2');
  });
});
