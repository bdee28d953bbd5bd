import {execFileSync} from 'node:child_process';
import {generateKeyPairSync} from 'node:crypto';
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {inspect} from 'node:util';
import fc from 'fast-check';
import {afterAll, describe, expect, test} from 'vitest';
import {AutoSSHError} from '../src/errors.js';
import {certificateExpiry, certifies, mendCertificate} from '../src/ssh/certificate.js';
import {wireString} from '../src/ssh/wire.js';
import {ownTemporaryFolder, temporaryFolder} from './support/index.js';

const restoreTemporaryFolder = ownTemporaryFolder();
const folder = temporaryFolder('c-');
afterAll(restoreTemporaryFolder);

run('-t', 'ed25519', '-N', '', '-C', 'of a test', '-f', join(folder, 'ca'));
run('-t', 'ed25519', '-N', '', '-C', 'of another', '-f', join(folder, 'other'));

const publicKeys = {
  ed25519: publicKey('ed25519', '-t', 'ed25519'),
  rsa: publicKey('rsa', '-t', 'rsa', '-b', '2048'),
  'ecdsa 256': publicKey('ecdsa-256', '-t', 'ecdsa', '-b', '256'),
  'ecdsa 384': publicKey('ecdsa-384', '-t', 'ecdsa', '-b', '384'),
  'ecdsa 521': publicKey('ecdsa-521', '-t', 'ecdsa', '-b', '521'),
  // Of a token only the private half needs the token.
  'ed25519 of a token': tokenKey('sk-ed25519', 'sk-ssh-ed25519@openssh.com', point('Ed25519')),
  'ecdsa of a token': tokenKey('sk-ecdsa', 'sk-ecdsa-sha2-nistp256@openssh.com', 'nistp256', point('P-256')),
};
const other = readFileSync(join(folder, 'other.pub'), 'utf8');
const certificate = sign('ed25519', '-V', '20200101:20380119031408');
const blob = Buffer.from(certificate.split(' ')[1] ?? '', 'base64');

describe.each(Object.entries(publicKeys))('a certificate for %s', (kind, itsKey) => {
  const name = kind.replace(/(.*) of a token/, 'sk-$1').replace(' ', '-');
  const signed = sign(name, '-V', '20200101:20380119031408');

  test('stays as it is where it is unharmed', () => {
    expect(mendCertificate(signed, 'certificate')).toBe(signed);
  });

  test('is for its key and for no other', () => {
    const certified = Object.values({...publicKeys, other}).filter((one) => certifies(signed, one));
    expect(certified).toEqual([itsKey]);
    expect(certifies(signed, itsKey.split(' ').slice(0, 2).join(' '))).toBe(true);
  });

  test('ends when it was made to', () => {
    expect(certificateExpiry(signed)).toBe(Date.UTC(2038, 0, 19, 3, 14, 8));
    expect(certificateExpiry(sign(name))).toBeUndefined();
    expect(certificateExpiry(sign(name, '-V', 'always:19700101000001'))).toBe(1_000);
  });

  test('of a host is refused', () => {
    const error = refusal(sign(name, '-h'), 'certificate');
    expect(error.message).toBe('`certificate` is the certificate of a host, not one of a user');
    expect(error.hint).toContain('-h');
  });
});

test('a certificate may have a number, options, a name and people of any length', () => {
  const signed = sign('ed25519', '-z', '18446744073709551615', '-n', 'a'.repeat(300), '-O', 'force-command=date');
  expect(mendCertificate(signed, 'certificate')).toBe(signed);
  expect(certifies(signed, publicKeys.ed25519)).toBe(true);
});

const mangled: [name: string, mangle: (text: string) => string][] = [
  ['no line feed at its end', (text) => text.trimEnd()],
  ['CRLF', (text) => text.replace('\n', '\r\n')],
  ['CR', (text) => text.replace('\n', '\r')],
  ['a written out \\n', (text) => text.replace('\n', '\\n')],
  ['a doubly written out \\r\\n', (text) => text.replace('\n', '\\\\r\\\\n')],
  ['a byte order mark', (text) => `\uFEFF${text}`],
  ['white space', (text) => `\n\t ${text.replaceAll(' ', ' \t ')} \n\n`],
  ['single quotes', (text) => `'${text}'`],
  ['double quotes', (text) => `"${text.trimEnd()}"`],
  ['JSON', (text) => JSON.stringify(text)],
  ['base64', (text) => Buffer.from(text).toString('base64')],
  ['url-safe base64', (text) => Buffer.from(text).toString('base64url')],
  ['base64 in lines', (text) => Buffer.from(text).toString('base64').replace(/.{76}/g, '$&\n')],
  ['a comment in front', (text) => `# for the web\n${text}`],
  ['its public key in front', (text) => publicKeys.ed25519 + text],
];

test.each(mangled)('it is mended after %s', (_name, mangle) => {
  expect(mangle(certificate)).not.toBe(certificate);
  expect(mendCertificate(mangle(certificate), 'certificate').replace(/[ \t]+/g, ' ')).toBe(certificate);
});

test('a certificate without a comment is one', () => {
  const bare = certificate.split(' ').slice(0, 2).join(' ');
  expect(mendCertificate(bare, 'certificate')).toBe(`${bare}\n`);
});

