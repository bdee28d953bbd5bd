import {chmodSync, mkdirSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {beforeAll, describe, expect, test} from 'vitest';
import type {AutoSSHError, AutoSSHOptions, Outcome} from '../../src/index.js';
import {alive, expectNothingLeft, findProgram, signal, snapshot, within} from '../support/index.js';
import {begin, once, rejection, talk} from '../faults/scene.js';
import {setKeyScene} from './key-scene.js';
import {fingerprint, openSSHKey, openSSLKey, type Forms, type KeyPair} from './keys.js';

const scene = setKeyScene();

let plain: KeyPair;
let locked: KeyPair;
let rsa: Forms;

beforeAll(async () => {
  [plain, locked, rsa] = await Promise.all([openSSHKey(), openSSHKey('ed25519', 'secret'), openSSLKey('rsa')]);
  scene.authorize(plain.publicKey, locked.publicKey, rsa.publicKey);
});

type Given = Pick<AutoSSHOptions, 'privateKey' | 'passphrase' | 'certificate'>;

/** One function of the host's in each place where there can be one. */
const places: readonly [name: string, given: (fetch: Fetch) => Given][] = [
  ['privateKey', (privateKey) => ({privateKey})],
  ['passphrase', (passphrase) => ({privateKey: locked.privateKey, passphrase})],
  ['passphrase', (passphrase) => ({privateKey: rsa.pem('pkcs8', 'secret'), passphrase})],
  ['certificate', (certificate) => ({privateKey: plain.privateKey, certificate})],
];
type Fetch = (context: {readonly signal: AbortSignal}) => Promise<string>;

describe('a function that fails', () => {
  test.each(places)('in `%s`, inside the gate: the chain of causes leads to its own error', async (name, given) => {
    const own = new Error('the vault is sealed');
    await using subject = scene.tunnel(given(() => Promise.reject(own)));
    const gate = (await rejection(subject.tunnel.start())) as unknown as AutoSSHError;
    expect(gate).toMatchObject({code: 'ERR_AUTOSSH_GATE', retryable: false});
    const cause = gate.cause as AutoSSHError;
    expect(cause).toMatchObject({code: 'ERR_AUTOSSH_AUTH', retryable: true});
    expect(cause.message).toBe(`The function \`${name}\` failed: Error: the vault is sealed`);
    expect(cause.cause).toBe(own);
    expect(scene.connections()).toBe(0);
    expect(subject.events.count('start')).toBe(0);
  });

  test('past the gate is tried again with the normal backoff, and each time anew', async () => {
    let calls = 0;
    await using subject = scene.tunnel({
      privateKey: () => {
        if (++calls < 4) throw new Error(`call ${calls}`);
        return plain.privateKey;
      },
      gateTime: 0,
      restart: {minTimeout: 20, maxTimeout: 60_000, factor: 2, randomize: false},
    });
    await subject.tunnel.start();
    expect(subject.events.of('restart').map(({attempt, delay, outcome}) => [attempt, delay, outcome.reason])).toEqual([
      [1, 20, 'credentials'],
      [2, 40, 'credentials'],
      [3, 80, 'credentials'],
    ]);
    expect(subject.events.of('state').map(({to}) => to)).toEqual(['starting', 'waiting', 'starting', 'up']);
    expect(subject.tunnel.stats()).toMatchObject({starts: 1});
    expect(subject.events.of('start').map(({starts}) => starts)).toEqual([1]);
  });

  test('has as many tries as there are `retries`; its own error is behind the last', async () => {
    const own = new Error('never');
    let calls = 0;
    await using subject = scene.tunnel({
      privateKey: async () => {
        calls++;
        throw own;
      },
      gateTime: 0,
      restart: {minTimeout: 5, randomize: false, retries: 2, maxStarts: 1},
    });
    const error = (await rejection(subject.tunnel.start())) as unknown as AutoSSHError;
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_GAVE_UP', cause: {code: 'ERR_AUTOSSH_AUTH', cause: own}});
    expect(calls).toBe(3);
    // No ssh was started: that counts for nothing that limits those.
    expect(subject.tunnel.stats().starts).toBe(0);
  });

  test('`shouldRestart` is asked about it', async () => {
    const asked: Outcome[] = [];
    await using subject = scene.tunnel({
      privateKey: () => Promise.reject(new Error('no')),
      gateTime: 0,
      restart: {minTimeout: 5, shouldRestart: (outcome, {starts}) => asked.push(outcome) < 2 && starts === 0},
    });
    expect(await rejection(subject.tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_GAVE_UP'});
    expect(asked).toHaveLength(2);
    expect(asked[0]).toMatchObject({reason: 'credentials', code: 'ERR_AUTOSSH_AUTH', retryable: true, uptime: 0});
    expect(() => JSON.stringify(asked)).not.toThrow();
  });

  test.each([
    ['a string', 'no'],
    ['nothing', undefined],
    ['what cannot be put into words', Object.create(null) as unknown],
  ])('with %s is one that fails all the same', async (_name, thrown) => {
    await using subject = scene.tunnel({
      privateKey: () => {
        throw thrown;
      },
    });
    expect(await rejection(subject.tunnel.start())).toMatchObject({
      code: 'ERR_AUTOSSH_GATE',
      cause: {code: 'ERR_AUTOSSH_AUTH', message: expect.stringContaining('`privateKey` failed')},
    });
  });

  test('for the ssh that is to replace one that works: that goes on', async () => {
    let fails = false;
    const own = new Error('not now');
    await using subject = await scene.up({
      privateKey: () => (fails ? Promise.reject(own) : plain.privateKey),
    });
    const {pid} = subject.tunnel;
    fails = true;
    expect(await rejection(subject.tunnel.restart())).toMatchObject({code: 'ERR_AUTOSSH_AUTH', cause: own});
    expect(subject.tunnel.pid).toBe(pid);
    expect(await talk(subject.tunnel)).toBe('ping');
    // And when that one is lost, it is asked until it gives one.
    const twice = once(subject.tunnel, 'restart', {where: ({attempt}) => attempt === 3, unless: ['stop']});
    const up = once(subject.tunnel, 'connect', {unless: ['stop']});
    signal(pid ?? 0, 'SIGKILL');
    await twice;
    fails = false;
    await up;
    expect(await talk(subject.tunnel)).toBe('ping');
  });

  test('is not called without a pause for ever, though a restart was asked for meanwhile', async () => {
    let calls = 0;
    await using subject = scene.tunnel({
      privateKey: () => {
        calls++;
        throw new Error('still sealed');
      },
      gateTime: 0,
      restart: {minTimeout: 60_000, randomize: false},
    });
    void begin(subject.tunnel);
    await once(subject.tunnel, 'restart');
    const second = once(subject.tunnel, 'restart', {where: ({attempt}) => attempt === 2});
    const third = once(subject.tunnel, 'restart', {where: ({attempt}) => attempt === 3, timeout: 500});
    subject.tunnel.restart().catch(() => undefined);
    await second;
    expect(calls).toBe(2);
    await expect(third).rejects.toThrow("No 'restart' within");
    expect(calls).toBe(2);
  });
});

describe('a function that hangs', () => {
  /** Never settles, and tells of its signal. */
  function hanging(): {fetch: Fetch; called: Promise<AbortSignal>} {
    let tell: (signal: AbortSignal) => void = () => undefined;
    const called = new Promise<AbortSignal>((resolve) => (tell = resolve));
    return {
      called,
      fetch: ({signal: given}) => {
        tell(given);
        return new Promise(() => undefined);
      },
    };
  }

  test.each(places)('in `%s` is given up after `readyTimeout`, and its signal is aborted', async (_name, given) => {
    const {fetch, called} = hanging();
    await using subject = scene.tunnel({...given(fetch), readyTimeout: 300});
    const error = await rejection(subject.tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_GATE', cause: {code: 'ERR_AUTOSSH_TIMEOUT', retryable: true}});
    expect((await called).aborted).toBe(true);
    expect(subject.events.count('start')).toBe(0);
  });

  test.each(places)('in `%s` holds up no stop(), and nothing is left', async (_name, given) => {
    const before = snapshot();
    const {fetch, called} = hanging();
    const subject = scene.tunnel(given(fetch));
    const up = begin(subject.tunnel);
    const {signal: theirs} = {signal: await called};
    expect(theirs.aborted).toBe(false);
    await within(10_000, 'the stop', subject.tunnel.stop());
    await expectNothingLeft(before);
    expect(theirs.aborted).toBe(true);
    expect(await rejection(up)).toMatchObject({code: 'ERR_AUTOSSH_STOPPED'});
    expect(subject.events.of('stop')).toEqual([{reason: 'stopped'}]);
  });

  test('holds up no abort', async () => {
    const before = snapshot();
    const {fetch, called} = hanging();
    const controller = new AbortController();
    const subject = scene.tunnel({privateKey: fetch, signal: controller.signal});
    const up = begin(subject.tunnel);
    const theirs = await called;
    const stopped = once(subject.tunnel, 'stop', {timeout: 10_000});
    controller.abort();
    expect(await stopped).toMatchObject({reason: 'aborted'});
    await expectNothingLeft(before);
    expect(theirs.aborted).toBe(true);
    expect(await rejection(up)).toMatchObject({code: 'ERR_AUTOSSH_ABORTED'});
  });

  test('is told that nobody waits for it, once another one has failed', async () => {
    const {fetch, called} = hanging();
    await using subject = scene.tunnel({privateKey: () => Promise.reject(new Error('no')), certificate: fetch});
    expect(await rejection(subject.tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_GATE'});
    expect((await called).aborted).toBe(true);
  });

  test('holds up no other tunnel, and is heard when it comes to an end', async () => {
    let give: (key: string) => void = () => undefined;
    const late = new Promise<string>((resolve) => (give = resolve));
    await using slow = scene.tunnel({privateKey: () => late});
    const up = begin(slow.tunnel);
    await scene.works({privateKey: plain.privateKey});
    expect(slow.tunnel.state).toBe('starting');
    give(plain.privateKey);
    await up;
    expect(await talk(slow.tunnel)).toBe('ping');
  });

  test('gives what it gives too late to nobody', async () => {
    let give: (key: string) => void = () => undefined;
    let calls = 0;
    await using subject = scene.tunnel({
      privateKey: () => (++calls === 1 ? new Promise<string>((resolve) => (give = resolve)) : plain.privateKey),
      readyTimeout: 2_000,
      gateTime: 0,
      restart: {minTimeout: 10},
    });
    void begin(subject.tunnel);
    await once(subject.tunnel, 'restart');
    give('rubbish');
    await subject.tunnel.ready();
    expect(calls).toBe(2);
  });
});

describe('what is needed to hold a key', () => {
  /** A PATH on which everything is that a tunnel needs but these; `own` is put there instead. */
  function path(
    name: string,
    missing: readonly string[],
    own: Readonly<Record<string, string>> = {},
  ): NodeJS.ProcessEnv {
    const folder = join(scene.folder, name);
    mkdirSync(folder);
    for (const program of ['ssh', 'ssh-add', 'ssh-agent', 'sh', 'setpriv']) {
      const found = findProgram(program);
      if (found !== undefined && !missing.includes(program) && !(program in own))
        symlinkSync(found, join(folder, program));
    }
    for (const [program, script] of Object.entries(own)) {
      writeFileSync(join(folder, program), `#!/bin/sh\nPATH=/usr/bin:/bin\n${script}\n`);
      chmodSync(join(folder, program), 0o755);
    }
    return {...process.env, PATH: folder};
  }

  test.each(['ssh-agent', 'ssh-add'])('%s is missing: at once fatal, and says what to install', async (program) => {
    const env = path(`without ${program}`, [program]);
    await using subject = scene.tunnel({privateKey: plain.privateKey, env});
    const error = (await rejection(subject.tunnel.start())) as unknown as AutoSSHError;
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_SPAWN', retryable: false});
    expect(error.message).toContain(program);
    expect(error.hint).toContain('openssh-client');
    // There is no such option of a tunnel's, or it is about another program.
    expect(error.hint).not.toMatch(/agentPath|sshPath/);
    expect(scene.connections()).toBe(0);
  });

  test('an ssh-agent that never answers is ended when it comes to readyTimeout', async () => {
    const before = snapshot();
    const env = path('silent', [], {'ssh-agent': 'sleep 1000 & sleep 1000'});
    const subject = scene.tunnel({privateKey: plain.privateKey, env, readyTimeout: 300});
    const error = await rejection(within(5_000, 'the end', subject.tunnel.start()));
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_GATE', cause: {code: 'ERR_AUTOSSH_TIMEOUT'}});
    await expectNothingLeft(before);
  });

  test('ssh-add that hangs is ended, with what it has started', async () => {
    const before = snapshot();
    const env = path('hanging', [], {'ssh-add': 'sleep 1000 & sleep 1000; exit 1'});
    const subject = scene.tunnel({privateKey: plain.privateKey, env, readyTimeout: 300});
    const error = await rejection(within(5_000, 'the end', subject.tunnel.start()));
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_GATE', cause: {code: 'ERR_AUTOSSH_TIMEOUT'}});
    await expectNothingLeft(before);
  });

  test('ssh-add that hangs holds up no stop()', async () => {
    const before = snapshot();
    const env = path('stopped', [], {'ssh-add': `echo > ${join(scene.folder, 'stopped', 'runs')}; sleep 1000; exit 1`});
    const subject = scene.tunnel({privateKey: () => plain.privateKey, env});
    void begin(subject.tunnel);
    await new Promise((resolve) => setTimeout(resolve, 150));
    await within(2_000, 'the stop', subject.tunnel.stop());
    await expectNothingLeft(before);
  });

  test('the agent is lost before the key is in it: that is nothing the key could help, and is tried again', async () => {
    const flag = join(scene.folder, 'once');
    const env = path('lost', [], {
      // The first time nobody is there at the other end.
      'ssh-add': `[ -e '${flag}' ] || { : > '${flag}'; export SSH_AUTH_SOCK=/nowhere; }\nexec ssh-add "$@"`,
    });
    await using subject = scene.tunnel({
      privateKey: locked.privateKey,
      passphrase: 'secret',
      env,
      gateTime: 0,
    });
    await subject.tunnel.start();
    const [first] = subject.events.of('restart');
    expect(first?.outcome).toMatchObject({code: 'ERR_AUTOSSH_SPAWN', retryable: true, reason: 'credentials'});
    expect(first?.outcome.message).not.toMatch(/passphrase/);
  });

  test.each([
    ['adds', '-'],
    ['lists', '-L'],
  ])('ssh-add is killed while it %s: tried again, and then the key is there', async (name, word) => {
    const flag = join(scene.folder, `killed-${name}`);
    const env = path(`kills-${name}`, [], {
      'ssh-add': `[ "$1" = '${word}' ] && [ ! -e '${flag}' ] && : > '${flag}' && kill -9 $$\nexec ssh-add "$@"`,
    });
    await using subject = scene.tunnel({privateKey: plain.privateKey, env, gateTime: 0});
    await subject.tunnel.start();
    expect(subject.events.of('restart').map(({outcome}) => outcome)).toEqual([
      expect.objectContaining({code: 'ERR_AUTOSSH_SPAWN', retryable: true, reason: 'credentials'}),
    ]);
    expect(scene.offers()).toEqual([`Accepted ED25519 ${fingerprint(plain.publicKey)}`]);
  });
});

describe('at every moment of getting ready', () => {
  /** Small delays that differ in every run. */
  const moments = Array.from({length: 14}, (_, index) => index * 6 + Math.random() * 6);

  test('stop() ends all of it, and nothing is left', async () => {
    const before = snapshot();
    await Promise.all(
      moments.map(async (delay) => {
        const subject = scene.tunnel({privateKey: async () => locked.privateKey, passphrase: async () => 'secret'});
        const up = begin(subject.tunnel);
        await new Promise((resolve) => setTimeout(resolve, delay));
        await subject.tunnel.stop();
        expect(subject.tunnel.state).toBe('stopped');
        expect(
          subject.events
            .of('start')
            .map(({pid}) => pid)
            .filter(alive),
        ).toEqual([]);
        expect(subject.events.count('stop')).toBe(1);
        await up.catch((error: unknown) => {
          expect(error).toMatchObject({code: 'ERR_AUTOSSH_STOPPED'});
        });
      }),
    );
    await expectNothingLeft(before, {within: 5_000, resources: false});
  });

  test('restart() and stop() between each other end in nothing left, and restart() in a tunnel', async () => {
    const before = snapshot();
    let key = 0;
    const keys = [plain.privateKey, rsa.pem('pkcs1')];
    await using subject = await scene.up({privateKey: async () => keys[key++ % 2] ?? ''});
    for (const delay of moments.slice(0, 5)) {
      const first = subject.tunnel.restart();
      await new Promise((resolve) => setTimeout(resolve, delay));
      signal(subject.tunnel.pid ?? 0, 'SIGKILL');
      await Promise.allSettled([first, subject.tunnel.restart()]);
      await subject.tunnel.ready();
      expect(await talk(subject.tunnel)).toBe('ping');
    }
    const last = subject.tunnel.restart();
    last.catch(() => undefined);
    await subject.tunnel.stop();
    expect(await rejection(last)).toMatchObject({code: 'ERR_AUTOSSH_STOPPED'});
    await expectNothingLeft(before, {within: 5_000, resources: false});
  });
});
