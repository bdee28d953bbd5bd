import {meantText, otherText, unfit} from './given-text.js';
import {WireReader, wireString} from './wire.js';

/**
 * The OpenSSH user certificate in a text, as one line with a line feed at its end.
 *
 * @param given - the text as it arrived, see {@link meantText}
 * @param option - the name of the option, for messages
 * @throws {@link AutoSSHError} `ERR_AUTOSSH_KEY`: it is something else, such as the certificate of a host
 */
export function mendCertificate(given: string, option: string): string {
  const text = meantText(given, line);
  if (text === undefined) throw otherText(given, option, 'certificate of OpenSSH');
  const lines = text.split('\n').filter((one) => line.test(one));
  if (lines.length > 1)
    throw unfit(option, 'a text with more than one certificate', 'Give the one for the private key.');
  const [, type = '', base64 = '', comment = ''] = line.exec(text) ?? [];
  const certificate = `${[type, base64, comment.trim()].join(' ').trim()}\n`;
  const facts = read(certificate);
  if (!facts) throw unfit(option, 'a certificate of which a part is missing or damaged', 'Give all of its one line.');
  if (facts.holder === host) {
    const hint = 'Give one that ssh-keygen -s has made without -h.';
    throw unfit(option, 'the certificate of a host, not one of a user', hint);
  }
  return certificate;
}

/**
 * Whether a certificate is for this key. What cannot be read is for none.
 *
 * @param certificate - its line
 * @param publicKey - its line, as in authorized_keys: `ssh-ed25519 AAAA…`
 */
export function certifies(certificate: string, publicKey: string): boolean {
  const facts = read(certificate);
  const [name, base64 = ''] = publicKey.trim().split(/\s+/);
  return facts !== undefined && name === facts.type && Buffer.from(base64, 'base64').equals(facts.publicKey);
}

/** When it ends, in milliseconds since 1970; `undefined`: never, or it cannot be read. */
export function certificateExpiry(certificate: string): number | undefined {
  const end = Number(read(certificate)?.validBefore ?? Infinity) * 1_000;
  // What no `Date` can be is for ever: so is 2 ** 64 - 1, the seconds of one that has no end.
  return end > 8.64e15 ? undefined : end;
}

const suffix = '-cert-v01@openssh.com';

const line = /^[ \t]*((?:ssh|ecdsa|sk)-[\w-]+-cert-v01@openssh\.com)[ \t]+([A-Za-z0-9+/]+={0,2})(?:[ \t]+(.*))?$/m;

interface Facts {
  /** The kind of key that it is for, as its public key is called. */
  readonly type: string;
  /** The key that it is for, as it stands in base64 in the line of a public key. */
  readonly publicKey: Buffer;
  readonly holder: number;
  /** In seconds since 1970. */
  readonly validBefore: bigint;
}

/** `SSH_CERT_TYPE_USER` and `SSH_CERT_TYPE_HOST`. */
const [user, host] = [1, 2];

function read(certificate: string): Facts | undefined {
  const [, name = '', base64 = ''] = line.exec(certificate) ?? [];
  const bytes = Buffer.from(base64, 'base64');
  // How many fields the key has depends on its type; of one that is new, too, just one number fits.
  for (let count = 1; count <= 6; count++) {
    try {
      return readFields(name, bytes, count);
    } catch {
      // Not as many.
    }
  }
  return undefined;
}

/** OpenSSH's PROTOCOL.certkeys: the fields of the public key, its type apart, stand between the nonce and the serial number. */
function readFields(name: string, bytes: Buffer, count: number): Facts {
  const reader = new WireReader(bytes);
  if (reader.string().toString('latin1') !== name) throw new RangeError('It is of another type');
  reader.string();
  const type = name.replace(suffix, name.startsWith('sk-') ? '@openssh.com' : '');
  const publicKey = Buffer.concat([type, ...Array.from({length: count}, () => reader.string())].map(wireString));
  reader.uint64();
  const holder = reader.uint32();
  // Its name and its principals.
  for (let strings = 2; strings > 0; strings--) reader.string();
  reader.uint64();
  const validBefore = reader.uint64();
  // Options, extensions, what is reserved, the key that has signed it and the signature.
  for (let strings = 5; strings > 0; strings--) reader.string();
  if (reader.rest.length > 0 || ![user, host].includes(holder)) throw new RangeError('It has other fields');
  return {type, publicKey, holder, validBefore};
}
