import {describe, expect, test} from 'vitest';
import {CommandLineError} from '../../src/command-line/error.js';
import {optionsFromCommandLine} from '../../src/command-line/options-from-command-line.js';
import {readCommandLine} from '../../src/command-line/read-command-line.js';
import {freeMonitorPort} from '../../src/command-line/free-monitor-port.js';
import {resolveOptions} from '../../src/options.js';

const free = 40_000;

/** Words as a shell would split them, `''` for an empty one. */
function words(text: string): string[] {
  return text === '' ? [] : text.split(' ').map((word) => (word === "''" ? '' : word));
}

function read(text: string, environment: Record<string, string> = {}) {
  return readCommandLine(words(text), environment, () => free);
}

function complaint(text: string, environment: Record<string, string> = {}): [message: string, showUsage: boolean] {
  try {
    read(text, environment);
  } catch (error) {
    if (error instanceof CommandLineError) return [error.message, error.showUsage];
    throw error;
  }
  return ['', false];
}

const loop = '-L 20000:127.0.0.1:20000 -R 20000:127.0.0.1:20001';

describe("ssh's arguments", () => {
  test.each([
    ['-M 0 h', 'h'],
    ['-M 20000 h', `${loop} h`],
    ['-M20000 h', `${loop} h`],
    ['-N -M 20000 h', `${loop} -N h`],
    ['-M 20000:7 h', '-L 20000:127.0.0.1:7 h'],
    ['-M 0:7 h', 'h'],
    ['-M 0x4e20 h', `${loop} h`],
    ['-M 047040 h', `${loop} h`],
    ['-M 1 -M 20000 h', `${loop} h`],
    ['h -M 20000', `${loop} h`],
    ['-NM 20000 h', `${loop} -N h`],
    ['-NfM20000 h', `${loop} -N h`],
    ['-M 0 -f h', 'h'],
    ['-M 0 -fN h', '-N h'],
    ['-M 0 -4fN6 h', '-4N6 h'],
    ['-M 0 -offf=f -L f h', '-offf=f -L f h'],
    ['-M 0 -o -f h', '-o -f h'],
    ['-M 0 -fofoo h', '-ofoo h'],
    ['-M 0 -fNL 1:a:1 h', '-NL 1:a:1 h'],
    // Options are found after the destination too, as getopt of GNU does.
    ['-M 0 h -N', '-N h'],
    ['-M 0 h ls -l /tmp', '-l /tmp h ls'],
    ['-M 0 h -- ls -l -f /tmp', 'h ls -l -f /tmp'],
    ['-M 20000 -- -M h', `${loop} -M h`],
    ['-M 0 -- h -- ls', 'h -- ls'],
    ['-M 0 -J jump -N h', '-J jump -N h'],
    ['-M 0 -B eth0 h', '-B eth0 h'],
    ['-M 0 - h', '- h'],
    ["-M 0 -L '' h ''", '-L h'],
    ['--monitor 20000 --poll 5 -N h', `${loop} -N h`],
    ['--monitor=0 -N --background h', '-N h'],
    ['h', `-L 40000:127.0.0.1:40000 -R 40000:127.0.0.1:40001 h`],
  ])('%s', (text, expected) => {
    expect(read(text).sshArguments).toEqual(words(expected));
  });

  test.each([
    [{AUTOSSH_PORT: '20000'}, '-N h', `${loop} -N h`],
    [{AUTOSSH_PORT: '20000'}, '-- -M 3 h', `${loop} -M 3 h`],
    [{AUTOSSH_PORT: '20000'}, '-N -M 0 h', '-N h'],
    [{AUTOSSH_PORT: '0'}, '-M 20000 h', `${loop} h`],
    [{AUTOSSH_PORT: ''}, '-M 20000 h', `${loop} h`],
    [{AUTOSSH_PORT: '20000:9'}, 'h', '-L 20000:127.0.0.1:9 h'],
    [{POSIXLY_CORRECT: ''}, '-M 0 h ls -l', 'h ls -l'],
  ])('%j %s', (environment, text, expected) => {
    expect(read(text, environment as Record<string, string>).sshArguments).toEqual(words(expected));
  });
});

