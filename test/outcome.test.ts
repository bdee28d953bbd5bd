import {describe, expect, test} from 'vitest';
import type {AutoSSHErrorCode, Outcome, Stage} from '../src/errors.js';
import {AutoSSHError} from '../src/index.js';
import {
  type Adaptation,
  type EndCause,
  type Ending,
  adaptationTo,
  describeOutcome,
  outcomeError,
} from '../src/outcome.js';
import {resolveForward} from '../src/ssh/forward.js';
import {readNotice} from '../src/ssh/notice-table.js';

const forwards = [
  resolveForward({type: 'local', listen: '127.0.0.1:5432', target: 'db:5432', name: 'db'}, 0),
  resolveForward({type: 'remote', listen: '127.0.0.1:8080', target: '80', name: 'web'}, 1),
  resolveForward({type: 'dynamic', listen: '/run/socks.sock', name: 'socks'}, 2),
  resolveForward({type: 'remote', listen: '/run/web.sock', target: '80', name: 'web-socket'}, 3),
];

/** An ssh that said these lines and exited with 255 before it was logged in, unless told otherwise. */
function ending(lines: readonly string[], more: Partial<Ending> = {}): Ending {
  return {
    cause: undefined,
    exit: {exitCode: 255, signal: undefined},
    spawnError: undefined,
    stderr: lines,
    notices: lines.flatMap((line) => readNotice(line) ?? []),
    stage: 'connect',
    isRaw: false,
    isPinned: false,
    areHopsPinned: false,
    isAnswered: false,
    doubts: [],
    uptime: 0,
    forwards,
    holder: undefined,
    loopPort: undefined,
    ephemeralPorts: new Set(),
    ...more,
  };
}

function spawnError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`spawn ssh ${code}`), {code});
}

interface Row {
  what: string;
  ending: Ending;
  code: AutoSSHErrorCode;
  says: string | RegExp;
  hint?: string | RegExp;
  retryable: boolean;
  throttled?: boolean;
  forward?: Outcome['forward'];
}

