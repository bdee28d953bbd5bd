import {spawn, type ChildProcess} from 'node:child_process';
import {randomBytes} from 'node:crypto';
import {once} from 'node:events';
import {existsSync, readFileSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {text} from 'node:stream/consumers';
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from 'vitest';
import {
  PasswordSshd,
  alive,
  canLogInByCode,
  canLogInByPassword,
  dyingWithUs,
  expectNothingLeft,
  guard,
  ownTemporaryFolder,
  pollUntil,
  snapshot,
  temporaryFolder,
  waitForExit,
  type PasswordSshdOptions,
  type Snapshot,
} from './support/index.js';

let before: Snapshot;
let server: PasswordSshd | undefined;
let folder: string;

// The guardian starts with the first thing that is guarded, and stays.
guard('folder', '/nonexistent');

let restoreTemporaryFolder: () => void;
beforeAll(() => {
  restoreTemporaryFolder = ownTemporaryFolder();
});
afterAll(() => {
  restoreTemporaryFolder();
});

beforeEach(() => {
  before = snapshot();
  folder = temporaryFolder('askpass-');
});

afterEach(async () => {
  await server?.stop();
  server = undefined;
  rmSync(folder, {recursive: true, force: true});
  await expectNothingLeft(before, {within: 2_000, resources: false});
});

async function start(options: PasswordSshdOptions): Promise<PasswordSshd> {
  server = await PasswordSshd.start(options);
  return server;
}

function somePassword(): string {
  return randomBytes(12).toString('base64');
}

interface Login {
  /** Of ssh: 0 if it was let in. */
  code: number | null;
  /** What it was asked for, in this order. */
  asked: string[];
  stderr: string;
}

/** One plain ssh that runs `true`, and has a program in a folder of its own answer what it is asked for. */
async function logIn(
  {sshd}: PasswordSshd,
  {password, code, methods}: {password?: string; code?: string; methods: string},
): Promise<Login> {
  const asked = join(folder, 'asked');
  const askpass = join(folder, 'askpass');
  writeFileSync(asked, '');
  writeFileSync(join(folder, 'password'), password ?? '', {mode: 0o600});
  writeFileSync(join(folder, 'code'), code ?? '', {mode: 0o600});
  writeFileSync(
    askpass,
    `#!/bin/sh
cd "\${0%/*}" || exit 1
printf '%s\\0' "$1" >> asked
case $1 in
  *'One-time password '*) exec cat code ;;
  *assword:*) exec cat password ;;
esac
exit 1
`,
    {mode: 0o700},
  );
  const [command = '', ...args] = dyingWithUs([
    ...['ssh', '-F', sshd.configFile, '-o', `PreferredAuthentications=${methods}`],
    ...['-o', 'NumberOfPasswordPrompts=1', 'tunnel', 'true'],
  ]);
  const child = spawn(command, args, {
    env: {...process.env, SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: 'force', LC_ALL: 'C.UTF-8'},
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exit = once(child, 'close');
  const stderr = await text(child.stderr);
  const [status] = (await exit) as [number | null];
  return {code: status, asked: readFileSync(asked, 'utf8').split('\0').slice(0, -1), stderr};
}

const passwordOf = ({sshd}: PasswordSshd): string => `${sshd.user}@${sshd.host}'s password: `;
const promptOf = ({sshd}: PasswordSshd): string => `(${sshd.user}@${sshd.host}) Password: `;
const codeOf = ({sshd}: PasswordSshd): string =>
  `(${sshd.user}@${sshd.host}) One-time password (OATH) for \`${sshd.user}': `;

describe.skipIf(!canLogInByPassword)('a server that asks for a password (skipped: needs root, and PAM)', () => {
  test.each([
    {methods: 'password', question: passwordOf},
    {methods: 'keyboard-interactive', question: promptOf},
  ])('lets in by $methods who knows it, and nobody else', async ({methods, question}) => {
    const password = somePassword();
    const asking = await start({methods, password});
    expect(await logIn(asking, {methods, password})).toEqual({code: 0, asked: [question(asking)], stderr: ''});
    expect(asking.sshd.log.join('\n')).toContain(`Accepted ${methods}`);
    expect(asking.attempts()).toBe(1);

    const refused = await logIn(asking, {methods, password: `${password}x`});
    expect(refused.code).toBe(255);
    expect(refused.stderr).toContain(`Permission denied (${methods}).`);
    expect(asking.attempts()).toBe(2);

    // It has no other way in: neither the key nor the other method.
    for (const other of ['publickey', 'password', 'keyboard-interactive'].filter((name) => name !== methods))
      expect((await logIn(asking, {methods: other, password})).code).toBe(255);
    expect(asking.attempts()).toBe(2);
  });

  test('takes a new password while it runs', async () => {
    const [old, young] = [somePassword(), somePassword()];
    const asking = await start({password: old});
    expect((await logIn(asking, {methods: 'password', password: old})).code).toBe(0);
    asking.setPassword(young);
    expect((await logIn(asking, {methods: 'password', password: old})).code).toBe(255);
    expect((await logIn(asking, {methods: 'password', password: young})).code).toBe(0);
    expect(asking.attempts()).toBe(3);
  });

  test.each([
    {kind: 'spaces at both ends', password: `  ${somePassword()}  `},
    {kind: 'what a shell would expand', password: `'"\\n$HOME\`${somePassword()}%s*\\`},
    {kind: 'letters of other scripts', password: `пароль密码${somePassword()}`},
    {kind: '500 bytes', password: randomBytes(250).toString('hex')},
  ])('takes a password with $kind', async ({password}) => {
    const asking = await start({password});
    expect((await logIn(asking, {methods: 'password', password})).code).toBe(0);
    expect((await logIn(asking, {methods: 'password', password: password.slice(0, -1)})).code).toBe(255);
  });

  test('does not write passwords down', async () => {
    const [right, wrong] = [somePassword(), somePassword()];
    const asking = await start({password: right, config: ['LogLevel DEBUG3']});
    await logIn(asking, {methods: 'password', password: wrong});
    await logIn(asking, {methods: 'password', password: right});
    const said = [...asking.sshd.log, readFileSync(asking.serviceFile, 'utf8')].join('\n');
    expect(said).toContain('Accepted password');
    expect(said).not.toContain(right);
    expect(said).not.toContain(wrong);
  });

  test('wants the key as well, with publickey,password', async () => {
    const password = somePassword();
    const asking = await start({methods: 'publickey,password', password});
    const both = 'publickey,password';
    expect(await logIn(asking, {methods: both, password})).toMatchObject({code: 0, asked: [passwordOf(asking)]});
    expect((await logIn(asking, {methods: 'password', password})).code).toBe(255);
    expect(await logIn(asking, {methods: 'publickey', password})).toMatchObject({code: 255, asked: []});
  });

  test('asks twice, with password,keyboard-interactive', async () => {
    const password = somePassword();
    const methods = 'password,keyboard-interactive';
    const asking = await start({methods, password});
    const asked = [passwordOf(asking), promptOf(asking)];
    expect(await logIn(asking, {methods, password})).toMatchObject({code: 0, asked});
    expect(asking.attempts()).toBe(2);
  });

  test('takes either, with alternatives', async () => {
    const password = somePassword();
    const asking = await start({methods: 'publickey keyboard-interactive', password});
    expect(await logIn(asking, {methods: 'publickey'})).toMatchObject({code: 0, asked: []});
    expect(await logIn(asking, {methods: 'keyboard-interactive', password})).toMatchObject({code: 0});
  });

  test('says its text first: to the user, or in front of its question', async () => {
    const password = somePassword();
    const said = 'Odd (root@elsewhere) 100 % password: ünd\n\ttwo lines';
    const methods = 'password keyboard-interactive';
    const asking = await start({methods, password, text: `${said}\n`});
    const byPassword = await logIn(asking, {methods: 'password', password});
    expect(byPassword).toMatchObject({code: 0, asked: [passwordOf(asking)]});
    expect(byPassword.stderr.replaceAll('\r', '')).toContain(said);
    const [prompt = ''] = (await logIn(asking, {methods: 'keyboard-interactive', password})).asked;
    expect(prompt).toBe(`(${asking.sshd.user}@${asking.sshd.host}) ${said}\nPassword: `);
  });

  test('leaves nothing in /etc/pam.d when it stops, or when it cannot start', async () => {
    const services = (): string[] => readdirSync('/etc/pam.d').filter((name) => name.startsWith('autossh-test-'));
    const others = services();
    const asking = await start({password: somePassword()});
    expect(existsSync(asking.serviceFile)).toBe(true);
    await asking.stop();
    expect(existsSync(asking.serviceFile)).toBe(false);
    const mistaken = PasswordSshd.start({password: somePassword(), config: ['NoSuchKeyword yes']});
    await expect(mistaken).rejects.toThrow('NoSuchKeyword');
    expect(services().filter((name) => !others.includes(name))).toEqual([]);
  });

  test('is gone, with its file in /etc/pam.d, after its process was killed', async () => {
    const script = `
      import {PasswordSshd} from './test/support/index.ts';
      const {sshd, serviceFile} = await PasswordSshd.start({password: process.env.PASSWORD});
      console.log(JSON.stringify({serviceFile, folder: sshd.folder, pid: sshd.pid}));
      setInterval(() => {}, 1000);
    `;
    const runner = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      env: {...process.env, PASSWORD: somePassword()},
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(runner.stdout, 'data')) as [Buffer];
    const made = JSON.parse(line.toString()) as {serviceFile: string; folder: string; pid: number};
    expect(alive(made.pid)).toBe(true);
    expect(existsSync(made.serviceFile)).toBe(true);
    await end(runner);
    await waitForExit(made.pid);
    await pollUntil('both are gone', () => !existsSync(made.serviceFile) && !existsSync(made.folder));
  });
});

describe.skipIf(!canLogInByCode)('a server that asks for a code (skipped: needs root, libpam-oath, oathtool)', () => {
  const methods = 'keyboard-interactive';

  test('takes each code once, and no other', async () => {
    const asking = await start({methods, code: true});
    const code = await asking.nextCode();
    expect(await asking.nextCode()).toBe(code);
    expect(await logIn(asking, {methods, code})).toMatchObject({code: 0, asked: [codeOf(asking)]});
    expect((await logIn(asking, {methods, code})).code).toBe(255);
    expect((await logIn(asking, {methods, code: await asking.nextCode()})).code).toBe(0);
    expect(asking.attempts()).toBe(0);
  });

  test('asks for password and code in one conversation', async () => {
    const password = somePassword();
    const asking = await start({methods, password, code: true});
    const questions = [promptOf(asking), codeOf(asking)];
    const code = await asking.nextCode();
    expect(await logIn(asking, {methods, password, code: '-'})).toMatchObject({code: 255, asked: questions});
    const wrong = await logIn(asking, {methods, password: 'wrong', code});
    expect(wrong).toMatchObject({code: 255, asked: [promptOf(asking)]});
    expect(await logIn(asking, {methods, password, code})).toMatchObject({code: 0, asked: questions});
    expect(asking.attempts()).toBe(3);
  });

  test('asks for the password by one method and for the code by the other', async () => {
    const password = somePassword();
    const both = 'password,keyboard-interactive';
    const asking = await start({methods: both, password, code: true});
    const questions = [passwordOf(asking), codeOf(asking)];
    const code = await asking.nextCode();
    expect(await logIn(asking, {methods: both, password, code: '-'})).toMatchObject({code: 255, asked: questions});
    expect((await logIn(asking, {methods: 'password', password, code})).code).toBe(255);
    expect((await logIn(asking, {methods, password, code})).code).toBe(255);
    expect(await logIn(asking, {methods: both, password, code})).toMatchObject({code: 0, asked: questions});
  });
});

async function end(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}
