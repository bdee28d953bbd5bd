import {isIP, isIPv6} from 'node:net';
import {isRecord, mismatch, refuseUnknown, unexpected} from '../checks.js';

/**
 * Where a forward listens or leads to: `'host:port'`, `'[::1]:port'`, `'port'`, `'/path'`, or the same as an object.
 *
 * `host` defaults to `127.0.0.1`. A path is an absolute one, of a Unix socket, of at most 103 bytes.
 */
export type Endpoint =
  | string
  | {
      /** A numeric address to listen on; a name or an address to lead to. @default '127.0.0.1' */
      readonly host?: string;
      /** A TCP port. */
      readonly port: number;
      /** No Unix socket. */
      readonly path?: undefined;
    }
  | {
      /** A Unix socket. */
      readonly path: string;
      /** No TCP port. */
      readonly host?: undefined;
      /** No TCP port. */
      readonly port?: undefined;
    };

/** Connections to a port or socket of this machine go to a target as seen from the server: ssh's `-L`. */
export interface LocalForward {
  /** ssh's `-L`. */
  readonly type: 'local';
  /** Where to listen on this machine; without it, or with port `0`, on a free port. @default an ephemeral port of 127.0.0.1 */
  readonly listen?: Endpoint;
  /** Where connections go to, as seen from the server. */
  readonly target: Endpoint;
  /**
   * Whether the library listens itself, so that connections wait while ssh is replaced; `false`: ssh listens.
   *
   * @default true for a TCP port, false for a Unix socket
   */
  readonly steady?: boolean;
  /** What the forward is called in events. @default `local-<index>` */
  readonly name?: string;
}

/** Connections to a port or socket of the server go to a target as seen from this machine: ssh's `-R`. */
export interface RemoteForward {
  /** ssh's `-R`. */
  readonly type: 'remote';
  /** Where the server listens; with port `0` it chooses one. Other addresses than loopback need its `GatewayPorts`. */
  readonly listen: Endpoint;
  /** Where connections go to, as seen from this machine. */
  readonly target: Endpoint;
  /** What the forward is called in events. @default `remote-<index>` */
  readonly name?: string;
}

/** A SOCKS proxy on this machine, whose connections leave from the server: ssh's `-D`. */
export interface DynamicForward {
  /** ssh's `-D`. */
  readonly type: 'dynamic';
  /** Where to listen on this machine; without it, or with port `0`, on a free port. @default an ephemeral port of 127.0.0.1 */
  readonly listen?: Endpoint;
  /** As for a local forward. @default true for a TCP port, false for a Unix socket */
  readonly steady?: boolean;
  /** What the forward is called in events. @default `dynamic-<index>` */
  readonly name?: string;
}

/** One forward as the user writes it: an object, or a string as on ssh's command line, `'-L 5432:db.internal:5432'`. */
export type ForwardOption = LocalForward | RemoteForward | DynamicForward | string;

/** A checked {@link Endpoint}: on the listening side the host is always numeric. */
export type Address =
  | {
      /** An address, or where a forward leads to also a name; IPv6 without brackets. */
      readonly host: string;
      /** A TCP port. */
      readonly port: number;
      /** No Unix socket. */
      readonly path?: undefined;
    }
  | {
      /** A Unix socket. */
      readonly path: string;
      /** No TCP port. */
      readonly host?: undefined;
      /** No TCP port. */
      readonly port?: undefined;
    };

/** One forward, checked and with nothing left to default; frozen. */
export interface Forward {
  /** What it is called in events and for `tunnel.forward(name)`; unique in its tunnel. */
  readonly name: string;
  /** ssh's `-L`, `-R` or `-D`. */
  readonly type: 'local' | 'remote' | 'dynamic';
  /** Port `0` has still to be chosen: by us for a local or dynamic forward, by the server for a remote one. */
  readonly listen: Address;
  /** `undefined` where each connection names its own: a dynamic forward, and `-R [host:]port`, SOCKS on the server. */
  readonly target: Address | undefined;
  /** Whether the library listens itself, and ssh on a private socket behind it. */
  readonly steady: boolean;
}

/**
 * Checks one of the user's forwards and fills in what it leaves open.
 *
 * @param index its place in the list, for its default name
 * @param optionPath what error messages call it
 * @throws {TypeError} that names the option and the value
 */
