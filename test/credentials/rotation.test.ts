import {execFile} from 'node:child_process';
import {chmodSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {promisify} from 'node:util';
import {beforeAll, beforeEach, describe, expect, test} from 'vitest';
import type {AutoSSH} from '../../src/index.js';
import {environmentOf, pollUntil, signal} from '../support/index.js';
import {once, talk} from '../faults/scene.js';
import {client, traffic} from '../steady/client.js';
import {setKeyScene} from './key-scene.js';
import {fingerprint, heldBy, openSSHKey, openSSLKey, type Forms, type KeyPair} from './keys.js';

const scene = setKeyScene();

let old: KeyPair;
let fresh: KeyPair;
let rsa: Forms;
/** What the host's function gives now. */
let current: KeyPair;

beforeAll(async () => {
  [old, fresh, rsa] = await Promise.all([openSSHKey(), openSSHKey('ecdsa'), openSSLKey('rsa')]);
});
beforeEach(() => {
  current = old;
  scene.authorize(old.publicKey);
});

const privateKey = async (): Promise<string> => current.privateKey;

/** The key is changed on the server and in the store, as for every login from now on. */
function rotate(): void {
  current = fresh;
  scene.authorize(fresh.publicKey);
}

/** The ssh-agent that an ssh uses, as its environment has it. */
function agentOf(pid: number | undefined): string {
  return environmentOf(pid ?? 0)['SSH_AUTH_SOCK'] ?? '';
}

/** One whose programs note that they run. */
function counting(name: string): {env: NodeJS.ProcessEnv; runs: () => string[]} {
  const [folder, log] = [join(scene.folder, `bin-${name}`), join(scene.folder, `runs-${name}`)];
  writeFileSync(log, '');
  mkdirSync(folder);
  const path = join(folder, 'ssh-add');
  writeFileSync(path, `#!/bin/sh\nPATH=/usr/bin:/bin\necho "$1" >> '${log}'\nexec ssh-add "$@"\n`);
  chmodSync(path, 0o755);
  return {
    env: {...process.env, PATH: `${folder}:${process.env['PATH'] ?? ''}`},
    runs: () => readFileSync(log, 'utf8').split('\n').slice(0, -1),
  };
}

async function expectFresh(tunnel: AutoSSH): Promise<void> {
  expect(await talk(tunnel)).toBe('ping');
  expect(scene.offers()).toEqual([
    `Accepted ED25519 ${fingerprint(old.publicKey)}`,
    `Accepted ECDSA ${fingerprint(fresh.publicKey)}`,
  ]);
  expect(await heldBy(agentOf(tunnel.pid))).toEqual([fresh.publicKey]);
}

describe('the key is changed on the server while the tunnel is up', () => {
  test('the tunnel stays as it is: it is logged in', async () => {
    await using subject = await scene.up({privateKey});
    rotate();
    expect(await talk(subject.tunnel)).toBe('ping');
    expect(await heldBy(agentOf(subject.tunnel.pid))).toEqual([old.publicKey]);
  });

  test('a restart() takes the new one, and the agent has no other', async () => {
    await using subject = await scene.up({privateKey});
    rotate();
    await subject.tunnel.restart();
    await expectFresh(subject.tunnel);
    expect(subject.events.count('restart')).toBe(0);
  });

  test('an ssh that is lost is followed by one with the new key', async () => {
    await using subject = await scene.up({privateKey});
    rotate();
    const again = once(subject.tunnel, 'connect', {unless: ['stop']});
    signal(subject.tunnel.pid ?? 0, 'SIGKILL');
    await again;
    await expectFresh(subject.tunnel);
  });

  test('a server that was gone is logged in to with the new key', async () => {
    await using subject = await scene.up({privateKey});
    const refused = once(subject.tunnel, 'restart', {where: ({attempt}) => attempt === 2, unless: ['stop']});
    await scene.sshd.halt();
    await refused;
    rotate();
    const again = once(subject.tunnel, 'connect', {unless: ['stop']});
    await scene.sshd.restart();
    await again;
    await expectFresh(subject.tunnel);
  });

  test('a restart() beside connections that go on loses none', async () => {
    await using subject = await scene.up({privateKey});
    const {tunnel} = subject;
    const kept = await client(tunnel);
    await kept.echo('before ');
    rotate();
    const texts = Array.from({length: 10}, (_, index) => `text ${index}`);
    const [, answers] = await Promise.all([tunnel.restart(), Promise.all(texts.map((text) => talk(tunnel, text)))]);
    expect(answers).toEqual(texts);
    await kept.echo('after');
    kept.socket.destroy();
    expect(await heldBy(agentOf(tunnel.pid))).toEqual([fresh.publicKey]);
    await pollUntil('no connection is open', () => traffic(tunnel).open === 0);
    expect(traffic(tunnel)).toMatchObject({failed: 0, refused: 0});
    expect(subject.events.of('state').map(({to}) => to)).toEqual(['starting', 'up']);
  });

  test('with a standby both are followed by ones with the new key', async () => {
    await using subject = scene.tunnel({privateKey, standby: true});
    const {tunnel} = subject;
    const second = once(tunnel, 'connect', {where: ({starts}) => starts === 2, unless: ['stop']});
    await tunnel.start();
    const serving = tunnel.pid ?? 0;
    const {pid: spare} = await second;
    rotate();
    const third = once(tunnel, 'connect', {where: ({starts}) => starts === 3, unless: ['stop']});
    signal(serving, 'SIGKILL');
    await third;
    const fourth = once(tunnel, 'connect', {where: ({starts}) => starts === 4, unless: ['stop']});
    signal(spare, 'SIGKILL');
    await fourth;
    expect(await talk(tunnel)).toBe('ping');
    expect(scene.offers().map((offer) => offer.split(' ', 2).join(' '))).toEqual(
      ['ED25519', 'ED25519', 'ECDSA', 'ECDSA'].map((type) => `Accepted ${type}`),
    );
    expect(await heldBy(agentOf(tunnel.pid))).toEqual([fresh.publicKey]);
  });

  test('and with a standby a restart() of both at once', async () => {
    await using subject = scene.tunnel({privateKey, standby: true});
    const {tunnel} = subject;
    const second = once(tunnel, 'connect', {where: ({starts}) => starts === 2, unless: ['stop']});
    await tunnel.start();
    await second;
    rotate();
    await tunnel.restart();
    expect(await talk(tunnel)).toBe('ping');
    expect(
      scene
        .offers()
        .slice(2)
        .map((offer) => offer.split(' ', 2).join(' ')),
    ).toEqual(['Accepted ECDSA', 'Accepted ECDSA']);
    expect(await heldBy(agentOf(tunnel.pid))).toEqual([fresh.publicKey]);
  });

  test('as a text it stays the old one, which is refused', async () => {
    await using subject = await scene.up({privateKey: old.privateKey});
    rotate();
    const restart = once(subject.tunnel, 'restart', {where: ({attempt}) => attempt === 2, unless: ['stop']});
    signal(subject.tunnel.pid ?? 0, 'SIGKILL');
    expect((await restart).outcome).toMatchObject({code: 'ERR_AUTOSSH_AUTH', retryable: true});
  });
});

describe('what the agent is filled with', () => {
  test('stays where the function gives the same again, be it mangled otherwise', async () => {
    const {env, runs} = counting('same');
    let calls = 0;
    const manglings = [
      (text: string) => text,
      (text: string) => text.replaceAll('\n', '\r\n'),
      (text: string) => text.trim(),
    ];
    await using subject = await scene.up({
      privateKey: async () => manglings[calls++ % 3]?.(old.privateKey) ?? '',
      env,
    });
    const agent = agentOf(subject.tunnel.pid);
    await subject.tunnel.restart();
    await subject.tunnel.restart();
    // Each time it is only asked whether it has it still.
    const [first, ...others] = runs();
    expect(first).toBe('-');
    expect(others).toEqual(Array(subject.events.count('start')).fill('-L'));
    expect(calls).toBe(others.length);
    expect(calls).toBeGreaterThan(2);
    expect(agentOf(subject.tunnel.pid)).toBe(agent);
  });

  test('is put back where somebody has taken it out', async () => {
    await using subject = await scene.up({privateKey: old.privateKey});
    const agent = agentOf(subject.tunnel.pid);
    await promisify(execFile)('ssh-add', ['-D'], {env: {...process.env, SSH_AUTH_SOCK: agent}});
    expect(await heldBy(agent)).toEqual([]);
    await subject.tunnel.restart();
    expect(agentOf(subject.tunnel.pid)).toBe(agent);
    expect(await heldBy(agent)).toEqual([old.publicKey]);
  });

  test('is exchanged for another, there and back', async () => {
    scene.authorize(old.publicKey, rsa.publicKey);
    const keys = [old, {publicKey: rsa.publicKey, privateKey: rsa.pem('pkcs8')}];
    let calls = 0;
    await using subject = await scene.up({privateKey: async () => keys[calls++ % 2]?.privateKey ?? ''});
    for (const key of [1, 0, 1]) {
      await subject.tunnel.restart();
      expect(await heldBy(agentOf(subject.tunnel.pid))).toEqual([keys[key]?.publicKey]);
    }
  });

  test('is no longer the old key where the new one of a hop is the same as that of the server', async () => {
    scene.authorize(old.publicKey, fresh.publicKey);
    let hop = old;
    await using subject = await scene.up({
      privateKey: fresh.privateKey,
      jump: {
        host: scene.sshd.host,
        port: scene.sshd.port,
        username: scene.sshd.user,
        privateKey: () => hop.privateKey,
        hostKey: readFileSync(`${scene.sshd.hostKeyFile}.pub`, 'utf8'),
      },
    });
    expect((await heldBy(agentOf(subject.tunnel.pid))).sort()).toEqual([old.publicKey, fresh.publicKey].sort());
    hop = fresh;
    await subject.tunnel.restart();
    expect(await heldBy(agentOf(subject.tunnel.pid))).toEqual([fresh.publicKey]);
  });

  test('is the new one, though the exchange was broken off halfway', async () => {
    const {env, runs} = counting('halfway');
    scene.authorize(old.publicKey, fresh.publicKey);
    const locked = await openSSHKey('ed25519', 'secret');
    await using subject = await scene.up({privateKey, passphrase: () => Promise.reject(new Error('not now')), env});
    current = locked;
    await expect(subject.tunnel.restart()).rejects.toMatchObject({code: 'ERR_AUTOSSH_AUTH'});
    current = fresh;
    await subject.tunnel.restart();
    expect(await heldBy(agentOf(subject.tunnel.pid))).toEqual([fresh.publicKey]);
    // What asks for its keys is of no interest: there may be an ssh more whose heartbeat found its port in use.
    expect(runs().filter((run) => run !== '-L')).toEqual(['-', '-D', '-', '-D', '-']);
  });
});
