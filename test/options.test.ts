import fc from 'fast-check';
import {describe, expect, test} from 'vitest';
import {AutoSSH, type AutoSSHOptions} from '../src/index.js';
import {type Settings, resolveOptions} from '../src/options.js';
import {sshArguments} from '../src/ssh/arguments.js';
import {planLife} from '../src/ssh/life.js';
import {planLogin} from '../src/ssh/login.js';

/** Options as a program without types may give them. */
function resolve(options: unknown, environment: NodeJS.ProcessEnv = {}): Settings {
  return resolveOptions(options as AutoSSHOptions, environment);
}

/** With a host, where the host is not what it is about. */
function withHost(options: object, environment?: NodeJS.ProcessEnv): Settings {
  return resolve({host: 'h', ...options}, environment);
}

/** What `resolve` says to an option, in full. */
function complaint(options: unknown): string {
  try {
    resolve(options);
  } catch (error) {
    expect(error).toBeInstanceOf(TypeError);
    return (error as TypeError).message;
  }
  throw new Error('Expected a TypeError, but the options were taken');
}

describe('defaults', () => {
  const settings = resolve({host: 'h'});

  test.each<[option: keyof Settings, value: unknown]>([
    ['port', undefined],
    ['username', undefined],
    ['forwards', []],
    [
      'heartbeat',
      {
        mode: 'forward-loop',
        interval: 10_000,
        firstInterval: 10_000,
        timeout: 15_000,
        maxMisses: 2,
        message: '',
        remotePort: undefined,
        echoHost: '127.0.0.1',
        echoPort: 7,
      },
    ],
    ['gateTime', 30_000],
    [
      'restart',
      {
        policy: 'exponential',
        retries: Infinity,
        factor: 2,
        minTimeout: 500,
        maxTimeout: 60_000,
        randomize: true,
        maxStarts: Infinity,
        stableAfter: 10_000,
        quickFor: 10_000,
        shouldRestart: undefined,
      },
    ],
    ['connectTimeout', 15_000],
    ['readyTimeout', 45_000],
    ['killTimeout', 5_000],
    // Off: a tunnel has no end of its own.
    ['maxLifetime', Infinity],
    ['sshPath', 'ssh'],
    ['configFile', undefined],
    ['identityFiles', []],
    [
      'login',
      {
        agent: 'inherit',
        privateKey: undefined,
        passphrase: undefined,
        certificate: undefined,
        password: undefined,
        keyboardInteractive: undefined,
      },
    ],
    // As configured for ssh.
    ['hostKey', {pins: undefined, check: undefined}],
    ['jump', []],
    ['sshOptions', []],
    ['extraArgs', []],
    ['env', undefined],
    ['cwd', undefined],
    ['sshArguments', undefined],
    ['stdio', 'pipe'],
    ['signal', undefined],
    ['holdTimeout', 30_000],
    ['maxHeld', 1_024],
    ['drainTimeout', 30_000],
    ['standby', false],
    ['lazy', false],
    // Off: an ssh that nothing goes through stays.
    ['idleTimeout', Infinity],
  ])('%s: %j', (option, value) => {
    expect(settings[option]).toEqual(value);
  });

  test("autossh's policy has its own", () => {
    const {restart} = withHost({restart: {policy: 'autossh'}});
    expect(restart).toMatchObject({policy: 'autossh', minTimeout: 100, maxTimeout: 600_000, stableAfter: 60_000});
    const short = withHost({restart: {policy: 'autossh', maxTimeout: 5_000}}).restart;
    expect(short).toMatchObject({maxTimeout: 5_000, stableAfter: 10_000});
  });

  test('there are no others', () => {
    expect(Object.keys(settings)).toHaveLength(31);
  });

  test('an option that is there but undefined is absent', () => {
    const options = Object.fromEntries(Object.keys(settings).map((name) => [name, undefined]));
    delete options['identityFiles'];
    delete options['login'];
    const named = ['identityFile', 'passphrase', 'certificate', 'keyboardInteractive'];
    for (const name of [...named, 'agent', 'hostKeyCheck']) options[name] = undefined;
    // These are refused: see below.
    for (const name of ['hostKey', 'privateKey', 'password']) Reflect.deleteProperty(options, name);
    expect(resolve({...options, host: 'h'})).toEqual(settings);
    expect(withHost({heartbeat: {interval: undefined, remotePort: undefined}, restart: {factor: undefined}})).toEqual(
      settings,
    );
  });

  test.each(['privateKey', 'password'])(
    'but for `%s`: without it ssh would log in with whatever else there is',
    (name) => {
      expect(complaint({host: 'h', [name]: undefined})).toMatch(/^Expected `\w+` to be .*, got `undefined`$/);
    },
  );

  test('but for a pin: that of an unset variable must not be none', () => {
    expect(complaint({host: 'h', hostKey: undefined})).toMatch(/^Expected `hostKey` to be .*, got `undefined`$/);
    const jump = [{host: 'a'}, {host: 'b', hostKey: undefined}];
    expect(complaint({host: 'h', jump})).toMatch(/^Expected `jump\[1\]\.hostKey` to be .*, got `undefined`$/);
  });

  test('a raw command line has no heartbeat, because nothing may be added to it', () => {
    expect(resolve({sshArguments: ['-N', 'h']})).toMatchObject({heartbeat: false, sshArguments: ['-N', 'h'], host: ''});
    expect(resolve({sshArguments: ['-N', 'h'], heartbeat: false}).heartbeat).toBe(false);
  });

  test('the first beat comes after one interval', () => {
    expect(withHost({heartbeat: {interval: 300}}).heartbeat).toMatchObject({firstInterval: 300});
    expect(withHost({heartbeat: {interval: 300, firstInterval: 20}}).heartbeat).toMatchObject({firstInterval: 20});
  });

  test('a first wait longer than the longest one raises that', () => {
    expect(withHost({restart: {minTimeout: 90_000}}).restart).toMatchObject({minTimeout: 90_000, maxTimeout: 90_000});
  });

  test.each([
    {options: {}, environment: {}, path: 'ssh'},
    {options: {}, environment: {AUTOSSH_PATH: ''}, path: 'ssh'},
    {options: {}, environment: {AUTOSSH_PATH: '/opt/ssh'}, path: '/opt/ssh'},
    {options: {sshPath: '/usr/bin/ssh'}, environment: {AUTOSSH_PATH: '/opt/ssh'}, path: '/usr/bin/ssh'},
  ])('the program is $path with $options and $environment', ({options, environment, path}) => {
    expect(withHost(options, environment).sshPath).toBe(path);
  });
});

