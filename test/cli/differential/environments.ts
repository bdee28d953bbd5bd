import type {Deviation} from './comparison.js';
import type {Observed} from './programs.js';
import {line, type CommandLine, type Environment} from './rows.js';

/** One variable with several values. */
function each(name: string, values: readonly string[], deviates?: Deviation<Observed>): CommandLine[] {
  return values.map((value) => line('-M 0 host', {[name]: value}, deviates));
}

const wrongValue: Deviation<Observed> = {
  why: 'a wrong value is told on stderr; 1.4g says it to syslog alone',
  original: {stderr: 'nothing'},
  ours: {stderr: 'something'},
};

const noNumber = ['', 'x', '1.5', '_60', '60_', '60s'];

const times: CommandLine[] = [
  ...['AUTOSSH_POLL', 'AUTOSSH_FIRST_POLL'].flatMap((name) => [
    ...each(name, ['60', '0x20', '010', '+60', '-1']),
    ...each(name, [...noNumber, '0'], wrongValue),
  ]),
  ...each('AUTOSSH_GATETIME', ['0']),
  ...each('AUTOSSH_GATETIME', ['60', '0x20', '010', '+60', '99999999999']),
  ...each('AUTOSSH_GATETIME', [...noNumber, '-1'], wrongValue),
  ...each('AUTOSSH_MAXSTART', ['0', '1', '0x20', '010', '+60', '-1']),
  ...each('AUTOSSH_MAXSTART', noNumber, wrongValue),
  ...each('AUTOSSH_MAXLIFETIME', ['0', '-1', '900', '99999999999']),
  ...each('AUTOSSH_MAXLIFETIME', noNumber, wrongValue),
  ...each('AUTOSSH_FIRST_POLL', ['99999999999']),
  ...['1', '2', '10', '29', '30', '31'].map((poll) => line('-M 20000 host', {AUTOSSH_POLL: poll})),
  line('-M 0 host', {AUTOSSH_POLL: '10', AUTOSSH_MAXLIFETIME: '60'}),
  line('-M 0 host', {AUTOSSH_POLL: '20', AUTOSSH_FIRST_POLL: '5'}),
  line('-M 0 host', {AUTOSSH_POLL: '600', AUTOSSH_FIRST_POLL: '5'}),
];

/** Where the lifetime is shorter than the time between two beats. */
function lowered(env: Environment, notes: readonly string[], rest: readonly string[] = []): CommandLine {
  const log = [
    ...['port set to 0, monitoring disabled', ...rest],
    ...['starting ssh (count 1)', 'ssh child pid is N', 'ssh exited with status 0; autossh exiting'],
  ];
  return line('-M 0 host', env, {
    why: '1.4g opens its log file after it has read the times',
    original: {log},
    ours: {log: [...notes, ...log]},
  });
}

const lifetimes: CommandLine[] = [
  ...['60', '0x20', '+60'].map((value) =>
    lowered({AUTOSSH_MAXLIFETIME: value}, [
      `poll time is greater than lifetime, dropping poll time to ${Number(value)}`,
      `first poll time is greater than lifetime, dropping first poll time to ${Number(value)}`,
    ]),
  ),
  lowered(
    {AUTOSSH_POLL: '60', AUTOSSH_MAXLIFETIME: '10'},
    [
      'poll time is greater than lifetime, dropping poll time to 10',
      'first poll time is greater than lifetime, dropping first poll time to 10',
    ],
    ['short poll time: adjusting net timeouts to 5000'],
  ),
  lowered({AUTOSSH_POLL: '60', AUTOSSH_FIRST_POLL: '90', AUTOSSH_MAXLIFETIME: '70'}, [
    'first poll time is greater than lifetime, dropping first poll time to 70',
  ]),
];

