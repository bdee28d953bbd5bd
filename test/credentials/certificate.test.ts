import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {beforeAll, describe, expect, test} from 'vitest';
import {signal} from '../support/index.js';
import {once, rejection, talk} from '../faults/scene.js';
import {file, setKeyScene} from './key-scene.js';
import {certify, filledAgent, openSSHKey, openSSLKey, type KeyPair} from './keys.js';

const scene = setKeyScene();

let authority: KeyPair;
let key: KeyPair;
let other: KeyPair;
let certificate: string;
let user: string;

beforeAll(async () => {
  [authority, key, other] = await Promise.all([openSSHKey(), openSSHKey('ecdsa'), openSSHKey()]);
  user = scene.sshd.user;
  certificate = await certify(authority, key.publicKey, {principal: user});
  const authorities = join(scene.folder, 'authorities');
  writeFileSync(authorities, `${authority.publicKey}\n`);
  // No key is known there, only who may vouch for one.
  scene.authorize();
  await scene.sshd.restart({config: [`TrustedUserCAKeys ${authorities}`]});
});

describe('a certificate', () => {
  test.each<[string, () => string | Buffer | (() => Promise<string>)]>([
    ['a string', () => certificate],
    ['a Buffer', () => Buffer.from(certificate)],
    ['a function', () => async () => certificate],
    ['base64', () => Buffer.from(certificate).toString('base64')],
  ])('lets a key in that the server does not know, given as %s', async (_name, give) => {
    await scene.works({privateKey: key.privateKey, certificate: give()});
    expect(scene.sshd.log.findLast((line) => line.startsWith('Accepted'))).toMatch(/ECDSA-CERT/);
  });

  test('is what lets it in', async () => {
    await using subject = scene.tunnel({privateKey: key.privateKey});
    expect(await rejection(subject.tunnel.start())).toMatchObject({cause: {code: 'ERR_AUTOSSH_AUTH'}});
  });

  test('goes with a key in another form, with a passphrase', async () => {
    const rsa = await openSSLKey('rsa');
    await scene.works({
      privateKey: rsa.pem('pkcs8', 'secret'),
      passphrase: 'secret',
      certificate: await certify(authority, rsa.publicKey, {principal: user}),
    });
  });

  test('goes with the file of a key', async () => {
    const identityFile = file(scene, 'certified', key.privateKey);
    await scene.works({identityFile, certificate});
  });

  test("goes with a key that an agent has, `'inherit'` or a path", async () => {
    await using agent = await filledAgent([key]);
    const env = {...process.env, SSH_AUTH_SOCK: agent.socket};
    await scene.works({certificate, env});
    await scene.works({certificate, agent: agent.socket});
  });
});

describe('a certificate that cannot be used', () => {
  test.each<[string, () => Promise<string>, RegExp]>([
    [
      'is for another key',
      () => certify(authority, other.publicKey, {principal: user}),
      /`certificate` is not for the key in `privateKey`/,
    ],
    ['is cut off', async () => certificate.slice(0, 300), /`certificate`/],
    ['is a public key', async () => key.publicKey, /`certificate` is a public key/],
    ['is the private key', async () => key.privateKey, /`certificate` is a private key/],
    ['is a path', async () => '/etc/ssh/id-cert.pub', /`certificate` is a path/],
  ])('because it %s is at once fatal, and no ssh is started', async (_name, make, message) => {
    await using subject = scene.tunnel({privateKey: key.privateKey, certificate: make, gateTime: 0});
    const error = await rejection(subject.tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_KEY', retryable: false});
    expect(error.message).toMatch(message);
    expect(JSON.stringify([error.message, error['hint']])).not.toContain(key.privateKey.split('\n')[1]);
    expect(scene.connections()).toBe(0);
    expect(subject.events.count('start')).toBe(0);
  });

  test.each([
    ['a name that is not allowed', {principal: 'nobody-else'}],
    ['a time that has not come', {validity: '+1h:+2h'}],
    ['a time that is over', {validity: '-2h:-1h'}],
  ])('because of %s is for the server to say', async (name, facts) => {
    const made = await certify(authority, key.publicKey, {principal: user, ...facts});
    await using subject = scene.tunnel({privateKey: key.privateKey, certificate: made});
    const {cause} = await rejection(subject.tunnel.start());
    expect(cause).toMatchObject({code: 'ERR_AUTOSSH_AUTH'});
    // The clock of this machine may be wrong, so it decides nothing; but what it says helps.
    const isOver = (cause as Error).message.includes('`certificate` was valid until 2');
    expect(isOver).toBe(name.includes('over'));
  });

  test('because nobody trusts who has signed it is for the server to say', async () => {
    const made = await certify(other, key.publicKey, {principal: user});
    await using subject = scene.tunnel({privateKey: key.privateKey, certificate: made});
    expect(await rejection(subject.tunnel.start())).toMatchObject({cause: {code: 'ERR_AUTOSSH_AUTH'}});
  });
});

describe('a certificate that lasts for a short time', () => {
  test('is made anew for every ssh, and the key stays', async () => {
    let made = 0;
    let calls = 0;
    await using subject = await scene.up({
      privateKey: () => {
        calls++;
        return key.privateKey;
      },
      certificate: async () =>
        certify(authority, key.publicKey, {principal: user, validity: '-5s:+20s', id: `number ${++made}`}),
    });
    await subject.tunnel.restart();
    const again = once(subject.tunnel, 'connect', {unless: ['stop']});
    signal(subject.tunnel.pid ?? 0, 'SIGKILL');
    await again;
    expect(await talk(subject.tunnel)).toBe('ping');
    expect([made, calls]).toEqual([3, 3]);
    const seen = scene.sshd.log.flatMap((line) => /^Accepted .* ID (number \d)/.exec(line)?.[1] ?? []);
    expect(seen).toEqual(['number 1', 'number 2', 'number 3']);
  });

  test('and that has run out by the next ssh is made anew for the one after that', async () => {
    const validities = ['-1h:+1h', '-2h:-1h', '-1h:+1h'];
    await using subject = await scene.up({
      privateKey: key.privateKey,
      certificate: async () => certify(authority, key.publicKey, {principal: user, validity: validities.shift() ?? ''}),
      restart: {minTimeout: 50, maxTimeout: 100},
    });
    const again = once(subject.tunnel, 'connect', {unless: ['stop']});
    signal(subject.tunnel.pid ?? 0, 'SIGKILL');
    await again;
    const [lost, refused] = subject.events.of('restart').map(({outcome}) => outcome);
    expect(lost?.reason).toBe('signal');
    expect(refused).toMatchObject({code: 'ERR_AUTOSSH_AUTH', message: expect.stringContaining('was valid until')});
  });
});