const rows: Row[] = [
  {
    what: 'the connection is closed when a password has been given',
    ending: ending(['Connection closed by 127.0.0.1 port 22'], {stage: 'authenticate', isAnswered: true}),
    code: 'ERR_AUTOSSH_AUTH',
    says: /had been given an answer/,
    hint: 'The next tries come slower',
    retryable: true,
  },
  {
    what: 'the connection is closed when nothing has been answered yet',
    ending: ending(['Connection closed by 127.0.0.1 port 22'], {stage: 'authenticate'}),
    code: 'ERR_AUTOSSH_EXIT',
    says: /Connection closed by/,
    retryable: true,
  },
  // ERR_AUTOSSH_SPAWN
  ...['ENOENT', 'EACCES', 'ENOEXEC'].map((code): Row => ({
    what: `ssh cannot be started: ${code}`,
    ending: ending([], {exit: undefined, spawnError: spawnError(code)}),
    code: 'ERR_AUTOSSH_SPAWN',
    says: `ssh could not be started: spawn ssh ${code}`,
    hint: 'apt-get install openssh-client',
    retryable: false,
  })),
  ...['EAGAIN', 'EMFILE', 'ENFILE', 'ENOMEM'].map((code): Row => ({
    what: `this machine is out of something: ${code}`,
    ending: ending([], {exit: undefined, spawnError: spawnError(code)}),
    code: 'ERR_AUTOSSH_SPAWN',
    says: `ssh could not be started: spawn ssh ${code}`,
    hint: 'out of processes, memory or file descriptors',
    retryable: true,
  })),
  {
    what: 'the error knows better what to do',
    ending: ending([], {exit: undefined, spawnError: Object.assign(spawnError('ENOENT'), {hint: 'Correct `cwd`.'})}),
    code: 'ERR_AUTOSSH_SPAWN',
    says: 'ssh could not be started',
    hint: /^Correct `cwd`\.$/,
    retryable: false,
  },
  {
    what: 'the program in front of ssh cannot start it',
    ending: ending(['setpriv: failed to execute /opt/ssh: No such file or directory'], {
      exit: {exitCode: 127, signal: undefined},
    }),
    code: 'ERR_AUTOSSH_SPAWN',
    says: 'ssh could not be started: setpriv: failed to execute /opt/ssh: No such file or directory',
    hint: '`sshPath`',
    retryable: false,
  },
  {
    what: 'the program in front of ssh cannot start it for now',
    ending: ending(['setpriv: failed to execute /usr/bin/ssh: Cannot allocate memory'], {
      exit: {exitCode: 126, signal: undefined},
    }),
    code: 'ERR_AUTOSSH_SPAWN',
    says: 'Cannot allocate memory',
    hint: 'out of processes, memory or file descriptors',
    retryable: true,
  },
  {
    what: 'a server that talks like setpriv',
    ending: ending(['setpriv: failed to execute ssh: just kidding'], {stage: 'forward'}),
    code: 'ERR_AUTOSSH_EXIT',
    says: 'ssh exited with code 255',
    retryable: true,
  },

  // ERR_AUTOSSH_USAGE
  {
    what: 'an option that ssh does not know',
    ending: ending(['command-line: line 0: Bad configuration option: nosuch']),
    code: 'ERR_AUTOSSH_USAGE',
    says: 'ssh refused the option nosuch: Bad configuration option',
    hint: 'Correct the option',
    retryable: false,
  },
  {
    what: 'a line of a configuration file',
    ending: ending([
      '/home/me/.ssh/config: line 3: Bad configuration option: compresion',
      '/home/me/.ssh/config: terminating, 1 bad configuration options',
    ]),
    code: 'ERR_AUTOSSH_USAGE',
    says: 'ssh refused the option compresion in /home/me/.ssh/config line 3: Bad configuration option',
    hint: 'the configuration line that ssh names',
    retryable: false,
  },
  {
    what: 'a configuration file that others may write',
    ending: ending(['Bad owner or permissions on /home/me/.ssh/config']),
    code: 'ERR_AUTOSSH_USAGE',
    says: 'ssh refused its configuration in /home/me/.ssh/config: Bad owner or permissions',
    retryable: false,
  },
  {
    what: 'a forward that ssh does not take',
    ending: ending(["Bad local forwarding specification 'x:y'"]),
    code: 'ERR_AUTOSSH_USAGE',
    says: "ssh refused the local forward 'x:y'",
    retryable: false,
  },
  {
    what: 'a user id without a name',
    ending: ending(['No user exists for uid 1001']),
    code: 'ERR_AUTOSSH_USAGE',
    says: 'user id 1001',
    hint: '/etc/passwd',
    retryable: false,
  },

  // ERR_AUTOSSH_HOST_KEY
  {
    what: 'a host key that is not known',
    ending: ending([
      'No ED25519 host key is known for [127.0.0.1]:35787 and you have requested strict checking.',
      'Host key verification failed.',
    ]),
    code: 'ERR_AUTOSSH_HOST_KEY',
    says: 'The host key of [127.0.0.1]:35787 is not known',
    hint: 'its administrator publishes',
    retryable: false,
  },
  {
    what: 'a host key that would have been asked about',
    ending: ending(['Host key verification failed.']),
    code: 'ERR_AUTOSSH_HOST_KEY',
    says: 'The host key of the server is not known',
    retryable: false,
  },
  {
    what: 'a host key that has changed',
    ending: ending([
      '@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @',
      'Offending ED25519 key in /home/me/.ssh/known_hosts:7',
      'Host key for db has changed and you have requested strict checking.',
      'Host key verification failed.',
    ]),
    code: 'ERR_AUTOSSH_HOST_KEY',
    says: 'The host key of db is not the one that known_hosts has in /home/me/.ssh/known_hosts line 7',
    hint: 'ssh-keygen -R',
    retryable: false,
  },
  {
    what: 'a host key that was revoked',
    ending: ending(['Host key ED25519 SHA256:yr2r revoked by file /etc/revoked', 'Host key verification failed.']),
    code: 'ERR_AUTOSSH_HOST_KEY',
    says: "The server's host key is marked as revoked in /etc/revoked",
    retryable: false,
  },

  // ERR_AUTOSSH_AUTH
  {
    what: 'a login that was refused',
    ending: ending(['me@db: Permission denied (publickey,password).']),
    code: 'ERR_AUTOSSH_AUTH',
    says: /Permission denied.*publickey, password/,
    hint: 'authorized_keys',
    retryable: true,
  },
  {
    what: 'a key that others could read',
    ending: ending([
      "Permissions 0644 for '/home/me/key' are too open.",
      'Load key "/home/me/key": bad permissions',
      'me@db: Permission denied (publickey).',
    ]),
    code: 'ERR_AUTOSSH_AUTH',
    says: /Permission denied.*\/home\/me\/key.*others could read it/,
    hint: 'chmod 600 /home/me/key',
    retryable: true,
  },
  {
    what: 'a key that is none',
    ending: ending(['Load key "/home/me/key": error in libcrypto', 'me@db: Permission denied (publickey).']),
    code: 'ERR_AUTOSSH_AUTH',
    says: /\/home\/me\/key could not be used: error in libcrypto/,
    retryable: true,
  },
  {
    what: 'an agent that is gone',
    ending: ending([
      'debug1: get_agent_identities: ssh_get_authentication_socket: No such file or directory',
      'me@db: Permission denied (publickey).',
    ]),
    code: 'ERR_AUTOSSH_AUTH',
    says: 'the ssh-agent could not be used: No such file or directory',
    hint: 'ssh-add',
    retryable: true,
  },
  {
    what: 'too many keys',
    ending: ending(['Received disconnect from 127.0.0.1 port 60065:2: Too many authentication failures']),
    code: 'ERR_AUTOSSH_AUTH',
    says: 'Too many authentication failures',
    retryable: true,
  },

  // ERR_AUTOSSH_RESOLVE, ERR_AUTOSSH_CONNECT
  {
    what: 'a name that does not resolve',
    ending: ending(['ssh: Could not resolve hostname nosuch.invalid: Name or service not known']),
    code: 'ERR_AUTOSSH_RESOLVE',
    says: 'The name nosuch.invalid could not be resolved: Name or service not known',
    hint: 'spelling',
    retryable: true,
  },
  ...['Connection refused', 'Connection timed out', 'No route to host', 'Network is down', 'Permission denied'].map(
    (reason): Row => ({
      what: `connect: ${reason}`,
      ending: ending([`ssh: connect to host 192.0.2.1 port 2222: ${reason}`]),
      code: 'ERR_AUTOSSH_CONNECT',
      says: `No connection to 192.0.2.1 port 2222: ${reason}`,
      hint: 'firewall',
      retryable: true,
    }),
  ),
  {
    what: 'a server that says nothing',
    ending: ending(['Connection timed out during banner exchange', 'Connection to 192.0.2.1 port 22 timed out']),
    code: 'ERR_AUTOSSH_CONNECT',
    says: 'said nothing within `connectTimeout`',
    hint: 'overloaded or hung',
    retryable: true,
  },
  {
    what: 'closed before the banner, as with too many connections',
    ending: ending(['kex_exchange_identification: Connection closed by remote host']),
    code: 'ERR_AUTOSSH_CONNECT',
    says: 'closed before login: Connection closed by remote host',
    hint: 'MaxStartups',
    retryable: true,
    throttled: true,
  },
  {
    what: 'closed before login',
    ending: ending(['Connection reset by 192.0.2.1 port 22']),
    code: 'ERR_AUTOSSH_CONNECT',
    says: 'closed before login: Connection reset by 192.0.2.1',
    retryable: true,
  },
  {
    what: 'a penalty',
    ending: ending([
      'debug1: kex_exchange_identification: banner line 0: Not allowed at this time',
      'kex_exchange_identification: Connection closed by remote host',
    ]),
    code: 'ERR_AUTOSSH_CONNECT',
    says: 'turns connections away: Not allowed at this time',
    hint: 'the next tries come slower',
    retryable: true,
    throttled: true,
  },
  {
    what: 'no algorithm in common',
    ending: ending([
      'Unable to negotiate with 192.0.2.1 port 22: no matching host key type found. Their offer: ssh-rsa',
    ]),
    code: 'ERR_AUTOSSH_CONNECT',
    says: /no matching host key type found.*offers ssh-rsa/,
    hint: '`sshOptions`',
    retryable: true,
  },
  {
    what: 'what answered is no ssh server',
    ending: ending(['kex_exchange_identification: banner line contains invalid characters']),
    code: 'ERR_AUTOSSH_CONNECT',
    says: 'no working ssh server: banner line contains invalid characters',
    retryable: true,
  },
  {
    what: 'a ProxyCommand that is not there',
    ending: ending(['/bin/sh: 1: nc: not found', 'kex_exchange_identification: Connection closed by remote host']),
    code: 'ERR_AUTOSSH_CONNECT',
    says: 'ProxyCommand or jump host failed: 1: nc: not found',
    hint: '-v',
    retryable: true,
  },
  {
    what: 'lost before login',
    ending: ending(['ssh_dispatch_run_fatal: Connection to 192.0.2.1 port 22: Broken pipe']),
    code: 'ERR_AUTOSSH_CONNECT',
    says: 'lost before login',
    retryable: true,
  },

  // ERR_AUTOSSH_FORWARD
  {
    what: 'a local port that is taken, by someone who can be named',
    ending: ending(
      [
        'bind [127.0.0.1]:5432: Address already in use',
        'channel_setup_fwd_listener_tcpip: cannot listen to port: 5432',
        'Could not request local forwarding.',
      ],
      {stage: 'forward', holder: {pid: 99, name: 'postgres'}},
    ),
    code: 'ERR_AUTOSSH_FORWARD',
    says: 'ssh could not listen on 127.0.0.1:5432: Address already in use: postgres (pid 99) listens there',
    hint: 'Choose another port',
    retryable: true,
    forward: {side: 'local', listen: '127.0.0.1:5432', name: 'db'},
  },
  {
    what: 'a local port that is taken by someone unknown',
    ending: ending(['bind [127.0.0.1]:5432: Address already in use'], {stage: 'forward'}),
    code: 'ERR_AUTOSSH_FORWARD',
    says: /^ssh could not listen on 127\.0\.0\.1:5432: Address already in use$/,
    retryable: true,
    forward: {side: 'local', listen: '127.0.0.1:5432', name: 'db'},
  },
  {
    what: 'a local socket that is taken',
    ending: ending(['unix_listener: cannot bind to path /run/socks.sock: Address already in use'], {stage: 'forward'}),
    code: 'ERR_AUTOSSH_FORWARD',
    says: 'ssh could not listen on /run/socks.sock: Address already in use',
    retryable: true,
    forward: {side: 'local', listen: '/run/socks.sock', name: 'socks'},
  },
  {
    what: 'a local port that only ssh_config wants',
    ending: ending(['bind [::1]:9999: Address already in use'], {stage: 'forward'}),
    code: 'ERR_AUTOSSH_FORWARD',
    says: 'ssh could not listen on [::1]:9999',
    hint: 'LocalForward or DynamicForward in ssh_config',
    retryable: true,
    forward: {side: 'local', listen: '[::1]:9999'},
  },
  {
    what: 'a remote port that is taken or refused',
    ending: ending(['Error: remote port forwarding failed for listen port 8080'], {stage: 'forward'}),
    code: 'ERR_AUTOSSH_FORWARD',
    says: 'may not listen on 127.0.0.1:8080',
    hint: /^Something else holds it there.*AllowTcpForwarding.*forbid it\.$/,
    retryable: true,
    forward: {side: 'remote', listen: '127.0.0.1:8080', name: 'web'},
  },
  {
    what: 'a remote socket that is taken or refused',
    ending: ending(['Error: remote port forwarding failed for listen path /run/web.sock'], {stage: 'forward'}),
    code: 'ERR_AUTOSSH_FORWARD',
    says: 'may not listen on /run/web.sock',
    hint: 'A socket file of a lost connection may be left there',
    retryable: true,
    forward: {side: 'remote', listen: '/run/web.sock', name: 'web-socket'},
  },
  {
    what: 'a remote port that only ssh_config wants',
    ending: ending(['Error: remote port forwarding failed for listen port 9999'], {stage: 'forward'}),
    code: 'ERR_AUTOSSH_FORWARD',
    says: 'may not listen on port 9999',
    hint: 'RemoteForward in ssh_config',
    retryable: true,
    forward: {side: 'remote', listen: 'port 9999'},
  },

  // ERR_AUTOSSH_TIMEOUT
  ...(
    [
      ['connect', 'looking up or connecting'],
      ['authenticate', 'logging in'],
      ['forward', 'setting up the forwards'],
      ['heartbeat', 'waiting for the first beat'],
    ] as const
  ).map(([stage, says]): Row => ({
    what: `not ready in time: ${stage}`,
    ending: ending([], {
      cause: {type: 'timeout', stage, after: 45_000, isAsking: false},
      exit: {exitCode: undefined, signal: 'SIGTERM'},
    }),
    code: 'ERR_AUTOSSH_TIMEOUT',
    says: new RegExp(`not ready within 45000 ms.*${says}`),
    hint: '`readyTimeout`',
    retryable: true,
  })),

  // ERR_AUTOSSH_HEARTBEAT
  {
    what: 'one missed beat',
    ending: ending([], {cause: {type: 'heartbeat', misses: 1}, stage: 'up'}),
    code: 'ERR_AUTOSSH_HEARTBEAT',
    says: '1 beat in a row did not come back',
    hint: '`heartbeat.timeout`',
    retryable: true,
  },
  {
    what: 'missed beats',
    ending: ending([], {cause: {type: 'heartbeat', misses: 3}, stage: 'up'}),
    code: 'ERR_AUTOSSH_HEARTBEAT',
    says: '3 beats in a row did not come back',
    retryable: true,
  },
  {
    what: 'no echo service',
    ending: ending([], {cause: {type: 'heartbeat', misses: 1, echo: '127.0.0.1:7'}, stage: 'heartbeat'}),
    code: 'ERR_AUTOSSH_HEARTBEAT',
    says: 'no echo service answers at 127.0.0.1:7',
    hint: '`heartbeat.echoHost`',
    retryable: true,
  },
  {
    what: 'keep-alives without an answer',
    ending: ending(['Timeout, server db not responding.'], {stage: 'up'}),
    code: 'ERR_AUTOSSH_HEARTBEAT',
    says: "did not answer ssh's keep-alives",
    retryable: true,
  },

  // ERR_AUTOSSH_EXIT
  {
    what: 'an exit without a word',
    ending: ending([]),
    code: 'ERR_AUTOSSH_EXIT',
    says: /^ssh exited with code 255$/,
    hint: '255 alone says nothing',
    retryable: true,
  },
  {
    what: 'an exit with last words',
    ending: ending([
      'something before',
      'something nobody has seen yet',
      'Transferred: sent 3360, received 3120 bytes, in 1.8 seconds',
      'Bytes per second: sent 1856.8, received 1724.2',
      'debug1: Exit status -1',
    ]),
    code: 'ERR_AUTOSSH_EXIT',
    says: /^ssh exited with code 255: something nobody has seen yet$/,
    retryable: true,
  },
  {
    what: 'a clean exit',
    ending: ending(['Transferred: sent 1, received 1 bytes, in 1.0 seconds'], {
      exit: {exitCode: 0, signal: undefined},
      stage: 'up',
    }),
    code: 'ERR_AUTOSSH_EXIT',
    says: 'ssh ended without an error',
    retryable: true,
  },
  {
    what: 'a clean exit with words before it',
    ending: ending(['Connection to db closed.'], {exit: {exitCode: 0, signal: undefined}, stage: 'up'}),
    code: 'ERR_AUTOSSH_EXIT',
    says: /^ssh ended without an error[^:]*$/,
    retryable: true,
  },
  {
    what: 'a signal',
    ending: ending(['me@db: Permission denied (publickey).'], {exit: {exitCode: undefined, signal: 'SIGSEGV'}}),
    code: 'ERR_AUTOSSH_EXIT',
    says: /^ssh was ended by SIGSEGV$/,
    retryable: true,
  },
  {
    what: 'the loss of a connection that was up',
    ending: ending(['client_loop: send disconnect: Broken pipe'], {stage: 'up'}),
    code: 'ERR_AUTOSSH_EXIT',
    says: 'ssh exited with code 255: client_loop: send disconnect: Broken pipe',
    retryable: true,
  },
];

