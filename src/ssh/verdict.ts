import type {AutoSSHErrorCode, Outcome, Stage} from '../errors.js';
import type {Holder} from '../procfs.js';
import {type Forward, formatAddress} from './forward.js';
import type {Notice} from './notice.js';

/** The parts of a verdict that differ from what its code says in general. */
export interface Verdict {
  readonly code: AutoSSHErrorCode;
  readonly message: string;
  readonly hint?: string;
  readonly retryable?: boolean;
  readonly throttled?: boolean;
  readonly forward?: Outcome['forward'];
}

/** Something about what ssh logs in with, as a part of a sentence, and what to do about it. */
export interface Doubt {
  readonly what: string;
  readonly hint: string;
}

/** What a verdict goes by. */
export interface Evidence {
  /** Oldest first. */
  readonly notices: readonly Notice[];
  readonly stage: Stage;
  /** Its command line is the host's, and how far it has come is not known. */
  readonly isRaw: boolean;
  readonly forwards: readonly Forward[];
  /** The host has said which keys of the server are accepted. */
  readonly isPinned: boolean;
  /** The same of the hops on the way there: `undefined`, only of some. */
  readonly areHopsPinned: boolean | undefined;
  /** The server was given a password, or an answer. */
  readonly isAnswered: boolean;
  /** What may be why nobody is let in. */
  readonly doubts: readonly Doubt[];
  /** Who listens on the local port that was taken. */
  readonly holder: Holder | undefined;
}

/** What ssh says only of a server that it has not reached: of a raw command line nothing tells when that is over. */
const neverLater = new Set<Notice['kind']>([
  'resolve-failed',
  'connect-refused',
  'connect-timeout',
  'unreachable',
  'connect-failed',
  'banner-timeout',
  'negotiation-failed',
]);

/** What ssh's stderr says about why it ended; `undefined`: nothing. */
export function readVerdict(evidence: Evidence): Verdict | undefined {
  const cause = causeAmong(evidence.notices);
  return cause && ofNotice(cause, evidence);
}

/** Our helper has ended ssh, so that a hop is given no empty answer; `undefined`: it has not. */
export function askedInVain({notices}: Evidence): Verdict | undefined {
  if (!notices.some(({kind}) => kind === 'nobody-to-ask')) return undefined;
  return {
    code: 'ERR_AUTOSSH_AUTH',
    message: 'A host on the way to the server asks for a password or the like, and there is nobody to answer',
    hint: 'Have that host let a key in: `jump` takes hops with an `identityFile` or a `privateKey` of their own.',
  };
}

/** Which notice tells the cause, most telling first: an address that refused says little when another let us in. */
const ranks: readonly (readonly Notice['kind'][])[] = [
  ['bad-option', 'bad-forward', 'no-user'],
  ['host-key-changed', 'host-key-revoked'],
  ['host-key-unknown'],
  ['auth-failed'],
  ['local-bind-failed', 'remote-bind-failed'],
  ['server-alive-timeout'],
  ['throttled'],
  ['negotiation-failed', 'protocol-error', 'banner-timeout'],
  ['resolve-failed'],
  ['proxy-failed'],
  ['connect-refused', 'connect-timeout', 'unreachable', 'connect-failed'],
  ['closed-early', 'disconnected', 'lost-connection'],
];

function causeAmong(notices: readonly Notice[]): Notice | undefined {
  for (const kinds of ranks) {
    const found = notices.find((one) => kinds.includes(one.kind));
    if (found?.kind === 'host-key-changed') return mergeHostKey(found, notices);
    if (found) return found;
  }
  return undefined;
}

/** ssh tells it in several lines: the first names the file, a later one the host. */
function mergeHostKey(first: HostKeyChanged, notices: readonly Notice[]): HostKeyChanged {
  const all = notices.filter((one) => one.kind === 'host-key-changed');
  return {
    ...first,
    host: all.find(({host}) => host !== undefined)?.host,
    file: all.find(({file}) => file !== undefined)?.file,
    line: all.find(({line}) => line !== undefined)?.line,
  };
}

type HostKeyChanged = Extract<Notice, {kind: 'host-key-changed'}>;

