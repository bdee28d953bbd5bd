import {oneOf, optional, texts, unexpected} from '../checks.js';
import {readRawOption, withoutCommand} from './raw-option.js';

/** Which host keys are accepted. */
export interface HostKeyOptions {
  /**
   * The only host keys that are accepted, one or several, each as
   *
   * - a fingerprint, `SHA256:…`, or a whole line of `ssh-keygen -l`. With the former ssh negotiates the kind of key by itself, and it
   *   has to be of that kind: servers have several; of several kinds, the first given is asked for first.
   *   (`KnownHostsCommand`, OpenSSH 8.5 and later),
   * - a public key, `ssh-ed25519 AAAA…`, as in the server's /etc/ssh/ssh_host_ed25519_key.pub,
   * - lines of a known_hosts file (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT) or of ssh-keyscan(1), whose host names have to match,
   *   `@cert-authority` and `@revoked` among them.
   *
   * ssh's own known_hosts files are not looked at then, nor anything in ssh_config that would accept another key. A server
   * with any other key is `ERR_AUTOSSH_HOST_KEY`, at once fatal.
   */
  readonly hostKey?: string | readonly string[];
  /**
   * What is done with a key that ssh's known_hosts files do not have (`-o StrictHostKeyChecking`): `'strict'` refuses it, unless a
   * KnownHostsCommand in ssh_config tells it; `'accept-new'` writes it down where the host has no other, and has the tunnel keep it: until
   * that is stopped no other unknown key is accepted, whatever becomes of known_hosts. For this it takes the place of a
   * KnownHostsCommand (OpenSSH 8.5 and later; before that only known_hosts keeps the key, and a `warning` says so).
   * A changed key is always refused. @default as configured for ssh
   */
  readonly hostKeyCheck?: 'strict' | 'accept-new';
}

/** {@link HostKeyOptions}, checked. */
export interface HostKeySettings {
  readonly pins: HostKeyPins | undefined;
  readonly check: 'strict' | 'accept-new' | undefined;
}

/** The only keys that are accepted. */
export interface HostKeyPins {
  /** Of a known_hosts file. */
  readonly lines: readonly string[];
  /** `SHA256:…` */
  readonly fingerprints: readonly string[];
  /** `HostKeyAlgorithms`, where the keys' kinds are known and ssh does not see them by itself. */
  readonly algorithms: string | undefined;
}

/** Where that which ssh reads for this is. */
export interface HostKeyFiles {
  readonly knownHosts: string;
  /** {@link hostKeyScript} */
  readonly command: string;
  /** {@link keepScript} */
  readonly keeper: string;
  /** What that writes. */
  readonly offered: string;
}

/** Prints the offered key as a line of known_hosts if its fingerprint is one of ours; tells about any other. */
export const hostKeyScript = `offered=$1 type=$2 key=$3
shift 3
[ "$offered" = NONE ] && exit
for pin do
  [ "$pin" = "$offered" ] && printf '* %s %s\\n' "$type" "$key" && exit
done
printf 'The host key offered is %s %s\\n' "$type" "$offered" >&2
`;

/** Prints the key that was kept, also to have ssh ask for its kind; before there is one, writes down which is offered. */
export const keepScript = `kept=$1 offered=$2 type=$3 key=$4
if [ -e "$kept" ]; then
  read -r line <"$kept" && printf '%s\\n' "$line"
elif [ "$type" != NONE ]; then
  printf '* %s %s\\n' "$type" "$key" >"$offered"
fi 2>/dev/null
exit 0
`;

/** What {@link keepScript} has written about a key that was accepted: a line to know it by, or `'signed'` by an authority. */
export function readOffered(text: string): string | undefined {
  const [, type = '', base64 = ''] = /^\* (\S+) (\S+)\n$/.exec(text) ?? [];
  if (isKey(type, base64)) return `* ${type} ${base64}`;
  return /-cert-v\d+@openssh\.com$/.test(type) ? 'signed' : undefined;
}

/**
 * Checks the options of one host.
 *
 * @param path - stands in front of their names: `''`, `'jump[0].'`
 * @param given - also what is there but `undefined`
 */
export function resolveHostKey(path: string, given: Readonly<Record<string, unknown>>): HostKeySettings {
  const {hostKey, hostKeyCheck} = given;
  // An unset variable must not take the pin away.
  if ('hostKey' in given && hostKey === undefined) throw unexpected(`${path}hostKey`, `${wanted}, or absent`, hostKey);
  const check = optional(hostKeyCheck, (value) =>
    oneOf<'strict' | 'accept-new'>(`${path}hostKeyCheck`, value, ['strict', 'accept-new']),
  );
  const pins = optional(hostKey, (value) => resolvePins(`${path}hostKey`, value));
  if (pins && check === 'accept-new') {
    throw new TypeError(
      `Expected \`${path}hostKeyCheck\` not to be 'accept-new' where \`${path}hostKey\` is given: no other key is accepted`,
    );
  }
  return Object.freeze({pins, check});
}

