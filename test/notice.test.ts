import fc from 'fast-check';
import {expect, test} from 'vitest';
import type {Notice} from '../src/ssh/notice.js';
import {readNotice} from '../src/ssh/notice-table.js';

const changed = {
  kind: 'host-key-changed',
  host: undefined,
  keyType: undefined,
  file: undefined,
  line: undefined,
} as const;
const bind = {kind: 'local-bind-failed', host: undefined, port: undefined, path: undefined} as const;
const bad = {kind: 'bad-option', option: undefined, file: undefined, line: undefined} as const;

/** As OpenSSH 9.2 printed them, with LogLevel VERBOSE where no `debug1` stands first. */
const printed: [line: string, notice: Notice | undefined][] = [
  [
    'no newline at the end of the banner\\007Authenticated to 127.0.0.1 ([127.0.0.1]:54781) using "publickey".',
    {kind: 'authenticated', host: '127.0.0.1', address: '127.0.0.1', port: 54781, method: 'publickey'},
  ],
  ['autossh: nobody can be asked for this answer', {kind: 'nobody-to-ask'}],
  [
    'KnownHostsCommand-ORDER /bin/false failed, status 1',
    {...bad, option: 'knownhostscommand', reason: '/bin/false failed, status 1'},
  ],
  ['KnownHostsCommand failed', {...bad, option: 'knownhostscommand', reason: 'failed'}],
  [
    'Could not stat KnownHostsCommand-HOSTNAME "/nonexistent/x": No such file or directory',
    {kind: 'ignored-option', option: 'knownhostscommand', file: undefined, line: undefined},
  ],
  [
    'identity_sign: private key /home/me/mix contents do not match public',
    {kind: 'key-unreadable', path: '/home/me/mix', reason: 'contents do not match public'},
  ],
  [
    'sign_and_send_pubkey: signing failed for ED25519 "/home/me/id.pub" from agent: agent refused operation',
    {kind: 'agent-problem', reason: 'agent refused operation'},
  ],
  [
    'debug1: get_agent_identities: ssh_get_authentication_socket: No such file or directory',
    {kind: 'agent-problem', reason: 'No such file or directory'},
  ],
  ['stdio forwarding failed', {kind: 'proxy-failed', reason: 'stdio forwarding failed'}],
  ['No user exists for uid 54321', {kind: 'no-user', uid: 54321}],
  [
    'ssh: error while loading shared libraries: libselinux.so.1: cannot open shared object file: Error 24',
    {
      kind: 'out-of-resources',
      reason: 'ssh: error while loading shared libraries: libselinux.so.1: cannot open shared object file: Error 24',
    },
  ],
  [
    'Connection closed by 127.0.0.1 port 41369',
    {kind: 'closed-early', reason: 'Connection closed by 127.0.0.1', beforeBanner: false},
  ],
  [
    'debug1: Connecting to 127.0.0.1 [127.0.0.1] port 34385.',
    {kind: 'connecting', host: '127.0.0.1', address: '127.0.0.1', port: 34385},
  ],
  ['debug1: Connection established.', {kind: 'connected'}],
  [
    'Authenticated to 127.0.0.1 ([127.0.0.1]:35787) using "publickey".',
    {kind: 'authenticated', host: '127.0.0.1', address: '127.0.0.1', port: 35787, method: 'publickey'},
  ],
  [
    'Authenticated to 127.0.0.1 (via proxy) using "publickey".',
    {kind: 'authenticated', host: '127.0.0.1', address: undefined, port: undefined, method: 'publickey'},
  ],
  [
    'Transferred: sent 3360, received 3120 bytes, in 1.8 seconds',
    {kind: 'transferred', sent: 3360, received: 3120, seconds: 1.8},
  ],
  ['Bytes per second: sent 1856.8, received 1724.2', undefined],
  [
    'root@127.0.0.1: Permission denied (publickey).',
    {kind: 'auth-failed', reason: 'Permission denied', methods: ['publickey'], login: 'root@127.0.0.1'},
  ],
  ['Authenticated using "publickey" with partial success.', undefined],
  [
    'Received disconnect from 127.0.0.1 port 60065:2: Too many authentication failures',
    {kind: 'auth-failed', reason: 'Too many authentication failures', methods: []},
  ],
  ['Disconnected from 127.0.0.1 port 60065', {kind: 'disconnected', code: undefined, reason: 'Disconnected'}],
  [
    'Warning: Identity file /nonexistent/id not accessible: No such file or directory.',
    {kind: 'key-unreadable', path: '/nonexistent/id', reason: 'No such file or directory'},
  ],
  [
    'Load key "/home/me/garbage": error in libcrypto',
    {kind: 'key-unreadable', path: '/home/me/garbage', reason: 'error in libcrypto'},
  ],
  ['@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @', undefined],
  [
    "Permissions 0644 for '/home/me/open' are too open.",
    {kind: 'key-permissions', path: '/home/me/open', mode: '0644'},
  ],
  ['It is required that your private key files are NOT accessible by others.', undefined],
  ['Load key "/home/me/open": bad permissions', {kind: 'key-permissions', path: '/home/me/open', mode: undefined}],
  [
    'No ED25519 host key is known for [127.0.0.1]:35787 and you have requested strict checking.',
    {kind: 'host-key-unknown', host: '[127.0.0.1]:35787', keyType: 'ED25519'},
  ],
  ['Host key verification failed.', {kind: 'host-key-unknown', host: undefined, keyType: undefined}],
  ['@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @', undefined],
  [
    'Offending ED25519 key in /home/me/.ssh/known_hosts:1',
    {...changed, keyType: 'ED25519', file: '/home/me/.ssh/known_hosts', line: 1},
  ],
  [
    'Host key for [127.0.0.1]:35787 has changed and you have requested strict checking.',
    {...changed, host: '[127.0.0.1]:35787'},
  ],
  ['Error: forwarding disabled due to host key check failure', changed],
  [
    'Host key ED25519 SHA256:yr2rrasr1GdCWu1P1IkNfWbKFVBxFNvAAOE4lZY4bL4 revoked by file /home/me/revoked',
    {kind: 'host-key-revoked', keyType: 'ED25519', file: '/home/me/revoked'},
  ],
  ['@       WARNING: REVOKED HOST KEY DETECTED!               @', undefined],
  [
    'The ED25519 host key for [127.0.0.1]:35787 is marked as revoked.',
    {kind: 'host-key-revoked', keyType: 'ED25519', file: undefined},
  ],
  [
    'ED25519 host key for [127.0.0.1]:35787 was revoked and you have requested strict checking.',
    {kind: 'host-key-revoked', keyType: 'ED25519', file: undefined},
  ],
  [
    "Warning: Permanently added '[127.0.0.1]:35787' (ED25519) to the list of known hosts.",
    {kind: 'host-key-added', host: '[127.0.0.1]:35787', keyType: 'ED25519'},
  ],
  [
    'Failed to add the host to the list of known hosts (/home/me/.ssh (old)/known_hosts).',
    {kind: 'host-key-not-kept', file: '/home/me/.ssh (old)/known_hosts'},
  ],
  [
    'ssh: Could not resolve hostname nosuch.invalid: Name or service not known',
    {kind: 'resolve-failed', host: 'nosuch.invalid', reason: 'Name or service not known', temporary: false},
  ],
  [
    'ssh: connect to host 127.0.0.1 port 34773: Connection refused',
    {kind: 'connect-refused', host: '127.0.0.1', port: 34773, reason: 'Connection refused'},
  ],
  [
    'ssh: connect to host 2001:db8::1 port 22: No route to host',
    {kind: 'unreachable', host: '2001:db8::1', port: 22, reason: 'No route to host'},
  ],
  ['Connection timed out during banner exchange', {kind: 'banner-timeout', host: undefined, port: undefined}],
  ['Connection to 127.0.0.1 port 35571 timed out', {kind: 'banner-timeout', host: '127.0.0.1', port: 35571}],
  [
    'kex_exchange_identification: read: Connection reset by peer',
    {kind: 'closed-early', reason: 'read: Connection reset by peer', beforeBanner: true},
  ],
  [
    'kex_exchange_identification: Connection closed by remote host',
    {kind: 'closed-early', reason: 'Connection closed by remote host', beforeBanner: true},
  ],
  [
    'Connection reset by 127.0.0.1 port 38883',
    {kind: 'closed-early', reason: 'Connection reset by 127.0.0.1', beforeBanner: false},
  ],
  [
    'Connection reset by UNKNOWN port -1',
    {kind: 'closed-early', reason: 'Connection reset by UNKNOWN', beforeBanner: false},
  ],
  [
    'Connection closed by UNKNOWN port 65535',
    {kind: 'closed-early', reason: 'Connection closed by UNKNOWN', beforeBanner: false},
  ],
  [
    'debug1: kex_exchange_identification: banner line 0: Not allowed at this time',
    {kind: 'throttled', reason: 'Not allowed at this time'},
  ],
  [
    'Protocol major versions differ: 2 vs. 1',
    {kind: 'protocol-error', reason: 'Protocol major versions differ: 2 vs. 1'},
  ],
  [
    'banner exchange: Connection to 127.0.0.1 port 46133: could not read protocol version',
    {kind: 'protocol-error', reason: 'could not read protocol version'},
  ],
  [
    "Bad remote protocol version identification: 'SSH-garbage'",
    {kind: 'protocol-error', reason: "Bad remote protocol version identification: 'SSH-garbage'"},
  ],
  [
    'kex_exchange_identification: banner line contains invalid characters',
    {kind: 'protocol-error', reason: 'banner line contains invalid characters'},
  ],
  ['Bad packet length 1213486160.', {kind: 'protocol-error', reason: 'Bad packet length 1213486160'}],
  [
    'ssh_dispatch_run_fatal: Connection to 127.0.0.1 port 44891: message authentication code incorrect',
    {kind: 'lost-connection', reason: 'message authentication code incorrect'},
  ],
  [
    'Unable to negotiate with 127.0.0.1 port 35787: no matching host key type found. Their offer: ssh-ed25519',
    {kind: 'negotiation-failed', what: 'no matching host key type found', offer: 'ssh-ed25519'},
  ],
  [
    'command-line: line 0: Bad configuration option: fooo',
    {...bad, option: 'fooo', reason: 'Bad configuration option'},
  ],
  ['command-line line 0: unsupported option "maybe".', {...bad, reason: 'unsupported option "maybe".'}],
  ['command-line line 0: invalid time value.', {...bad, reason: 'invalid time value.'}],
  ['command-line line 0: integer value invalid.', {...bad, reason: 'integer value invalid.'}],
  [
    'command-line line 0: no argument after keyword "serveraliveinterval"',
    {...bad, option: 'serveraliveinterval', reason: 'no argument after keyword "serveraliveinterval"'},
  ],
  ["command-line line 0: Bad SSH2 cipher spec 'foo'.", {...bad, reason: "Bad SSH2 cipher spec 'foo'."}],
  ['command-line line 0: Bad forwarding specification.', {...bad, reason: 'Bad forwarding specification.'}],
  [
    'command-line line 0: Unsupported option "afstokenpassing"',
    {kind: 'ignored-option', option: 'afstokenpassing', file: undefined, line: undefined},
  ],
  [
    '/home/me/.ssh/config: line 2: Bad configuration option: foo',
    {...bad, option: 'foo', file: '/home/me/.ssh/config', line: 2, reason: 'Bad configuration option'},
  ],
  [
    '/home/me/.ssh/config line 3: unsupported option "maybe".',
    {...bad, file: '/home/me/.ssh/config', line: 3, reason: 'unsupported option "maybe".'},
  ],
  [
    '/home/me/.ssh/config: terminating, 2 bad configuration options',
    {...bad, file: '/home/me/.ssh/config', reason: '2 bad configuration options'},
  ],
  [
    "Can't open user config file /nonexistent/cfg: No such file or directory",
    {...bad, file: '/nonexistent/cfg', reason: "Can't open user config file: No such file or directory"},
  ],
  ['unknown option -- Z', {...bad, option: '-Z', reason: 'unknown option'}],
  ['usage: ssh [-46AaCfGgKkMNnqsTtVvXxYy] [-B bind_interface]', {...bad, reason: 'usage'}],
  ["Bad port '99999'", {...bad, reason: "Bad port '99999'"}],
  ['vdollar_percent_expand: unknown key %Z', {...bad, reason: 'unknown key %Z'}],
  ['percent_dollar_expand: failed', {...bad, reason: 'failed'}],
  ["Bad local forwarding specification 'x'", {kind: 'bad-forward', type: 'local', specification: 'x'}],
  [
    "Bad remote forwarding specification 'a:b:c:d:e'",
    {kind: 'bad-forward', type: 'remote', specification: 'a:b:c:d:e'},
  ],
  ["Bad dynamic forwarding specification 'x'", {kind: 'bad-forward', type: 'dynamic', specification: 'x'}],
  [
    'bind [127.0.0.1]:39055: Address already in use',
    {...bind, host: '127.0.0.1', port: 39055, reason: 'Address already in use'},
  ],
  [
    'bind [203.0.113.7]:36255: Cannot assign requested address',
    {...bind, host: '203.0.113.7', port: 36255, reason: 'Cannot assign requested address'},
  ],
  ['channel_setup_fwd_listener_tcpip: cannot listen to port: 39055', {...bind, port: 39055, reason: 'cannot listen'}],
  [
    'channel_setup_fwd_listener_tcpip: getaddrinfo(nosuch.invalid): Name or service not known',
    {...bind, host: 'nosuch.invalid', reason: 'Name or service not known'},
  ],
  [
    'unix_listener: cannot bind to path /run/a: b.sock: Address already in use',
    {...bind, path: '/run/a: b.sock', reason: 'Address already in use'},
  ],
  ['Could not request local forwarding.', {...bind, reason: 'Could not request local forwarding'}],
  [
    'Error: remote port forwarding failed for listen port 39055',
    {kind: 'remote-bind-failed', port: 39055, path: undefined, fatal: true},
  ],
  [
    'Error: remote port forwarding failed for listen path /run/a.sock',
    {kind: 'remote-bind-failed', port: undefined, path: '/run/a.sock', fatal: true},
  ],
  [
    'Warning: remote port forwarding failed for listen port 39055',
    {kind: 'remote-bind-failed', port: 39055, path: undefined, fatal: false},
  ],
  [
    'Allocated port 39323 for remote forward to localhost:80',
    {kind: 'remote-allocated', port: 39323, target: {host: 'localhost', port: 80}},
  ],
  [
    'Allocated port 40017 for remote forward to /x/y:-2',
    {kind: 'remote-allocated', port: 40017, target: {path: '/x/y'}},
  ],
  [
    'Allocated port 43559 for remote forward to ::1:80',
    {kind: 'remote-allocated', port: 43559, target: {host: '::1', port: 80}},
  ],
  ['Allocated port 44611 for remote forward to socks:0', {kind: 'remote-allocated', port: 44611, target: undefined}],
  [
    'channel 1: open failed: connect failed: Connection refused',
    {kind: 'channel-open-failed', channel: 1, reason: 'connect-failed', detail: 'Connection refused'},
  ],
  [
    'channel 1: open failed: connect failed: open failed',
    {kind: 'channel-open-failed', channel: 1, reason: 'connect-failed', detail: 'open failed'},
  ],
  [
    'channel 2: open failed: administratively prohibited: open failed',
    {kind: 'channel-open-failed', channel: 2, reason: 'administratively-prohibited', detail: 'open failed'},
  ],
  [
    'connect_to 127.0.0.1 port 58639: failed.',
    {kind: 'target-failed', target: {host: '127.0.0.1', port: 58639}, reason: 'failed'},
  ],
  [
    'connect_to nosuch.invalid: unknown host (Name or service not known)',
    {kind: 'target-failed', target: {host: 'nosuch.invalid', port: undefined}, reason: 'Name or service not known'},
  ],
  [
    'connect to /nonexistent port -2 failed: No such file or directory',
    {kind: 'target-failed', target: {path: '/nonexistent'}, reason: 'No such file or directory'},
  ],
  ['Timeout, server 127.0.0.1 not responding.', {kind: 'server-alive-timeout'}],
  ['Connection to 127.0.0.1 closed by remote host.', {kind: 'lost-connection', reason: 'closed by remote host'}],
  ['client_loop: send disconnect: Broken pipe', {kind: 'lost-connection', reason: 'Broken pipe'}],
  ['Killed by signal 2.', {kind: 'killed', signal: 2}],
  [
    'ControlSocket /tmp/cm already exists, disabling multiplexing',
    {kind: 'control-master', reason: 'ControlSocket /tmp/cm already exists, disabling multiplexing'},
  ],
  [
    'Control socket connect(/tmp/cm): No such file or directory',
    {kind: 'control-master', reason: 'Control socket connect(/tmp/cm): No such file or directory'},
  ],
  [
    'muxclient: master forward request failed',
    {kind: 'control-master', reason: 'muxclient: master forward request failed'},
  ],
  ['/bin/bash: line 1: exec: nc: not found', {kind: 'proxy-failed', reason: 'line 1: exec: nc: not found'}],
  [
    '/bin/bash: line 1: /nonexistent/proxy: No such file or directory',
    {kind: 'proxy-failed', reason: 'line 1: /nonexistent/proxy: No such file or directory'},
  ],
  ['debug1: Remote: /root/.ssh/authorized_keys:1: key options: agent-forwarding port-forwarding pty', undefined],
  ['debug1: Exit status 0', undefined],
  ['  ssh-keygen -f "/home/me/.ssh/known_hosts" -R "[127.0.0.1]:35787"', undefined],
];