describe('0 and false switch off', () => {
  const longest = {forwards: [{type: 'dynamic'}]};

  test.each<[options: (off: 0 | false) => object, found: object]>([
    [(off) => ({gateTime: off}), {gateTime: 0}],
    [(off) => ({connectTimeout: off}), {connectTimeout: 0}],
    [(off) => ({readyTimeout: off}), {readyTimeout: Infinity}],
    [(off) => ({killTimeout: off}), {killTimeout: 0}],
    [(off) => ({maxLifetime: off}), {maxLifetime: Infinity}],
    [(off) => ({holdTimeout: off}), {holdTimeout: 0}],
    [(off) => ({drainTimeout: off}), {drainTimeout: 0}],
    [(off) => ({idleTimeout: off}), {idleTimeout: Infinity}],
    [(off) => ({heartbeat: {interval: off}}), {heartbeat: false}],
    [(off) => ({heartbeat: {timeout: off}}), {heartbeat: {timeout: Infinity}}],
    [(off) => ({heartbeat: {maxMisses: off}}), {heartbeat: {maxMisses: Infinity}}],
    [(off) => ({restart: {minTimeout: off}}), {restart: {minTimeout: 0}}],
    [(off) => ({restart: {maxStarts: off}}), {restart: {maxStarts: Infinity}}],
    [(off) => ({restart: {stableAfter: off}}), {restart: {stableAfter: 0}}],
    [(off) => ({restart: {quickFor: off}}), {restart: {quickFor: 0}}],
  ])('%s', (options, found) => {
    expect(withHost({...longest, ...options(0)})).toMatchObject(found);
    expect(withHost({...longest, ...options(false)})).toMatchObject(found);
  });

  test('heartbeat', () => {
    expect(withHost({heartbeat: false}).heartbeat).toBe(false);
  });

  test('and none where it makes no sense', () => {
    expect(complaint({host: 'h', restart: {maxTimeout: false}})).toContain('`restart.maxTimeout`');
    expect(complaint({host: 'h', restart: {retries: false}})).toContain('`restart.retries`');
    expect(withHost({restart: {retries: 0}}).restart.retries).toBe(0);
  });

  test('Infinity is the same as off where time is given', () => {
    const off = {readyTimeout: Infinity, maxLifetime: Infinity, idleTimeout: Infinity};
    expect(withHost(off)).toEqual(withHost({readyTimeout: 0, maxLifetime: 0, idleTimeout: 0}));
  });
});

const time = 'a number of at least 0, or false';
const port = 'an integer from 1 to 65535';

