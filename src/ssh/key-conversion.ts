import type {KeyObject} from 'node:crypto';
import {randomBytes} from '../random.js';
import type {AutoSSHError} from '../errors.js';
import {beside, unfit} from './given-text.js';
import {isEncrypted} from './key-text.js';
import {wireString} from './wire.js';

/** What `ssh-add -` is given. */
export interface AgentKey {
  readonly text: string;
  /** Whether ssh-add will ask for its passphrase. */
  readonly isEncrypted: boolean;
}

/**
 * A private key in a form that ssh-add reads. OpenSSH's own form remains as it is, and encrypted if it was. All others are
 * decrypted here, and an Ed25519 key in PKCS #8, which ssh-add does not know, becomes one of OpenSSH's.
 *
 * A form that is made slow to decrypt holds up the process for that long: Node has no other way. With the defaults of
 * openssl that is 40 to 100 ms for scrypt, and 1 to 5 for PBKDF2.
 *
 * @param text - from {@link mendPrivateKey}
 * @param passphrase - asked only where it is needed here
 * @param option - the name of the option, for messages
 * @throws {@link AutoSSHError} `ERR_AUTOSSH_KEY`: it cannot be decrypted, or ssh has no such keys
 */
export async function toAgentKey(
  text: string,
  passphrase: () => Promise<string | undefined>,
  option: string,
): Promise<AgentKey> {
  const encrypted = isEncrypted(text);
  if (text.startsWith('-----BEGIN OPENSSH PRIVATE KEY-----')) return {text, isEncrypted: encrypted};
  const key = encrypted ? decrypt(text, await passphrase(), option) : read(text, option);
  refuseUnknownToSSH(key, option);
  if (key.asymmetricKeyType === 'ed25519') return {text: inOpenSSHsForm(key), isEncrypted: false};
  return {text: encrypted ? inPlainForm(key) : text, isEncrypted: false};
}

/** The errors of Node's crypto are told by their codes and then left behind, so that nobody has to know what is in them. */
function read(text: string, option: string): KeyObject {
  try {
    return process.getBuiltinModule('node:crypto').createPrivateKey(text);
  } catch {
    const hint = 'Give it as it was made; ssh-keygen -y -f reads a file that is whole.';
    throw unfit(option, 'a private key that is damaged, or of another kind than its first line says', hint);
  }
}

function decrypt(text: string, passphrase: string | undefined, option: string): KeyObject {
  if (passphrase === undefined) throw withoutPassphrase(option);
  try {
    return process.getBuiltinModule('node:crypto').createPrivateKey({key: text, passphrase: Buffer.from(passphrase)});
  } catch (error) {
    const {code} = error as NodeJS.ErrnoException;
    if (code === 'ERR_OSSL_EVP_UNSUPPORTED') {
      const hint =
        'Encrypt it anew: openssl pkcs8 -topk8 -provider legacy -provider default -in key, and give what that prints.';
      throw unfit(option, 'encrypted in a way that the OpenSSL of this Node does not have', hint);
    }
    if (passphrase === '') throw withoutPassphrase(option);
    // A wrong one leaves garbage, which may look like anything: that is all that can be known.
    const other = beside(option, 'passphrase');
    throw unfit(
      option,
      `a private key that ${other} does not decrypt`,
      `Correct ${other}; if it is right, the key is damaged.`,
    );
  }
}

/** An error of a key that cannot be read without one. */
export function withoutPassphrase(option: string): AutoSSHError {
  const other = beside(option, 'passphrase');
  return unfit(option, 'encrypted, and there is no passphrase for it', `Set ${other}.`);
}

/** What ssh-add would refuse as an "invalid format". */
function refuseUnknownToSSH({asymmetricKeyType: type, asymmetricKeyDetails: details}: KeyObject, option: string): void {
  const {modulusLength, namedCurve} = details ?? {};
  const hint = 'Use an Ed25519, an ECDSA or an RSA key; ssh-keygen makes one.';
  if (type === 'ed25519') return;
  if (type === 'rsa') {
    // SSH_RSA_MINIMUM_MODULUS_SIZE in OpenSSH's sshkey.h.
    if (modulusLength === undefined || modulusLength >= 1024) return;
    throw unfit(option, `an RSA key of ${modulusLength} bits, and ssh has none of less than 1024`, hint);
  }
  if (type === 'ec') {
    if (curves.includes(namedCurve)) return;
    throw unfit(
      option,
      `an EC key on a curve${namedCurve === undefined ? '' : ` (${namedCurve})`} that ssh does not have`,
      hint,
    );
  }
  throw unfit(option, `a key of a type${type === undefined ? '' : ` (${type})`} that ssh does not have`, hint);
}

/** NIST's P-256, P-384 and P-521, as OpenSSL calls them. */
const curves: readonly (string | undefined)[] = ['prime256v1', 'secp384r1', 'secp521r1'];

/** The older forms of OpenSSL, which every ssh-add knows that knows these keys. */
function inPlainForm(key: KeyObject): string {
  const type = key.asymmetricKeyType === 'rsa' ? 'pkcs1' : 'sec1';
  return key.export({type, format: 'pem'}).toString();
}

/** OpenSSH's PROTOCOL.key, with one key, no encryption and no comment. */
function inOpenSSHsForm(ed25519: KeyObject): string {
  const {d = '', x = ''} = ed25519.export({format: 'jwk'});
  const [seed, point] = [Buffer.from(d, 'base64url'), Buffer.from(x, 'base64url')];
  const type = wireString('ssh-ed25519');
  const check = randomBytes(4);
  const secret = Buffer.concat([
    ...[check, check, type, wireString(point)],
    ...[wireString(Buffer.concat([seed, point])), wireString('')],
    // So that it can be divided into blocks of eight bytes. These keys are all of one length.
    Buffer.from([1, 2, 3, 4, 5]),
  ]);
  const base64 = Buffer.concat([
    ...[Buffer.from('openssh-key-v1\0'), wireString('none'), wireString('none'), wireString('')],
    ...[Buffer.from([0, 0, 0, 1]), wireString(Buffer.concat([type, wireString(point)]))],
    wireString(secret),
  ]).toString('base64');
  return [
    '-----BEGIN OPENSSH PRIVATE KEY-----',
    ...(base64.match(/.{1,70}/g) ?? []),
    '-----END OPENSSH PRIVATE KEY-----',
    '',
  ].join('\n');
}
