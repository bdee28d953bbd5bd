import {spawn} from 'node:child_process';
import {randomBytes} from 'node:crypto';
import {once} from 'node:events';
import {
  accessSync,
  constants,
  existsSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {userInfo} from 'node:os';
import {join} from 'node:path';
import {text} from 'node:stream/consumers';
import {findProgram, guard, temporaryFolder} from './processes.js';
import {PrivateSshd, sshdKnows, sshdPath} from './sshd.js';

export interface PasswordSshdOptions {
  /** What the server calls for, as `AuthenticationMethods` in sshd_config(5) has it. Default `'password'`. */
  methods?: string;
  /** Without one, only a code is asked for. */
  password?: string;
  /**
   * Whether a one-time code is asked for, after the password if there is one: in one conversation, or by
   * keyboard-interactive alone where `methods` has `password,keyboard-interactive`.
   */
  code?: boolean;
  /** What the server says before it asks for anything: by keyboard-interactive it comes in front of the question. */
  text?: string;
  /** More lines of `sshd_config`; they win over all others. */
  config?: readonly string[];
  /** Default: a free one. */
  port?: number;
}

const services = '/etc/pam.d';

/** Only root may tell PAM how a service logs in. */
export const canLogInByPassword =
  isWritable(services) && ['pam_exec.so', 'pam_permit.so', 'pam_echo.so'].every(hasModule);

/** Debian: libpam-oath and oathtool. */
export const canLogInByCode = canLogInByPassword && hasModule('pam_oath.so') && findProgram('oathtool') !== undefined;

/**
 * A real sshd that lets the user who runs the tests in by password, by keyboard-interactive or by a one-time code, without
 * a user or a password of the system being touched: PAM is given a service that is this server's alone, and asks a script
 * in its private folder.
 *
 * While it runs, whoever is on this machine and knows the password gets in as that user: let it be a random one. Of a
 * longer password PAM sees no more than 511 bytes.
 */
export class PasswordSshd {
  readonly sshd: PrivateSshd;
  /** The file that tells PAM about the service, deleted by `stop()` or, at the latest, when this process has ended. */
  readonly serviceFile: string;
  readonly #folder: string;

  static async start(options: PasswordSshdOptions): Promise<PasswordSshd> {
    const {methods = 'password', password, code = false, port, config = []} = options;
    if (password === undefined && !code) throw new Error('Expected a password, a code or both to be asked for');
    const service = `autossh-test-${randomBytes(8).toString('hex')}`;
    const serviceFile = join(services, service);
    const folder = temporaryFolder('logins-');
    try {
      writeFolder(folder, options);
      guard('folder', serviceFile);
      writeFileSync(serviceFile, serviceLines(folder, methods, options), {mode: 0o644, flag: 'wx'});
      // Before OpenSSH 9.8 a service has the name of the program. sshd finds its way back to itself by this path.
      const named = sshdKnows('PAMServiceName');
      const program = named ? sshdPath() : join(folder, service);
      if (!named) symlinkSync(sshdPath(), program);
      const yes = (method: string): string => (methods.includes(method) ? 'yes' : 'no');
      const sshd = await PrivateSshd.start({
        program,
        ...(port === undefined ? {} : {port}),
        config: [
          ...config,
          'UsePAM yes',
          ...(named ? [`PAMServiceName ${service}`] : []),
          `AuthenticationMethods ${methods}`,
          `PubkeyAuthentication ${yes('publickey')}`,
          `PasswordAuthentication ${yes('password')}`,
          `KbdInteractiveAuthentication ${yes('keyboard-interactive')}`,
        ],
      });
      return new PasswordSshd(sshd, serviceFile, folder);
    } catch (error) {
      discard(serviceFile, folder);
      throw error;
    }
  }

  private constructor(sshd: PrivateSshd, serviceFile: string, folder: string) {
    this.sshd = sshd;
    this.serviceFile = serviceFile;
    this.#folder = folder;
  }

  /** From the next attempt on. */
  setPassword(password: string): void {
    writePassword(this.#folder, password);
  }

  /** How many passwords PAM has been given, right or wrong. Empty ones sshd refuses itself. */
  attempts(): number {
    return readFileSync(join(this.#folder, 'attempts'), 'utf8').length / 2;
  }

  /** The code that lets in now: a new one only after this one has been used. */
  async nextCode(): Promise<string> {
    const [, , , seed = '', last] = readFileSync(codesFile(this.#folder), 'utf8').trim().split(/\s+/);
    const counter = last === undefined ? 0 : Number(last) + 1;
    return (await output('oathtool', ['--hotp', `--counter=${counter}`, '-'], `${seed}\n`)).trim();
  }

  async stop(): Promise<void> {
    await this.sshd.stop();
    discard(this.serviceFile, this.#folder);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

function writeFolder(folder: string, {password, code = false, text}: PasswordSshdOptions): void {
  writeFileSync(join(folder, 'attempts'), '', {mode: 0o600});
  if (password !== undefined) writePassword(folder, password);
  writeFileSync(join(folder, 'check-password'), checkPassword, {mode: 0o700});
  writeFileSync(join(folder, 'knows-password'), knowsPassword, {mode: 0o700});
  const seed = randomBytes(20).toString('hex');
  // pam_oath adds, to this line, the number of the last code that was used.
  if (code) writeFileSync(codesFile(folder), `HOTP ${userInfo().username} - ${seed}\n`, {mode: 0o600});
  if (text !== undefined) writeFileSync(join(folder, 'text'), text.replaceAll('%', '%%'), {mode: 0o600});
}

/** Says by its end whether the password is the right one, and never writes it anywhere. */
const checkPassword = `#!/bin/sh
cd "\${0%/*}" || exit 1
echo 1 >> attempts
exec cmp -s - password
`;

/** Whether a password was right already, in an authentication method before this one. */
const knowsPassword = `#!/bin/sh
case $SSH_AUTH_INFO_0 in password*) exit 0 ;; esac
exit 1
`;

/** See pam.d(5). A check that fails ends it, so that nobody is asked for a code after a wrong password. */
function serviceLines(folder: string, methods: string, {password, code = false, text}: PasswordSshdOptions): string {
  const check = `auth requisite pam_exec.so quiet expose_authtok ${join(folder, 'check-password')}`;
  // Both methods go this way. When both are called for, one asks for the password and the other one for the code.
  const split = code && password !== undefined && methods.includes('password,keyboard-interactive');
  const knows = `auth [success=2 default=ignore] pam_exec.so quiet ${join(folder, 'knows-password')}`;
  return [
    ...(text === undefined ? [] : [`auth optional pam_echo.so file=${join(folder, 'text')}`]),
    ...(split ? [knows] : []),
    ...(password === undefined ? [] : [check]),
    ...(split ? ['auth [default=1] pam_permit.so'] : []),
    ...(code ? [`auth requisite pam_oath.so usersfile=${codesFile(folder)} window=1 digits=6`] : []),
    // The others have nothing to say about credentials, which sshd takes for a refusal.
    'auth required pam_permit.so',
    'account required pam_permit.so',
    'session required pam_permit.so',
    '',
  ].join('\n');
}

/** sshd may be reading it: it is the old one or the new one, never a part of one. */
function writePassword(folder: string, password: string): void {
  const fresh = join(folder, 'password.new');
  writeFileSync(fresh, password, {mode: 0o600});
  renameSync(fresh, join(folder, 'password'));
}

function codesFile(folder: string): string {
  return join(folder, 'codes');
}

function discard(serviceFile: string, folder: string): void {
  rmSync(serviceFile, {force: true});
  rmSync(folder, {recursive: true, force: true});
}

async function output(command: string, args: readonly string[], input: string): Promise<string> {
  const child = spawn(command, args, {stdio: ['pipe', 'pipe', 'inherit']});
  child.stdin.end(input);
  const exit = once(child, 'close');
  const said = await text(child.stdout);
  const [code] = (await exit) as [number | null];
  if (code !== 0) throw new Error(`${command} ended with ${code}`);
  return said;
}

/** Their folder has the name of the machine's architecture in it, or none. */
function hasModule(name: string): boolean {
  return ['/lib', '/usr/lib', '/lib64', '/usr/lib64'].some((libraries) =>
    ['', ...entries(libraries)].some((folder) => existsSync(join(libraries, folder, 'security', name))),
  );
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return process.getuid?.() === 0;
  } catch {
    return false;
  }
}
