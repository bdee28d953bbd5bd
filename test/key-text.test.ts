import {execFileSync} from 'node:child_process';
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {inspect} from 'node:util';
import fc from 'fast-check';
import {afterAll, describe, expect, test} from 'vitest';
import {AutoSSHError} from '../src/errors.js';
import {isEncrypted, mendPrivateKey} from '../src/ssh/key-text.js';
import {ownTemporaryFolder, temporaryFolder} from './support/index.js';

const restoreTemporaryFolder = ownTemporaryFolder();
const folder = temporaryFolder('k-');
afterAll(restoreTemporaryFolder);

const keys = {
  openssh: key('openssh', '-t', 'ed25519', '-N', ''),
  'openssh, encrypted': key('openssh-encrypted', '-t', 'ed25519', '-N', 'secret'),
  'openssh, long': key('openssh-long', '-t', 'rsa', '-b', '2048', '-N', ''),
  'PKCS #8': key('pkcs8', '-t', 'ecdsa', '-m', 'PKCS8', '-N', ''),
  'PKCS #8, encrypted': key('pkcs8-encrypted', '-t', 'ecdsa', '-m', 'PKCS8', '-N', 'secret'),
  'SEC 1': key('sec1', '-t', 'ecdsa', '-b', '521', '-m', 'PEM', '-N', ''),
  'SEC 1, encrypted': key('sec1-encrypted', '-t', 'ecdsa', '-m', 'PEM', '-N', 'secret'),
};
const publicKey = readFileSync(join(folder, 'openssh.pub'), 'utf8');
const one = keys.openssh;
const withHeaders = keys['SEC 1, encrypted'];
const other = keys['PKCS #8'];

const certificate = '-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUdXzv\n-----END CERTIFICATE-----\n';
const parameters = '-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n';
const bagAttributes = 'Bag Attributes\n    localKeyID: 54 69 6D\nKey Attributes: <No Attributes>\n';

/** What happens to the text itself. */
const harm: Record<string, (text: string) => string> = {
  'no line feed at its end': (text) => text.trimEnd(),
  CRLF: (text) => text.replaceAll('\n', '\r\n'),
  CR: (text) => text.replaceAll('\n', '\r'),
  'a written out \\n': (text) => text.replaceAll('\n', '\\n'),
  'a written out \\r\\n': (text) => text.replaceAll('\n', '\\r\\n'),
  'a doubly written out \\n': (text) => text.replaceAll('\n', '\\\\n'),
  'a byte order mark': (text) => `\uFEFF${text}`,
  'white space around': (text) => `\n \t${text}\n\n `,
  'single quotes': (text) => `'${text}'`,
  'double quotes': (text) => `"${text}"`,
  JSON: (text) => JSON.stringify(text),
  'the JSON of PHP': (text) => JSON.stringify(text).replaceAll('/', '\\/'),
  indentation: (text) => text.replace(/^/gm, '\t  '),
  'line breaks folded into spaces': (text) => text.replaceAll('\n', ' '),
  'white space at the end of lines': (text) => text.replace(/$/gm, ' '),
};

/** What may stand beside it. */
const company: Record<string, (text: string) => string> = {
  'attributes in front': (text) => bagAttributes + text,
  'a comment in front': (text) => `# the key of "web"\n${text}`,
  'a certificate behind': (text) => `${text}\n${certificate}`,
  'a certificate in front': (text) => `${certificate}${text}`,
  'its public key behind': (text) => `${text}\n${publicKey}`,
  'parameters of its curve in front': (text) => parameters + text,
};

const base64: Record<string, (text: string) => string> = {
  base64: (text) => Buffer.from(text).toString('base64'),
  'url-safe base64': (text) => Buffer.from(text).toString('base64url'),
  'base64 in lines': (text) => `${wrap(Buffer.from(text).toString('base64'))}\n`,
  'base64 without padding': (text) => Buffer.from(text).toString('base64').replace(/=+$/, ''),
};

describe.each(Object.entries(keys))('a key in the form %s', (form, text) => {
  test('stays as it is where it is unharmed', () => {
    expect(mendPrivateKey(text, 'privateKey')).toBe(text);
  });

  test.each(Object.entries({...harm, ...company, ...base64}))('is mended after %s', (_name, mangle) => {
    expect(mangle(text)).not.toBe(text);
    expect(mendPrivateKey(mangle(text), 'privateKey')).toBe(text);
  });

  test('is encrypted only where it is', () => {
    expect(isEncrypted(text)).toBe(form.endsWith('encrypted'));
  });
});

test('is mended whatever has happened to it, in whatever order', () => {
  const some = (from: Record<string, (text: string) => string>, maxLength: number) =>
    fc.shuffledSubarray(Object.keys(from), {maxLength}).map((names) => names.map((name) => from[name] ?? fail(name)));
  const all = fc.tuple(some(company, 2), some(harm, 4), some(base64, 1), some(harm, 3)).map((steps) => steps.flat());
  fc.assert(
    fc.property(fc.constantFrom(...Object.values(keys)), all, (text, steps) => {
      const mangled = steps.reduce((result, step) => step(result), text);
      expect(mendPrivateKey(mangled, 'privateKey')).toBe(text);
    }),
    {numRuns: 2_000},
  );
});