const logging: CommandLine[] = [
  ...each('AUTOSSH_LOGLEVEL', ['0', '1', '2', '3', '4', '5', '6', '7', '0x6']),
  ...each('AUTOSSH_LOGLEVEL', ['8', '', 'x', '-1', '1.5', '_6', '99999999999'], wrongValue),
  ...each('AUTOSSH_DEBUG', ['', '0', '1', 'yes']),
  line('-M 0 host', {AUTOSSH_DEBUG: '1', AUTOSSH_LOGLEVEL: '0'}),
  line('-M 0 host', {AUTOSSH_DEBUG: '1', AUTOSSH_LOGLEVEL: 'x'}),
  line('-M 0 host', {AUTOSSH_LOGFILE: undefined}),
  line('-M 0 host', {AUTOSSH_LOGFILE: undefined, AUTOSSH_DEBUG: '1'}),
  line('-M 0 host', {AUTOSSH_LOGFILE: undefined, AUTOSSH_LOGLEVEL: '7'}),
  line('-M x host', {AUTOSSH_LOGFILE: undefined}, wrongValue),
  line('-M x host', {AUTOSSH_LOGLEVEL: '2'}, wrongValue),
  ...each('AUTOSSH_LOGFILE', [''], {
    why: 'an empty name is none',
    original: {starts: [], exit: 1},
    ours: {starts: [['host']], exit: 0},
  }),
  ...each('AUTOSSH_LOGFILE', ['{folder}', '{folder}/none/log'], {
    why: 'a log file that cannot be written does not end the tunnel',
    original: {starts: [], exit: 1, stderr: 'nothing'},
    ours: {starts: [['host']], exit: 0, stderr: 'something'},
  }),
];

const message: CommandLine[] = [
  ...each('AUTOSSH_MESSAGE', ['', 'hello', 'm'.repeat(64), 'ü'.repeat(32)]),
  ...each('AUTOSSH_MESSAGE', ['m'.repeat(65), 'ü'.repeat(33)], wrongValue),
  ...each('AUTOSSH_MESSAGE', ['a\nb']),
  ...['a\tb', 'a\rb', '\u001B[2J'].map((value) => line('-M 20000 host', {AUTOSSH_MESSAGE: value})),
  line(
    '-M 20000 host',
    {AUTOSSH_MESSAGE: 'a\nb'},
    {
      why: 'a beat is one line',
      original: {
        starts: [['-L', '20000:127.0.0.1:20000', '-R', '20000:127.0.0.1:20001', 'host']],
        exit: 0,
        log: ['starting ssh (count 1)', 'ssh child pid is N', 'ssh exited with status 0; autossh exiting'],
        stderr: 'nothing',
      },
      ours: {
        starts: [],
        exit: 1,
        log: ['echo message may have no line break: a beat is one line'],
        stderr: 'something',
      },
    },
  ),
];

const pidFile: CommandLine[] = [
  ...each('AUTOSSH_PIDFILE', ['', '{folder}/pid']),
  line('-f -M 0 host', {AUTOSSH_PIDFILE: '{folder}/pid'}),
  line(
    '-M 0 host',
    {AUTOSSH_PIDFILE: '{folder}/none/pid'},
    {
      why: 'a pid file that cannot be written does not end the tunnel',
      original: {
        starts: [],
        exit: 1,
        log: [
          'port set to 0, monitoring disabled',
          'cannot open pid file "{folder}/none/pid": No such file or directory',
        ],
        stderr: 'nothing',
      },
      ours: {
        starts: [['host']],
        exit: 0,
        log: [
          'port set to 0, monitoring disabled',
          'cannot open pid file "{folder}/none/pid": No such file or directory',
          'starting ssh (count 1)',
          'ssh child pid is N',
          'ssh exited with status 0; autossh exiting',
        ],
        stderr: 'something',
      },
    },
  ),
];

/** In 1.4g the child that cannot become ssh ends its parent, and both write at the same time. */
function noSsh(path: string, theirs: string, mine: string): CommandLine {
  const first = 'port set to 0, monitoring disabled';
  const orders = [
    ['ssh child pid is N', `${path}: ${theirs}`],
    [`${path}: ${theirs}`, 'ssh child pid is N'],
  ];
  const ends = ['received signal to exit (15)', 'ssh exited prematurely with status 1; autossh exiting'];
  return line(
    '-M 0 host',
    {AUTOSSH_PATH: path, AUTOSSH_GATETIME: '30'},
    {
      why: 'without an ssh there is no child',
      original: orders.flatMap((order) =>
        ends.map((end) => ({log: [first, 'starting ssh (count 1)', ...order, end], stderr: 'nothing' as const})),
      ),
      ours: {log: [first, `ssh could not be started: ${path} ${mine}`], stderr: 'something'},
    },
  );
}

