import {execFileSync} from 'node:child_process';
import {createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject} from 'node:crypto';
import {chmodSync, copyFileSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {inspect} from 'node:util';
import {afterAll, beforeAll, beforeEach, describe, expect, test, vi} from 'vitest';
import {SSHAgent} from '../src/index.js';
import {AutoSSHError} from '../src/errors.js';
import {toAgentKey, type AgentKey} from '../src/ssh/key-conversion.js';
import {mendPrivateKey} from '../src/ssh/key-text.js';
import {wireString} from '../src/ssh/wire.js';
import {findProgram, ownTemporaryFolder, temporaryFolder} from './support/index.js';

const passphrase = 'pässword, "of" $HOME';

let restoreTemporaryFolder: () => void;
let folder: string;
let agent: SSHAgent;

beforeAll(async () => {
  restoreTemporaryFolder = ownTemporaryFolder();
  folder = temporaryFolder('k-');
  agent = await SSHAgent.open();
  writeFileSync(join(folder, 'passphrase'), `${passphrase}\n`);
  writeFileSync(join(folder, 'askpass'), `#!/bin/sh\nexec cat '${join(folder, 'passphrase')}'\n`);
  chmodSync(join(folder, 'askpass'), 0o700);
});
afterAll(async () => {
  await agent.close();
  restoreTemporaryFolder();
});
beforeEach(() => void addKeys(['-D', '-q']));

describe.each([
  ['rsa', ['-t', 'rsa', '-b', '2048']],
  ['ed25519', ['-t', 'ed25519']],
  ['ecdsa-256', ['-t', 'ecdsa', '-b', '256']],
  ['ecdsa-384', ['-t', 'ecdsa', '-b', '384']],
  ['ecdsa-521', ['-t', 'ecdsa', '-b', '521']],
])('a key of ssh-keygen: %s', (name, how) => {
  beforeAll(() => run('ssh-keygen', '-q', ...how, '-N', '', '-C', '', '-f', join(folder, name)));

  // Of Ed25519 it makes its own form only, whatever it is asked for.
  const forms = name === 'ed25519' ? ['RFC4716'] : ['RFC4716', 'PEM', 'PKCS8'];

  test.each(forms)('in the form %s', async (form) => {
    await expectLoaded({text: inForm(name, form, ''), publicKey: publicKeyOf(name)});
  });

  test.each(forms)('in the form %s, encrypted', async (form) => {
    const text = inForm(name, form, passphrase);
    const here = form === 'RFC4716' ? 'by ssh-add' : 'here';
    const loaded = await expectLoaded({text, publicKey: publicKeyOf(name), decrypted: here});
    if (form === 'RFC4716') expect(loaded).toBe(text);
  });
});

describe.skipIf(findProgram('openssl') === undefined)('a key of openssl', () => {
  const made: Record<string, {text: string; publicKey: string}> = {};
  const protect = ['-passout', `env:PASSPHRASE`];

  beforeAll(() => {
    const rsa = openssl('', 'genpkey', '-algorithm', 'rsa', '-pkeyopt', 'rsa_keygen_bits:2048');
    const ec = openssl('', 'genpkey', '-algorithm', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1');
    const ed25519 = openssl('', 'genpkey', '-algorithm', 'ed25519');
    for (const [name, text] of Object.entries({rsa, ec, ed25519})) {
      made[name] = {text, publicKey: publicKeyByNode(createPrivateKey(text))};
    }
  });

  test.each(['rsa', 'ec', 'ed25519'])('as genpkey writes it: %s', async (name) => {
    await expectLoaded(of(name));
  });

  test.each([
    ['rsa', 'pkcs8', ['-topk8']],
    ['ec', 'pkcs8', ['-topk8']],
    ['ed25519', 'pkcs8', ['-topk8']],
    ['ed25519', 'pkcs8', ['-topk8', '-scrypt']],
    ['rsa', 'pkcs8', ['-topk8', '-v1', 'PBE-SHA1-3DES']],
    ['rsa', 'rsa', ['-traditional', '-aes128']],
    ['rsa', 'rsa', ['-traditional', '-des3']],
    ['ec', 'ec', ['-aes256']],
  ])('encrypted: %s by openssl %s %j', async (name, command, how) => {
    const {text, publicKey} = of(name);
    await expectLoaded({text: openssl(text, command, ...how, ...protect), publicKey, decrypted: 'here'});
  });

  test.each([
    ['rsa', 'rsa', ['-traditional']],
    ['ec', 'ec', []],
    ['ec', 'ec', ['-conv_form', 'compressed']],
    ['ec', 'ec', ['-param_enc', 'explicit']],
  ])('in another form: %s by openssl %s %j', async (name, command, how) => {
    const {text, publicKey} = of(name);
    await expectLoaded({text: openssl(text, command, ...how), publicKey});
  });

  test.each(['prime256v1', 'secp384r1', 'secp521r1'])('behind its parameters: %s', async (curve) => {
    const text = openssl('', 'ecparam', '-name', curve, '-genkey');
    expect(text).toContain('EC PARAMETERS');
    await expectLoaded({text, publicKey: publicKeyByNode(createPrivateKey(text))});
  });

  function of(name: string): {text: string; publicKey: string} {
    return made[name] ?? expect.fail(`There is no key ${name}`);
  }
});

describe.each([
  ['rsa', ['pkcs1', 'pkcs8'], () => generateKeyPairSync('rsa', {modulusLength: 2048}).privateKey],
  ['ed25519', ['pkcs8'], () => generateKeyPairSync('ed25519').privateKey],
  ['ec', ['sec1', 'pkcs8'], () => generateKeyPairSync('ec', {namedCurve: 'P-384'}).privateKey],
] as const)('a key of Node: %s', (_type, forms, generate) => {
  let key: KeyObject;
  beforeAll(() => (key = generate()));

  test.each(forms)('in the form %s', async (type) => {
    const text = key.export({type, format: 'pem'}).toString();
    await expectLoaded({text, publicKey: publicKeyByNode(key)});
  });

  test.each(forms)('in the form %s, encrypted', async (type) => {
    const text = key.export({type, format: 'pem', cipher: 'aes-256-cbc', passphrase}).toString();
    await expectLoaded({text, publicKey: publicKeyByNode(key), decrypted: 'here'});
  });
});

test('an Ed25519 key becomes one that ssh-keygen reads, with a different check each time', async () => {
  const key = generateKeyPairSync('ed25519').privateKey;
  const text = key.export({type: 'pkcs8', format: 'pem'}).toString();
  const [one, two] = await Promise.all([convert(text), convert(text)]);
  expect(one.text).not.toBe(two.text);
  for (const converted of [one, two]) {
    const path = join(folder, 'converted');
    writeFileSync(path, converted.text, {mode: 0o600});
    expect(run('ssh-keygen', '-y', '-P', '', '-f', path)).toBe(`${publicKeyByNode(key)}\n`);
    expect(mendPrivateKey(converted.text, 'privateKey')).toBe(converted.text);
  }
});

describe('what cannot be decrypted', () => {
  const key = generateKeyPairSync('ec', {namedCurve: 'P-256'}).privateKey;
  const encrypted = (type: 'pkcs8' | 'sec1') =>
    key.export({type, format: 'pem', cipher: 'aes-128-cbc', passphrase}).toString();

  test.each(['pkcs8', 'sec1'] as const)('%s with a wrong passphrase is refused, whatever comes of it', async (type) => {
    const text = encrypted(type);
    // One in 256 leaves something that ends as what has been decrypted should, and fails later.
    const errors = await Promise.all(
      Array.from({length: 600}, (_, index) =>
        refusal(text, {passphrase: `wrong ${index}`, option: 'jump[0].privateKey'}),
      ),
    );
    const told = new Set(errors.map((error) => `${error.message} | ${error.hint}`));
    expect([...told]).toEqual([
      '`jump[0].privateKey` is a private key that `jump[0].passphrase` does not decrypt' +
        ' | Correct `jump[0].passphrase`; if it is right, the key is damaged.',
    ]);
  });

  test.each([undefined, ''])('is refused where the passphrase is %j', async (none) => {
    for (const type of ['pkcs8', 'sec1'] as const) {
      const error = await refusal(encrypted(type), {passphrase: none, option: 'privateKey'});
      expect(error.message).toBe('`privateKey` is encrypted, and there is no passphrase for it');
      expect(error.hint).toBe('Set `passphrase`.');
    }
  });

  test('a passphrase longer than OpenSSL takes is a wrong one', async () => {
    const error = await refusal(encrypted('pkcs8'), {passphrase: 'x'.repeat(2_000)});
    expect(error.message).toContain('does not decrypt');
  });

  test('a cipher of old that OpenSSL has given up is named as the cause', async () => {
    // pbeWithMD5AndDES-CBC (RFC 8018, appendix A.3) with a salt of 8 bytes, 2048 rounds, and 16 bytes that mean nothing.
    const algorithm = '301b06092a864886f70d010503300e0408000102030405060702020800';
    const der = Buffer.from(`302f${algorithm}0410${'ab'.repeat(16)}`, 'hex');
    const error = await refusal(pem('ENCRYPTED PRIVATE KEY', der.toString('base64')));
    expect(error.message).toBe('`privateKey` is encrypted in a way that the OpenSSL of this Node does not have');
    expect(error.hint).toContain('openssl pkcs8');
  });

  test('what the asking fails with is passed on', async () => {
    const asked = new Error('nobody there');
    await expect(toAgentKey(encrypted('pkcs8'), () => Promise.reject(asked), 'privateKey')).rejects.toBe(asked);
  });
});

test.each([
  ['x25519', () => generateKeyPairSync('x25519'), 'a key of a type (x25519) that ssh does not have'],
  ['ed448', () => generateKeyPairSync('ed448'), 'a key of a type (ed448) that ssh does not have'],
  [
    'rsa-pss',
    () => generateKeyPairSync('rsa-pss', {modulusLength: 1024}),
    'a key of a type (rsa-pss) that ssh does not have',
  ],
  [
    'dsa',
    () => generateKeyPairSync('dsa', {modulusLength: 1024, divisorLength: 160}),
    'a key of a type (dsa) that ssh does not have',
  ],
  [
    'secp256k1',
    () => generateKeyPairSync('ec', {namedCurve: 'secp256k1'}),
    'an EC key on a curve (secp256k1) that ssh does not have',
  ],
  [
    'short rsa',
    () => generateKeyPairSync('rsa', {modulusLength: 1016}),
    'an RSA key of 1016 bits, and ssh has none of less than 1024',
  ],
])('%s is refused, encrypted or not, and ssh-add would refuse it', async (name, generate, is) => {
  const {privateKey} = generate();
  const plain = privateKey.export({type: 'pkcs8', format: 'pem'}).toString();
  const encrypted = privateKey.export({type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase}).toString();
  for (const text of [plain, encrypted]) {
    const error = await refusal(text);
    expect(error.message).toBe(`\`privateKey\` is ${is}`);
    expect(error.hint).toContain('Ed25519');
  }
  // OpenSSH has had DSA until 9.9, and servers refuse it since 7.0.
  if (name !== 'dsa') expect(() => addKeys(['-q', '-'], plain)).toThrow('Command failed');
});

test.each([
  ['of another form than its first line says', inOtherClothes],
  ['that is none', () => pem('PRIVATE KEY', Buffer.from('3003020100', 'hex').toString('base64'))],
])('a key %s is refused', async (_what, make) => {
  const error = await refusal(make());
  expect(error.message).toBe(
    '`privateKey` is a private key that is damaged, or of another kind than its first line says',
  );
});

/**
 * That ssh-add takes what comes of a text, that the agent then has this key and can sign with it, and that the passphrase
 * is asked for where it is needed and nowhere else. Returns what ssh-add was given.
 */
async function expectLoaded({
  text,
  publicKey,
  decrypted,
}: {
  text: string;
  publicKey: string;
  decrypted?: string;
}): Promise<string> {
  const ask = vi.fn(async () => passphrase);
  const key = await toAgentKey(mendPrivateKey(text, 'privateKey'), ask, 'privateKey');
  expect(ask).toHaveBeenCalledTimes(decrypted === 'here' ? 1 : 0);
  expect(key.isEncrypted).toBe(decrypted === 'by ssh-add');
  addKeys(['-q', '-'], key.text, key.isEncrypted ? join(folder, 'askpass') : 'false');
  const list = addKeys(['-L']);
  expect(list.trim().split(' ').slice(0, 2).join(' ')).toBe(publicKey);
  const path = join(folder, 'loaded.pub');
  writeFileSync(path, list);
  // Signs, and verifies that.
  addKeys(['-T', path]);
  return key.text;
}

function convert(text: string): Promise<AgentKey> {
  return toAgentKey(mendPrivateKey(text, 'privateKey'), async () => undefined, 'privateKey');
}

async function refusal(
  text: string,
  {option = 'privateKey', ...given}: {option?: string; passphrase?: string | undefined} = {},
): Promise<AutoSSHError> {
  const secret = 'passphrase' in given ? given.passphrase : passphrase;
  const result = await toAgentKey(mendPrivateKey(text, option), async () => secret, option).catch(
    (error: unknown) => error,
  );
  if (!(result instanceof AutoSSHError)) expect.fail('It was not refused');
  expect(result.code).toBe('ERR_AUTOSSH_KEY');
  expect(result.cause).toBeUndefined();
  const told = inspect(result, {depth: Infinity, showHidden: true});
  for (const line of text.split('\n').filter((one) => one.length > 10 && !one.startsWith('-----'))) {
    expect(told).not.toContain(line);
  }
  if (secret) expect(told).not.toContain(secret);
  return result;
}

function addKeys(args: readonly string[], input = '', askpass = 'false'): string {
  return execFileSync('ssh-add', args, {
    input,
    encoding: 'utf8',
    timeout: 30_000,
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {...process.env, SSH_AUTH_SOCK: agent.socket, SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: 'force'},
  });
}

/** The same key in another form: to make a new one takes long. */
function inForm(name: string, form: string, protection: string): string {
  const path = join(folder, 'in-form');
  copyFileSync(join(folder, name), path);
  // One round, which says nothing of a real one, is quick.
  run('ssh-keygen', '-q', '-p', '-a', '1', '-m', form, '-P', '', '-N', protection, '-f', path);
  return readFileSync(path, 'utf8');
}

function publicKeyOf(name: string): string {
  return readFileSync(join(folder, `${name}.pub`), 'utf8')
    .trim()
    .split(' ')
    .slice(0, 2)
    .join(' ');
}

/** As in RFC 4253, section 6.6, RFC 5656, section 3.1, and RFC 8709, section 4. */
function publicKeyByNode(key: KeyObject): string {
  const {kty, crv, e = '', n = '', x = '', y = ''} = createPublicKey(key).export({format: 'jwk'});
  const [be, bn, bx, by] = [e, n, x, y].map((part) => Buffer.from(part, 'base64url'));
  const curve = `nistp${crv?.slice(2) ?? ''}`;
  const parts: Record<string, (string | Buffer | undefined)[]> = {
    RSA: ['ssh-rsa', be, Buffer.concat([Buffer.from([0]), bn ?? Buffer.alloc(0)])],
    EC: [`ecdsa-sha2-${curve}`, curve, Buffer.concat([Buffer.from([4]), bx ?? Buffer.alloc(0), by ?? Buffer.alloc(0)])],
    OKP: ['ssh-ed25519', bx],
  };
  const fields = parts[kty ?? ''] ?? [];
  return `${String(fields[0])} ${Buffer.concat(fields.map((field) => wireString(field ?? ''))).toString('base64')}`;
}

function inOtherClothes(): string {
  const key = generateKeyPairSync('ec', {namedCurve: 'P-256'}).privateKey;
  return key.export({type: 'sec1', format: 'pem'}).toString().replaceAll('EC PRIVATE', 'PRIVATE');
}

function pem(label: string, body: string): string {
  return `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;
}

function openssl(input: string, ...args: string[]): string {
  const env = {...process.env, PASSPHRASE: passphrase};
  return execFileSync('openssl', args, {
    input,
    encoding: 'utf8',
    timeout: 60_000,
    stdio: ['pipe', 'pipe', 'pipe'],
    env,
  });
}

function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, {encoding: 'utf8', timeout: 60_000, stdio: ['ignore', 'pipe', 'pipe']});
}