test.each(rows)('$what: $code', ({ending: given, code, says, hint, retryable, throttled = false, forward}) => {
  const outcome = describeOutcome(given);
  expect(outcome).toMatchObject({code, retryable, throttled, stage: given.stage, stderr: given.stderr});
  expect(outcome.message).toMatch(typeof says === 'string' ? new RegExp(escape(says)) : says);
  expect(outcome.hint).toMatch(typeof hint === 'string' ? new RegExp(escape(hint)) : (hint ?? /\S/));
  expect(outcome.forward).toEqual(forward);
});

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
}

test('every code that an ssh can end with has a row', () => {
  const codes: AutoSSHErrorCode[] = [
    'ERR_AUTOSSH_SPAWN',
    'ERR_AUTOSSH_USAGE',
    'ERR_AUTOSSH_HOST_KEY',
    'ERR_AUTOSSH_AUTH',
    'ERR_AUTOSSH_RESOLVE',
    'ERR_AUTOSSH_CONNECT',
    'ERR_AUTOSSH_FORWARD',
    'ERR_AUTOSSH_TIMEOUT',
    'ERR_AUTOSSH_HEARTBEAT',
    'ERR_AUTOSSH_EXIT',
  ];
  expect([...new Set(rows.map(({code}) => code))].sort()).toEqual(codes.sort());
});