describe('what is refused', () => {
  test.each([
    ['', 'no destination is given', true],
    ['-M 0', 'no destination is given', true],
    ['-M 0 -N', 'no destination is given', true],
    ['-M', "option requires an argument -- 'M'", true],
    ['-M 0 -L', "option requires an argument -- 'L'", true],
    ['-M 0 -u h', "invalid option -- 'u'", true],
    ['-M 0 -H h', "invalid option -- 'H'", true],
    ['-M 65535 h', 'monitor port (65535) out of range', false],
    ['-M -1 h', 'monitor port (-1) out of range', false],
    ['-M x h', 'invalid port "x"', false],
    ["-M '' h", 'invalid port ""', false],
    ['-M :7 h', 'invalid port ""', false],
    ['-M 20000: h', 'invalid echo port  ""', false],
    ['-M 20000:0 h', 'invalid echo port  "0"', false],
    ['-M 20000:65536 h', 'invalid echo port  "65536"', false],
    ['--nope h', 'unknown option --nope', true],
    ['--poll', 'option --poll requires an argument', true],
    ['--help=x', 'option --help takes no argument', true],
    ['-M 0 h --poll 5', '--poll: long options stand before the destination', true],
    ['--completion tcsh', 'no completions for "tcsh": bash, zsh and fish have some', true],
    ['--status -f h', '--status needs the terminal that -f gives up', true],
    ['--poll 5s -M 0 h', 'invalid poll time "5s"', false],
  ])('%s', (text, message, showUsage) => {
    expect(complaint(text)).toEqual([message, showUsage]);
  });

  test.each([
    ['AUTOSSH_POLL', 'poll time', ['', 'x', '0', '5s', '1.5', '0x', '5 ']],
    ['AUTOSSH_FIRST_POLL', 'first poll time', ['', 'x', '0']],
    ['AUTOSSH_GATETIME', 'gate time', ['', 'x', '-1', '1.5']],
    ['AUTOSSH_MAXSTART', 'max start number', ['', 'x', '-2']],
    ['AUTOSSH_MAXLIFETIME', 'max lifetime', ['', 'x', '1h']],
    ['AUTOSSH_LOGLEVEL', 'log level', ['', 'x', '-1', '8']],
  ])('%s', (name, what, values) => {
    for (const value of values)
      expect(complaint('-M 0 h', {[name]: value})).toEqual([`invalid ${what} "${value}"`, false]);
  });

  test('a wrong environment is told before anything else, even where the version is asked for', () => {
    expect(complaint('-V', {AUTOSSH_POLL: 'x'})).toEqual(['invalid poll time "x"', false]);
    expect(complaint('-u', {AUTOSSH_POLL: 'x'})).toEqual(['invalid poll time "x"', false]);
  });

  test('a message of 65 bytes, whatever the number of its characters', () => {
    expect(complaint('-M 0 h', {AUTOSSH_MESSAGE: 'é'.repeat(33)})[0]).toBe('echo message may only be 64 bytes long');
    expect(complaint('-M 0 h', {AUTOSSH_MESSAGE: 'é'.repeat(32)})[0]).toBe('');
  });

  test('a message of several lines, where there are beats to carry it: they are lines', () => {
    const says = 'echo message may have no line break: a beat is one line';
    expect(complaint('-M 20000 h', {AUTOSSH_MESSAGE: 'a\nb'})).toEqual([says, false]);
    expect(complaint('-M 20000 h', {AUTOSSH_MESSAGE: 'a\0b'})).toEqual([says, false]);
    expect(complaint('-M 0 h', {AUTOSSH_MESSAGE: 'a\nb'})[0]).toBe('');
    const odd = 'a\tb\u001B\u0085\r';
    expect(
      resolveOptions(optionsFromCommandLine(words('-M 20000 h'), {AUTOSSH_MESSAGE: odd}), {}).heartbeat,
    ).toMatchObject({message: odd});
  });
});

