import {concealed, unexpected} from '../checks.js';

/** A secret, or a function that fetches it: then it is called for every ssh, so that it may have changed. */
export type Secret<Value extends string | Uint8Array = string> =
  Value | ((context: SecretContext) => Value | PromiseLike<Value>);

/** What a function that fetches a secret gets. */
export interface SecretContext {
  /** Aborted when nobody waits for it any more: the tunnel was stopped, or `readyTimeout` is over. */
  readonly signal: AbortSignal;
}

/** A key to log in with that is in no file. */
export interface KeyOptions {
  /**
   * A private key, as text: OpenSSH's own form, PKCS #1, PKCS #8 or SEC 1. What environment variables do to it is mended: CRLF, a
   * missing last line end, `\n` in two letters, base64 around all of it. It goes by `ssh-add -` into an ssh-agent of
   * the tunnel's own, and into no file, argument or variable. No other key of an
   * agent is offered then; those of `identityFile`, and of IdentityFile lines in ssh_config, come after it.
   *
   * One that cannot be read is `ERR_AUTOSSH_KEY`, at once fatal. `undefined`, as of an unset variable, is a `TypeError`.
   */
  readonly privateKey?: Secret<string | Uint8Array>;
  /**
   * Of `privateKey`; asked for only if that needs one. The line end that it has where it comes out of a file is no part of it. A
   * wrong one is `ERR_AUTOSSH_KEY`.
   */
  readonly passphrase?: Secret<string | Uint8Array> | undefined;
  /**
   * A certificate for the key, as in a file that ssh-keygen(1) names `…-cert.pub` (`-o CertificateFile`). It is no secret, and for ssh to
   * read it lies in a private folder.
   */
  readonly certificate?: Secret<string | Uint8Array> | undefined;
}

/** What the tunnel logs in with. */
export interface LoginOptions extends KeyOptions {
  /**
   * A password, also for the prompts of keyboard-interactive that ask for one where there is no `keyboardInteractive`. It is asked
   * for when ssh needs it (`SSH_ASKPASS`), and comes over a socket that only ssh and its helper have: no argument,
   * variable or file has it.
   *
   * The line end that it has where it comes out of a file is no part of it.
   *
   * A function is asked once more if the server refuses what it gave. Then, and if it gives the same again, it is
   * `ERR_AUTOSSH_AUTH`, and fatal: servers lock accounts.
   */
  readonly password?: Secret<string | Uint8Array>;
  /**
   * Answers the server's own questions, such as for a one-time code. ssh hands them on one at a time, so there is one prompt in the
   * array, without ssh's `(user@host) ` before it, and one answer is expected. What the server refuses is asked for once more.
   */
  readonly keyboardInteractive?:
    ((prompts: string[], context: SecretContext) => readonly string[] | PromiseLike<readonly string[]>) | undefined;
  /**
   * The ssh-agent: `'inherit'`, the one of `SSH_AUTH_SOCK` or of ssh_config; `'session'`, one of the tunnel's own, which ends with it
   * and is forwarded to nobody, unless raw options say so; `false`, none; or the path of a socket (`-o IdentityAgent`). With
   * `privateKey` it is always `'session'`. It is that of hops, too.
   * @default 'inherit'
   */
  readonly agent?: 'inherit' | 'session' | (string & Record<never, never>) | false | undefined;
}

/** {@link KeyOptions}, checked. */
export interface KeySettings {
  readonly privateKey: Secret<string | Uint8Array> | undefined;
  readonly passphrase: Secret<string | Uint8Array> | undefined;
  readonly certificate: Secret<string | Uint8Array> | undefined;
}

/** {@link LoginOptions}, checked. */
export interface LoginSettings extends KeySettings {
  readonly password: Secret<string | Uint8Array> | undefined;
  readonly keyboardInteractive: LoginOptions['keyboardInteractive'];
  readonly agent: 'inherit' | 'session' | false | {readonly path: string};
}

const wanted = 'a non-empty string, a Buffer or a function';

/**
 * Checks the options of a key. What they say is told nobody.
 *
 * @param path - stands in front of their names: `''`, `'jump[0].'`
 * @param given - also what is there but `undefined`
 */
export function resolveKey(path: string, given: Readonly<Record<string, unknown>>): KeySettings {
  const secret = (name: keyof KeyOptions): Secret<string | Uint8Array> | undefined => {
    const value = given[name];
    // Of an unset variable ssh would make a login with whatever else it finds.
    if (value === undefined && name === 'privateKey' && name in given) throw concealed(`${path}${name}`, wanted, value);
    if (value === undefined || typeof value === 'function') return value as Secret<string | Uint8Array> | undefined;
    if (value === '' && name === 'passphrase') return undefined;
    if (typeof value === 'string' && value !== '') return value;
    // The host may clear its own as soon as it has given it.
    if (value instanceof Uint8Array) return Uint8Array.from(value);
    throw concealed(`${path}${name}`, wanted, value);
  };
  const key = {
    privateKey: secret('privateKey'),
    passphrase: secret('passphrase'),
    certificate: secret('certificate'),
  };
  if (key.passphrase !== undefined && key.privateKey === undefined) {
    throw new TypeError(
      `Expected \`${path}privateKey\` to be there with \`${path}passphrase\`: for the keys of ssh's own files use an agent`,
    );
  }
  return Object.freeze(key);
}

/** Whether ssh may ask for something, because somebody answers. */
export function isAnswered({password, keyboardInteractive}: LoginSettings): boolean {
  return password !== undefined || keyboardInteractive !== undefined;
}

/** Checks what the tunnel logs in with. */
export function resolveLogin(given: Readonly<Record<string, unknown>>): LoginSettings {
  const key = resolveKey('', given);
  const {keyboardInteractive} = given;
  const password = typeof given['password'] === 'function' ? given['password'] : passwordFrom(given['password']);
  if ('password' in given && password === undefined)
    throw concealed('password', `${passwordInWords}, or a function`, given['password']);
  if (keyboardInteractive !== undefined && typeof keyboardInteractive !== 'function')
    throw concealed('keyboardInteractive', 'a function', keyboardInteractive);
  const own = key.privateKey !== undefined;
  const agent = resolveAgent(given['agent'] === undefined ? (own ? 'session' : 'inherit') : given['agent']);
  if (own && agent !== 'session')
    throw new TypeError(
      "Expected `agent` to be 'session' or absent with `privateKey`, which goes into one of the tunnel's own",
    );
  return Object.freeze({
    ...key,
    password: password as LoginSettings['password'],
    keyboardInteractive: keyboardInteractive as LoginSettings['keyboardInteractive'],
    agent,
  });
}

/**
 * A password that ssh can read from its helper: one line of at most 1023 bytes (`ssh_askpass` in readpass.c). The line end that
 * it has where it comes out of a file is no part of it.
 */
export function passwordFrom(value: unknown): string | undefined {
  const text = value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : value;
  if (typeof text !== 'string') return undefined;
  const line = text.replace(/\r?\n$/, '');
  return line === '' || /[\0\r\n]/.test(line) || Buffer.byteLength(line) > 1023 ? undefined : line;
}

/** {@link passwordFrom}, for messages. */
export const passwordInWords = 'one non-empty line of at most 1023 bytes';

function resolveAgent(value: unknown): LoginSettings['agent'] {
  if (value === 'inherit' || value === 'session' || value === false) return value;
  if (typeof value === 'string' && value.startsWith('/') && !/[\0\r\n]/.test(value))
    return Object.freeze({path: value});
  throw unexpected('agent', "'inherit', 'session', false or the absolute path of a socket", value);
}
