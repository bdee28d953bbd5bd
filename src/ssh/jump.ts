import {
  concealed,
  defined,
  fields,
  isRecord,
  number,
  operand,
  optional,
  record,
  text,
  texts,
  unexpected,
} from '../checks.js';
import {type KeyOptions, type KeySettings, resolveKey} from './credential-options.js';
import {type HostKeyOptions, type HostKeySettings, resolveHostKey} from './host-key.js';

/**
 * A host on the way (`-J`): ssh logs in there, and goes on from there. Without `privateKey` and `identityFile` the tunnel's own
 * `privateKey` is for it, too.
 */
export interface JumpHost extends KeyOptions, HostKeyOptions {
  /** Its name, or an alias of ssh_config. */
  readonly host: string;
  /** Its port. @default as configured for ssh */
  readonly port?: number;
  /** The user there. @default as configured for ssh */
  readonly username?: string;
  /** Files of private keys for it, one or several (`-i`). @default as configured for ssh, behind the tunnel's `privateKey` */
  readonly identityFile?: string | readonly string[];
}

/** {@link JumpHost}, checked and complete. */
export interface Hop extends KeySettings {
  readonly host: string;
  readonly port: number | undefined;
  readonly username: string | undefined;
  readonly identityFiles: readonly string[];
  readonly hostKey: HostKeySettings;
}

const hopFields = fields<JumpHost>({
  host: true,
  port: true,
  username: true,
  identityFile: true,
  privateKey: true,
  passphrase: true,
  certificate: true,
  hostKey: true,
  hostKeyCheck: true,
});

/**
 * Checks the way to the server; `'none'`: straight, whatever ssh_config says.
 *
 * @throws TypeError that names the option and the value it has
 */
export function resolveJump(value: unknown): readonly Hop[] | 'none' {
  if (typeof value === 'string') {
    // ssh takes it in any case (`parse_jump` in readconf.c), and in -J also as the name of a hop.
    if (/^none$/i.test(value)) return 'none';
    return Object.freeze(
      text('jump', value)
        .split(',')
        .map((hop) => parseHop(hop.trim())),
    );
  }
  if (!Array.isArray(value)) return Object.freeze([resolveHop('jump', value)]);
  if (value.length === 0) throw unexpected('jump', 'at least one host', value);
  return Object.freeze(value.map((one: unknown, index) => resolveHop(`jump[${String(index)}]`, one)));
}

/** The hops as ssh's `-J` takes them; `undefined` where that would say too little. */
export function jumpArgument(hops: readonly Hop[]): string | undefined {
  const words = hops.map(({host, port, username, identityFiles, hostKey, privateKey, certificate}) => {
    const own = [hostKey.pins, hostKey.check, privateKey, certificate].some((one) => one !== undefined);
    if (own || identityFiles.length > 0) return undefined;
    // ssh makes a line for a shell of it, without quotes, in which `%` is its own, too (ssh.c, "implicit ProxyCommand").
    if (!/^[\w.:-]+$/.test(host) || !/^[\w.@+-]*$/.test(username ?? '')) return undefined;
    const name = host.includes(':') ? `[${host}]` : host;
    return `${username === undefined ? '' : `${username}@`}${name}${port === undefined ? '' : `:${String(port)}`}`;
  });
  return words.every((word) => word !== undefined) ? words.join(',') : undefined;
}

function resolveHop(path: string, value: unknown): Hop {
  if (typeof value === 'string') return parseHop(value, path);
  if (!isRecord(value)) throw concealed(path, 'a string or an object with `host`', value);
  const given = defined(record(path, value, hopFields));
  return Object.freeze({
    host: hostName(`${path}.host`, given['host']),
    port: optional(given['port'], (port) => number(`${path}.port`, port, {min: 1, max: 65_535, integer: true})),
    username: optional(given['username'], (name) => operand(`${path}.username`, name)),
    identityFiles: texts(`${path}.identityFile`, given['identityFile'] ?? []),
    hostKey: resolveHostKey(`${path}.`, value),
    ...resolveKey(`${path}.`, value),
  });
}

/** `[user@]host[:port]`, or the same as a URI, `ssh://[user@]host[:port]` (ssh(1), -J). */
function parseHop(hop: string, path = 'jump'): Hop {
  const [, username, bracketed, plain, port] =
    /^(?:ssh:\/\/)?(?:(.+)@)?(?:\[([^\]]+)\]|([^:@[\]/]+))(?::(\d+))?\/?$/.exec(hop) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined) throw unexpected(path, "hosts as '[user@]host[:port]', separated by commas", hop);
  return resolveHop(path, {
    host,
    ...(username !== undefined && {username}),
    ...(port !== undefined && {port: Number(port)}),
  });
}

/** It becomes a word of ssh's command line, and of a ProxyCommand. */
function hostName(path: string, value: unknown): string {
  const given = operand(path, value);
  if (/[@,/[\]]/.test(given)) throw unexpected(path, 'the name of a host alone', value);
  if (/^none$/i.test(given)) throw unexpected(path, "the name of a host (`jump: 'none'` is the straight way)", value);
  return given;
}
