import type {ChannelTarget, Notice} from './notice.js';

/** What a line of ssh's stderr says, if it says something that is known here. */
export function readNotice(line: string): Notice | undefined {
  if (line.startsWith('debug')) {
    return line.startsWith('debug1: ') ? look(debugRows, line.slice('debug1: '.length)) : undefined;
  }
  return look(rows, line);
}

/** A kind of line, and what to make of it; `undefined` lets the rows below have a look. */
type Row = readonly [pattern: RegExp, read: (...groups: string[]) => Notice | undefined];

function look(table: readonly Row[], line: string): Notice | undefined {
  for (const [pattern, read] of table) {
    const match = pattern.exec(line);
    // A group that took no part is `undefined` in the match, whatever its type says.
    const notice = match && read(...match.slice(1).map((group: string | undefined) => group ?? ''));
    if (notice) return notice;
  }
  return undefined;
}

/** Lines that ssh prints with `-v`, without their `debug1: `. */
const debugRows: readonly Row[] = [
  // sshconnect.c, ssh_connect_direct
  [
    /^Connecting to (\S+) \[([^\]]*)\] port (\d+)\.$/,
    (host, address, port) => ({kind: 'connecting', host, address, port: Number(port)}),
  ],
  [/^Connection established\.$/, () => ({kind: 'connected'})],
  // kex.c, kex_exchange_identification; the texts are sshd.c's, 9.8 and later for the penalty
  [
    /^(?:kex|ssh)_exchange_identification: (?:banner line \d+: )?((?:Not allowed at this time|Exceeded MaxStartups).*)$/,
    (reason) => ({kind: 'throttled', reason}),
  ],
  // sshconnect2.c, get_agent_identities
  [/^(?:get_agent_identities: )?ssh_get_authentication_socket: (.*)$/, (reason) => ({kind: 'agent-problem', reason})],
];