describe('times, in milliseconds', () => {
  test.each([
    [{}, {poll: 600_000, firstPoll: 600_000, netTimeout: 15_000, gateTime: 30_000, maxLifetime: 0, maxStart: -1}],
    [{AUTOSSH_POLL: '60'}, {poll: 60_000, firstPoll: 60_000, netTimeout: 15_000}],
    [{AUTOSSH_POLL: '5'}, {poll: 5_000, firstPoll: 5_000, netTimeout: 2_500}],
    [{AUTOSSH_POLL: '1'}, {netTimeout: 500}],
    [{AUTOSSH_POLL: ' 0x10'}, {poll: 16_000}],
    [{AUTOSSH_POLL: '-1'}, {poll: 600_000}],
    [
      {AUTOSSH_POLL: '60', AUTOSSH_FIRST_POLL: '7'},
      {poll: 60_000, firstPoll: 7_000, netTimeout: 15_000},
    ],
    [{AUTOSSH_POLL: '60', AUTOSSH_FIRST_POLL: '-7'}, {firstPoll: 600_000}],
    [{AUTOSSH_POLL: '99999999999'}, {poll: 2_147_483_647_000}],
    [{AUTOSSH_GATETIME: '0'}, {gateTime: 0}],
    [{AUTOSSH_MAXSTART: '-1'}, {maxStart: -1}],
    [{AUTOSSH_MAXSTART: '0'}, {maxStart: 0}],
    [{AUTOSSH_MAXLIFETIME: '-1'}, {maxLifetime: 0}],
    [{AUTOSSH_MAXLIFETIME: '20'}, {maxLifetime: 20_000, poll: 20_000, firstPoll: 20_000, netTimeout: 10_000}],
    [
      {AUTOSSH_DEBUG: '', AUTOSSH_LOGLEVEL: 'x'},
      {debug: true, logLevel: 7},
    ],
    [{AUTOSSH_LOGLEVEL: '3'}, {debug: false, logLevel: 3}],
    [{AUTOSSH_AGENT: 'no'}, {agent: false}],
  ])('%j', (environment, expected) => {
    expect(read('-M 0 h', environment as Record<string, string>)).toMatchObject(expected);
  });

  test('-f means no gate', () => {
    expect(read('-fM 0 h', {AUTOSSH_GATETIME: '5'})).toMatchObject({background: true, gateTime: 0});
  });

  test('an option wins over its variable', () => {
    const environment = {AUTOSSH_POLL: '1', AUTOSSH_LOGFILE: 'a', AUTOSSH_PATH: 'b'};
    const text =
      '--poll 2 --log-file=c --ssh-path d --gate-time 3 --max-start 4 --max-lifetime 0 --message e --no-agent -M 0 h';
    expect(read(text, environment)).toMatchObject({
      poll: 2_000,
      logFile: 'c',
      sshPath: 'd',
      gateTime: 3_000,
      maxStart: 4,
      message: 'e',
      agent: false,
    });
  });

  test('an option wins over a variable that is wrong, and where nothing is run no variable is looked at', () => {
    expect(read('--poll 5 -M 0 h', {AUTOSSH_POLL: '10m'})).toMatchObject({poll: 5_000});
    expect(read('--log-level=7 -M 0 h', {AUTOSSH_LOGLEVEL: 'debug'})).toMatchObject({logLevel: 7});
    expect(complaint('--poll 5 -M 0 h', {AUTOSSH_FIRST_POLL: '10m'})[0]).toBe('invalid first poll time "10m"');
    expect(complaint('--version', {AUTOSSH_POLL: '10m'})[0]).toBe('invalid poll time "10m"');
    expect(complaint('--help -V', {AUTOSSH_POLL: '10m'})[0]).toBe('invalid poll time "10m"');
    expect(complaint('--poll 5s --nope h', {AUTOSSH_GATETIME: '10m'})[0]).toBe('invalid gate time "10m"');
    for (const text of ['--help', '--completion zsh', '--poll 5s --help'])
      expect(complaint(text, {AUTOSSH_POLL: '10m', AUTOSSH_MESSAGE: 'm'.repeat(65)})).toEqual(['', false]);
  });

  test('what autossh says about them', () => {
    expect(read('-M 0 h', {AUTOSSH_POLL: '9', AUTOSSH_FIRST_POLL: '8', AUTOSSH_MAXLIFETIME: '5'}).notes).toEqual([
      'poll time is greater than lifetime, dropping poll time to 5',
      'first poll time is greater than lifetime, dropping first poll time to 5',
      'port set to 0, monitoring disabled',
      'short poll time: adjusting net timeouts to 2500',
    ]);
    expect(read('h').notes).toEqual([]);
  });
});