describe('the first cause wins', () => {
  const refused = ['me@db: Permission denied (publickey).'];
  const requested: EndCause = {type: 'requested', message: 'why not'};

  test.each<[what: string, ending: Ending, outcome: Partial<Outcome>]>([
    [
      'a request, whatever else was said and however it ended',
      ending(refused, {cause: requested, spawnError: spawnError('ENOENT'), exit: {exitCode: 255, signal: undefined}}),
      {reason: 'requested', message: 'why not', retryable: true, throttled: false, exitCode: 255, stderr: refused},
    ],
    [
      'a timeout, when the end that it leads to says something else',
      ending(refused, {
        cause: {type: 'timeout', stage: 'connect', after: 5, isAsking: false},
        exit: {exitCode: undefined, signal: 'SIGTERM'},
      }),
      {reason: 'timeout', code: 'ERR_AUTOSSH_TIMEOUT', signal: 'SIGTERM'},
    ],
    [
      'a dead heartbeat, when ssh has to be killed',
      ending([], {cause: {type: 'heartbeat', misses: 2}, exit: {exitCode: undefined, signal: 'SIGKILL'}, stage: 'up'}),
      {reason: 'heartbeat', code: 'ERR_AUTOSSH_HEARTBEAT', signal: 'SIGKILL', stage: 'up'},
    ],
    ['a spawn that failed', ending([], {exit: undefined, spawnError: spawnError('ENOENT')}), {reason: 'spawn'}],
    ['a signal', ending([], {exit: {exitCode: undefined, signal: 'SIGKILL'}}), {reason: 'signal', signal: 'SIGKILL'}],
    ['an exit', ending([], {uptime: 500, stage: 'up'}), {reason: 'exit', exitCode: 255, uptime: 500}],
  ])('%s', (_what, given, outcome) => {
    expect(describeOutcome(given)).toMatchObject(outcome);
  });

  test('a request has no code, for it is no failure', () => {
    const outcome = describeOutcome(ending([], {cause: requested}));
    expect(outcome).not.toHaveProperty('code');
    expect(outcome).not.toHaveProperty('hint');
  });

  test.each<[what: string, lines: string[], code: AutoSSHErrorCode]>([
    [
      'a refused address says little when another let us in, and then nobody',
      ['ssh: connect to host ::1 port 22: Connection refused', 'me@db: Permission denied (publickey).'],
      'ERR_AUTOSSH_AUTH',
    ],
    [
      'a changed host key says more than what comes of it',
      ['Offending ED25519 key in /k:1', 'me@db: Permission denied (password).', 'Host key verification failed.'],
      'ERR_AUTOSSH_HOST_KEY',
    ],
    [
      'a proxy that cannot resolve says more than the closed connection',
      [
        'ssh: Could not resolve hostname jump: Name or service not known',
        'kex_exchange_identification: Connection closed by remote host',
      ],
      'ERR_AUTOSSH_RESOLVE',
    ],
  ])('%s', (_what, lines, code) => {
    expect(describeOutcome(ending(lines)).code).toBe(code);
  });

  test('what was said before the login does not explain the end of a connection that was up', () => {
    const lines = ['ssh: connect to host ::1 port 22: Connection refused', 'Connection to db closed by remote host.'];
    for (const stage of ['forward', 'heartbeat', 'up'] as const satisfies Stage[]) {
      expect(describeOutcome(ending(lines, {stage})).code).toBe('ERR_AUTOSSH_EXIT');
    }
  });
});