/** Lines that ssh prints without `-v`. Every pattern is anchored and reads a line once: at most one of its parts is open-ended. */
const rows: readonly Row[] = [
  // channels.c, channel_input_open_failure; INFO. First, because there can be thousands of them.
  [
    /^channel (\d+): open failed: (administratively prohibited|connect failed|unknown channel type|resource shortage|unknown reason)(?:: (.*))?$/,
    (channel, reason, detail) => ({
      kind: 'channel-open-failed',
      channel: Number(channel),
      reason: reason.replaceAll(' ', '-') as 'connect-failed',
      detail,
    }),
  ],
  // channels.c, channel_post_connecting, connect_to_helper (a port of -2 stands for a path); ERROR
  [
    /^connect_to (\S+) port (\d+): failed\.$/,
    (host, port) => ({kind: 'target-failed', target: targetOf(host, port), reason: 'failed'}),
  ],
  [
    /^connect_to (\S+): unknown host \((.*)\)$/,
    (host, reason) => ({kind: 'target-failed', target: targetOf(host), reason}),
  ],
  [
    /^connect to (.+?) port (-?\d+) failed: (.*)$/,
    (host, port, reason) => ({kind: 'target-failed', target: targetOf(host, port), reason}),
  ],
  // channels.c, channel_connect_by_listen_address, channel_connect_by_listen_path; ERROR
  [
    /^WARNING: Server requests forwarding for unknown (?:listen_port|path) (.*)$/,
    (listen) => ({kind: 'unknown-forward', listen}),
  ],

  // sshconnect2.c, ssh_userauth2; VERBOSE. Without the method up to 8.6. Not at the start of a line where the server's login banner did not
  // end with one, and so is the next.
  [
    /Authenticated to (\S+) \((?:\[([^\]]*)\]:(\d+)|via proxy)\)(?: using "([^"]*)")?\.$/,
    (host, address, port, method) => ({
      kind: 'authenticated',
      host,
      address: address || undefined,
      port: toNumber(port),
      method: method || undefined,
    }),
  ],
  // clientloop.c, client_loop; VERBOSE
  [
    /^Transferred: sent (\d+), received (\d+) bytes, in ([\d.]+) seconds$/,
    (sent, received, seconds) => ({
      kind: 'transferred',
      sent: Number(sent),
      received: Number(received),
      seconds: Number(seconds),
    }),
  ],

  // sshconnect2.c, userauth; FATAL
  [
    /^([^\s@]{1,64}@[^\s@]{1,255}): Permission denied \(([^()]*)\)\.$/,
    (login, methods) => ({...denied(methods), login}),
  ],
  [/@[^@\s]*: Permission denied \(([^()]*)\)\.$/, (methods) => denied(methods)],
  // sshconnect2.c, ssh_userauth2; FATAL. The second as older servers and clients have it.
  [/^(Authentication failed)\.$/, (reason) => ({kind: 'auth-failed', reason, methods: []})],
  [/^(?:Disconnecting: )?(Too many authentication failures)/, (reason) => ({kind: 'auth-failed', reason, methods: []})],
  // packet.c, ssh_packet_read_poll_seqnr; ERROR. The text is the server's.
  [
    /^Received disconnect from (\S+)(?: port \d+)?: ?(\d+): (.*)$/,
    (_host, code, reason) =>
      reason.startsWith('Too many authentication failures')
        ? {kind: 'auth-failed', reason: 'Too many authentication failures', methods: []}
        : {kind: 'disconnected', code: Number(code), reason},
  ],

  // sshconnect2.c, load_identity_file; ERROR. authfile.c, sshkey_perm_ok; ERROR
  [
    /^Load key "([^"]*)": (.*)$/,
    (path, reason) =>
      reason === 'bad permissions'
        ? {kind: 'key-permissions', path, mode: undefined}
        : {kind: 'key-unreadable', path, reason},
  ],
  [/^Permissions (0\d+) for '(.*)' are too open\.$/, (mode, path) => ({kind: 'key-permissions', path, mode})],
  // ssh.c, main (to stderr at every level); sshconnect2.c, load_identity_file; INFO. ssh.c, check_load; ERROR
  [/^Warning: Identity file (.+?) not accessible: (.*)\.$/, (path, reason) => ({kind: 'key-unreadable', path, reason})],
  [/^no such identity: (.+): (.*)$/, (path, reason) => ({kind: 'key-unreadable', path, reason})],
  [/^load [a-z ]+ "([^"]*)": (.*)$/, (path, reason) => ({kind: 'key-unreadable', path, reason})],
  // sshconnect2.c, identity_sign, sign_and_send_pubkey; ERROR
  [
    /^identity_sign: private key (.+?) (contents do not match public)$/,
    (path, reason) => ({kind: 'key-unreadable', path, reason}),
  ],
  [
    /^sign_and_send_pubkey: signing failed(?: for \S+ "([^"]*)")?(?: from agent)?: (.*)$/,
    (path, reason) =>
      reason.includes('agent')
        ? {kind: 'agent-problem', reason}
        : {kind: 'key-unreadable', path: path || undefined, reason},
  ],
  [
    /^sign_and_send_pubkey: (no mutual signature supported)$/,
    (reason) => ({kind: 'key-unreadable', path: undefined, reason}),
  ],
  // ssh-add.c's words, in case an agent is filled through the same stream
  [
    /^(?:Error connecting to agent: |Could not open a connection to your authentication agent)(.*)$/,
    (reason) => ({kind: 'agent-problem', reason}),
  ],

  // readpass.c, ssh_askpass; FATAL, of the child that was to become it
  [/^ssh_askpass: exec\(([^)]*)\): (.*)$/, (path, reason) => ({kind: 'askpass-failed', path, reason})],

  // The program itself: see there
  [/^autossh: nobody can be asked for this answer$/, () => ({kind: 'nobody-to-ask'})],

  // The command of a pin by fingerprints. sshconnect.c, warn_changed_key; ERROR
  [
    /^The host key offered is (\S+) (SHA256:\S+)$/,
    (keyType, fingerprint) => ({kind: 'host-key-offered', keyType, fingerprint}),
  ],
  [/^(SHA256:[\w+/]{43})\.$/, (fingerprint) => ({kind: 'host-key-offered', keyType: undefined, fingerprint})],
  // sshconnect.c, check_host_key; ERROR. The boxes of @ that stand before some of these say less than the lines after them.
  [
    /^No (\S+) host key is known for (\S+) and you have requested strict checking\.$/,
    (keyType, host) => ({kind: 'host-key-unknown', host, keyType}),
  ],
  [/^Offending (\S+) key in (.+):(\d+)$/, (keyType, file, line) => changedKey({keyType, file, line})],
  [/^Offending key for IP in (.+):(\d+)$/, (file, line) => changedKey({file, line})],
  [/^Host key for (\S+) has changed and you have requested strict checking\.$/, (host) => changedKey({host})],
  [/^Error: forwarding disabled due to host key check failure$/, () => changedKey({})],
  [
    /^(?:The )?(\S+) host key for \S+ (?:is marked as|was) revoked/,
    (keyType) => ({kind: 'host-key-revoked', keyType, file: undefined}),
  ],
  // sshconnect.c, verify_host_key; ERROR
  [/^Host key (\S+) \S+ revoked by file (.*)$/, (keyType, file) => ({kind: 'host-key-revoked', keyType, file})],
  // sshconnect2.c, verify_host_key_callback; FATAL. Alone at BatchMode with StrictHostKeyChecking=ask.
  [/^Host key verification failed\.$/, () => ({kind: 'host-key-unknown', host: undefined, keyType: undefined})],
  // sshconnect.c, check_host_key; INFO
  [
    /^Warning: Permanently added '([^']*)' \(([^)]*)\) to the list of known hosts\.$/,
    (host, keyType) => ({kind: 'host-key-added', host, keyType}),
  ],
  [/^Failed to add the host to the list of known hosts \((.*)\)\.$/, (file) => ({kind: 'host-key-not-kept', file})],
  // sshconnect.c, load_hostkeys_command; misc.c, subprocess; ERROR. One that cannot be run at all is passed over, and ssh goes on without.
  [/^KnownHostsCommand-[A-Z]+ (.* failed, .*)$/, (reason) => badOption(reason, 'knownhostscommand')],
  [/^KnownHostsCommand (failed)$/, (reason) => badOption(reason, 'knownhostscommand')],
  [
    /^Could not stat KnownHostsCommand-[A-Z]+ (.*)$/,
    () => ({kind: 'ignored-option', option: 'knownhostscommand', file: undefined, line: undefined}),
  ],

  // ssh.c, resolve_host, resolve_canonicalize; ERROR, FATAL. The program's own name stands first.
  [
    /^(?:[^\s:]+: )?Could not resolve host(?:name)? "?([^\s":]*(?::[^\s":]+)*)"?(?:: (.*))?$/,
    (host, reason) => ({
      kind: 'resolve-failed',
      host,
      reason: reason || 'no address',
      temporary: /^Temporary failure|[Tt]ry again/.test(reason),
    }),
  ],
  // sshconnect.c, ssh_connect_direct; ERROR
  [
    /^ssh: connect to host (\S+) port (\d+): (.*)$/,
    (host, port, reason) => ({kind: connectKind(reason), host, port: Number(port), reason}),
  ],
  // kex.c, kex_exchange_identification; ERROR. packet.c, sshpkt_vfatal; FATAL
  [/^Connection timed out during banner exchange$/, () => ({kind: 'banner-timeout', host: undefined, port: undefined})],
  [/^Connection to (\S+) port (\d+) timed out$/, (host, port) => ({kind: 'banner-timeout', host, port: Number(port)})],
  [
    /^(?:kex|ssh)_exchange_identification: (.*)$/,
    (reason) =>
      /^banner line|^No SSH version/.test(reason)
        ? {kind: 'protocol-error', reason}
        : {kind: 'closed-early', reason, beforeBanner: true},
  ],
  [
    /^(Connection (?:closed|reset) by \S+)(?: port -?\d+)?$/,
    (reason) => ({kind: 'closed-early', reason, beforeBanner: false}),
  ],
  [/^(Not allowed at this time|Exceeded MaxStartups)/, (reason) => ({kind: 'throttled', reason})],
  [
    /^Unable to negotiate with \S+(?: port \d+)?: ([^.]*)\. Their offer: (.*)$/,
    (what, offer) => ({kind: 'negotiation-failed', what, offer}),
  ],
  // kex.c, packet.c; ERROR, INFO
  [
    /^(Protocol major versions differ.*|Bad remote protocol version identification.*)$/,
    (reason) => ({kind: 'protocol-error', reason}),
  ],
  [
    /^(Bad packet length \d+|Corrupted MAC on input|padding error.*?)\.?$/,
    (reason) => ({kind: 'protocol-error', reason}),
  ],
  [
    /^(?:ssh_packet_disconnect: )?Disconnecting \S+(?: port \d+)?: (.*)$/,
    (reason) => ({kind: 'protocol-error', reason}),
  ],
  [
    /^banner exchange: Connection (?:to|from) \S+(?: port -?\d+)?: (.*)$/,
    (reason) => ({kind: 'protocol-error', reason}),
  ],

  // readconf.c, ssh.c: the file is `command-line` for -o
  [
    /^(.+?): line (\d+): Bad configuration option: (.*)$/,
    (file, line, option) => badOption('Bad configuration option', option, file, line),
  ],
  // Not an error: readconf.c goes on after it.
  [
    /^(.+?) line (\d+): Unsupported option "([^"]*)"$/,
    (file, line, option) => ({kind: 'ignored-option', option, ...placeOf(file, line)}),
  ],
  [
    /^([^:]+?) line (\d+): ((?:unsupported|[Ii]nvalid|[Mm]issing|[Bb]ad|[Tt]oo many|integer|value|keyword|no argument|extra|garbage|glob|Can't|RekeyLimit|RefuseConnection|Unable|').*)$/,
    (file, line, reason) => badOption(reason, /keyword "?([^\s"]+)/.exec(reason)?.[1], file, line),
  ],
  [/^(.+): terminating, (\d+ bad configuration options?)$/, (file, reason) => badOption(reason, undefined, file)],
  [
    /^(Can't open user config file) (.+): (.*)$/,
    (what, file, reason) => badOption(`${what}: ${reason}`, undefined, file),
  ],
  [/^(Bad owner or permissions) on (.*)$/, (reason, file) => badOption(reason, undefined, file)],
  // openbsd-compat/getopt_long.c; ssh.c, usage
  [
    /^(?:[^\s:]+: )?((?:unknown|illegal|invalid) option|option requires an argument) -- '?(.)'?$/,
    (reason, option) => badOption(reason, `-${option}`),
  ],
  [/^usage: \S*ssh /, () => badOption('usage')],
  // ssh.c, main; to stderr at every level
  [
    /^Bad (local|remote|dynamic) forwarding specification '(.*)'$/,
    (type, specification) => ({kind: 'bad-forward', type: type as 'local', specification}),
  ],
  [
    /^((?:Bad|Unknown) (?:port|escape character|tun device|stdio forwarding specification|(?:cipher|mac) type) '.*)$/,
    (reason) => badOption(reason),
  ],
  [
    /^(Invalid -J argument|Cannot (?:specify|fork into|execute) .*|inconsistent options: .*|jumphost loop via .*|Only a single -J .*)$/,
    (reason) => badOption(reason),
  ],
  // misc.c, vdollar_percent_expand; ERROR, FATAL
  [
    /^(?:v?(?:dollar_)?percent_(?:dollar_)?expand|vdollar_percent_expand|dollar_expand): (.*)$/,
    (reason) => badOption(reason),
  ],
  [/^(invalid environment variable expansion)$/, (reason) => badOption(reason)],

  // channels.c, channel_setup_fwd_listener_tcpip; ERROR, and VERBOSE where there is another address still to try
  [/^(?:bind|listen) \[([^\]]*)\]:(\d+): (.*)$/, (host, port, reason) => bindFailed(reason, {host, port})],
  [
    /^(?:channel_setup_fwd_listener(?:_tcpip)?: )?cannot listen to port: (\d+)$/,
    (port) => bindFailed('cannot listen', {port}),
  ],
  [
    /^channel_setup_fwd_listener(?:_tcpip)?: getaddrinfo\(([^)]*)\): (.*)$/,
    (host, reason) => bindFailed(reason, {host}),
  ],
  // misc.c, unix_listener; ERROR
  [/^(?:unix_listener: )?cannot (?:bind to|listen on) path (.+): (.*)$/, (path, reason) => bindFailed(reason, {path})],
  [/^(?:unix_listener: )?path "(.*)" too long for Unix domain socket$/, (path) => bindFailed('path too long', {path})],
  [/^unlink\(([^)]*)\): (.*)$/, (path, reason) => bindFailed(reason, {path})],
  // channels.c, channel_setup_fwd_listener_streamlocal; ERROR
  [/^Local (?:listening|connecting) path too long: (.*)$/, (path) => bindFailed('path too long', {path})],
  // readconf.c, add_local_forward, up to 7.4; FATAL. ssh.c, ssh_init_forwarding; FATAL, or ERROR without ExitOnForwardFailure
  [/^(Privileged ports can only be forwarded by root)\.$/, (reason) => bindFailed(reason, {})],
  [/^(Could not request local forwarding)\.$/, (reason) => bindFailed(reason, {})],

  // ssh.c, ssh_confirm_remote_forward, ssh_init_forwarding; FATAL with ExitOnForwardFailure, else INFO
  [
    /^(Error|Warning): remote port forwarding failed for listen (?:port (\d+)|path (.*))$/,
    (level, port, path) => ({
      kind: 'remote-bind-failed',
      port: toNumber(port),
      path: path || undefined,
      fatal: level === 'Error',
    }),
  ],
  [
    /^(Warning: )?Could not request remote forwarding\.$/,
    (warning) => ({kind: 'remote-bind-failed', port: undefined, path: undefined, fatal: warning === ''}),
  ],
  // ssh.c, ssh_confirm_remote_forward; INFO. A path has the port -2, SOCKS is `socks:0`.
  [
    /^Allocated port (\d+) for remote forward to (.+):(-?\d+)$/,
    (port, host, targetPort) => ({
      kind: 'remote-allocated',
      port: Number(port),
      target: host === 'socks' && targetPort === '0' ? undefined : targetOf(host, targetPort),
    }),
  ],

  // clientloop.c, server_alive_check; INFO
  [/^Timeout, server (?:\S+ )?not responding\.$/, () => ({kind: 'server-alive-timeout'})],
  // clientloop.c, client_process_net_input; INFO, and ERROR for the last
  [/^Connection to \S+ (closed by remote host)\.$/, (reason) => ({kind: 'lost-connection', reason})],
  [/^Read from remote host \S+: (.*)$/, (reason) => ({kind: 'lost-connection', reason})],
  // packet.c, sshpkt_vfatal; FATAL. The function in which it happened stands first.
  [/^[a-z]\w*: (?:Connection (?:to|from) \S+(?: port -?\d+)?: )(.*)$/, (reason) => ({kind: 'lost-connection', reason})],
  [
    /^(?:client_loop: send disconnect|(?:ssh_)?packet_write_(?:wait|poll)|Write failed): (.*)$/,
    (reason) => ({kind: 'lost-connection', reason}),
  ],
  [/^ssh_dispatch_run_fatal: (.*)$/, (reason) => ({kind: 'lost-connection', reason})],
  [/^(Disconnected) from \S+(?: port -?\d+)?$/, (reason) => ({kind: 'disconnected', code: undefined, reason})],
  // clientloop.c, client_loop; VERBOSE
  [/^Killed by signal (\d+)\.$/, (signal) => ({kind: 'killed', signal: Number(signal)})],

  // mux.c; ERROR, DEBUG for the absence of a master unless -O was given
  [
    /^((?:ControlSocket .+ already exists|Control socket connect|ControlPath|muxclient: |mux_client_|mux_master_).*)$/,
    (reason) => ({kind: 'control-master', reason}),
  ],
  // The shell that runs a ProxyCommand says this, not ssh
  [
    /^(?:\S*\/)?[a-z]{0,4}sh: (.+?:? (?:not found|No such file or directory|Permission denied|cannot execute.*))$/,
    (reason) => ({kind: 'proxy-failed', reason}),
  ],
  // ssh.c, client_setup_stdio_fwd: the ssh on the way to the jump host
  [/^(stdio forwarding failed)$/, (reason) => ({kind: 'proxy-failed', reason})],
  // ssh.c, main; INFO
  [/^No user exists for uid (\d+)$/, (uid) => ({kind: 'no-user', uid: Number(uid)})],
  // strerror(3) of EMFILE, ENFILE, EAGAIN, ENOMEM and ENOBUFS, whatever it was that failed; the number where ssh did not even load
  [
    /^(\S+: error while loading shared libraries: .*Error (?:11|12|23|24|105))$/,
    (reason) => ({kind: 'out-of-resources', reason}),
  ],
  [
    /^(.*: (?:Too many open files(?: in system)?|No file descriptors available|Resource temporarily unavailable|Cannot allocate memory|Out of memory|No buffer space available))$/,
    (reason) => ({kind: 'out-of-resources', reason}),
  ],
];

