import {execFile} from 'node:child_process';
import {createHash, generateKeyPairSync, type KeyObject} from 'node:crypto';
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {promisify} from 'node:util';
import {SSHAgent} from '../../src/index.js';
import {temporaryFolder} from '../support/index.js';

const run = promisify(execFile);

/** A key pair as text. */
export interface KeyPair {
  readonly privateKey: string;
  /** `ssh-ed25519 AAAA…` */
  readonly publicKey: string;
}

let folder: string | undefined;
let count = 0;

function place(): string {
  folder ??= temporaryFolder('keys-');
  return join(folder, String(++count));
}

/** Made by ssh-keygen, in OpenSSH's own form. */
export async function openSSHKey(type: 'ed25519' | 'ecdsa' | 'rsa' = 'ed25519', passphrase = ''): Promise<KeyPair> {
  const path = place();
  const bits = type === 'rsa' ? ['-b', '2048'] : [];
  // Few rounds: what a passphrase costs to guess is nothing to these tests.
  await run('ssh-keygen', ['-q', '-t', type, ...bits, '-a', '1', '-N', passphrase, '-C', 'of a test', '-f', path]);
  return {privateKey: readFileSync(path, 'utf8'), publicKey: withoutComment(readFileSync(`${path}.pub`, 'utf8'))};
}

/** The private half of a pair in the forms of OpenSSL. */
export interface Forms {
  readonly publicKey: string;
  pem(type: 'pkcs1' | 'sec1' | 'pkcs8', passphrase?: string): string;
}

/** Made by Node's crypto. */
export async function openSSLKey(type: 'rsa' | 'ec' | 'ed25519'): Promise<Forms> {
  const {privateKey, publicKey} =
    type === 'rsa'
      ? generateKeyPairSync('rsa', {modulusLength: 2048})
      : type === 'ec'
        ? generateKeyPairSync('ec', {namedCurve: 'P-256'})
        : generateKeyPairSync('ed25519');
  return {
    publicKey: type === 'ed25519' ? ed25519Line(publicKey) : await publicLine(publicKey),
    pem: (form, passphrase) =>
      privateKey
        .export({type: form, format: 'pem', ...(passphrase !== undefined && {cipher: 'aes-256-cbc', passphrase})})
        .toString(),
  };
}

/** Signs a public key as a certificate authority does. */
export async function certify(
  authority: KeyPair,
  publicKey: string,
  {principal, validity = '-1h:+1h', id = 'a test'}: {principal: string; validity?: string; id?: string},
): Promise<string> {
  const [path, signer] = [place(), place()];
  writeFileSync(`${path}.pub`, `${publicKey}\n`);
  writeFileSync(signer, authority.privateKey, {mode: 0o600});
  await run('ssh-keygen', ['-q', '-s', signer, '-I', id, '-n', principal, '-V', validity, `${path}.pub`]);
  return readFileSync(`${path}-cert.pub`, 'utf8');
}

/** An ssh-agent that has these keys; it is not the tunnel's. */
export async function filledAgent(keys: readonly KeyPair[]): Promise<SSHAgent> {
  const agent = await SSHAgent.open();
  for (const {privateKey} of keys) await addKey(agent.socket, privateKey);
  return agent;
}

export async function addKey(socket: string, privateKey: string): Promise<void> {
  const path = place();
  writeFileSync(path, privateKey, {mode: 0o600});
  await run('ssh-add', ['-q', path], {env: {...process.env, SSH_AUTH_SOCK: socket}});
}

/** The public keys that an agent has, without their comments. */
export async function heldBy(socket: string): Promise<string[]> {
  const {stdout} = await run('ssh-add', ['-L'], {env: {...process.env, SSH_AUTH_SOCK: socket}}).catch(
    (error: unknown) => error as {stdout: string},
  );
  return stdout
    .split('\n')
    .filter((line) => /^\S+ AAAA/.test(line))
    .map(withoutComment);
}

/** As sshd and ssh-keygen -l say it. */
export function fingerprint(publicKey: string): string {
  const digest = createHash('sha256').update(Buffer.from(publicKey.split(' ')[1] ?? '', 'base64'));
  return `SHA256:${digest.digest('base64').replace(/=+$/, '')}`;
}

async function publicLine(key: KeyObject): Promise<string> {
  const path = place();
  writeFileSync(path, key.export({type: 'spki', format: 'pem'}));
  return withoutComment((await run('ssh-keygen', ['-i', '-m', 'PKCS8', '-f', path])).stdout);
}

/** Which ssh-keygen reads in no form of OpenSSL. */
function ed25519Line(key: KeyObject): string {
  const {x = ''} = key.export({format: 'jwk'});
  const blob = ['ssh-ed25519', Buffer.from(x, 'base64url')].map((part) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(part.length);
    return Buffer.concat([length, Buffer.from(part)]);
  });
  return `ssh-ed25519 ${Buffer.concat(blob).toString('base64')}`;
}

function withoutComment(line: string): string {
  return line.trim().split(' ').slice(0, 2).join(' ');
}
