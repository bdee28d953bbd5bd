import {type ChildProcess, execFile, spawn} from 'node:child_process';
import {createPrivateKey, createPublicKey, generateKeyPairSync} from 'node:crypto';
import {once as nodeOnce} from 'node:events';
import {appendFileSync, existsSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync} from 'node:fs';
import {homedir} from 'node:os';
import {join} from 'node:path';
import {inspect, promisify} from 'node:util';
import {fileURLToPath} from 'node:url';
import {afterEach, describe, expect, test} from 'vitest';
import type {AutoSSHOptions} from '../../src/index.js';
import type {LoginHostSetup} from '../fixtures/login-host.js';
import {
  PasswordSshd,
  PrivateSshd,
  canLogInByCode,
  commandLine,
  compiled,
  descendants,
  dyingWithUs,
  guard,
  pollUntil,
  processFacts,
  signal,
  temporaryFolder,
} from '../support/index.js';
import {rejection} from '../faults/scene.js';
import {setStage, somePassword} from './stage.js';

const run = promisify(execFile);

/** What must be seen nowhere, each with a name that a failure may print. */
type Needles = readonly (readonly [name: string, needle: string])[];

/** A program with a tunnel, whatever it prints, and what can be seen of it from outside. */
class Host {
  readonly #child: ChildProcess;
  readonly folder = temporaryFolder('host-');
  output = '';
  #read = 0;