/** What a notice means for a tunnel; `undefined` where the exit alone says as much. */
function ofNotice(notice: Notice, evidence: Evidence): Verdict | undefined {
  switch (notice.kind) {
    case 'bad-option':
      return {
        code: 'ERR_AUTOSSH_USAGE',
        ...(evidence.isPinned &&
          notice.option?.toLowerCase() === 'knownhostscommand' &&
          notice.file === undefined &&
          oldForFingerprints),
        message: `ssh refused ${notice.option === undefined ? 'its configuration' : `the option ${notice.option}`}${place(notice)}: ${notice.reason}`,
      };
    case 'bad-forward':
      return {code: 'ERR_AUTOSSH_USAGE', message: `ssh refused the ${notice.type} forward '${notice.specification}'`};
    case 'no-user':
      return {
        code: 'ERR_AUTOSSH_USAGE',
        message: `ssh does not run as user id ${String(notice.uid)}, which has no entry in the user database`,
        hint: 'Add the user to /etc/passwd, as containers with arbitrary user ids need it (or use nss_wrapper).',
      };
    case 'host-key-changed':
      if (isByPin(notice, evidence)) return ofPin(notice, evidence);
      if (notice.file?.startsWith('KnownHostsCommand-')) return ofKept(notice);
      return {
        code: 'ERR_AUTOSSH_HOST_KEY',
        message: `The host key of ${notice.host ?? 'the server'} is not the one that known_hosts has${place(notice)}`,
        hint: changedHint,
      };
    case 'host-key-revoked':
      return {
        code: 'ERR_AUTOSSH_HOST_KEY',
        message: `The server's host key is marked as revoked${place({...notice, line: undefined})}`,
      };
    case 'host-key-unknown':
      if (isByPin(notice, evidence)) return ofPin(notice, evidence);
      return {
        code: 'ERR_AUTOSSH_HOST_KEY',
        message: `The host key of ${notice.host ?? (isOnTheWay(evidence) ? 'a host on the way' : 'the server')} is not known`,
      };
    case 'negotiation-failed':
      // It has no key of the kinds that ssh was told to ask for, so none that is meant.
      if (isByPin(notice, evidence) && notice.what === 'no matching host key type found')
        return ofPin(notice, evidence);
      return evidence.stage === 'connect' || evidence.isRaw ? ofConnection(notice, evidence.isRaw) : undefined;
    case 'auth-failed':
      return ofAuthentication(notice, evidence);
    case 'local-bind-failed':
      return ofLocalBind(notice, evidence);
    case 'remote-bind-failed':
      return ofRemoteBind(notice, evidence);
    case 'server-alive-timeout':
      return {code: 'ERR_AUTOSSH_HEARTBEAT', message: "The server did not answer ssh's keep-alives"};
    default:
      return evidence.stage === 'connect' || (evidence.isRaw && neverLater.has(notice.kind))
        ? ofConnection(notice, evidence.isRaw)
        : undefined;
  }
}

const changedHint =
  "Someone may be in between. Only if the server's administrator confirms the new key: ssh-keygen -R HOST, then add the new one to known_hosts.";

/** A program is asked where `hostKeyCheck: 'accept-new'` keeps a key, and where ssh_config has one. */
function ofKept({host}: HostKeyChanged): Verdict {
  return {
    code: 'ERR_AUTOSSH_HOST_KEY',
    message: `The host key of ${host ?? 'the server'} is not the one that was accepted before, or that KnownHostsCommand tells`,
    hint: changedHint,
  };
}

const oldForFingerprints = {
  hint: 'Fingerprints in `hostKey` need OpenSSH 8.5 or later, whose KnownHostsCommand is told which key is offered: give public keys, or lines of known_hosts.',
} as const;

type PinRefused = Extract<Notice, {kind: 'host-key-changed' | 'host-key-unknown' | 'negotiation-failed'}>;

/** Whether a key was refused because it is none of those that the host has named for the server, or for a hop. */
function isByPin(notice: PinRefused, evidence: Evidence): boolean {
  if (!isOfHop(evidence)) return evidence.isPinned;
  if (notice.kind === 'host-key-changed') return /\/hop-\d+\.known_hosts$/.test(notice.file ?? '');
  // One that is asked for by its fingerprint is told with its kind.
  const isAsked = evidence.notices.some((one) => one.kind === 'host-key-offered' && one.keyType !== undefined);
  return evidence.areHopsPinned ?? isAsked;
}

/** ssh itself says no more than that it does not accept a key. One of a hop's ssh leaves it without a connection. */
function isOfHop({notices}: Evidence): boolean {
  return notices.some(({kind}) => cutOff.has(kind));
}

/** A connection over a ProxyCommand that ended has no address (`ssh_remote_ipaddr` in packet.c): the login there was the hop's. */
function isOnTheWay({notices}: Evidence): boolean {
  return notices.some((one) => one.kind === 'closed-early' && one.reason.endsWith('by UNKNOWN'));
}

const cutOff = new Set<Notice['kind']>(['closed-early', 'lost-connection', 'disconnected', 'proxy-failed']);