const refused: [options: object, message: string][] = [
  [{host: undefined}, 'Expected `host` to be a non-empty string, got `undefined`'],
  [{host: ''}, "Expected `host` to be a non-empty string, got `''` (string)"],
  [{host: 5}, 'Expected `host` to be a non-empty string, got `5` (number)'],
  [{host: null}, 'Expected `host` to be a non-empty string, got `null`'],
  [{host: ['h']}, "Expected `host` to be a non-empty string, got `[ 'h' ]` (array)"],
  [{host: new Error('no')}, 'Expected `host` to be a non-empty string, got `Error: no` (object)'],
  [
    {host: '-oProxyCommand=x'},
    'Expected `host` to be a string that does not start with "-" (ssh would read an option), got `\'-oProxyCommand=x\'` (string)',
  ],
  [
    {host: 'me@-oProxyCommand=x'},
    "Expected `host` to be a destination whose user and host do not start with '-', got `'me@-oProxyCommand=x'` (string)",
  ],
  [
    {host: 'ssh://-lx@h'},
    "Expected `host` to be a destination whose user and host do not start with '-', got `'ssh://-lx@h'` (string)",
  ],
  [
    {host: 'a b'},
    "Expected `host` to be a string without white space, quotes or shell characters, got `'a b'` (string)",
  ],
  [
    {host: '$(reboot)'},
    "Expected `host` to be a string without white space, quotes or shell characters, got `'$(reboot)'` (string)",
  ],
  [{host: 'a\nb'}, "Expected `host` to be a non-empty string without NUL or line breaks, got `'a\\nb'` (string)"],
  [{host: 'a\0b'}, "Expected `host` to be a non-empty string without NUL or line breaks, got `'a\\x00b'` (string)"],
  [{port: 0}, `Expected \`port\` to be ${port}, got \`0\` (number)`],
  [{port: 65_536}, `Expected \`port\` to be ${port}, got \`65536\` (number)`],
  [{port: 22.5}, `Expected \`port\` to be ${port}, got \`22.5\` (number)`],
  [{port: NaN}, `Expected \`port\` to be ${port}, got \`NaN\` (number)`],
  [{port: Infinity}, `Expected \`port\` to be ${port}, got \`Infinity\` (number)`],
  [{port: '22'}, `Expected \`port\` to be ${port}, got \`'22'\` (string)`],
  [{port: false}, `Expected \`port\` to be ${port}, got \`false\` (boolean)`],
  [{port: null}, `Expected \`port\` to be ${port}, got \`null\``],
  [{username: ''}, "Expected `username` to be a non-empty string, got `''` (string)"],
  [
    {username: '-l'},
    'Expected `username` to be a string that does not start with "-" (ssh would read an option), got `\'-l\'` (string)',
  ],
  [
    {username: 'a\tb'},
    "Expected `username` to be a string without white space, quotes or shell characters, got `'a\\tb'` (string)",
  ],
  [
    {username: 'a\u0007b'},
    "Expected `username` to be a string without white space, quotes or shell characters, got `'a\\x07b'` (string)",
  ],
  [{username: true}, 'Expected `username` to be a non-empty string, got `true` (boolean)'],
  [{forwards: '-L 1:a:2'}, "Expected `forwards` to be an array, got `'-L 1:a:2'` (string)"],
  [{forwards: null}, 'Expected `forwards` to be an array, got `null`'],
  [{forwards: {0: '-D 1'}}, "Expected `forwards` to be an array, got `{ '0': '-D 1' }` (object)"],
  [
    {forwards: ['-D 1', 5]},
    "Expected `forwards[1]` to be an object or a string such as '-L 5432:db.internal:5432', got `5` (number)",
  ],
  [
    {forwards: [{type: 'local', target: 'a:b'}]},
    "Expected the port of `forwards[0].target` to be an integer from 1 to 65535, got `'b'` (string)",
  ],
  [
    {forwards: [{type: 'local', target: '1', to: '2'}]},
    'Unknown option `forwards[0].to`; known are `type`, `listen`, `target`, `name`, `steady`',
  ],
  [
    {forwards: [{type: 'dynamic', name: 'a'}, '-D 1', {type: 'local', target: '2', name: 'a'}]},
    "Expected `forwards[2].name` to be unique, but `forwards[0]` is called 'a' too",
  ],
  [
    {forwards: [{type: 'dynamic', name: 'dynamic-1'}, '-D 1']},
    "Expected `forwards[1].name` to be unique, but `forwards[0]` is called 'dynamic-1' too",
  ],
  [{heartbeat: true}, 'Expected `heartbeat` to be an object, got `true` (boolean)'],
  [{heartbeat: null}, 'Expected `heartbeat` to be an object, got `null`'],
  [{heartbeat: 'forward-loop'}, "Expected `heartbeat` to be an object, got `'forward-loop'` (string)"],
  [
    {heartbeat: {mode: 'loop'}},
    "Expected `heartbeat.mode` to be 'forward-loop' or 'echo-port' or 'server-alive', got `'loop'` (string)",
  ],
  [
    {heartbeat: {mode: null}},
    "Expected `heartbeat.mode` to be 'forward-loop' or 'echo-port' or 'server-alive', got `null`",
  ],
  [{heartbeat: {interval: '5s'}}, `Expected \`heartbeat.interval\` to be ${time}, got \`'5s'\` (string)`],
  [{heartbeat: {interval: -1}}, `Expected \`heartbeat.interval\` to be ${time}, got \`-1\` (number)`],
  [{heartbeat: {interval: NaN}}, `Expected \`heartbeat.interval\` to be ${time}, got \`NaN\` (number)`],
  [{heartbeat: {interval: null}}, `Expected \`heartbeat.interval\` to be ${time}, got \`null\``],
  [{heartbeat: {interval: true}}, `Expected \`heartbeat.interval\` to be ${time}, got \`true\` (boolean)`],
  [{heartbeat: {firstInterval: -5}}, `Expected \`heartbeat.firstInterval\` to be ${time}, got \`-5\` (number)`],
  [{heartbeat: {firstInterval: null}}, `Expected \`heartbeat.firstInterval\` to be ${time}, got \`null\``],
  [{heartbeat: {timeout: '1'}}, `Expected \`heartbeat.timeout\` to be ${time}, got \`'1'\` (string)`],
  [
    {heartbeat: {maxMisses: 1.5}},
    'Expected `heartbeat.maxMisses` to be an integer of at least 0, or false, got `1.5` (number)',
  ],
  [
    {heartbeat: {maxMisses: -1}},
    'Expected `heartbeat.maxMisses` to be an integer of at least 0, or false, got `-1` (number)',
  ],
  [
    {heartbeat: {message: 5}},
    'Expected `heartbeat.message` to be a string of at most 64 bytes without line feeds and NUL, got `5` (number)',
  ],
  [
    {heartbeat: {message: 'a\nb'}},
    "Expected `heartbeat.message` to be a string of at most 64 bytes without line feeds and NUL, got `'a\\nb'` (string)",
  ],
  [
    {heartbeat: {message: 'é'.repeat(33)}},
    `Expected \`heartbeat.message\` to be a string of at most 64 bytes without line feeds and NUL, got \`'${'é'.repeat(33)}'\` (string)`,
  ],
  [
    {heartbeat: {message: 'x'.repeat(65)}},
    `Expected \`heartbeat.message\` to be a string of at most 64 bytes without line feeds and NUL, got \`'${'x'.repeat(65)}'\` (string)`,
  ],
  [{heartbeat: {remotePort: 0}}, `Expected \`heartbeat.remotePort\` to be ${port}, got \`0\` (number)`],
  [{heartbeat: {remotePort: '80'}}, `Expected \`heartbeat.remotePort\` to be ${port}, got \`'80'\` (string)`],
  [{heartbeat: {mode: 'echo-port', echoPort: 0}}, `Expected \`heartbeat.echoPort\` to be ${port}, got \`0\` (number)`],
  [
    {heartbeat: {mode: 'echo-port', echoHost: '-oX'}},
    "Expected `heartbeat.echoHost` to be a host name or an IP address, got `'-oX'` (string)",
  ],
  [
    {heartbeat: {mode: 'echo-port', echoHost: 'a/b'}},
    "Expected `heartbeat.echoHost` to be a host name or an IP address, got `'a/b'` (string)",
  ],
  [
    {heartbeat: {mode: 'echo-port', echoHost: '${HOME}'}},
    "Expected `heartbeat.echoHost` to be a host name or an IP address, got `'${HOME}'` (string)",
  ],
  [
    {heartbeat: {mode: 'echo-port', echoHost: 'a:1:b'}},
    "Expected `heartbeat.echoHost` to be a host name or an IP address, got `'a:1:b'` (string)",
  ],
  [
    {heartbeat: {mode: 'echo-port', echoHost: null}},
    'Expected `heartbeat.echoHost` to be a host name or an IP address, got `null`',
  ],
  [{gateTime: '30'}, `Expected \`gateTime\` to be ${time}, got \`'30'\` (string)`],
  [{gateTime: -1}, `Expected \`gateTime\` to be ${time}, got \`-1\` (number)`],
  [{gateTime: null}, `Expected \`gateTime\` to be ${time}, got \`null\``],
  [{gateTime: true}, `Expected \`gateTime\` to be ${time}, got \`true\` (boolean)`],
  [{connectTimeout: NaN}, `Expected \`connectTimeout\` to be ${time}, got \`NaN\` (number)`],
  [{readyTimeout: '45s'}, `Expected \`readyTimeout\` to be ${time}, got \`'45s'\` (string)`],
  [{killTimeout: [5]}, `Expected \`killTimeout\` to be ${time}, got \`[ 5 ]\` (array)`],
  [{maxLifetime: {}}, `Expected \`maxLifetime\` to be ${time}, got \`{}\` (object)`],
  [{holdTimeout: '1s'}, `Expected \`holdTimeout\` to be ${time}, got \`'1s'\` (string)`],
  [{holdTimeout: -1}, `Expected \`holdTimeout\` to be ${time}, got \`-1\` (number)`],
  [{maxHeld: 1.5}, 'Expected `maxHeld` to be an integer of at least 0, got `1.5` (number)'],
  [{maxHeld: false}, 'Expected `maxHeld` to be an integer of at least 0, got `false` (boolean)'],
  [{drainTimeout: null}, `Expected \`drainTimeout\` to be ${time}, got \`null\``],
  [{idleTimeout: NaN}, `Expected \`idleTimeout\` to be ${time}, got \`NaN\` (number)`],
  [{standby: 1}, 'Expected `standby` to be a boolean, got `1` (number)'],
  [{standby: null}, 'Expected `standby` to be a boolean, got `null`'],
  [{lazy: 'yes'}, "Expected `lazy` to be a boolean, got `'yes'` (string)"],
  [{restart: false}, 'Expected `restart` to be an object, got `false` (boolean)'],
  [{restart: null}, 'Expected `restart` to be an object, got `null`'],
  [{restart: {retries: 1.5}}, 'Expected `restart.retries` to be an integer of at least 0, got `1.5` (number)'],
  [{restart: {retries: '3'}}, "Expected `restart.retries` to be an integer of at least 0, got `'3'` (string)"],
  [{restart: {retries: null}}, 'Expected `restart.retries` to be an integer of at least 0, got `null`'],
  [{restart: {factor: 0.5}}, 'Expected `restart.factor` to be a number from 1 to 1000, got `0.5` (number)'],
  [{restart: {factor: Infinity}}, 'Expected `restart.factor` to be a number from 1 to 1000, got `Infinity` (number)'],
  [
    {restart: {minTimeout: 2 ** 31}},
    'Expected `restart.minTimeout` to be a number from 0 to 2147483647, or false, got `2147483648` (number)',
  ],
  [
    {restart: {maxTimeout: Infinity}},
    'Expected `restart.maxTimeout` to be a number from 0 to 2147483647, got `Infinity` (number)',
  ],
  [
    {restart: {maxTimeout: 499}},
    'Expected `restart.maxTimeout` to be at least `restart.minTimeout`, which is 500, got `499` (number)',
  ],
  [{restart: {randomize: 1}}, 'Expected `restart.randomize` to be a boolean, got `1` (number)'],
  [
    {restart: {maxStarts: -1}},
    'Expected `restart.maxStarts` to be an integer of at least 0, or false, got `-1` (number)',
  ],
  [{restart: {stableAfter: '1'}}, `Expected \`restart.stableAfter\` to be ${time}, got \`'1'\` (string)`],
  [{restart: {quickFor: []}}, `Expected \`restart.quickFor\` to be ${time}, got \`[]\` (array)`],
  [{restart: {shouldRestart: true}}, 'Expected `restart.shouldRestart` to be a function, got `true` (boolean)'],
  [{restart: {shouldRestart: null}}, 'Expected `restart.shouldRestart` to be a function, got `null`'],
  [{sshPath: ''}, "Expected `sshPath` to be a non-empty string, got `''` (string)"],
  [{sshPath: null}, 'Expected `sshPath` to be a non-empty string, got `null`'],
  [{sshPath: 'a\0'}, "Expected `sshPath` to be a non-empty string without NUL or line breaks, got `'a\\x00'` (string)"],
  [{configFile: 5}, 'Expected `configFile` to be a non-empty string, got `5` (number)'],
  [
    {configFile: 'a\nb'},
    "Expected `configFile` to be a non-empty string without NUL or line breaks, got `'a\\nb'` (string)",
  ],
  [{identityFile: ''}, "Expected `identityFile` to be a non-empty string, got `''` (string)"],
  [{identityFile: null}, 'Expected `identityFile` to be a non-empty string, got `null`'],
  [{identityFile: ['a', 5]}, 'Expected `identityFile[1]` to be a non-empty string, got `5` (number)'],
  [{sshOptions: []}, 'Expected `sshOptions` to be an object, got `[]` (array)'],
  [{sshOptions: null}, 'Expected `sshOptions` to be an object, got `null`'],
  [{sshOptions: 'Port=1'}, "Expected `sshOptions` to be an object, got `'Port=1'` (string)"],
  [
    {sshOptions: {'Port 1\nHost': 'x'}},
    "Expected the name `'Port 1\\nHost'` in `sshOptions` to be as in ssh_config(5)",
  ],
  [{sshOptions: {'': 'x'}}, "Expected the name `''` in `sshOptions` to be as in ssh_config(5)"],
  [{sshOptions: {'Port=1': 'x'}}, "Expected the name `'Port=1'` in `sshOptions` to be as in ssh_config(5)"],
  [{sshOptions: {Port: ''}}, "Expected `sshOptions.Port` to be a non-empty string, got `''` (string)"],
  [
    {sshOptions: {Port: '1\nHost x'}},
    "Expected `sshOptions.Port` to be a non-empty string without NUL or line breaks, got `'1\\nHost x'` (string)",
  ],
  [
    {sshOptions: {Port: {}}},
    'Expected `sshOptions.Port` to be a string, a finite number, a boolean or an array of strings, got `{}` (object)',
  ],
  [
    {sshOptions: {Port: null}},
    'Expected `sshOptions.Port` to be a string, a finite number, a boolean or an array of strings, got `null`',
  ],
  [
    {sshOptions: {Port: NaN}},
    'Expected `sshOptions.Port` to be a string, a finite number, a boolean or an array of strings, got `NaN` (number)',
  ],
  [
    {sshOptions: {Port: Infinity}},
    'Expected `sshOptions.Port` to be a string, a finite number, a boolean or an array of strings, got `Infinity` (number)',
  ],
  [{sshOptions: {SendEnv: ['A', 5]}}, 'Expected `sshOptions.SendEnv[1]` to be a non-empty string, got `5` (number)'],
  [{extraArgs: '-v'}, "Expected `extraArgs` to be an array of strings, got `'-v'` (string)"],
  [{extraArgs: null}, 'Expected `extraArgs` to be an array of strings, got `null`'],
  [{extraArgs: ['-v', '']}, "Expected `extraArgs[1]` to be a non-empty string, got `''` (string)"],
  [
    {extraArgs: ['-v\0']},
    "Expected `extraArgs[0]` to be a non-empty string without NUL or line breaks, got `'-v\\x00'` (string)",
  ],
  [{cwd: ''}, "Expected `cwd` to be a non-empty string, got `''` (string)"],
  [{cwd: '/a\0'}, "Expected `cwd` to be a non-empty string without NUL or line breaks, got `'/a\\x00'` (string)"],
  [{stdio: 'ignore'}, "Expected `stdio` to be 'pipe' or 'inherit', got `'ignore'` (string)"],
  [{stdio: null}, "Expected `stdio` to be 'pipe' or 'inherit', got `null`"],
  [{signal: {}}, 'Expected `signal` to be an AbortSignal, got `{}` (object)'],
  [{signal: 'SIGTERM'}, "Expected `signal` to be an AbortSignal, got `'SIGTERM'` (string)"],
  [{env: null}, 'Expected `env` to be an object of strings, got `null`'],
  [{env: 'A=1'}, 'Expected `env` to be an object of strings, got a string'],
  [{env: ['A=1']}, 'Expected `env` to be an object of strings, got an array'],
  [{env: {A: 1}}, 'Expected `env.A` to be a string without NUL, got a number'],
  [{env: {A: null}}, 'Expected `env.A` to be a string without NUL, got `null`'],
  [{env: {A: 'b\0c'}}, 'Expected `env.A` to be a string without NUL, got a string with one'],
  [{env: {'': 'b'}}, "Expected the name `''` in `env` to be one without NUL and '='"],
  [{env: {'A\0': 'b'}}, "Expected the name `'A\\x00'` in `env` to be one without NUL and '='"],
  [{env: {'A=B': 'b'}}, "Expected the name `'A=…'` in `env` to be one without NUL and '='"],
];