function denied(methods: string): Extract<Notice, {kind: 'auth-failed'}> {
  return {kind: 'auth-failed', reason: 'Permission denied', methods: methods.split(',').filter(Boolean)};
}

function targetOf(host: string, port?: string): ChannelTarget {
  return port === '-2' ? {path: host} : {host, port: port === undefined ? undefined : Number(port)};
}

function toNumber(digits: string): number | undefined {
  return digits === '' ? undefined : Number(digits);
}

/** strerror(3) of glibc, musl and macOS. */
function connectKind(reason: string): 'connect-refused' | 'connect-timeout' | 'unreachable' | 'connect-failed' {
  if (reason === 'Connection refused') return 'connect-refused';
  if (reason === 'Connection timed out' || reason === 'Operation timed out') return 'connect-timeout';
  return /unreachable|No route to host|is down|Cannot assign requested address|Can't assign/.test(reason)
    ? 'unreachable'
    : 'connect-failed';
}

function changedKey(known: {host?: string; keyType?: string; file?: string; line?: string}): Notice {
  const {host, keyType, file, line} = known;
  return {kind: 'host-key-changed', host, keyType, file, line: line === undefined ? undefined : Number(line)};
}

function placeOf(file?: string, line?: string): {file: string | undefined; line: number | undefined} {
  if (file === undefined || file === 'command-line') return {file: undefined, line: undefined};
  return {file, line: line === undefined ? undefined : Number(line)};
}

function badOption(reason: string, option?: string, file?: string, line?: string): Notice {
  return {kind: 'bad-option', option, ...placeOf(file, line), reason};
}

function bindFailed(reason: string, {host, port, path}: {host?: string; port?: string; path?: string}): Notice {
  return {kind: 'local-bind-failed', host, port: port === undefined ? undefined : Number(port), path, reason};
}