test.each(printed)('OpenSSH 9.2: %s', (line, notice) => {
  expect(readNotice(line)).toEqual(notice);
});

/** As the sources of other versions and other systems' C libraries have them. */
const known: [line: string, notice: Notice | undefined][] = [
  [
    'Authenticated to db.example ([192.0.2.1]:22).',
    {kind: 'authenticated', host: 'db.example', address: '192.0.2.1', port: 22, method: undefined},
  ],
  [
    'me@corp@db.example: Permission denied (publickey,gssapi-keyex,gssapi-with-mic).',
    {kind: 'auth-failed', reason: 'Permission denied', methods: ['publickey', 'gssapi-keyex', 'gssapi-with-mic']},
  ],
  [
    'Received disconnect from 192.0.2.1: 2: Too many authentication failures for root',
    {kind: 'auth-failed', reason: 'Too many authentication failures', methods: []},
  ],
  ['Received disconnect from ::1: 11: bye', {kind: 'disconnected', code: 11, reason: 'bye'}],
  [
    'Received disconnect from 192.0.2.1 port 22:11: Server shutting down',
    {kind: 'disconnected', code: 11, reason: 'Server shutting down'},
  ],
  [
    'no such identity: /home/me/.ssh/id: No such file or directory',
    {kind: 'key-unreadable', path: '/home/me/.ssh/id', reason: 'No such file or directory'},
  ],
  [
    'Load key "/home/me/a b": Permission denied',
    {kind: 'key-unreadable', path: '/home/me/a b', reason: 'Permission denied'},
  ],
  [
    'sign_and_send_pubkey: signing failed for ED25519 "/home/me/id" from agent: agent refused operation',
    {kind: 'agent-problem', reason: 'agent refused operation'},
  ],
  [
    'sign_and_send_pubkey: signing failed: agent refused operation',
    {kind: 'agent-problem', reason: 'agent refused operation'},
  ],
  [
    'sign_and_send_pubkey: signing failed for RSA "/home/me/id": error in libcrypto',
    {kind: 'key-unreadable', path: '/home/me/id', reason: 'error in libcrypto'},
  ],
  [
    'sign_and_send_pubkey: no mutual signature supported',
    {kind: 'key-unreadable', path: undefined, reason: 'no mutual signature supported'},
  ],
  [
    'debug1: get_agent_identities: ssh_get_authentication_socket: Connection refused',
    {kind: 'agent-problem', reason: 'Connection refused'},
  ],
  [
    'ssh: Could not resolve hostname db.example: Temporary failure in name resolution',
    {kind: 'resolve-failed', host: 'db.example', reason: 'Temporary failure in name resolution', temporary: true},
  ],
  [
    'ssh: Could not resolve hostname db.example: Try again',
    {kind: 'resolve-failed', host: 'db.example', reason: 'Try again', temporary: true},
  ],
  ['ssh: Could not resolve host "db"', {kind: 'resolve-failed', host: 'db', reason: 'no address', temporary: false}],
  [
    'ssh: connect to host db port 22: Operation timed out',
    {kind: 'connect-timeout', host: 'db', port: 22, reason: 'Operation timed out'},
  ],
  [
    'ssh: connect to host db port 22: Connection timed out',
    {kind: 'connect-timeout', host: 'db', port: 22, reason: 'Connection timed out'},
  ],
  [
    'ssh: connect to host db port 22: Host is unreachable',
    {kind: 'unreachable', host: 'db', port: 22, reason: 'Host is unreachable'},
  ],
  [
    'ssh: connect to host db port 22: Permission denied',
    {kind: 'connect-failed', host: 'db', port: 22, reason: 'Permission denied'},
  ],
  [
    'ssh_exchange_identification: Connection closed by remote host',
    {kind: 'closed-early', reason: 'Connection closed by remote host', beforeBanner: true},
  ],
  ['Exceeded MaxStartups', {kind: 'throttled', reason: 'Exceeded MaxStartups'}],
  ['Disconnecting 192.0.2.1 port 22: Packet corrupt', {kind: 'protocol-error', reason: 'Packet corrupt'}],
  ['ssh: illegal option -- Z', {...bad, option: '-Z', reason: 'illegal option'}],
  [
    'Bad owner or permissions on /home/me/.ssh/config',
    {...bad, file: '/home/me/.ssh/config', reason: 'Bad owner or permissions'},
  ],
  [
    '/home/me/.ssh/config line 3: keyword port extra arguments at end of line',
    {
      ...bad,
      option: 'port',
      file: '/home/me/.ssh/config',
      line: 3,
      reason: 'keyword port extra arguments at end of line',
    },
  ],
  [
    'Privileged ports can only be forwarded by root.',
    {...bind, reason: 'Privileged ports can only be forwarded by root'},
  ],
  [
    'unix_listener: path "/run/long" too long for Unix domain socket',
    {...bind, path: '/run/long', reason: 'path too long'},
  ],
  [
    'Warning: Could not request remote forwarding.',
    {kind: 'remote-bind-failed', port: undefined, path: undefined, fatal: false},
  ],
  [
    'channel 3: open failed: unknown channel type: unsupported channel type',
    {kind: 'channel-open-failed', channel: 3, reason: 'unknown-channel-type', detail: 'unsupported channel type'},
  ],
  [
    'channel 3: open failed: resource shortage',
    {kind: 'channel-open-failed', channel: 3, reason: 'resource-shortage', detail: ''},
  ],
  ['WARNING: Server requests forwarding for unknown listen_port 8080', {kind: 'unknown-forward', listen: '8080'}],
  ['Read from remote host db: Connection reset by peer', {kind: 'lost-connection', reason: 'Connection reset by peer'}],
  ['packet_write_wait: Connection to 192.0.2.1 port 22: Broken pipe', {kind: 'lost-connection', reason: 'Broken pipe'}],
  [
    'ssh_dispatch_run_fatal: Connection to UNKNOWN port 65535: Connection corrupted',
    {kind: 'lost-connection', reason: 'Connection corrupted'},
  ],
  ['Write failed: Broken pipe', {kind: 'lost-connection', reason: 'Broken pipe'}],
  ['sh: nc: not found', {kind: 'proxy-failed', reason: 'nc: not found'}],
  ['No user exists for uid 1001', {kind: 'no-user', uid: 1001}],
  [
    'fork failed: Resource temporarily unavailable',
    {kind: 'out-of-resources', reason: 'fork failed: Resource temporarily unavailable'},
  ],
  ['accept: Too many open files', {kind: 'out-of-resources', reason: 'accept: Too many open files'}],
  ['debug2: Connection established.', undefined],
  ['debug1: Host key verification failed.', undefined],
  ['Welcome: Host key verification failed. Not really.', undefined],
  ['', undefined],
];

test.each(known)('other versions: %s', (line, notice) => {
  expect(readNotice(line)).toEqual(notice);
});

test('a hostile line of any length is read in no time', () => {
  const starts = [...printed, ...known].map(([line]) => line);
  const fillers = [
    '@',
    ' ',
    ':',
    ': ',
    '1',
    ':1',
    '"',
    "'",
    '/',
    'a',
    ' line 1',
    ' port 1',
    'a:',
    '@ ',
    'sh: ',
    ' not accessible',
    '; ',
  ];
  const started = performance.now();
  let count = 0;
  for (const start of starts) {
    for (const filler of fillers) {
      for (const head of [start, start.slice(0, start.length / 2), '']) {
        readNotice((head + filler.repeat(2048)).slice(0, 2049));
        count++;
      }
    }
  }
  expect((performance.now() - started) / count).toBeLessThan(2);
});

test('no text makes the reader throw', () => {
  fc.assert(
    fc.property(
      fc.string({unit: 'binary'}),
      fc.constantFrom(...printed.map(([line]) => line)),
      fc.nat(80),
      (text, line, at) => {
        readNotice(text);
        readNotice(line.slice(0, at) + text + line.slice(at));
      },
    ),
  );
});