test.each(refused)('%j is refused', (options, message) => {
  expect(complaint({host: 'h', ...options})).toBe(message);
});

test('of what is not options nothing is told: it may be a list of them', () => {
  const message = complaint([{host: 'h', password: 'a secret'}]);
  expect(message).toBe('Expected `options` to be an object, got an array');
});

test.each([undefined, null, 'h', 5, ['h'], () => 'h'])('%j is not options', (options) => {
  expect(complaint(options)).toMatch(/^Expected `options` to be an object, got /);
});

describe('an option that there is not', () => {
  test.each<[options: object, path: string]>([
    [{hots: 'h'}, 'hots'],
    [{Host: 'h'}, 'Host'],
    [{identityFiles: []}, 'identityFiles'],
    [{heartbeat: {intervall: 5}}, 'heartbeat.intervall'],
    [{heartbeat: {enabled: false}}, 'heartbeat.enabled'],
    [{restart: {retry: 5}}, 'restart.retry'],
    [{restart: {gateTime: 5}}, 'restart.gateTime'],
  ])('%j is refused, with those there are', (options, path) => {
    const message = complaint({host: 'h', ...options});
    expect(message).toMatch(/^Unknown option `[\w.]+`; known are `\w+`(, `\w+`)+$/);
    expect(message).toContain(`Unknown option \`${path}\`;`);
  });

  test('is refused also where it is undefined', () => {
    expect(complaint({host: 'h', hots: undefined})).toContain('`hots`');
  });
});