const cutOff = 'a private key of which a part is missing or damaged';
const refused: [name: string, given: string, is: string, hint: string][] = [
  ['nothing', '', 'empty', 'is set'],
  ['white space and quotes', ' ""\n', 'empty', 'is set'],
  ['a public key', publicKey, 'a public key, not a private key', 'without .pub'],
  ['a public key in base64', base64Of(publicKey), 'a public key, not a private key', 'without .pub'],
  ['a public key in PEM', pem('PUBLIC KEY', 'MCowBQYDK2VwAyEA'), 'a public key, not a private key', 'without .pub'],
  ['a public key in PKCS #1', pem('RSA PUBLIC KEY', 'MIIBCgKC'), 'a public key, not a private key', 'without .pub'],
  [
    'a public key in RFC 4716',
    '---- BEGIN SSH2 PUBLIC KEY ----\nAAAA',
    'a public key, not a private key',
    'without .pub',
  ],
  ['an X.509 certificate', certificate, 'an X.509 certificate, not a private key', 'belongs to it'],
  [
    'an OpenSSH certificate',
    'ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQ me',
    'a certificate, not a private key',
    '`jump[0].certificate`',
  ],
  ['a path', '/home/me/.ssh/id_ed25519', 'a path, not a private key', '`identityFile`'],
  ['a path from home', '~/.ssh/key', 'a path, not a private key', '`identityFile`'],
  ['a path from here', './key', 'a path, not a private key', '`identityFile`'],
  ['a name of a file', 'id_rsa', 'a path, not a private key', '`identityFile`'],
  ['a name of a PEM file', 'keys/server.pem', 'a path, not a private key', '`identityFile`'],
  [
    'a key of PuTTY',
    'PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n',
    'a PuTTY key, not a private key',
    'puttygen',
  ],
  ['a JWK', '{"kty":"OKP","crv":"Ed25519","d":"x"}', 'a JWK, not a private key', 'createPrivateKey'],
  ['a JWK in lines', '{\n  "crv": "Ed25519",\n  "kty": "OKP"\n}\n', 'a JWK, not a private key', 'createPrivateKey'],
  ['a key of PGP', pem('PGP PRIVATE KEY BLOCK', 'lQOY'), 'a key of another program, not a private key', 'OpenSSH'],
  [
    'a key of ssh.com',
    '---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nP2/56wAA\n---- END SSH2 ENCRYPTED PRIVATE KEY ----',
    'a key of another program, not a private key',
    'ssh-keygen -i',
  ],
  [
    'a key of a TPM',
    pem('TSS2 PRIVATE KEY', 'MIIB'),
    'a private key of a kind that ssh does not read',
    'OpenSSH reads',
  ],
  ['something else', 'hunter2', 'no private key', 'OpenSSH reads'],
  ['base64 of base64', base64Of(base64Of(one)), 'no private key', 'OpenSSH reads'],
  [
    'only what stands between the lines',
    bodyOf(one),
    'base64 without its first and last line, not a private key',
    'BEGIN',
  ],
  ['the same of another', bodyOf(other), 'base64 without its first and last line, not a private key', 'BEGIN'],
  ['only its first line', one.slice(0, one.indexOf('\n')), cutOff, '-----BEGIN'],
  ['half a first line', '-----BEGIN OPENSSH PRIVATE KEY', cutOff, '-----BEGIN'],
  ['no last line', one.slice(0, one.indexOf('-----END')), cutOff, '-----BEGIN'],
  ['half a last line', one.trimEnd().slice(0, -3), cutOff, '-----BEGIN'],
  ['no first line', one.slice(one.indexOf('\n') + 1), cutOff, '-----BEGIN'],
  ['the last line of another form', one.replace('END OPENSSH ', 'END '), cutOff, '-----BEGIN'],
  ['a line missing', without(one, 2), cutOff, '-----BEGIN'],
  ['a line missing in PKCS #8', without(other, 1), cutOff, '-----BEGIN'],
  ['a line missing in encrypted PKCS #8', without(keys['PKCS #8, encrypted'], 2), cutOff, '-----BEGIN'],
  ['nothing between the lines', pem('PRIVATE KEY', ''), cutOff, '-----BEGIN'],
  ['stars in place of it', pem('PRIVATE KEY', '****'), cutOff, '-----BEGIN'],
  ['other base64', pem('OPENSSH PRIVATE KEY', 'aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ='), cutOff, '-----BEGIN'],
  ['no padding', other.replace(/=*(?=\n-----END)/, '').replace(/.(?=\n-----END)/, ''), cutOff, '-----BEGIN'],
  ['headers without base64', withHeaders.replace(/\n\n[^-]*/, '\n\n'), cutOff, '-----BEGIN'],
  ['one header only', withHeaders.replace(/DEK-Info.*\n/, ''), cutOff, '-----BEGIN'],
  ['two keys', one + other, 'a text with more than one private key', 'the server knows'],
  ['one key twice', one + one, 'a text with more than one private key', 'the server knows'],
  ['a key and half of another', one + without(other, 2), 'a text with more than one private key', 'the server knows'],
];