test.each([undefined, {type: 'requested', message: 'why not'}] as const)(
  'an outcome is plain data of its own, and frozen: %j',
  (cause) => {
    const stderr = ['one'];
    const outcome = describeOutcome(ending(stderr, {cause}));
    stderr.push('two');
    expect(outcome.stderr).toEqual(['one']);
    expect(Object.isFrozen(outcome)).toBe(true);
    expect(Object.isFrozen(outcome.stderr)).toBe(true);
    expect(JSON.parse(JSON.stringify(outcome))).toEqual(outcome);
  },
);

test('as an error it carries the same facts', () => {
  const outcome = describeOutcome(ending(['me@db: Permission denied (publickey).']));
  const error = outcomeError(outcome);
  expect(error).toBeInstanceOf(AutoSSHError);
  expect(error).toMatchObject({
    name: 'AutoSSHError',
    code: 'ERR_AUTOSSH_AUTH',
    message: outcome.message,
    hint: outcome.hint,
    retryable: true,
    exitCode: 255,
    signal: undefined,
    stderr: outcome.stderr,
  });
  expect(error).not.toHaveProperty('cause');
  expect(outcomeError(describeOutcome(ending([], {cause: {type: 'requested', message: 'm'}})))).toMatchObject({
    code: 'ERR_AUTOSSH_EXIT',
    message: 'm',
  });
});