describe('together', () => {
  const alone = ['-N', 'h'];

  test.each<[options: object, message: string]>([
    [
      {sshArguments: alone, host: 'h'},
      'Expected `host` to be absent where `sshArguments` is given: it says all that ssh gets',
    ],
    [
      {sshArguments: alone, forwards: []},
      'Expected `forwards` to be absent where `sshArguments` is given: it says all that ssh gets',
    ],
    ...(['port', 'username', 'configFile', 'identityFile', 'sshOptions', 'extraArgs'] as const).map(
      (name): [object, string] => [
        {sshArguments: alone, [name]: 1},
        `Expected \`${name}\` to be absent where \`sshArguments\` is given: it says all that ssh gets`,
      ],
    ),
    [
      {sshArguments: alone, heartbeat: {}},
      'Expected `heartbeat` to be false, or of the mode forward-loop or echo-port with a `monitorPort`, where `sshArguments` is given: nothing may be added to them',
    ],
    [
      {sshArguments: alone, heartbeat: {mode: 'server-alive'}},
      'Expected `heartbeat` to be false, or of the mode forward-loop or echo-port with a `monitorPort`, where `sshArguments` is given: nothing may be added to them',
    ],
    [
      {sshArguments: alone, heartbeat: {monitorPort: 1, remotePort: 2}},
      'Expected `heartbeat.remotePort` to be absent where `sshArguments` is given: they say where the beats go',
    ],
    [
      {sshArguments: alone, heartbeat: {monitorPort: 65_535}},
      'Expected `heartbeat.monitorPort` to be an integer from 1 to 65534, got `65535` (number)',
    ],
    [
      {host: 'h', heartbeat: {monitorPort: 1}},
      'Expected `heartbeat.monitorPort` to be absent without `sshArguments`: the heartbeat needs none',
    ],
    [
      {host: 'h', restart: {policy: 'autossh', factor: 3}},
      "Expected `restart.factor` to be absent with `restart.policy` 'autossh': it has a backoff of its own",
    ],
    [
      {host: 'h', stderr: process.stderr},
      "Expected `stderr` to be absent without `stdio: 'inherit'`: ssh's stderr is read anyway",
    ],
    [{sshArguments: '-N h'}, "Expected `sshArguments` to be an array of strings, got `'-N h'` (string)"],
    [{sshArguments: null}, 'Expected `sshArguments` to be an array of strings, got `null`'],
    [{sshArguments: ['-N', 'h\0']}, "Expected `sshArguments[1]` to be a string without NUL, got `'h\\x00'` (string)"],
    [
      {host: 'h', heartbeat: {mode: 'echo-port', remotePort: 5}},
      "Expected `heartbeat.remotePort` to be absent with `heartbeat.mode` 'echo-port': only 'forward-loop' has it",
    ],
    [
      {host: 'h', heartbeat: {mode: 'server-alive', echoHost: 'a'}},
      "Expected `heartbeat.echoHost` to be absent with `heartbeat.mode` 'server-alive': only 'echo-port' has it",
    ],
    [
      {host: 'h', heartbeat: {echoPort: 5}},
      "Expected `heartbeat.echoPort` to be absent with `heartbeat.mode` 'forward-loop': only 'echo-port' has it",
    ],
    [
      {host: 'h', heartbeat: {remotePort: 8080}, forwards: ['-R 8080:a:1']},
      'Expected `heartbeat.remotePort` to be a port of its own, but a remote forward listens on 8080 too',
    ],
    [
      {host: 'h', stdio: 'inherit', forwards: ['-R 0:a:1']},
      "Expected no remote forward with port 0 together with `stdio: 'inherit'`: ssh tells the chosen port on its stderr, which is then not read",
    ],
    ...(
      [
        [{forwards: ['-R 8080:a:1']}, '`forwards[0]`'],
        [{forwards: ['-L 0:a:1', '-R /run/a.sock:a:1']}, '`forwards[1]`'],
        [{forwards: [{type: 'local', target: '1', steady: false}]}, '`forwards[0]`'],
        [{forwards: [{type: 'dynamic', steady: false}]}, '`forwards[0]`'],
        [{forwards: ['-L /run/a.sock:a:1']}, '`forwards[0]`'],
      ] as const
    ).map(([options, what]): [object, string] => [
      {host: 'h', standby: true, ...options},
      `Expected ${what} to be one that two ssh can have at once, because of \`standby\`: no fixed remote port, no Unix socket and no \`steady: false\``,
    ]),
    [
      {host: 'h', standby: true, forwards: ['-L 0:a:1'], heartbeat: {remotePort: 8080}},
      'Expected `heartbeat.remotePort` to be absent with `standby`: only one ssh can have it listened on at the server',
    ],
    [
      {sshArguments: alone, standby: true},
      'Expected `standby` to be absent where `sshArguments` is given: what two ssh can have at once is not known',
    ],
    ...(
      [
        [[], 'without a forward'],
        [['-R 0:a:1'], 'with `forwards[0]`'],
        [['-D 0', {type: 'local', target: '1', steady: false}], 'with `forwards[1]`'],
      ] as const
    ).flatMap(([forwards, where]): [object, string][] =>
      [{lazy: true}, {idleTimeout: 1}].map((wanted) => [
        {host: 'h', forwards, ...wanted},
        `Expected \`${Object.keys(wanted).join('')}\` to be absent ${where}: only the connections of steady forwards are seen, start ssh and keep it`,
      ]),
    ),
    ...[{lazy: true}, {idleTimeout: 1}].map((wanted): [object, string] => [
      {host: 'h', forwards: ['-D 0'], standby: true, ...wanted},
      `Expected \`${Object.keys(wanted).join('')}\` to be absent with \`standby\`: the one saves an ssh, the other spends one`,
    ]),
    ...(['QUIET', 'error', 'Fatal'] as const).map((level): [object, string] => [
      {host: 'h', sshOptions: {loglevel: level}, forwards: [{type: 'remote', listen: '0', target: '1'}]},
      `Expected no remote forward with port 0 together with \`sshOptions.LogLevel: '${level}'\`: ssh tells the chosen port on its stderr, which is then not read`,
    ]),
    [
      {host: 'h', forwards: ['-L 8080:a:1', '-R 8080:a:1', '-D 8080']},
      'Expected `forwards[2].listen` to be free, but `forwards[0]` has 127.0.0.1:8080 already',
    ],
    [
      {host: 'h', forwards: ['-R /run/a:b:1', '-R /run/a:c:2']},
      'Expected `forwards[1].listen` to be free, but `forwards[0]` has /run/a already',
    ],
    [
      {host: 'h', forwards: ['-R 0:a:1', '-R 0:a:1']},
      'Expected `forwards[1].listen` to be free, but `forwards[0]` has 127.0.0.1:0 for the same target already',
    ],
  ])('%j is refused', (options, message) => {
    expect(complaint(options)).toBe(message);
  });

  test('what two ssh can have at once goes with a standby', () => {
    const forwards = ['-L 5432:a:1', '-D 0', '-R 0:a:1'];
    expect(withHost({forwards, standby: true}).standby).toBe(true);
    expect(withHost({forwards, standby: true, heartbeat: {remotePort: undefined}}).standby).toBe(true);
    expect(withHost({forwards: ['-R 8080:a:1'], standby: false}).standby).toBe(false);
  });

  test('steady forwards alone go with being lazy', () => {
    const forwards = ['-D 0', '-L 5432:a:1'];
    expect(withHost({forwards, lazy: true, idleTimeout: 5})).toMatchObject({lazy: true, idleTimeout: 5});
  });

  test.each([
    {forwards: ['-L 0:a:1', '-L 0:a:1', '-D 0']},
    {forwards: ['-R 0:a:1', '-R 0:a:2']},
    {forwards: ['-L 127.0.0.1:1:a:1', '-L [::1]:1:a:1', '-R 1:a:1', '-L /run/a:b:1', '-R /run/a:b:1']},
    {forwards: ['-R 0:a:1'], sshOptions: {LogLevel: 'INFO'}},
    {forwards: ['-R 1:a:1'], sshOptions: {LogLevel: 'QUIET'}},
  ])('%j is not', (options) => {
    expect(withHost(options).forwards).toHaveLength(options.forwards.length);
  });

  test('the same at other ends is not', () => {
    const forwards = ['-L 8080:a:1', '-R 8081:a:1'];
    expect(withHost({heartbeat: {remotePort: 8080}, forwards}).heartbeat).toMatchObject({remotePort: 8080});
    expect(withHost({stdio: 'inherit', forwards: ['-R 1:a:1', '-L 0:a:1']}).stdio).toBe('inherit');
    expect(resolve({sshArguments: alone, host: undefined}).sshArguments).toEqual(alone);
    expect(resolve({sshArguments: ['h', '', 'a\nb']}).sshArguments).toEqual(['h', '', 'a\nb']);
    expect(withHost({stdio: 'inherit', stderr: process.stderr, forwards: ['-R 0:a:1']}).stderr).toBe(process.stderr);
  });
});