/**
 * What makes ssh, whatever its configuration says, check the host's key as it is wanted.
 *
 * @param isKept - one was accepted as new before, and no other is any more
 */
export function hostKeyArguments(
  {pins, check}: HostKeySettings,
  {knownHosts, command, keeper, offered}: HostKeyFiles,
  isKept: boolean,
): readonly (readonly [name: string, value: string])[] {
  if (pins) {
    const {lines, fingerprints, algorithms} = pins;
    const words = ['/bin/sh', command, '%f', '%t', '%K', ...fingerprints];
    return [
      ['StrictHostKeyChecking', 'yes'],
      ['UserKnownHostsFile', lines.length > 0 ? knownHosts : nowhere],
      ['GlobalKnownHostsFile', nowhere],
      ['KnownHostsCommand', fingerprints.length > 0 ? words.join(' ') : 'none'],
      ['FingerprintHash', 'sha256'],
      ['VerifyHostKeyDNS', 'no'],
      ['NoHostAuthenticationForLocalhost', 'no'],
      ['CheckHostIP', 'no'],
      ['UpdateHostKeys', 'no'],
      ...(algorithms === undefined ? [] : [['HostKeyAlgorithms', algorithms] as const]),
    ];
  }
  if (check === undefined) return [];
  return [
    ['StrictHostKeyChecking', check === 'strict' || isKept ? 'yes' : check],
    ['NoHostAuthenticationForLocalhost', 'no'],
    // `yes` makes a key known by what the name service says.
    ['VerifyHostKeyDNS', 'no'],
    // That of ssh_config stays with 'strict': it says which keys are known, as the files do.
    ...(check === 'strict' ? [] : [['KnownHostsCommand', `/bin/sh ${keeper} ${knownHosts} ${offered} %t %K`] as const]),
  ];
}

const nowhere = '/dev/null';

/**
 * The options of ssh that nothing else may set where {@link hostKeyArguments} decides, or the pin would be none. A live master would be
 * taken for the server, and with Kerberos the key exchange goes without a host key.
 */
export function decidedOptions({pins, check}: HostKeySettings): readonly string[] {
  const nameless = {knownHosts: '', command: '', keeper: '', offered: ''};
  const decided = hostKeyArguments({pins, check}, nameless, false).map(([name]) => name);
  if (decided.length === 0) return decided;
  return [...decided, 'ControlPath', ...(pins ? ['HostKeyAlgorithms', 'HostKeyAlias', 'GSSAPIKeyExchange'] : [])];
}

/** The raw option, if there is one, that has ssh take any host key: the one way to switch the check off. */
export function uncheckedBy({
  hostKey,
  sshOptions,
  extraArgs,
  sshArguments,
}: {
  readonly hostKey: HostKeySettings;
  readonly sshOptions: readonly (readonly [name: string, value: string])[];
  readonly extraArgs: readonly string[];
  readonly sshArguments: readonly string[] | undefined;
}): string | undefined {
  const raw = sshArguments ? withoutCommand(sshArguments) : extraArgs;
  const words = raw.map((word) => readRawOption(word, telling)).filter((one) => one !== undefined);
  // In the order of the command line, where the first value counts.
  const given = [...words, ...sshOptions];
  const said = (name: string, value: RegExp): string | undefined => {
    const found = given.find(([one]) => one.toLowerCase() === name.toLowerCase());
    return found && value.test(unquoted(found[1])) ? `${name}=${found[1]}` : undefined;
  };
  const acceptsNew =
    hostKey.check === 'accept-new' ? "hostKeyCheck: 'accept-new'" : said('StrictHostKeyChecking', /^accept-new$/i);
  const nowhereKept = said('UserKnownHostsFile', /^(?:(?:\/dev\/null|none)(?:\s+|$))+$/i);
  return (
    said('StrictHostKeyChecking', /^(?:no|off|false)$/i) ??
    said('NoHostAuthenticationForLocalhost', /^(?:yes|true)$/i) ??
    (acceptsNew !== undefined && nowhereKept !== undefined ? `${acceptsNew}, ${nowhereKept}` : undefined) ??
    // Its arguments may be secret.
    (said('KnownHostsCommand', /^(?!none$)./i) && 'KnownHostsCommand, whose program may know any key')
  );
}

const telling = [
  'StrictHostKeyChecking',
  'NoHostAuthenticationForLocalhost',
  'UserKnownHostsFile',
  'KnownHostsCommand',
];