describe('what the next start can avoid by itself', () => {
  const loopTaken = 'Error: remote port forwarding failed for listen port 20000';
  const tooOld = 'command-line: line 0: Bad configuration option: forkafterauthentication';

  test.each<[what: string, ending: Ending, adaptation: Adaptation | undefined]>([
    ['the heartbeat’s port is taken', ending([loopTaken], {loopPort: 20_000}), {type: 'loop-port'}],
    ['another remote port is', ending([loopTaken], {loopPort: 20_001}), undefined],
    [
      'a local port of our choice was taken in the meantime',
      ending(['bind [127.0.0.1]:40000: Address already in use'], {ephemeralPorts: new Set([40_000])}),
      {type: 'local-port', port: 40_000},
    ],
    [
      'a local port that the user chose is',
      ending(['bind [127.0.0.1]:5432: Address already in use'], {ephemeralPorts: new Set([40_000])}),
      undefined,
    ],
    ['ssh is older than 8.7', ending([tooOld]), {type: 'unknown-option', name: 'forkafterauthentication'}],
    [
      'the user’s configuration has an option that ssh is too old for',
      ending(['/etc/ssh/ssh_config: line 5: Bad configuration option: forkafterauthentication']),
      undefined,
    ],
    ['another option is not known', ending(['command-line: line 0: Bad configuration option: nosuch']), undefined],
    [
      'setpriv is too old',
      ending(["setpriv: unrecognized option '--pdeathsig'", "Try 'setpriv --help' for more information."]),
      {type: 'no-setpriv'},
    ],
    ['setpriv says something else', ending(['setpriv: failed to execute ssh: No such file or directory']), undefined],
    ['something else is said of pdeathsig', ending(['debug1: pdeathsig']), undefined],
    ['nothing was said', ending([]), undefined],
    [
      'ssh was ended by us',
      ending([loopTaken], {loopPort: 20_000, cause: {type: 'requested', message: ''}}),
      undefined,
    ],
  ])('%s', (_what, given, adaptation) => {
    expect(adaptationTo(given)).toEqual(adaptation);
  });

  test.each([
    'Error: remote port forwarding failed for listen path /run/web.sock',
    'Could not request remote forwarding.',
  ])('a refusal without a port is not one of the heartbeat that there is not: %s', (line) => {
    // It was taken for one, and such a tunnel then started ssh again and again without a pause.
    expect(adaptationTo(ending([line], {loopPort: undefined}))).toBeUndefined();
    expect(adaptationTo(ending([line], {loopPort: 20_000}))).toBeUndefined();
  });
});