test('the class refuses what is refused here, and starts nothing', () => {
  expect(() => new AutoSSH({host: '-oProxyCommand=x'})).toThrow(TypeError);
  expect(() => new AutoSSH({host: 'h', port: 0})).toThrow('Expected `port` to be an integer from 1 to 65535');
});

test('what is given is taken as it is', () => {
  const {signal} = new AbortController();
  const shouldRestart = (): boolean => true;
  const options = {
    host: 'DOMAIN\\me@host.example',
    port: 2222,
    username: 'DOMAIN\\me',
    forwards: [
      {type: 'local', listen: '[::1]:1', target: {path: '/run/a'}, name: 'a'},
      '-D 1080',
      {type: 'dynamic', steady: false, name: 'c'},
    ],
    heartbeat: {
      mode: 'echo-port',
      interval: 1,
      firstInterval: 2,
      timeout: 3,
      maxMisses: 4,
      message: 'x'.repeat(64),
      echoHost: '::1',
      echoPort: 8,
    },
    gateTime: 1,
    restart: {
      policy: 'exponential',
      retries: 1,
      factor: 1,
      minTimeout: 2,
      maxTimeout: 3,
      randomize: false,
      maxStarts: 4,
      stableAfter: 5,
      quickFor: 6,
      shouldRestart,
    },
    connectTimeout: 2,
    readyTimeout: 3,
    killTimeout: 4,
    maxLifetime: 5,
    holdTimeout: 6,
    maxHeld: 7,
    drainTimeout: 8,
    standby: false,
    lazy: false,
    idleTimeout: 0,
    sshPath: '-ssh',
    configFile: '-config',
    identityFile: 'key',
    privateKey: 'secret',
    passphrase: () => 'secret',
    agent: 'session',
    hostKeyCheck: 'strict',
    jump: 'me@hop:2222',
    sshOptions: {Compression: true, ForwardAgent: false, Port: 5, SendEnv: ['A', 'B'], User: ' a '},
    extraArgs: ['-v'],
    env: {A: 'b', C: undefined},
    cwd: '/',
    stdio: 'inherit',
    stderr: process.stderr,
    signal,
  };
  const {privateKey, passphrase, agent, hostKeyCheck: check, ...others} = options;
  const none = {privateKey: undefined, passphrase: undefined, certificate: undefined};
  expect(resolve(options)).toEqual({
    ...others,
    login: {...none, privateKey, passphrase, agent, password: undefined, keyboardInteractive: undefined},
    hostKey: {pins: undefined, check},
    jump: [
      {
        ...none,
        host: 'hop',
        port: 2222,
        username: 'me',
        identityFiles: [],
        hostKey: {pins: undefined, check: undefined},
      },
    ],
    forwards: [
      {name: 'a', type: 'local', steady: true, listen: {host: '::1', port: 1}, target: {path: '/run/a'}},
      {name: 'dynamic-1', type: 'dynamic', steady: true, listen: {host: '127.0.0.1', port: 1080}, target: undefined},
      {name: 'c', type: 'dynamic', steady: false, listen: {host: '127.0.0.1', port: 0}, target: undefined},
    ],
    heartbeat: {...options.heartbeat, remotePort: undefined, monitorPort: undefined},
    idleTimeout: Infinity,
    identityFile: undefined,
    identityFiles: ['key'],
    sshOptions: [
      ['Compression', 'yes'],
      ['ForwardAgent', 'no'],
      ['Port', '5'],
      ['SendEnv', 'A'],
      ['SendEnv', 'B'],
      ['User', ' a '],
    ],
    sshArguments: undefined,
  });
});