function ofPin(notice: PinRefused, evidence: Evidence): Verdict {
  const {notices} = evidence;
  const host = 'host' in notice ? notice.host : undefined;
  const offered = notices.findLast((one) => one.kind === 'host-key-offered');
  const type = offered?.keyType === undefined ? '' : ` (${offered.keyType})`;
  const kinds = notices.find((one) => one.kind === 'negotiation-failed');
  const [whose, option] = isOfHop(evidence) ? ['a hop', 'the `hostKey` of that hop'] : ['the server', '`hostKey`'];
  if (!offered && notice.kind === 'host-key-unknown') {
    return {
      code: 'ERR_AUTOSSH_HOST_KEY',
      message: `${option} has no key for ${host ?? whose}${notice.keyType === undefined ? '' : ` of the kind that it has shown (${notice.keyType})`}`,
      hint: 'A line of known_hosts has to name the host as it is connected to, with `[host]:port` where the port is not 22; a line with @cert-authority needs a server that shows a certificate of that authority.',
    };
  }
  const key = offered ? `${offered.fingerprint}${type}` : kinds ? `of another kind (${kinds.offer})` : 'another';
  return {
    code: 'ERR_AUTOSSH_HOST_KEY',
    message: `The host key of ${host ?? whose} is none of those in ${option}: it is ${key}`,
    hint: "Someone may be in between. If the server's administrator confirms this key, add it to `hostKey`. If the right one is there and of another kind, give it as a public key or as a line of ssh-keygen -l, which tells ssh which kind to ask for.",
  };
}

function ofConnection(notice: Notice, isRaw: boolean): Verdict | undefined {
  switch (notice.kind) {
    case 'throttled':
      return {
        code: 'ERR_AUTOSSH_CONNECT',
        message: `The server turns connections away: ${notice.reason}`,
        hint: 'It has too many unauthenticated connections (MaxStartups) or punishes this address (PerSourcePenalties); the next tries come slower.',
        throttled: true,
      };
    case 'resolve-failed':
      return {code: 'ERR_AUTOSSH_RESOLVE', message: `The name ${notice.host} could not be resolved: ${notice.reason}`};
    case 'connect-refused':
    case 'connect-timeout':
    case 'unreachable':
    case 'connect-failed':
      return {
        code: 'ERR_AUTOSSH_CONNECT',
        message: `No connection to ${notice.host} port ${String(notice.port)}: ${notice.reason}`,
      };
    case 'banner-timeout':
      return {
        code: 'ERR_AUTOSSH_CONNECT',
        message: `The server accepted the connection, but said nothing ${isRaw ? 'in time' : 'within `connectTimeout`'}`,
        hint: 'The server, or something in front of it, is overloaded or hung, or no ssh server listens on this port.',
      };
    case 'negotiation-failed':
      return {
        code: 'ERR_AUTOSSH_CONNECT',
        message: `ssh and the server have no ${notice.what} in common; the server offers ${notice.offer}`,
        hint: 'Update the older of the two, or allow one of the offered algorithms in `sshOptions`.',
      };
    case 'protocol-error':
      return {code: 'ERR_AUTOSSH_CONNECT', message: `What answered is no working ssh server: ${notice.reason}`};
    case 'proxy-failed':
      return {
        code: 'ERR_AUTOSSH_CONNECT',
        message: `The ProxyCommand or jump host failed: ${notice.reason}`,
        hint: 'Try the same ssh command with -v: the jump host may be down, or not know the target.',
      };
    case 'closed-early':
      return {
        code: 'ERR_AUTOSSH_CONNECT',
        message: `The connection was closed before login: ${notice.reason}`,
        hint: 'The server may have too many connections (MaxStartups), punish this address, be starting, or not be behind its proxy at all; its log tells.',
        // Closed in answer to our very first bytes: what an sshd does that has too many (sshd_config(5), MaxStartups).
        throttled: notice.beforeBanner,
      };
    case 'disconnected':
    case 'lost-connection':
      return {code: 'ERR_AUTOSSH_CONNECT', message: `The connection was lost before login: ${notice.reason}`};
    default:
      return undefined;
  }
}