test.each([
  ['-V', 'version'],
  ['-NV', 'version'],
  ['-M 0 h -V', 'version'],
  ['--version', 'version'],
  ['--help', 'help'],
  ['--completion zsh', 'completion'],
  ['--doctor -N h', 'doctor'],
  ['--status h', 'status'],
  ['h', 'run'],
])('%s asks for %s', (text, action) => {
  expect(read(text).action).toBe(action);
});

test('destination and remote command are told apart', () => {
  expect(read('-M 0 -p 22 me@h uptime now')).toMatchObject({destination: 'me@h', remoteCommand: ['uptime', 'now']});
});

describe('the options of a tunnel', () => {
  test('are those of the command, and are accepted', () => {
    const options = optionsFromCommandLine(words('-M 20000 -N h'), {AUTOSSH_POLL: '60', AUTOSSH_MAXSTART: '3'});
    expect(options).toEqual({
      sshPath: 'ssh',
      sshArguments: words(`${loop} -N h`),
      stdio: 'pipe',
      gateTime: 30_000,
      maxLifetime: 0,
      heartbeat: {
        mode: 'forward-loop',
        monitorPort: 20_000,
        interval: 60_000,
        firstInterval: 60_000,
        timeout: 15_000,
        maxMisses: 2,
        message: '',
      },
      restart: {policy: 'autossh', maxTimeout: 60_000, maxStarts: 3},
    });
    expect(resolveOptions(options, {}).restart).toMatchObject({stableAfter: 10_000, minTimeout: 100});
  });

  test('hand the terminal to an ssh that has a session', () => {
    expect(optionsFromCommandLine(words('-M 0 h'), {}).stdio).toBe('inherit');
    expect(optionsFromCommandLine(words('-M 0 -L N h'), {}).stdio).toBe('inherit');
  });

  test('without a monitor, in the background', () => {
    expect(optionsFromCommandLine(words('-M 0 -fN h'), {})).toMatchObject({
      sshArguments: ['-N', 'h'],
      stdio: 'pipe',
      gateTime: 0,
      heartbeat: false,
    });
  });

  test.each([['-V'], ['--help'], ['--doctor h']])('there are none for %s', (text) => {
    expect(() => optionsFromCommandLine(words(text), {})).toThrow(CommandLineError);
  });

  test('nor where ssh shall never be started', () => {
    expect(() => optionsFromCommandLine(words('-M 0 h'), {AUTOSSH_MAXSTART: '0'})).toThrow('ssh is never started');
  });
});

test('a port that is free is one from 32768 up', () => {
  for (let count = 0; count < 50; count++) {
    const port = freeMonitorPort();
    expect(port).toBeGreaterThanOrEqual(32_768);
    expect(port).toBeLessThan(65_535);
  }
});
