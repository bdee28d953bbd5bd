import {execFile} from 'node:child_process';
import {fileURLToPath} from 'node:url';
import {promisify} from 'node:util';
import {beforeAll, describe, expect, test} from 'vitest';
import type {AutoSSHError, AutoSSHOptions} from '../../src/index.js';
import {compiled, findProgram, signal, temporaryFolder} from '../support/index.js';
import {HostProcess} from '../faults/host.js';
import {once, rejection, talk} from '../faults/scene.js';
import {file, setKeyScene, type KeyScene} from './key-scene.js';
import {filledAgent, fingerprint, openSSHKey, openSSLKey, type Forms, type KeyPair} from './keys.js';

const run = promisify(execFile);
const scene: KeyScene = setKeyScene(['MaxAuthTries 2']);

const passphrase = 'correct horse \\n "battery" $taple ß';
let plain: KeyPair;
let locked: KeyPair;
let stranger: KeyPair;
let rsa: Forms;
let ec: Forms;
let ed25519: Forms;

beforeAll(async () => {
  [plain, locked, stranger, rsa, ec, ed25519] = await Promise.all([
    ...[openSSHKey(), openSSHKey('ed25519', passphrase), openSSHKey()],
    ...[openSSLKey('rsa'), openSSLKey('ec'), openSSLKey('ed25519')],
  ] as const);
});

type Given = Pick<AutoSSHOptions, 'privateKey' | 'passphrase'>;

describe('a private key that is in no file', () => {
  const ways: readonly [name: string, give: (text: string) => NonNullable<AutoSSHOptions['privateKey']>][] = [
    ['a string', (text) => text],
    ['a Buffer', (text) => Buffer.from(text)],
    ['bytes', (text) => new Uint8Array(Buffer.from(text))],
    ['a function that gives a string', (text) => () => text],
    ['a function that gives a Buffer', (text) => () => Buffer.from(text)],
    ['an asynchronous function that gives a string', (text) => async () => text],
    ['an asynchronous function that gives a Buffer', (text) => async () => Buffer.from(text)],
  ];

  test.each(ways)('logs in, given as %s, and its passphrase likewise', async (_name, give) => {
    scene.authorize(locked.publicKey);
    await using subject = await scene.up({privateKey: give(locked.privateKey), passphrase: give(passphrase)});
    expect(scene.offers()).toEqual([`Accepted ED25519 ${fingerprint(locked.publicKey)}`]);
    expect(subject.events.count('warning')).toBe(0);
  });

  const forms: readonly [name: string, key: () => {publicKey: string; privateKey: string; passphrase?: string}][] = [
    ['PKCS #1', () => ({publicKey: rsa.publicKey, privateKey: rsa.pem('pkcs1')})],
    ['PKCS #1, encrypted', () => ({publicKey: rsa.publicKey, privateKey: rsa.pem('pkcs1', passphrase), passphrase})],
    ['SEC 1', () => ({publicKey: ec.publicKey, privateKey: ec.pem('sec1')})],
    ['SEC 1, encrypted', () => ({publicKey: ec.publicKey, privateKey: ec.pem('sec1', passphrase), passphrase})],
    ['PKCS #8 of RSA', () => ({publicKey: rsa.publicKey, privateKey: rsa.pem('pkcs8')})],
    [
      'PKCS #8 of RSA, encrypted',
      () => ({publicKey: rsa.publicKey, privateKey: rsa.pem('pkcs8', passphrase), passphrase}),
    ],
    ['PKCS #8 of EC', () => ({publicKey: ec.publicKey, privateKey: ec.pem('pkcs8')})],
    [
      'PKCS #8 of EC, encrypted',
      () => ({publicKey: ec.publicKey, privateKey: ec.pem('pkcs8', passphrase), passphrase}),
    ],
    ['PKCS #8 of Ed25519', () => ({publicKey: ed25519.publicKey, privateKey: ed25519.pem('pkcs8')})],
    [
      'PKCS #8 of Ed25519, encrypted',
      () => ({publicKey: ed25519.publicKey, privateKey: ed25519.pem('pkcs8', passphrase), passphrase}),
    ],
  ];

  test.each(forms)('logs in, in the form of %s', async (_name, make) => {
    const {publicKey, privateKey, ...given} = make();
    scene.authorize(publicKey);
    let calls = 0;
    const ask = (): string => {
      calls++;
      return given.passphrase ?? '';
    };
    await scene.works({privateKey, passphrase: ask});
    expect(scene.offers()).toEqual([expect.stringContaining(`Accepted`)]);
    expect(scene.offers()[0]).toContain(fingerprint(publicKey));
    expect(calls).toBe(given.passphrase === undefined ? 0 : 1);
  });

  test.each(['ecdsa', 'rsa'] as const)('logs in, in the form of OpenSSH of %s, encrypted', async (type) => {
    const key = await openSSHKey(type, 'x');
    scene.authorize(key.publicKey);
    await scene.works({privateKey: key.privateKey, passphrase: 'x'});
    expect(scene.offers()[0]).toContain(fingerprint(key.publicKey));
  });

  test('is copied: what the host does to its buffer later is nothing to a restart', async () => {
    scene.authorize(locked.publicKey);
    const [privateKey, secret] = [Buffer.from(locked.privateKey), Buffer.from(passphrase)];
    await using subject = scene.tunnel({privateKey, passphrase: secret});
    privateKey.fill(0);
    secret.fill(0);
    await subject.tunnel.start();
    expect(await talk(subject.tunnel)).toBe('ping');
  });

  test('has a passphrase that is asked for when it is needed, once, and not for a key that is held already', async () => {
    scene.authorize(locked.publicKey);
    let calls = 0;
    const ask = (): string => {
      calls++;
      return passphrase;
    };
    await using subject = await scene.up({privateKey: () => locked.privateKey, passphrase: ask});
    expect(calls).toBe(1);
    const again = once(subject.tunnel, 'connect', {unless: ['stop']});
    signal(subject.tunnel.pid ?? 0, 'SIGKILL');
    await again;
    await subject.tunnel.restart();
    expect(calls).toBe(1);
    expect(scene.offers()).toHaveLength(3);
  });

  test('that has none asks for none, whatever is there for it', async () => {
    scene.authorize(plain.publicKey);
    let calls = 0;
    const ask = (): string => String(++calls);
    await scene.works({privateKey: plain.privateKey, passphrase: ask});
    expect(calls).toBe(0);
  });

  test('has a passphrase as it comes out of a file, with a line end', async () => {
    scene.authorize(locked.publicKey, rsa.publicKey);
    for (const privateKey of [locked.privateKey, rsa.pem('pkcs8', passphrase)]) {
      for (const end of ['\n', '\r\n']) {
        await scene.works({privateKey, passphrase: Buffer.from(`${passphrase}${end}`)});
      }
    }
  });
});