test.each(refused)('%s is refused', (_name, given, is, hint) => {
  const error = refusal(given, 'jump[0].privateKey');
  expect(error.message).toBe(`\`jump[0].privateKey\` is ${is}`);
  expect(error.hint).toContain(hint);
  expect(error.retryable).toBe(false);
});

test('nothing of a text is in what is said of it', () => {
  const secret = fc.base64String({minLength: 16, maxLength: 400}).filter((text) => /^[^=]{16}/.test(text));
  const around = ([before, after]: [string, string]) =>
    secret.map((text) => [text, `${before}${text}${after}`] as const);
  const texts = fc.oneof(
    around(['', '']),
    around(['/', '']),
    around(['ssh-ed25519 AAAA', ' me']),
    around(['PuTTY-User-Key-File-3: ', '\n']),
    around(['{"kty":"', '"}']),
    around(['b3BlbnNzaC1rZXktdjE', '']),
    around(['-----BEGIN CERTIFICATE-----\n', '\n-----END CERTIFICATE-----\n']),
    around(['-----BEGIN RSA PRIVATE KEY-----\n', '']),
    around(['-----BEGIN RSA PRIVATE KEY-----\n*', '\n-----END RSA PRIVATE KEY-----\n']),
    around(['-----BEGIN ', ' PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n']),
  );
  fc.assert(
    fc.property(texts, fc.boolean(), ([text, given], encode) => {
      const error = refusal(encode ? base64Of(given) : given, 'privateKey');
      const told = inspect(error, {depth: Infinity, showHidden: true});
      expect(told).not.toContain(text.slice(0, 16));
      expect(told).not.toContain(base64Of(given).slice(0, 16));
      expect(error.cause).toBeUndefined();
    }),
  );
});

test('a long text is not a slow one', () => {
  for (const part of ['\\', ' ', '"', '-----BEGIN ', '-----BEGIN A PRIVATE KEY-----', 'M', '~', 'A.pem ']) {
    const long = part.repeat(1_000_000 / part.length);
    expect(refusal(`A${long}A`, 'privateKey').code).toBe('ERR_AUTOSSH_KEY');
    expect(refusal(long, 'privateKey').code).toBe('ERR_AUTOSSH_KEY');
  }
});

test('every part of a key is refused', () => {
  fc.assert(
    fc.property(fc.constantFrom(...Object.values(keys)), fc.nat(), fc.nat(), (text, a, b) => {
      const [from, to] = [a % text.length, b % text.length];
      fc.pre(to > from && (from > 0 || to < text.trimEnd().length));
      expect(refusal(text.slice(from, to), 'privateKey').code).toBe('ERR_AUTOSSH_KEY');
    }),
  );
});

test('whatever a text is, it is a key or it is refused', () => {
  const parts = fc.constantFrom(
    '-----BEGIN ',
    '-----END ',
    'OPENSSH ',
    'PRIVATE KEY-----',
    '\n',
    'AAAA',
    '\\n',
    'MIIB',
    ' ',
  );
  const text = fc.array(fc.oneof(parts, fc.string({unit: 'binary'})), {maxLength: 20}).map((some) => some.join(''));
  fc.assert(
    fc.property(text, (given) => {
      try {
        const mended = mendPrivateKey(given, 'privateKey');
        expect(mendPrivateKey(mended, 'privateKey')).toBe(mended);
      } catch (error) {
        expect(error).toBeInstanceOf(AutoSSHError);
      }
    }),
  );
});

function refusal(given: string, option: string): AutoSSHError {
  try {
    mendPrivateKey(given, option);
  } catch (error) {
    if (error instanceof AutoSSHError) return error;
    throw error;
  }
  return expect.fail('It was not refused');
}

function key(name: string, ...how: string[]): string {
  const path = join(folder, name);
  execFileSync('ssh-keygen', ['-q', '-C', 'of a test', '-f', path, ...how], {timeout: 30_000});
  return readFileSync(path, 'utf8');
}

function pem(label: string, body: string): string {
  return `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;
}

function bodyOf(text: string): string {
  return text.split('\n').slice(1, -2).join('\n');
}

function without(text: string, line: number): string {
  return text.split('\n').toSpliced(line, 1).join('\n');
}

function base64Of(text: string): string {
  return Buffer.from(text).toString('base64');
}

function wrap(text: string): string {
  return text.replace(/.{76}/g, '$&\n');
}

function fail(name: string): never {
  throw new Error(`There is no ${name}`);
}