export function resolveForward(option: ForwardOption, index: number, optionPath = `forwards[${index}]`): Forward {
  if (typeof option === 'string') return fromCommandLine(option, index, optionPath);
  return fromObject(option, index, optionPath);
}

/**
 * The forward as arguments for ssh, spelled so that ssh reads the same forward back (`parse_forward` in OpenSSH's readconf.c).
 *
 * The bind address is always there: with none, or with a name, ssh binds several addresses and is content with one of them.
 * A local port `0` is printed as it is, but ssh refuses it: fill in the port first.
 */
export function forwardArguments(forward: Forward): [flag: '-L' | '-R' | '-D', specification: string] {
  const listen = spell(forward.listen);
  return [flags[forward.type], forward.target ? `${listen}:${spell(forward.target)}` : listen];
}

/** The address for people: `127.0.0.1:5432`, `[::1]:5432` or `/path`. */
export function formatAddress(address: Address): string {
  if (address.path !== undefined) return address.path;
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
}

/**
 * A colon ends a field for ssh unless a backslash stands before it (`parse_fwd_field` in readconf.c). Before it looks for fields,
 * ssh replaces `${VARIABLES}` (`dollar_expand` in misc.c), which it does not see in `$\\{`.
 */
function spell(address: Address): string {
  return address.path !== undefined ? address.path.replace(/[\\:]|(?<=\$)\{/g, '\\$&') : formatAddress(address);
}

const flags = {local: '-L', remote: '-R', dynamic: '-D'} as const;
const types = {L: 'local', R: 'remote', D: 'dynamic'} as const;

const fields = {
  local: ['type', 'listen', 'target', 'name', 'steady'],
  remote: ['type', 'listen', 'target', 'name'],
  dynamic: ['type', 'listen', 'name', 'steady'],
} as const;

function fromObject(option: unknown, index: number, optionPath: string): Forward {
  if (!isRecord(option))
    throw unexpected(optionPath, "an object or a string such as '-L 5432:db.internal:5432'", option);
  const {type, listen, target} = option;
  if (type !== 'local' && type !== 'remote' && type !== 'dynamic') {
    throw unexpected(`${optionPath}.type`, "'local', 'remote' or 'dynamic'", type);
  }
  refuseUnknown(optionPath, option, fields[type]);
  const {name = `${type}-${index}`} = option;
  if (typeof name !== 'string' || name === '') throw unexpected(`${optionPath}.name`, 'a non-empty string', name);
  const at: Address =
    listen === undefined && type !== 'remote'
      ? Object.freeze({host: loopback, port: 0})
      : fromEndpoint(listen, `${optionPath}.listen`, listenAddress);
  const {steady = type !== 'remote' && at.port !== undefined} = option;
  if (typeof steady !== 'boolean') throw unexpected(`${optionPath}.steady`, 'a boolean', steady);
  if (steady && at.path !== undefined) {
    throw unexpected(
      `${optionPath}.steady`,
      'false or absent where `listen` is a Unix socket: on that ssh listens itself',
      steady,
    );
  }
  return Object.freeze({
    name,
    type,
    steady,
    listen: at,
    target: type === 'dynamic' ? undefined : fromEndpoint(target, `${optionPath}.target`, targetAddress),
  });
}

/** What an endpoint is made of before it is checked. */
type Parts = {readonly host: unknown; readonly port: unknown} | {readonly path: unknown};

/** What error messages call a part of an endpoint. */
type PartName = (part: 'host' | 'port' | 'path') => string;

function fromEndpoint(value: unknown, optionPath: string, check: (parts: Parts, name: PartName) => Address): Address {
  if (typeof value === 'string')
    return check(splitEndpoint(value, optionPath), (part) => `the ${part} of \`${optionPath}\``);
  if (!isRecord(value)) throw unexpected(optionPath, endpointForms, value);
  if (value['path'] !== undefined) {
    if (value['host'] !== undefined || value['port'] !== undefined) {
      throw new TypeError(`Expected \`${optionPath}\` to have either \`path\` or \`host\` and \`port\`, got both`);
    }
  }
  refuseUnknown(optionPath, value, ['host', 'port', 'path']);
  const parts = value['path'] === undefined ? {host: value['host'], port: value['port']} : {path: value['path']};
  return check(parts, (part) => `\`${optionPath}.${part}\``);
}

const endpointForms = "{host, port}, {path}, 'host:port', '[::1]:port', 'port' or '/path'";

function splitEndpoint(text: string, optionPath: string): Parts {
  if (text.startsWith('/')) return {path: text};
  if (/^\d+$/.test(text)) return {host: undefined, port: toPort(text)};
  const match = /^(?:\[([^\]]*)\]|([^:]*)):([^:]*)$/.exec(text);
  if (!match) throw unexpected(optionPath, endpointForms, text);
  return {host: match[1] ?? match[2], port: toPort(match[3] ?? '')};
}