describe('a private key that came through the environment', () => {
  const manglings: Readonly<Record<string, (text: string) => string>> = {
    AS_IT_IS: (text) => text,
    WITHOUT_LAST_LINE_END: (text) => text.trimEnd(),
    CRLF: (text) => text.replaceAll('\n', '\r\n'),
    CR: (text) => text.replaceAll('\n', '\r'),
    WRITTEN_OUT: (text) => text.replaceAll('\n', String.raw`\n`),
    WRITTEN_OUT_TWICE: (text) => text.replaceAll('\n', String.raw`\\n`),
    AS_JSON: (text) => JSON.stringify(text),
    QUOTED: (text) => `'${text}'`,
    BASE64: (text) => Buffer.from(text).toString('base64'),
    BASE64_IN_LINES: (text) => Buffer.from(text).toString('base64').replace(/.{76}/g, '$&\n'),
    BASE64_OF_WRITTEN_OUT: (text) => Buffer.from(text.replaceAll('\n', String.raw`\n`)).toString('base64'),
    IN_ONE_LINE: (text) => text.replaceAll('\n', ' '),
    WITH_BYTE_ORDER_MARK: (text) => `\uFEFF${text}`,
  };

  test('logs in whatever that has done to it, and goes no further', async () => {
    scene.authorize(plain.publicKey);
    const env = Object.fromEntries(Object.entries(manglings).map(([name, mangle]) => [name, mangle(plain.privateKey)]));
    const names = Object.keys(env);
    const {stdout} = await run(process.execPath, [compiled('key-host.ts'), JSON.stringify(scene.options()), ...names], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      env: {...process.env, ...env},
      timeout: 50_000,
    });
    const said = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown);
    expect(said).toEqual(names.map((variable) => ({variable, handedOn: false})));
  });

  test('logs in after a shell has read it from its file', async () => {
    scene.authorize(plain.publicKey);
    const path = file(scene, 'read by a shell', plain.privateKey);
    const script =
      'KEY=$(cat "$1") ONE_LINE=$(echo $(cat "$1")) SIXTY_FOUR=$(base64 < "$1"); shift; export KEY ONE_LINE SIXTY_FOUR; exec "$@"';
    const {stdout} = await run(
      'sh',
      ['-c', script, 'sh', path, process.execPath, compiled('key-host.ts')].concat([
        ...[JSON.stringify(scene.options()), 'KEY', 'ONE_LINE', 'SIXTY_FOUR'],
      ]),
      {cwd: fileURLToPath(new URL('../..', import.meta.url)), timeout: 50_000},
    );
    expect(stdout.match(/"handedOn":false/g)).toHaveLength(3);
    expect(stdout).not.toContain('error');
  });
});