/** A value as ssh reads it (`argv_split` in OpenSSH's misc.c), as far as words without quotes of their own go. */
function unquoted(value: string): string {
  return value
    .replace(/\s#.*$/s, '')
    .replace(/["'\\]/g, '')
    .trim();
}

function resolvePins(option: string, value: unknown): HostKeyPins {
  const given = Array.isArray(value) ? value : [value];
  if (given.length === 0) throw unexpected(option, `${wanted}, or several`, value);
  const lines: string[] = [];
  const fingerprints: string[] = [];
  const kinds: (string | undefined)[] = [];
  given.forEach((one: unknown, index) => {
    const path = Array.isArray(value) ? `${option}[${String(index)}]` : option;
    if (typeof one !== 'string') throw unexpected(path, wanted, one);
    // An environment variable may have them as two letters.
    const said = one.split(/(?:[\r\n]|\\r|\\n)+/).map((line) => line.trim());
    const telling = said.filter((line) => line !== '' && !line.startsWith('#'));
    if (telling.length === 0) throw unexpected(path, wanted, one);
    for (const line of texts(path, telling)) {
      const [, bare, described, kind] =
        /^(?:(SHA256:[\w+/]{43})=?|\d+ (SHA256:[\w+/]{43}) .*\(([\w-]+)\))$/.exec(line) ?? [];
      const fingerprint = bare ?? described;
      if (fingerprint !== undefined) fingerprints.push(fingerprint);
      else lines.push(knownHostsLine(line) ?? refuse(path, line));
      if (!line.startsWith('@revoked')) kinds.push(fingerprint === undefined ? kindOf(lines.at(-1)) : kind);
    }
  });
  return Object.freeze({
    lines: Object.freeze(lines),
    fingerprints: Object.freeze(fingerprints),
    algorithms: algorithmsFor(lines, fingerprints, kinds),
  });
}

const wanted = "a fingerprint 'SHA256:…', a public key 'ssh-ed25519 AAAA…' or lines of a known_hosts file";

function refuse(path: string, line: string): never {
  if (/^(?:MD5:)?(?:[\da-f]{2}:){15}[\da-f]{2}$/i.test(line))
    throw unexpected(path, 'a fingerprint by SHA256 (ssh-keygen -l), not by MD5, which can be forged', line);
  if (/^[~./]/.test(line)) throw unexpected(path, `${wanted}; what is in that file, not its path`, line);
  if (/(?:^|\s)(?:ssh-|ecdsa-|sk-)\S+-cert-v01@openssh\.com\s/.test(line))
    throw unexpected(
      path,
      'the key of the authority that signs such certificates, as `@cert-authority NAMES KEY`',
      line,
    );
  throw unexpected(path, wanted, line);
}

/** A public key is one for every name: only this host is looked up in the file. */
function knownHostsLine(line: string): string | undefined {
  const words = line.split(/\s+/);
  if (isKey(words[0], words[1])) return `* ${words.slice(0, 2).join(' ')}`;
  const names = /^@(?:cert-authority|revoked)$/.test(words[0] ?? '') ? 1 : 0;
  return isKey(words[names + 1], words[names + 2]) ? line : undefined;
}

/** In base64 a public key begins with the name of its kind. */
function isKey(type = '', base64 = ''): boolean {
  if (!/^(?:ssh-|ecdsa-sha2-|sk-)(?!.*-cert-)[\w@.-]+$/.test(type) || !/^[\w+/]+={0,2}$/.test(base64)) return false;
  const blob = Buffer.from(base64, 'base64');
  return blob.length > 4 + type.length && blob.toString('latin1', 4, 4 + blob.readUInt32BE(0)) === type;
}

/** As in {@link algorithmsOf}; of an authority none, whose certificates may be of any. */
function kindOf(line = ''): string | undefined {
  return line.startsWith('@') ? undefined : line.split(/\s+/)[1];
}

/** By what `ssh-keygen -l` and public keys call the kind. */
const algorithmsOf: Readonly<Record<string, readonly string[]>> = {
  ED25519: ['ssh-ed25519'],
  'ED25519-SK': ['sk-ssh-ed25519@openssh.com'],
  ECDSA: ['ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521'],
  'ECDSA-SK': ['sk-ecdsa-sha2-nistp256@openssh.com'],
  RSA: ['rsa-sha2-512', 'rsa-sha2-256'],
  'ssh-rsa': ['rsa-sha2-512', 'rsa-sha2-256'],
  ...Object.fromEntries(
    [
      ...['ssh-ed25519', 'sk-ssh-ed25519@openssh.com', 'sk-ecdsa-sha2-nistp256@openssh.com'],
      ...['ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521'],
    ].map((type) => [type, [type]]),
  ),
};

/**
 * From a known_hosts file ssh sees by itself which kinds to ask the server for (`order_hostkeyalgs` in sshconnect2.c), but not from
 * fingerprints, and with one of these beside it, it would ask for the kinds in the file alone.
 */
function algorithmsFor(
  lines: readonly string[],
  fingerprints: readonly string[],
  kinds: readonly (string | undefined)[],
): string | undefined {
  const known = kinds.map((kind) => algorithmsOf[kind ?? '']);
  if (fingerprints.length > 0 && known.every((one) => one !== undefined)) return [...new Set(known.flat())].join(',');
  // A server that shows a certificate for its key would have to be known by an authority.
  return lines.some((line) => line.startsWith('@cert-authority')) ? undefined : '-*-cert-v01@openssh.com';
}