test('what the caller does to its objects afterwards changes nothing', () => {
  const listen = {host: '127.0.0.1', port: 1};
  const forward = {type: 'local' as const, listen, target: '1'};
  const options = {
    host: 'h',
    forwards: [forward],
    heartbeat: {interval: 5},
    restart: {retries: 5},
    identityFile: ['a'],
    sshOptions: {SendEnv: ['A']} as Record<string, string[]>,
    extraArgs: ['-v'],
    env: {A: 'b'} as Record<string, string>,
  };
  const settings = resolve(options);
  const before = structuredClone({...settings, signal: undefined});
  options.host = '-x';
  listen.port = 2;
  forward.target = '2';
  options.forwards.push(forward);
  options.heartbeat.interval = 6;
  options.restart.retries = 6;
  options.identityFile.push('b');
  options.sshOptions['SendEnv']?.push('B');
  options.sshOptions['Port'] = ['1'];
  options.extraArgs.push('-x');
  options.env['A'] = 'c';
  expect(settings).toEqual(before);
});

test('the settings are frozen to the bottom, and the options are not', () => {
  const env = {A: 'b'};
  const options = {
    host: 'h',
    forwards: [{type: 'local', listen: {port: 1}, target: {port: 2}}, '-R 1:a:2'],
    heartbeat: {},
    restart: {},
    identityFile: ['a'],
    sshOptions: {Compression: true, Port: 1, SendEnv: ['A']},
    extraArgs: ['-v'],
    env,
  };
  for (const settings of [resolve(options), resolve({host: 'h'}), resolve({sshArguments: ['h']})]) {
    expect(mutableParts(settings)).toEqual([]);
  }
  expect(mutableParts(options)).not.toEqual([]);
  expect(Object.isFrozen(env)).toBe(false);
});