/**
 * Reads a forward as ssh does: `parse_forward` and `parse_fwd_field` in readconf.c, the same from OpenSSH 6.7 on.
 * Not taken over: service names as ports, `${VARIABLES}`, and tokens such as `%h` in paths, which only ssh could expand.
 */
function fromCommandLine(text: string, index: number, optionPath: string): Forward {
  const match = /^\s*-([LRD])\s*(\S+)\s*$/.exec(text);
  if (!match)
    throw unexpected(optionPath, "a forward as on ssh's command line, such as '-L 5432:db.internal:5432'", text);
  const type = types[match[1] as 'L' | 'R' | 'D'];
  const specification = match[2] ?? '';
  if (specification.includes('${'))
    throw unexpected(optionPath, "a forward without '${', which ssh would expand", text);
  const found = splitSpecification(specification);
  const sides = found && sortFields(type, found);
  if (!sides)
    throw unexpected(
      optionPath,
      `${forms[type]}, as ssh reads it (a field with a slash is the path of a Unix socket)`,
      text,
    );
  const partName =
    (side: string): PartName =>
    (part) =>
      `the ${side} ${part} of \`${optionPath}\``;
  const listen = listenAddress(sides.listen, partName('listen'));
  if (type === 'remote' && !sides.target && listen.path !== undefined) {
    // Such connections are not taken for SOCKS: channel_connect_by_listen_path in OpenSSH's channels.c.
    throw unexpected(optionPath, 'a forward with a target (ssh has no SOCKS on a Unix socket of the server)', text);
  }
  return Object.freeze({
    name: `${type}-${index}`,
    type,
    steady: type !== 'remote' && listen.port !== undefined,
    listen,
    target: sides.target && targetAddress(sides.target, partName('target')),
  });
}

const forms = {
  local: "'-L [host:]port:host:port' or the same with '/path' in place of a host and port",
  remote: "'-R [host:]port:host:port', the same with '/path' in place of a host and port, or '-R [host:]port'",
  dynamic: "'-D [host:]port' or '-D /path'",
};

interface Field {
  readonly text: string;
  /** A field with a slash is a path to ssh. */
  readonly isPath: boolean;
}

/** One to four fields, or `undefined` where ssh finds no sense in them. */
function splitSpecification(specification: string): Field[] | undefined {
  const found: Field[] = [];
  let rest = specification;
  while (rest !== '') {
    // Literally up to the bracket, or up to a colon with any character behind a backslash standing for itself.
    const match =
      /^\[([^\]]*)\](?::|$)/.exec(rest) ?? (rest.startsWith('[') ? null : /^((?:[^\\:]|\\.)*)(?::|$)/su.exec(rest));
    if (!match || found.length === 4) return undefined;
    const raw = match[1] ?? '';
    const bracketed = rest.startsWith('[');
    found.push({
      text: bracketed ? raw : raw.replace(/\\(.)/gsu, '$1'),
      isPath: (bracketed ? raw : raw.replace(/\\./gsu, '')).includes('/'),
    });
    rest = rest.slice(match[0].length);
  }
  return found;
}