const damaged = 'a certificate of which a part is missing or damaged';
const [type = '', base64 = ''] = certificate.split(' ');
const refused: [name: string, given: string, is: string, hint: string][] = [
  ['nothing', '', 'empty', 'is set'],
  ['a public key', publicKeys.ed25519, 'a public key, not a certificate of OpenSSH', 'ssh-keygen -s'],
  [
    'a private key',
    readFileSync(join(folder, 'ca'), 'utf8'),
    'a private key, not a certificate of OpenSSH',
    '`jump[1].privateKey`',
  ],
  ['a key of PuTTY', 'PuTTY-User-Key-File-3: x', 'a PuTTY key, not a certificate of OpenSSH', '`jump[1].privateKey`'],
  [
    'an X.509 certificate',
    '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----',
    'an X.509 certificate, not a certificate of OpenSSH',
    'ssh-keygen -s',
  ],
  ['a path', '/etc/ssh/key-cert.pub', 'a path, not a certificate of OpenSSH', 'Read the file'],
  ['something else', 'hunter2', 'no certificate of OpenSSH', 'ssh-keygen -s'],
  ['the half of one', certificate.slice(0, 300), damaged, 'one line'],
  ['one with more behind', `${type} ${Buffer.concat([blob, Buffer.alloc(4)]).toString('base64')}`, damaged, 'one line'],
  ['one of another type', `ssh-rsa-cert-v01@openssh.com ${base64}`, damaged, 'one line'],
  ['one on two lines', certificate.replace(/ (.{100})/, ' $1\n'), damaged, 'one line'],
  ['two', certificate + certificate, 'a text with more than one certificate', 'for the private key'],
];

test.each(refused)('%s is refused', (_name, given, is, hint) => {
  const error = refusal(given, 'jump[1].certificate');
  expect(error.message).toBe(`\`jump[1].certificate\` is ${is}`);
  expect(error.hint).toContain(hint);
  expect(inspect(error, {showHidden: true})).not.toContain(
    given.length > 60 ? given.slice(20, 60) : given || 'nothing',
  );
});

test('what is damaged certifies nothing, and is no error', () => {
  const line = (bytes: Uint8Array, name = type) => `${name} ${Buffer.from(bytes).toString('base64')}`;
  const bytes = fc.oneof(
    fc.uint8Array(),
    fc.nat(blob.length - 1).map((end) => blob.subarray(0, end)),
    fc.uint8Array({minLength: 1}).map((more) => Buffer.concat([blob, more])),
  );
  fc.assert(
    fc.property(bytes, fc.constantFrom(type, 'ssh-rsa-cert-v01@openssh.com', 'x'), (some, name) => {
      expect(certifies(line(some, name), publicKeys.ed25519)).toBe(false);
      expect(certificateExpiry(line(some, name))).toBeUndefined();
      expect(certifies(certificate, line(some, 'ssh-ed25519'))).toBe(false);
    }),
  );
  for (const none of ['', 'ssh-ed25519', 'ssh-ed25519 ', 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5', 'hunter2']) {
    expect(certifies(certificate, none)).toBe(false);
    expect(certifies(none, publicKeys.ed25519)).toBe(false);
    expect(certificateExpiry(none)).toBeUndefined();
  }
});

function refusal(given: string, option: string): AutoSSHError {
  try {
    mendCertificate(given, option);
  } catch (error) {
    if (error instanceof AutoSSHError) return error;
    throw error;
  }
  return expect.fail('It was not refused');
}

/** The certificate that the authority makes for a key, in a time zone that is the same everywhere. */
function sign(name: string, ...how: string[]): string {
  run('-s', join(folder, 'ca'), '-I', 'of a test', '-n', 'me,you', ...how, join(folder, `${name}.pub`));
  return readFileSync(join(folder, `${name}-cert.pub`), 'utf8');
}

function publicKey(name: string, ...how: string[]): string {
  run('-N', '', '-C', 'of a test', '-f', join(folder, name), ...how);
  return readFileSync(join(folder, `${name}.pub`), 'utf8');
}

/** OpenSSH's PROTOCOL.u2f. */
function tokenKey(name: string, kind: string, ...parts: (string | Buffer)[]): string {
  const bytes = Buffer.concat([kind, ...parts, 'ssh:'].map(wireString));
  const line = `${kind} ${bytes.toString('base64')} of a test\n`;
  writeFileSync(join(folder, `${name}.pub`), line);
  return line;
}

function point(curve: 'Ed25519' | 'P-256'): Buffer {
  const {publicKey} =
    curve === 'Ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', {namedCurve: curve});
  const {x = '', y} = publicKey.export({format: 'jwk'});
  const coordinates = [x, ...(y === undefined ? [] : [y])].map((one) => Buffer.from(one, 'base64url'));
  return Buffer.concat([...(y === undefined ? [] : [Buffer.from([4])]), ...coordinates]);
}

function run(...args: string[]): void {
  execFileSync('ssh-keygen', ['-q', ...args], {env: {...process.env, TZ: 'UTC'}, timeout: 30_000, stdio: 'ignore'});
}