describe('a raw command line, of which nobody knows how far it has come', () => {
  test.each([
    ['ssh: connect to host h port 22: Connection refused', 'ERR_AUTOSSH_CONNECT'],
    ['ssh: Could not resolve hostname h: Name or service not known', 'ERR_AUTOSSH_RESOLVE'],
    // What a session that was up ends with too.
    ['Connection to h closed by remote host.', 'ERR_AUTOSSH_EXIT'],
  ])('%s', (line, code) => {
    expect(describeOutcome(ending([line], {isRaw: true, stage: 'up', uptime: 5}))).toMatchObject({code});
    expect(describeOutcome(ending([line], {stage: 'up', uptime: 5})).code).toBe('ERR_AUTOSSH_EXIT');
  });

  test.each([
    [0, 'ssh ended without an error', /^What ran at the server has ended/],
    [3, 'ssh exited with code 3', /^Codes other than 255 are those of the command at the server/],
    [255, 'ssh exited with code 255', /^ssh's own words are in `stderr`/],
  ])('code %d: its command at the server ended, which is no riddle', (exitCode, message, hint) => {
    const outcome = describeOutcome(ending([], {isRaw: true, stage: 'up', exit: {exitCode, signal: undefined}}));
    expect(outcome).toMatchObject({message, hint: expect.stringMatching(hint)});
  });

  test.each([
    'bind [127.0.0.1]:9999: Address already in use',
    'Error: remote port forwarding failed for listen port 9999',
  ])('its forwards are not known, so none of them is foreign: %s', (line) => {
    const {code, hint} = describeOutcome(ending([line], {isRaw: true, stage: 'up', forwards: []}));
    expect(code).toBe('ERR_AUTOSSH_FORWARD');
    expect(hint).not.toContain("none of the tunnel's forwards");
  });

  test('its time to connect has no name of an option', () => {
    const line = 'Connection timed out during banner exchange';
    expect(describeOutcome(ending([line], {isRaw: true, stage: 'up'})).message).toMatch(/said nothing in time$/);
    expect(describeOutcome(ending([line])).message).toMatch(/said nothing within `connectTimeout`$/);
  });
});