function ofAuthentication(notice: Extract<Notice, {kind: 'auth-failed'}>, evidence: Evidence): Verdict {
  const {notices, isAnswered, doubts} = evidence;
  const offered = notice.methods.length > 0 ? ` (it would take: ${notice.methods.join(', ')})` : '';
  const who = isOnTheWay(evidence)
    ? `A host on the way${notice.login === undefined ? '' : ` (${notice.login})`}`
    : 'The server';
  const message = `${who} let nobody in: ${notice.reason}${offered}`;
  const unasked = notices.find((one) => one.kind === 'askpass-failed');
  if (unasked) {
    return {
      code: 'ERR_AUTOSSH_AUTH',
      message: `${message}; ssh could not ask for the password: ${unasked.path}: ${unasked.reason}`,
      retryable: false,
      hint:
        unasked.reason === 'Permission denied'
          ? 'Programs cannot be run in the folder for temporary files (noexec): set TMPDIR to another.'
          : 'See what is said of that program; a question of the server may be too long for it.',
    };
  }
  if (isAnswered && !isOnTheWay(evidence)) {
    return {
      code: 'ERR_AUTOSSH_AUTH',
      message: `The server refused the password, or an answer: ${notice.reason}${offered}`,
      retryable: false,
      hint: 'Correct `password`, or what `keyboardInteractive` answers. It is not tried again: servers lock accounts.',
    };
  }
  const key = notices.find(
    (one) =>
      one.kind === 'key-permissions' ||
      // Of our own files only public halves and certificates are there, which ssh tries as private keys, too.
      (one.kind === 'key-unreadable' && !/\/(?:login|hop-\d+)(?:-cert)?\.pub$/.test(one.path ?? '')) ||
      one.kind === 'agent-problem',
  );
  if (key?.kind === 'key-permissions') {
    return {
      code: 'ERR_AUTOSSH_AUTH',
      message: `${message}; the private key ${key.path ?? ''} was left out, because others could read it`,
      hint: `chmod 600 ${key.path ?? 'the key'}`,
    };
  }
  if (key?.kind === 'key-unreadable') {
    return {
      code: 'ERR_AUTOSSH_AUTH',
      message: `${message}; the private key ${key.path ?? ''} could not be used: ${key.reason}`,
    };
  }
  if (key?.kind === 'agent-problem') {
    return {
      code: 'ERR_AUTOSSH_AUTH',
      message: `${message}; the ssh-agent could not be used: ${key.reason}`,
      hint: 'Start the agent again and add the key (ssh-add), or give `identityFile`.',
    };
  }
  const [doubt] = doubts;
  if (doubt) {
    const all = doubts.map(({what}) => what).join('; ');
    return {code: 'ERR_AUTOSSH_AUTH', message: `${message}; ${all}`, hint: doubt.hint};
  }
  const asks = notice.methods.length > 0 && !notice.methods.includes('publickey');
  return {
    code: 'ERR_AUTOSSH_AUTH',
    message,
    ...(asks && {hint: 'It takes no key: give `password`, or `keyboardInteractive` for what else it asks.'}),
  };
}

function ofLocalBind(
  notice: Extract<Notice, {kind: 'local-bind-failed'}>,
  {forwards, holder, isRaw}: Evidence,
): Verdict {
  const {host, port, path, reason} = notice;
  const listen = path ?? (port === undefined ? 'a local port' : formatAddress({host: host ?? '127.0.0.1', port}));
  const own = forwards.find(
    ({type, listen: at}) => type !== 'remote' && (at.path !== undefined ? at.path === path : at.port === port),
  );
  const holds = holder ? `: ${holder.name} (pid ${String(holder.pid)}) listens there` : '';
  const message = `ssh could not listen on ${listen}: ${reason}${holds}`;
  const forward = {side: 'local', listen, ...(own && {name: own.name})} as const;
  if (own || port === undefined || isRaw) return {code: 'ERR_AUTOSSH_FORWARD', message, forward};
  return {
    code: 'ERR_AUTOSSH_FORWARD',
    message,
    forward,
    hint: `${listen} is none of the tunnel's forwards: it comes from a LocalForward or DynamicForward in ssh_config for this host. Use another Host alias or \`configFile\`.`,
  };
}

function ofRemoteBind(notice: Extract<Notice, {kind: 'remote-bind-failed'}>, {forwards, isRaw}: Evidence): Verdict {
  const {port, path} = notice;
  const own = forwards.find(
    ({type, listen: at}) => type === 'remote' && (at.path !== undefined ? at.path === path : at.port === port),
  );
  const listen = own ? formatAddress(own.listen) : (path ?? `port ${String(port)}`);
  const foreign =
    own || isRaw
      ? ''
      : " It is none of the tunnel's forwards: it comes from a RemoteForward in ssh_config for this host.";
  return {
    code: 'ERR_AUTOSSH_FORWARD',
    message: `The server could not or may not listen on ${listen}`,
    forward: {side: 'remote', listen, ...(own && {name: own.name})},
    hint: `${path === undefined ? '' : 'A socket file of a lost connection may be left there: delete it, or set StreamLocalBindUnlink in its sshd_config. '}Something else holds it there, perhaps a connection of ours that the server takes for alive still (ClientAliveInterval in its sshd_config shortens that), or AllowTcpForwarding, PermitListen (which has to name the address as it is given here) or GatewayPorts forbid it.${foreign}`,
  };
}

function place({file, line}: {readonly file: string | undefined; readonly line: number | undefined}): string {
  if (file === undefined) return '';
  return line === undefined ? ` in ${file}` : ` in ${file} line ${String(line)}`;
}
