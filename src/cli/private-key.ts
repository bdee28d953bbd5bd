import {readFileSync, statSync} from 'node:fs';

/** What a file of a private key tells without its passphrase. */
export interface PrivateKey {
  readonly path: string;
  /** Whether it has a passphrase. */
  readonly encrypted: boolean;
  /** Whether its secret is in a FIDO token; the file then only says in which. */
  readonly onToken: boolean;
  /** As in a line of authorized_keys: `ssh-ed25519 AAAA…`; absent where neither this file nor the one beside it tells. */
  readonly publicKey: string | undefined;
}

/** No key is longer. */
const largest = 1024 * 1024;

/**
 * Reads the file of a private key in one of the forms that ssh knows. `undefined`: there is none, or it is something else,
 * such as a public key.
 *
 * It asks nobody and starts nothing: whether there is a passphrase stands in the clear at the beginning of each form.
 */
export function readPrivateKey(path: string): PrivateKey | undefined {
  try {
    const {size} = statSync(path);
    if (size === 0 || size > largest) return undefined;
    const text = readFileSync(path, 'latin1');
    return ofOpenSSH(path, text) ?? ofPEM(path, text);
  } catch {
    return undefined;
  }
}

/** OpenSSH's PROTOCOL.key: a magic, three strings that tell how it is encrypted, a count, the public key. */
function ofOpenSSH(path: string, text: string): PrivateKey | undefined {
  const [, base64] = /^-----BEGIN OPENSSH PRIVATE KEY-----\n([\w+/=\s]*)-----END /.exec(text) ?? [];
  if (base64 === undefined) return undefined;
  const data = Buffer.from(base64, 'base64');
  let offset = magic.length;
  const next = (): Buffer => {
    const start = offset + 4;
    offset = start + data.readUInt32BE(offset);
    return data.subarray(start, offset);
  };
  if (data.toString('latin1', 0, offset) !== magic) return undefined;
  const cipher = next().toString('latin1');
  next();
  next();
  offset += 4;
  const blob = next();
  const type = blob.toString('latin1', 4, 4 + blob.readUInt32BE(0));
  return {
    path,
    encrypted: cipher !== 'none',
    onToken: type.startsWith('sk-'),
    publicKey: `${type} ${blob.toString('base64')}`,
  };
}

const magic = 'openssh-key-v1\0';

/** PEM as of old (RFC 1421, section 4.6.1.1), and PKCS #8 (RFC 7468, sections 10 and 11). No key of a token is in these. */
function ofPEM(path: string, text: string): PrivateKey | undefined {
  const begin = /^-----BEGIN (\w+ )?PRIVATE KEY-----/m.exec(text);
  if (!begin) return undefined;
  const encrypted = begin[1] === 'ENCRYPTED ' || /^Proc-Type: *4,ENCRYPTED/m.test(text);
  return {path, encrypted, onToken: false, publicKey: publicKeyBeside(path)};
}

function publicKeyBeside(path: string): string | undefined {
  try {
    return /^\S+ [\w+/=]+/.exec(readFileSync(`${path}.pub`, 'latin1'))?.[0];
  } catch {
    return undefined;
  }
}