function mutableParts(value: unknown, path = 'settings'): string[] {
  if (typeof value !== 'object' || value === null) return [];
  const inside = Object.entries(value).flatMap(([name, part]) => mutableParts(part, `${path}.${name}`));
  return Object.isFrozen(value) ? inside : [path, ...inside];
}

describe('secrets of the environment stay out of every message', () => {
  const secret = 'hunter2';

  test.each([
    {env: {TOKEN: `${secret}\0`}},
    {env: {TOKEN: [secret]}},
    {env: {TOKEN: {secret}}},
    {env: [`TOKEN=${secret}`]},
    {env: `TOKEN=${secret}`},
    {env: {TOKEN: secret}, port: 0},
    {env: {TOKEN: secret, 'A=': 'b'}},
    {env: {[`TOKEN=${secret}`]: 'b'}},
    {env: {TOKEN: secret}, envs: {}},
  ])('%j', (options) => {
    expect(complaint({host: 'h', ...options})).not.toContain(secret);
  });
});

/** Every string that a user can bring into the command line, with what is around it. */
const places: readonly ((text: string) => object)[] = [
  (text) => ({host: text}),
  (text) => ({host: `me@${text}`}),
  (text) => ({host: `${text}@h`}),
  (text) => ({username: text}),
  (text) => ({forwards: [text]}),
  (text) => ({forwards: [`-L ${text}`]}),
  (text) => ({forwards: [{type: 'local', listen: text, target: '1'}]}),
  (text) => ({forwards: [{type: 'local', target: {host: text, port: 1}, name: text}]}),
  (text) => ({forwards: [{type: 'remote', listen: {path: text}, target: {path: text}}]}),
  (text) => ({heartbeat: {mode: 'echo-port', echoHost: text}}),
  (text) => ({heartbeat: {message: text}}),
  (text) => ({configFile: text}),
  (text) => ({identityFile: text}),
  (text) => ({identityFile: ['a', text]}),
  (text) => ({sshOptions: {User: text}}),
  (text) => ({sshOptions: {SendEnv: [text]}}),
  (text) => ({sshOptions: {[text]: 'x'}}),
  (text) => ({extraArgs: [text]}),
  (text) => ({sshPath: text}),
  (text) => ({cwd: text}),
];

describe('whatever text is put into whatever option', () => {
  const scraps = [
    '-',
    '-oProxyCommand=x',
    '\n',
    '\r',
    '\0',
    ' ',
    '@',
    'h',
    '1',
    ':',
    '/',
    'a',
    '\\',
    "'",
    '$(x)',
    'ssh://',
    '\u2028',
  ];
  const text = fc.oneof(
    fc.string({unit: 'binary', maxLength: 12}),
    fc.array(fc.constantFrom(...scraps), {maxLength: 5}).map((parts) => parts.join('')),
  );

  test('it is refused with a TypeError of one line, or goes to ssh as no option and with no line break in it', () => {
    let taken = 0;
    fc.assert(
      fc.property(fc.constantFrom(...places), text, (place, value) => {
        let settings: Settings;
        try {
          settings = withHost(place(value));
        } catch (error) {
          expect(error).toBeInstanceOf(TypeError);
          expect((error as TypeError).message).not.toMatch(/[\n\r\0]/);
          return;
        }
        taken++;
        const options = {
          ...settings,
          loopPort: 1,
          monitorRemote: undefined,
          unknownOptions: new Set<string>(),
          equipment: planLogin(settings, {
            folder: '/t',
            agent: '/t/agent.sock',
            sshPath: 'ssh',
            configFile: undefined,
            kept: new Map(),
          }),
        };
        const argv = sshArguments(settings, planLife(options, '/t/out.sock', '/t/back.sock'));
        expect(argv.filter((one) => /[\n\r\0]/.test(one))).toEqual([]);
        expect(argv.at(-2)).toBe('--');
        // No part of the destination either: ssh hands both on to a ProxyCommand as %r and %h.
        expect(
          (argv.at(-1) ?? '')
            .replace(/^ssh:\/\//, '')
            .split('@')
            .filter((part) => part.startsWith('-')),
        ).toEqual([]);
        for (const flag of ['-L', '-R', '-D', '-l']) {
          for (const operand of operandsOf(argv, flag, settings.extraArgs.length)) expect(operand).not.toMatch(/^-/);
        }
      }),
      {numRuns: 5_000},
    );
    // Or else nothing is shown by this.
    expect(taken).toBeGreaterThan(500);
  });

  test('anything but text is refused with a TypeError of one line', () => {
    const value = fc.anything().filter((one) => typeof one !== 'string' && one !== undefined && !Array.isArray(one));
    fc.assert(
      fc.property(fc.constantFrom(...places.slice(0, 1), ...places.slice(3)), value, (place, one) => {
        // Some places put it into a string, or use it as a name.
        if (!JSON.stringify(place('§')).includes('"§"')) return;
        try {
          withHost(place(one as string));
        } catch (error) {
          expect(error).toBeInstanceOf(TypeError);
          expect((error as TypeError).message).not.toMatch(/[\n\r\0]/);
        }
      }),
      {numRuns: 2_000},
    );
  });
});

/** The words that follow a flag of ours. */
function operandsOf(argv: readonly string[], flag: string, from: number): string[] {
  return argv.flatMap((one, index) => (one === flag && index >= from ? [argv[index + 1] ?? ''] : []));
}