describe('a private key that cannot be used', () => {
  const wrong: readonly [name: string, give: () => Given, message: RegExp][] = [
    ['its passphrase is wrong', () => ({privateKey: locked.privateKey, passphrase: 'wrong one'}), /`passphrase`/],
    [
      'its passphrase is wrong, in PKCS #8',
      () => ({privateKey: rsa.pem('pkcs8', passphrase), passphrase: 'wrong one'}),
      /`passphrase`/,
    ],
    ['its passphrase is missing', () => ({privateKey: locked.privateKey}), /`privateKey`.*passphrase/],
    [
      'its passphrase is missing, in PKCS #8',
      () => ({privateKey: ec.pem('pkcs8', passphrase)}),
      /`privateKey`.*passphrase/,
    ],
    ['its passphrase is empty', () => ({privateKey: locked.privateKey, passphrase: () => ''}), /passphrase/],
    ['it is cut off', () => ({privateKey: plain.privateKey.slice(0, 200)}), /`privateKey`/],
    [
      'it is damaged',
      () => ({privateKey: damaged(plain.privateKey)}),
      /^`privateKey` could not be read by ssh-add: (?!Error)[^"]+$/,
    ],
    ['it is empty', () => ({privateKey: () => ' \n'}), /`privateKey` is empty/],
    ['it is something else', () => ({privateKey: 'hunter2 hunter2'}), /`privateKey`/],
    ['it is the public key', () => ({privateKey: plain.publicKey}), /`privateKey` is a public key/],
    ['it is a path', () => ({privateKey: scene.sshd.identityFile}), /`privateKey` is a path/],
    ['it is a number', () => ({privateKey: (() => 7) as never}), /`privateKey` gave a number/],
    ['it is nothing', () => ({privateKey: (async () => undefined) as never}), /`privateKey` gave `undefined`/],
    [
      'its passphrase is a number',
      () => ({privateKey: locked.privateKey, passphrase: (() => 12_345_678) as never}),
      /`passphrase` gave a number/,
    ],
  ];

  test.each(wrong)('because %s is at once fatal, and no ssh is started', async (_name, give, message) => {
    scene.authorize(plain.publicKey, locked.publicKey, rsa.publicKey, ec.publicKey);
    const given = give();
    // Without a gate, where everything that could be mended is tried again.
    await using subject = scene.tunnel({...given, gateTime: 0});
    const error = (await rejection(subject.tunnel.start())) as unknown as AutoSSHError;
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_KEY', retryable: false});
    expect(error.message).toMatch(message);
    expect(error.hint).not.toBe('');
    expect(subject.events.all.map(({name}) => name)).toEqual(['state', 'state', 'state', 'fatal', 'stop']);
    expect(subject.events.of('fatal')).toEqual([error]);
    expect(subject.tunnel.stats()).toMatchObject({starts: 0, lastOutcome: {reason: 'credentials', stage: 'connect'}});
    expect(scene.connections()).toBe(0);
    const said = JSON.stringify([error.message, error.hint, error.stderr, subject.tunnel.stats()]);
    for (const secret of [given.privateKey, given.passphrase]) {
      if (typeof secret === 'string') expect(said).not.toContain(secret.trim().split('\n').at(-2) ?? secret);
    }
    expect(said).not.toMatch(/hunter2|wrong one|12345678/);
  });

  test.skipIf(process.getuid?.() !== 0 || findProgram('unshare') === undefined)(
    'is not blamed where its passphrase cannot be asked for: temporary files may not be run (skipped without root)',
    async () => {
      const mount = 'mount -t tmpfs -o noexec none "$TMPDIR" && exec "$@"';
      const host = await HostProcess.start(scene.options({privateKey: locked.privateKey, passphrase}), {
        env: {...process.env, TMPDIR: temporaryFolder('noexec-')},
        wrapper: ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', mount, 'sh'],
      });
      expect(await host.command('start')).toBe('ERR_AUTOSSH_SPAWN');
      expect(scene.connections()).toBe(0);
      host.closeInput();
      await host.exited;
    },
  );

  test('inside the gate is the same: it is no failure of a first ssh', async () => {
    await using subject = scene.tunnel({privateKey: plain.publicKey});
    expect(await rejection(subject.tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_KEY'});
  });

  test('later on, when ssh is to be started again, is fatal then', async () => {
    scene.authorize(plain.publicKey);
    let key = plain.privateKey;
    await using subject = await scene.up({privateKey: () => key});
    key = '-----BEGIN OPENSSH PRIVATE KEY-----\nrubbish';
    const fatal = once(subject.tunnel, 'fatal');
    const stopped = once(subject.tunnel, 'stop');
    signal(subject.tunnel.pid ?? 0, 'SIGKILL');
    expect(await fatal).toMatchObject({code: 'ERR_AUTOSSH_KEY', message: expect.stringContaining('`privateKey`')});
    expect(await stopped).toMatchObject({reason: 'fatal'});
    expect(subject.events.count('start')).toBe(1);
  });

  test('for the ssh that is to replace one that works: that goes on', async () => {
    scene.authorize(plain.publicKey);
    let key = plain.privateKey;
    await using subject = await scene.up({privateKey: () => key});
    key = 'rubbish';
    expect(await rejection(subject.tunnel.restart())).toMatchObject({code: 'ERR_AUTOSSH_KEY'});
    expect(subject.tunnel.state).toBe('up');
    expect(await talk(subject.tunnel)).toBe('ping');
    key = plain.privateKey;
    await subject.tunnel.restart();
    expect(subject.events.count('start')).toBe(2);
  });

  test('because the server does not know it is no matter of the key, and is tried again past the gate', async () => {
    scene.authorize(plain.publicKey);
    await using subject = scene.tunnel({privateKey: stranger.privateKey, gateTime: 0});
    const restart = once(subject.tunnel, 'restart', {unless: ['stop']});
    void subject.tunnel.start().catch(() => undefined);
    expect((await restart).outcome).toMatchObject({code: 'ERR_AUTOSSH_AUTH', retryable: true, reason: 'exit'});
    expect(scene.offers()).toEqual([`Failed ED25519 ${fingerprint(stranger.publicKey)}`]);
  });
});

describe('with a private key of its own', () => {
  /** The server takes two attempts, and then ends the connection. */
  test('nothing else is offered before it: neither the files of ssh_config nor what an agent has', async () => {
    scene.authorize(plain.publicKey);
    const others = await Promise.all(Array.from({length: 5}, async () => openSSHKey()));
    const paths = others.map(({privateKey}, index) => file(scene, `other-${index}`, privateKey));
    const configFile = file(scene, 'config', paths.map((path) => `IdentityFile ${path}\n`).join(''));
    await using agent = await filledAgent(others);
    await scene.works({
      privateKey: plain.privateKey,
      configFile,
      env: {...process.env, SSH_AUTH_SOCK: agent.socket},
    });
    expect(scene.offers()).toEqual([`Accepted ED25519 ${fingerprint(plain.publicKey)}`]);
  });

  test('the others are indeed too many for that server', async () => {
    scene.authorize(plain.publicKey);
    const others = await Promise.all(Array.from({length: 5}, async () => openSSHKey()));
    await using agent = await filledAgent([...others, plain]);
    await using subject = scene.tunnel({env: {...process.env, SSH_AUTH_SOCK: agent.socket}});
    expect(await rejection(subject.tunnel.start())).toMatchObject({cause: {code: 'ERR_AUTOSSH_AUTH'}});
    expect(scene.offers().every((offer) => offer.startsWith('Failed'))).toBe(true);
  });

  test('an `identityFile` beside it is offered too, after it', async () => {
    scene.authorize(plain.publicKey);
    const identityFile = file(scene, 'beside', plain.privateKey);
    await scene.works({privateKey: stranger.privateKey, identityFile});
    expect(scene.offers()).toEqual([
      `Failed ED25519 ${fingerprint(stranger.publicKey)}`,
      `Accepted ED25519 ${fingerprint(plain.publicKey)}`,
    ]);
  });
});

/** With other bytes in the midst of its private part, but as long as it was. */
function damaged(text: string): string {
  const lines = text.split('\n');
  lines[3] = (lines[3] ?? '').replace(/./g, 'A');
  return lines.join('\n');
}
