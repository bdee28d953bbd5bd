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

/** What a verdict goes by. */
export interface Evidence {
  /** Oldest first. */
  readonly notices: readonly Notice[];
  readonly stage: Stage;
  readonly forwards: readonly Forward[];
  /** Who listens on the local port that was taken. */
  readonly holder: Holder | undefined;
}

/** What ssh's stderr says about why it ended; `undefined`: nothing. */
export function readVerdict(evidence: Evidence): Verdict | undefined {
  const cause = causeAmong(evidence.notices);
  return cause && ofNotice(cause, evidence);
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
      return {
        code: 'ERR_AUTOSSH_HOST_KEY',
        message: `The host key of ${notice.host ?? 'the server'} is not the one that known_hosts has${place(notice)}`,
        hint: "Someone may be in between. Only if the server's administrator confirms the new key: ssh-keygen -R HOST, then add the new one to known_hosts.",
      };
    case 'host-key-revoked':
      return {
        code: 'ERR_AUTOSSH_HOST_KEY',
        message: `The server's host key is marked as revoked${place({...notice, line: undefined})}`,
      };
    case 'host-key-unknown':
      return {code: 'ERR_AUTOSSH_HOST_KEY', message: `The host key of ${notice.host ?? 'the server'} is not known`};
    case 'auth-failed':
      return ofAuthentication(notice, evidence);
    case 'local-bind-failed':
      return ofLocalBind(notice, evidence);
    case 'remote-bind-failed':
      return ofRemoteBind(notice, evidence);
    case 'server-alive-timeout':
      return {code: 'ERR_AUTOSSH_HEARTBEAT', message: "The server did not answer ssh's keep-alives"};
    default:
      return evidence.stage === 'connect' ? ofConnection(notice) : undefined;
  }
}

function ofConnection(notice: Notice): Verdict | undefined {
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
        message: 'The server accepted the connection, but said nothing within `connectTimeout`',
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

function ofAuthentication(notice: Extract<Notice, {kind: 'auth-failed'}>, {notices}: Evidence): Verdict {
  const offered = notice.methods.length > 0 ? ` (it would take: ${notice.methods.join(', ')})` : '';
  const message = `The server let nobody in: ${notice.reason}${offered}`;
  const key = notices.find(
    (one) => one.kind === 'key-permissions' || one.kind === 'key-unreadable' || one.kind === 'agent-problem',
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
  return {code: 'ERR_AUTOSSH_AUTH', message};
}

function ofLocalBind(notice: Extract<Notice, {kind: 'local-bind-failed'}>, {forwards, holder}: Evidence): Verdict {
  const {host, port, path, reason} = notice;
  const listen = path ?? (port === undefined ? 'a local port' : formatAddress({host: host ?? '127.0.0.1', port}));
  const own = forwards.find(
    ({type, listen: at}) => type !== 'remote' && (at.path !== undefined ? at.path === path : at.port === port),
  );
  const holds = holder ? `: ${holder.name} (pid ${String(holder.pid)}) listens there` : '';
  const message = `ssh could not listen on ${listen}: ${reason}${holds}`;
  const forward = {side: 'local', listen, ...(own && {name: own.name})} as const;
  if (own || port === undefined) return {code: 'ERR_AUTOSSH_FORWARD', message, forward};
  return {
    code: 'ERR_AUTOSSH_FORWARD',
    message,
    forward,
    hint: `${listen} is none of the tunnel's forwards: it comes from a LocalForward or DynamicForward in ssh_config for this host. Use another Host alias or \`configFile\`.`,
  };
}

function ofRemoteBind(notice: Extract<Notice, {kind: 'remote-bind-failed'}>, {forwards}: Evidence): Verdict {
  const {port, path} = notice;
  const own = forwards.find(
    ({type, listen: at}) => type === 'remote' && (at.path !== undefined ? at.path === path : at.port === port),
  );
  const listen = own ? formatAddress(own.listen) : (path ?? `port ${String(port)}`);
  const foreign = own
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