function sortFields(type: Forward['type'], found: Field[]): {listen: Parts; target?: Parts} | undefined {
  const [a, b, c, d] = found;
  if (!a) return undefined;
  const alone = type !== 'local';
  if (!b) return alone ? {listen: a.isPath ? {path: a.text} : port(a)} : undefined;
  if (!c && !b.isPath) return alone ? {listen: hostAndPort(a, b)} : undefined;
  if (type === 'dynamic') return undefined;
  if (!c) return {listen: a.isPath ? {path: a.text} : port(a), target: {path: b.text}};
  if (d) return {listen: hostAndPort(a, b), target: hostAndPort(c, d)};
  if (a.isPath) return {listen: {path: a.text}, target: hostAndPort(b, c)};
  if (c.isPath) return {listen: hostAndPort(a, b), target: {path: c.text}};
  return {listen: port(a), target: hostAndPort(b, c)};
}

function port(field: Field): Parts {
  return {host: undefined, port: toPort(field.text)};
}

function hostAndPort(host: Field, portField: Field): Parts {
  return {host: host.text, port: toPort(portField.text)};
}

/** Left as text where it is no number, so that the message can quote it. */
function toPort(text: string): unknown {
  return /^\d{1,5}$/.test(text) ? Number(text) : text;
}

const loopback = '127.0.0.1';
const everyAddress = '0.0.0.0';

/**
 * With a name or `*`, ssh binds an address of each family and is content when one of them could be bound
 * (`channel_setup_fwd_listener_tcpip` in channels.c): clients of the other would then reach a stranger.
 */
function listenAddress(parts: Parts, name: PartName): Address {
  if ('path' in parts) return pathAddress(parts.path, name);
  const {host = loopback} = parts;
  if (typeof host !== 'string') throw mismatch(name('host'), 'a string', host);
  const numeric = host === '' || host === '*' ? everyAddress : host.toLowerCase() === 'localhost' ? loopback : host;
  if (isIP(numeric) === 0) {
    throw mismatch(
      name('host'),
      'a numeric address such as 127.0.0.1, 0.0.0.0 or ::1 (with a name ssh binds several addresses, and stays up when only one of them could be bound)',
      host,
    );
  }
  return Object.freeze({host: numeric, port: checkPort(parts.port, name('port'), 0)});
}

function targetAddress(parts: Parts, name: PartName): Address {
  if ('path' in parts) return pathAddress(parts.path, name);
  const {host = loopback} = parts;
  return Object.freeze({host: targetHost(name('host'), host), port: checkPort(parts.port, name('port'), 1)});
}

/**
 * A host that ssh can have as the target of a forward.
 *
 * @param subject what error messages call it
 * @throws {TypeError} that names the option and the value
 */
export function targetHost(subject: string, host: unknown): string {
  if (typeof host === 'string' && isHost(host)) return host;
  throw mismatch(subject, 'a host name or an IP address', host);
}

/** NI_MAXHOST, which ssh compares with the length in bytes, its NUL included. */
const hostLimit = 1025;

/**
 * What `ssh_valid_hostname` in OpenSSH's readconf.c allows, less the characters with a meaning in a specification, and less `%`: only in
 * paths does ssh replace tokens.
 */
function isHost(host: string): boolean {
  if (host === '' || host.startsWith('-') || Buffer.byteLength(host) >= hostLimit) return false;
  if (host.includes(':')) return isIPv6(host);
  return !/[\s\p{Cc}\p{Cs}%'"`$\\;&<>|(){},/[\]]/u.test(host);
}

/** The smaller `sun_path`, of macOS, has 104 bytes with its NUL (Linux: 108). The other end may be either. */
const pathLimit = 103;

function pathAddress(path: unknown, name: PartName): Address {
  if (typeof path !== 'string' || !path.startsWith('/')) throw mismatch(name('path'), 'an absolute path', path);
  if (/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(path)) throw mismatch(name('path'), 'a path without control characters', path);
  // From 8.3 on, ssh replaces tokens such as `%h` in the paths of forwards, and `%%` is one `%` only to those versions.
  if (path.includes('%')) throw mismatch(name('path'), "a path without '%', which ssh would expand", path);
  if (Buffer.byteLength(path) > pathLimit) {
    throw mismatch(name('path'), `at most ${pathLimit} bytes long, which is what every system's sockets allow`, path);
  }
  return Object.freeze({path});
}

function checkPort(value: unknown, subject: string, least: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= 65_535) return value;
  throw mismatch(subject, `an integer from ${least} to 65535`, value);
}