const path: CommandLine[] = [
  noSsh('{folder}/none', 'No such file or directory', 'was not found'),
  noSsh('/etc/passwd', 'Permission denied', 'may not be executed'),
  noSsh('no-such-program', 'No such file or directory', 'was not found in PATH'),
  line('-M 0 host', {AUTOSSH_PATH: 'true'}),
  line('-M 0 host', {AUTOSSH_PATH: '/bin/false', AUTOSSH_GATETIME: '30'}),
  line('-M 0 host', {AUTOSSH_MAXSTART: '0', AUTOSSH_PATH: '{folder}/none'}),
];

const service: CommandLine[] = each('AUTOSSH_NTSERVICE', ['yes', 'no', '']);

const wrongTwice: CommandLine[] = [
  line('-M 0 host', {AUTOSSH_POLL: 'x', AUTOSSH_GATETIME: 'y'}, wrongValue),
  line('-M x host', {AUTOSSH_POLL: 'x'}, wrongValue),
  line('', {AUTOSSH_POLL: 'x'}, wrongValue),
  line('-V', {AUTOSSH_POLL: 'x'}, wrongValue),
  line('-f -M 0 host', {AUTOSSH_POLL: 'x'}, wrongValue),
  line(
    '-V',
    {AUTOSSH_LOGFILE: '{folder}/none/log'},
    {
      why: 'a log file that cannot be written ends nothing',
      original: {exit: 1, stdout: 'nothing'},
      ours: {exit: 0, stdout: 'version'},
    },
  ),
];

const tooLarge: CommandLine[] = [
  line(
    '-M 0 host',
    {AUTOSSH_POLL: '99999999999'},
    {
      why: 'more than 32 bits are cut off by 1.4g',
      original: {
        log: [
          'port set to 0, monitoring disabled',
          'short poll time: adjusting net timeouts to -2009260532',
          'starting ssh (count 1)',
          'ssh child pid is N',
          'ssh exited with status 0; autossh exiting',
        ],
      },
      ours: {
        log: [
          'port set to 0, monitoring disabled',
          'starting ssh (count 1)',
          'ssh child pid is N',
          'ssh exited with status 0; autossh exiting',
        ],
      },
    },
  ),
  ...each('AUTOSSH_MAXSTART', ['99999999999']).map((row) => ({
    ...row,
    deviates: {
      why: 'more than 32 bits are cut off by 1.4g',
      original: {log: limited('1215752191')},
      ours: {log: limited('2147483647')},
    },
  })),
];

function limited(count: string): string[] {
  return [
    'port set to 0, monitoring disabled',
    `starting ssh (count 1 of ${count})`,
    'ssh child pid is N',
    'ssh exited with status 0; autossh exiting',
  ];
}

const agent = [
  line(
    '-M 0 host',
    {AUTOSSH_AGENT: undefined, AUTOSSH_DEBUG: '1'},
    {
      why: 'an ssh-agent is started where none is running',
      original: {
        log: [
          ...['port set to 0, monitoring disabled', 'checking for grace period, tries = 0'],
          ...['starting ssh (count 1)', 'ssh child pid is N', 'ssh exited with status 0; autossh exiting'],
        ],
      },
      ours: {
        log: [
          ...[
            'port set to 0, monitoring disabled',
            'started an ssh-agent, pid N',
            'checking for grace period, tries = 0',
          ],
          ...['starting ssh (count 1)', 'ssh child pid is N', 'ssh exited with status 0; autossh exiting'],
        ],
      },
    },
  ),
];

const background: CommandLine[] = [
  line('-f -M 0 host', {AUTOSSH_GATETIME: '30'}),
  line('-f -M 0 host', {AUTOSSH_MAXSTART: '0'}),
];

/** What stands in the environment. */
export const environments: readonly CommandLine[] = [
  ...times,
  ...lifetimes,
  ...logging,
  ...message,
  ...pidFile,
  ...path,
  ...service,
  ...wrongTwice,
  ...tooLarge,
  ...agent,
  ...background,
];
