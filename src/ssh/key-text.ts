import type {AutoSSHError} from '../errors.js';
import {meantText, otherText, privateKeyMarks, unfit} from './given-text.js';
import {WireReader} from './wire.js';

/**
 * The private key in a text, as one PEM block that every ssh-add reads: with line feeds, its base64 in lines, and a line
 * feed at its end. What stands around it is left out.
 *
 * @param given - the text as it arrived, see {@link meantText}; its line breaks may have become spaces
 * @param option - the name of the option, for messages
 * @throws {@link AutoSSHError} `ERR_AUTOSSH_KEY`: it is no private key, not a whole one, or more than one
 */
export function mendPrivateKey(given: string, option: string): string {
  const text = meantText(given, privateKeyMarks);
  if (text === undefined) throw otherText(given, option, 'private key');
  const begins = text.match(/-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----/g) ?? [];
  if (begins.length > 1) {
    throw unfit(option, 'a text with more than one private key', 'Give the one that the server knows.');
  }
  const [, label, content] =
    /-----BEGIN ((?:[A-Z0-9]+ )*)PRIVATE KEY-----([^]*)-----END \1PRIVATE KEY-----/.exec(text) ?? [];
  if (label === undefined || content === undefined) throw cutOff(option);
  if (!labels.includes(label)) throw unfit(option, 'a private key of a kind that ssh does not read');
  const [, cipher, body = content] = encryption.exec(content) ?? [];
  const base64 = body.replace(/\s+/g, '');
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64) || base64.length % 4 > 0) throw cutOff(option);
  if (cipher === undefined && !isWhole(label, Buffer.from(base64, 'base64'))) throw cutOff(option);
  return [
    `-----BEGIN ${label}PRIVATE KEY-----`,
    ...(cipher === undefined ? [] : ['Proc-Type: 4,ENCRYPTED', `DEK-Info: ${cipher.replace(/\s+/g, '')}`, '']),
    // As wide as OpenSSH and OpenSSL make them: a key that came unharmed stays as it is.
    ...(base64.match(label === openSSH ? /.{1,70}/g : /.{1,64}/g) ?? []),
    `-----END ${label}PRIVATE KEY-----`,
    '',
  ].join('\n');
}

/** Whether a passphrase is needed to read it. That stands in the clear in each form. */
export function isEncrypted(mended: string): boolean {
  const [, label, content] = /^-----BEGIN ((?:[A-Z0-9]+ )*)PRIVATE KEY-----\n([^-]*)/.exec(mended) ?? [];
  if (label !== openSSH) return label === 'ENCRYPTED ' || mended.includes('\nProc-Type: 4,ENCRYPTED\n');
  const bytes = Buffer.from(content ?? '', 'base64');
  return new WireReader(bytes.subarray(magic.length)).string().toString('latin1') !== 'none';
}

const openSSH = 'OPENSSH ';

/** What stands before PRIVATE KEY in the forms that OpenSSH reads: its own, PKCS #8, and the older ones of OpenSSL. */
const labels = ['', 'ENCRYPTED ', 'RSA ', 'EC ', 'DSA ', openSSH];

/** The headers that OpenSSL writes into an encrypted PEM block (RFC 1421, section 4.6.1), wherever their lines end now. */
const encryption = /^\s*Proc-Type:\s*4\s*,\s*ENCRYPTED\s+DEK-Info:\s*([A-Za-z0-9-]+\s*,\s*[A-Fa-f0-9]+)\s([^]*)$/;

/** Whether as much is there as its beginning promises. */
function isWhole(label: string, bytes: Buffer): boolean {
  try {
    if (label !== openSSH) return bytes.readUInt8(0) === 0x30 && bytes.length >= lengthOfDER(bytes);
    const reader = new WireReader(bytes.subarray(magic.length));
    for (let strings = 3; strings > 0; strings--) reader.string();
    for (let keys = reader.uint32(); keys > 0; keys--) reader.string();
    reader.string();
    return bytes.toString('latin1', 0, magic.length) === magic;
  } catch {
    return false;
  }
}

/** OpenSSH's PROTOCOL.key: after it three strings that tell how it is encrypted, the public keys and the private ones. */
const magic = 'openssh-key-v1\0';

/** The outermost value with its tag and its length (X.690, section 8.1.3). */
function lengthOfDER(bytes: Buffer): number {
  const first = bytes.readUInt8(1);
  if (first < 0x80) return 2 + first;
  // Of an indefinite length (0x80) only a reader of all of it finds the end.
  const size = first - 0x80;
  return size === 0 ? 0 : 2 + size + bytes.readUIntBE(2, Math.min(size, 6));
}

function cutOff(option: string): AutoSSHError {
  const hint =
    'Give all of it, from -----BEGIN to the last dash. Where only one line comes through, give the whole text in base64.';
  return unfit(option, 'a private key of which a part is missing or damaged', hint);
}