  constructor(setup: Partial<LoginHostSetup> & {options: AutoSSHOptions}) {
    const [command = '', ...args] = dyingWithUs([process.execPath, compiled('login-host.ts')]);
    this.#child = spawn(command, args, {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      env: {...process.env, TMPDIR: this.folder, DEBUG: 'autossh:*', DEBUG_COLORS: '0'},
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    guard('process', this.pid);
    this.#child.stdin?.on('error', () => undefined);
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on('data', (chunk: Buffer) => (this.output += chunk.toString('latin1')));
    this.#say(JSON.stringify({env: {}, functions: [], slow: [], hopFunctions: false, ...setup}));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Of the ssh that was started last. */
  get sshPid(): number {
    return Number([...this.output.matchAll(/"pid":(\d+)/g)].at(-1)?.[1]);
  }

  /** Waits for a line that it prints from now on, or has printed after the last one that was waited for. */
  async prints(line: string): Promise<void> {
    await pollUntil(`'${line}' in\n${this.output.slice(-4_000)}`, () => this.output.includes(`${line}\n`, this.#read), {
      timeout: 20_000,
    });
    this.#read = this.output.indexOf(`${line}\n`, this.#read) + line.length;
  }

  async does(command: 'start' | 'restart' | 'stop' | 'look'): Promise<void> {
    this.#say(command);
    await this.prints(`done ${command}`);
  }

  begins(command: 'start' | 'give'): void {
    this.#say(command);
  }

  /** The names of everything that it has started. */
  names(): string[] {
    return descendants(this.pid).flatMap((pid) => processFacts(pid)?.name ?? []);
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = nodeOnce(this.#child, 'exit');
    signal(this.pid, 'SIGKILL');
    await gone;
  }

  #say(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }
}

describe.skipIf(!canLogInByCode)('secrets (skipped without root, pam_oath or oathtool)', () => {
  const password = somePassword();
  let hop: PrivateSshd;
  let keyed: PasswordSshd;
  let coded: PasswordSshd;
  const stage = setStage(async () => {
    const servers = await Promise.all([
      PrivateSshd.start(),
      PasswordSshd.start({methods: 'publickey,password', password}),
      PasswordSshd.start({methods: 'publickey,keyboard-interactive', code: true}),
    ]);
    [hop, keyed, coded] = servers;
    return servers;
  });
  const hosts: Host[] = [];
  afterEach(async () => {
    for (const host of hosts.splice(0)) {
      await host.kill();
      rmSync(host.folder, {recursive: true, force: true});
    }
  });
  function start(setup: ConstructorParameters<typeof Host>[0]): Host {
    const host = new Host(setup);
    hosts.push(host);
    return host;
  }

  /** What of a host and of all that it has started can be seen, and what lies on the disk. */
  function look(host: Host, needles: Needles): void {
    expect(found(host.output, needles), 'printed').toEqual([]);
    for (const pid of descendants(host.pid)) {
      const name = processFacts(pid)?.name ?? '';
      expect(found(commandLine(pid).join('\n'), needles), `in the arguments of ${name}`).toEqual([]);
      expect(found(read(`/proc/${String(pid)}/environ`), needles), `in the environment of ${name}`).toEqual([]);
    }
    expect(onDisk(host.folder, needles), 'in temporary files').toEqual([]);
    expect(onDisk(join(homedir(), '.ssh'), needles), 'in ~/.ssh').toEqual([]);
  }

  /** Of what there is for one tunnel, who may read it. */
  function expectPrivate(host: Host): void {
    const folders = readdirSync(host.folder).filter((name) => name.startsWith('autossh-'));
    expect(folders.length).toBeGreaterThan(1);
    for (const folder of folders.map((name) => join(host.folder, name))) {
      expect(modeOf(folder)).toBe('700');
      for (const name of readdirSync(folder)) {
        const mode = modeOf(join(folder, name));
        // To connect to a socket is to write to it; ssh and ssh-agent make theirs.
        if (name.endsWith('.sock')) expect([name, mode]).toEqual([name, expect.stringMatching(/^[67][0145][0145]$/)]);
        else expect([name, mode]).toEqual([name, name.endsWith('.sh') ? '700' : '600']);
      }
    }
  }

  async function expectGone(host: Host, pids: readonly number[]): Promise<void> {
    await pollUntil(`the end of ${pids.map((pid) => commandLine(pid).join(' ')).join('\n')}`, () =>
      pids.every((pid) => processFacts(pid) === undefined || processFacts(pid)?.state === 'Z'),
    );
    await pollUntil(`no private folder in ${host.folder}: ${readdirSync(host.folder).join(' ')}`, () =>
      readdirSync(host.folder).every((name) => !name.startsWith('autossh-')),
    );
  }

  /** A key for the server, in one of its forms, and what is secret in it. */
  async function somePrivateKey(
    form: 'openssh' | 'pkcs8' | 'sec1' | 'pkcs1',
    authorized: string,
    passphrase?: string,
  ): Promise<{text: string; needles: Needles}> {
    const folder = temporaryFolder('key-');
    const path = join(folder, 'key');
    try {
      if (form === 'openssh') {
        await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', path]);
      } else {
        const pem = {type: form, format: 'pem'} as const;
        const text =
          form === 'pkcs1'
            ? generateKeyPairSync('rsa', {modulusLength: 2048}).privateKey.export({...pem, type: 'pkcs1'})
            : generateKeyPairSync('ec', {namedCurve: 'P-256'}).privateKey.export({...pem, type: form});
        writeFileSync(path, text, {mode: 0o600});
      }
      const plain = readFileSync(path, 'utf8');
      const {stdout: publicKey} = await run('ssh-keygen', ['-y', '-f', path]);
      appendFileSync(authorized, publicKey);
      const secret = secretBytes(plain);
      let text = plain;
      if (passphrase !== undefined && form === 'openssh') {
        await run('ssh-keygen', ['-q', '-p', '-P', '', '-N', passphrase, '-f', path]);
        text = readFileSync(path, 'utf8');
      } else if (passphrase !== undefined) {
        const encrypted = {type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase} as const;
        text = createPrivateKey(plain).export(encrypted).toString();
      }
      return {text, needles: [...ofKeyText(text, publicKey), ...ofKeyText(plain, publicKey), ...secret]};
    } finally {
      rmSync(folder, {recursive: true, force: true});
    }
  }

  function throughHop(server: PasswordSshd): string {
    const path = server.sshd.config({});
    const keyless = readFileSync(hop.configFile, 'utf8')
      .replace('Host tunnel', 'Host hop')
      .replace(/^ *IdentityFile .*\n/m, '  IdentityFile none\n');
    const own = readFileSync(path, 'utf8').replace(/^ *IdentityFile .*\n/m, '  IdentityFile none\n');
    // `IdentityAgent none` would hide the agent of the tunnel from nobody but ssh as configured.
    writeFileSync(path, `${own}${keyless}`);
    return path;
  }

  function optionsFor(server: PasswordSshd): AutoSSHOptions {
    return {
      host: 'tunnel',
      configFile: throughHop(server),
      forwards: [{type: 'local', target: {host: '127.0.0.1', port: stage.echo.port}}],
      restart: {minTimeout: 50, maxTimeout: 400},
      killTimeout: 1_000,
      gateTime: 0,
    };
  }

  test.each([
    ['given as they are', [], false],
    ['from functions', ['privateKey', 'passphrase', 'password'], true],
  ] as const)(
    '%s, and in the environment too: key, passphrase and password, and the key of a hop, are nowhere',
    async (_how, functions, hopFunctions) => {
      const passphrase = somePassword();
      const [key, hopKey] = await Promise.all([
        somePrivateKey('pkcs8', keyed.sshd.authorizedKeysFile, passphrase),
        somePrivateKey('openssh', hop.authorizedKeysFile),
      ]);
      const needles = [
        ...key.needles,
        ...hopKey.needles,
        ...ofText('passphrase', passphrase),
        ...ofText('password', password),
      ];
      const host = start({
        options: {
          ...optionsFor(keyed),
          privateKey: key.text,
          passphrase,
          password,
          jump: [{host: 'hop', privateKey: hopKey.text}],
        },
        functions,
        hopFunctions,
        env: {
          ...inVariables('KEY', key.text),
          ...inVariables('HOP_KEY', hopKey.text),
          // Of what a function will give nobody can know before it is asked.
          ...(functions.length === 0 && {
            PASSPHRASE: passphrase,
            PASSWORD: password,
            PASSWORD_BASE64: Buffer.from(password).toString('base64'),
            DATABASE_URL: `postgres://me:${encodeURIComponent(password)}@db/app`,
          }),
          AUTOSSH_TEST_PLAIN: 'here it is',
        },
      });
      await host.prints('ready');
      await host.does('start');
      await host.does('look');
      expect(host.names()).toEqual(expect.arrayContaining(['ssh', 'ssh-agent', 'sh']));
      // What is no secret goes on.
      expect(read(`/proc/${String(host.sshPid)}/environ`)).toContain('AUTOSSH_TEST_PLAIN=here it is');
      expectPrivate(host);
      look(host, needles);
      await host.does('restart');
      signal(host.sshPid, 'SIGKILL');
      await host.prints('event connect');
      await host.does('look');
      look(host, needles);
      const pids = descendants(host.pid);
      await host.kill();
      expect(onDisk(host.folder, needles)).toEqual([]);
      await expectGone(host, pids);
      expect(onDisk(join(homedir(), '.ssh'), needles)).toEqual([]);
    },
  );

  test.each([
    ['openssh', 'encrypted', 'ssh-add asks for its passphrase'],
    ['pkcs1', 'encrypted', 'it is decrypted'],
    ['sec1', 'plain', 'ssh-add reads it'],
  ] as const)(
    'a key as %s, %s: while %s and while a code is asked for, they are nowhere',
    async (form, state, _while) => {
      const passphrase = state === 'encrypted' ? somePassword() : undefined;
      const key = await somePrivateKey(form, coded.sshd.authorizedKeysFile, passphrase);
      const code = await coded.nextCode();
      const needles = [
        ...key.needles,
        ...(passphrase === undefined ? [] : ofText('passphrase', passphrase)),
        ['code', code],
      ] as Needles;
      const host = start({
        options: {
          ...optionsFor(coded),
          privateKey: key.text,
          ...(passphrase !== undefined && {passphrase}),
          keyboardInteractive: [code] as never,
        },
        functions: passphrase === undefined ? ['keyboardInteractive'] : ['passphrase', 'keyboardInteractive'],
        slow: ['passphrase', 'keyboardInteractive'],
        env: inVariables('KEY', key.text),
      });
      await host.prints('ready');
      host.begins('start');
      if (passphrase !== undefined) {
        await host.prints('asked passphrase');
        if (form === 'openssh') expect(host.names()).toContain('ssh-add');
        look(host, needles);
        host.begins('give');
      }
      await host.prints('asked keyboardInteractive');
      expect(host.names()).toEqual(expect.arrayContaining(['ssh', 'ssh-agent', 'askpass.sh']));
      expectPrivate(host);
      look(host, needles);
      host.begins('give');
      await host.prints('done start');
      await host.does('look');
      look(host, needles);
      await host.does('stop');
      look(host, needles);
      expect(readdirSync(host.folder).filter((name) => name.startsWith('autossh-'))).toEqual([]);
    },
  );

  test.each(['password', 'passphrase'] as const)(
    'a host that is killed while a %s is asked for: no process, no folder, and nothing was told the server',
    async (asked) => {
      const passphrase = somePassword();
      const key = await somePrivateKey('openssh', keyed.sshd.authorizedKeysFile, passphrase);
      const attempts = keyed.attempts();
      const from = keyed.sshd.log.length;
      const host = start({
        options: {...optionsFor(keyed), privateKey: key.text, passphrase, password},
        functions: ['passphrase', 'password'],
        slow: [asked],
      });
      await host.prints('ready');
      host.begins('start');
      await host.prints(`asked ${asked}`);
      const pids = descendants(host.pid);
      expect(host.names()).toContain(asked === 'password' ? 'askpass.sh' : 'ask-passphrase.');
      await host.kill();
      await expectGone(host, pids);
      if (asked === 'password') await keyed.sshd.waitForLine(/^Connection (closed|reset)/, {after: from});
      expect(keyed.attempts()).toBe(attempts);
      expect(keyed.sshd.log.slice(from).filter((line) => line.startsWith('Failed password'))).toEqual([]);
    },
  );

  test('what the server says of a password is heard without it', async () => {
    const telling = await PasswordSshd.start({methods: 'password', password, text: `Welcome, ${password}, to us`});
    try {
      const {tunnel, events} = stage.tunnel(telling, {password: () => password});
      await tunnel.start();
      // Before it was given nobody could know it.
      await tunnel.restart();
      expect(events.of('stderr').map(({line}) => line)).toContain('Welcome, ***, to us');
      await tunnel.stop();
      const given = stage.tunnel(telling, {password});
      await given.tunnel.start();
      expect(inspect(given.events.all, {depth: Infinity})).not.toContain(password);
      await given.tunnel.stop();
    } finally {
      await telling.stop();
    }
  });

  test('what the server refuses is in no error', async () => {
    const wrong = somePassword();
    const passphrase = somePassword();
    const key = await somePrivateKey('pkcs8', keyed.sshd.authorizedKeysFile, passphrase);
    const lost = await somePrivateKey('openssh', join(hop.folder, 'nobody'));
    const needles = [
      ...ofText('password', wrong),
      ...ofText('passphrase', passphrase),
      ...key.needles,
      ...lost.needles,
    ];
    const options = optionsFor(keyed);
    const attempts: readonly [code: string, options: AutoSSHOptions][] = [
      ['ERR_AUTOSSH_AUTH', {...options, privateKey: key.text, passphrase, password: wrong}],
      ['ERR_AUTOSSH_KEY', {...options, privateKey: key.text, passphrase: wrong, password}],
      ['ERR_AUTOSSH_KEY', {...options, privateKey: key.text.slice(0, -80), passphrase, password}],
      ['ERR_AUTOSSH_KEY', {...options, privateKey: lost.text.replace(/\n(.{30})./, '\n$1!'), password}],
      ['ERR_AUTOSSH_GAVE_UP', {...options, privateKey: lost.text, password, restart: {retries: 0}}],
      ['ERR_AUTOSSH_AUTH', {...options, privateKey: key.text, passphrase, password: `${wrong}\n`}],
    ];
    for (const [code, one] of attempts) {
      const {password: said} = one;
      const env = {...process.env, ...inVariables('KEY', one.privateKey as string)};
      const {tunnel, events} = stage.tunnel(keyed, {...one, env, password: () => said as string});
      const error = await rejection(tunnel.start());
      expect(error).toMatchObject({code});
      const shown = [error, events.all, tunnel, tunnel.stats()].map((thing) =>
        inspect(thing, {depth: Infinity, showHidden: true, maxStringLength: Infinity, maxArrayLength: Infinity}),
      );
      const {message, stack = '', hint, stderr, cause} = error;
      shown.push(message, stack, JSON.stringify([error, hint, stderr, cause, events.all, tunnel.stats()]));
      expect(found(shown.join('\n'), needles)).toEqual([]);
    }
  });
});

/** What a service has in its variables. */
function inVariables(name: string, key: string): Record<string, string> {
  return {
    [name]: key,
    [`${name}_TRIMMED`]: key.trim(),
    [`${name}_BASE64`]: Buffer.from(key).toString('base64'),
    [`${name}_ESCAPED`]: key.replaceAll('\n', '\\n'),
    [`${name}_CRLF`]: key.replaceAll('\n', '\r\n'),
    [`${name}_SPACES`]: key.replaceAll('\n', ' '),
    [`${name}_JSON`]: JSON.stringify({key}),
  };
}

function ofText(name: string, text: string): Needles {
  return [
    [name, text],
    [`${name} in base64`, Buffer.from(text).toString('base64').replace(/=+$/, '').slice(0, -1)],
    [`${name} in hex`, Buffer.from(text).toString('hex')],
    [`${name} in a URL`, encodeURIComponent(text)],
  ];
}

const slice = 24;

/** Each part of its base64 that is in no public key. */
function ofKeyText(text: string, publicKey: string): Needles {
  const body = text.replace(/-----.*?-----|\s/g, '');
  const blob = Buffer.from(publicKey.split(' ')[1] ?? '', 'base64');
  const known = [0, 1, 2].map((shift) => Buffer.concat([Buffer.alloc(shift), blob]).toString('base64'));
  const header = Buffer.from('openssh-key-v1\0\0\0\0\u0004none\0\0\0\u0004none\0\0\0\0').toString('base64');
  const needles: [string, string][] = [];
  for (let at = 0; at + slice <= body.length; at++) {
    const part = body.slice(at, at + slice);
    if ([...known, header].some((one) => one.includes(part))) continue;
    needles.push([`a part of a key's base64, from ${String(at)}`, part]);
  }
  return needles;
}

/** The numbers that make it private, in each form in which they could be told. */
function secretBytes(plain: string): Needles {
  let numbers: Buffer[];
  if (plain.includes('OPENSSH')) {
    // The seed stands before the public key, for the second time, in the private part.
    const bytes = Buffer.from(plain.replace(/-----.*?-----|\s/g, ''), 'base64');
    const at = bytes.lastIndexOf(Buffer.from([0, 0, 0, 0x40])) + 4;
    numbers = [bytes.subarray(at, at + 32)];
    expect(createPublicKeyOf(numbers[0] ?? Buffer.alloc(0))).toEqual(bytes.subarray(at + 32, at + 64));
  } else {
    const {d = '', p, q} = createPrivateKey(plain).export({format: 'jwk'});
    numbers = [d, p, q].filter((one) => one !== undefined).map((one) => Buffer.from(one, 'base64url'));
  }
  return numbers.flatMap((number) => [
    ['the bytes of a key', number.subarray(0, slice).toString('latin1')] as const,
    ['the bytes of a key in hex', number.subarray(0, slice).toString('hex')] as const,
    ...[0, 1, 2].flatMap((shift) => {
      const text = Buffer.concat([Buffer.alloc(shift), number])
        .toString('base64')
        .slice(4, 4 + slice);
      const forms = [text, text.replaceAll('+', '-').replaceAll('/', '_')];
      return forms.map((form) => ['the bytes of a key in base64', form] as const);
    }),
  ]);
}

/** The seed of an Ed25519 key in PKCS #8, to see that it is one. */
function createPublicKeyOf(seed: Buffer): Buffer {
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
  const {x = ''} = createPublicKey(createPrivateKey({key: der, format: 'der', type: 'pkcs8'})).export({format: 'jwk'});
  return Buffer.from(x, 'base64url');
}

/** The names of what is in a text, which is in latin1, as are the needles that are no text. */
function found(haystack: string, needles: Needles): string[] {
  return [...new Set(needles.flatMap(([name, needle]) => (haystack.includes(needle) ? [name] : [])))];
}

function onDisk(folder: string, needles: Needles): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, {recursive: true, withFileTypes: true}).flatMap((entry) => {
    if (!entry.isFile()) return [];
    const path = join(entry.parentPath, entry.name);
    return found(read(path), needles).map((name) => `${path}: ${name}`);
  });
}

function modeOf(path: string): string {
  return (statSync(path).mode & 0o777).toString(8);
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
