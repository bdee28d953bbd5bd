import {describe, expect, test} from 'vitest';
import {type Settings, resolveOptions} from '../src/options.js';
import {hostKeyArguments, readOffered, uncheckedBy} from '../src/ssh/host-key.js';
import {readRawLetters, readRawOption, withoutCommand} from '../src/ssh/raw-option.js';

const ed25519 = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPfmeXpGmlHAkxOQ4mbbZYudYVW8WCjhb4q1lQUYtTP4';
const fingerprint = `SHA256:p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM`;

const files = {knownHosts: '/k', command: '/c', keeper: '/p', offered: '/o'};

function withHost(options: object): Settings {
  return resolveOptions({host: 'h', ...options}, {});
}

function pinsOf(hostKey: unknown): NonNullable<Settings['hostKey']['pins']> {
  const {pins} = withHost({hostKey}).hostKey;
  if (!pins) throw new Error('Expected pins');
  return pins;
}

describe('hostKey', () => {
  test.each([
    ['a fingerprint', fingerprint, {fingerprints: [fingerprint], lines: []}],
    ['one that is padded', `${fingerprint}=`, {fingerprints: [fingerprint], lines: []}],
    ['with white space around it', `\t${fingerprint} \r\n`, {fingerprints: [fingerprint], lines: []}],
    [
      'a line of ssh-keygen -l',
      `256 ${fingerprint} root@a (b) c (ED25519)`,
      {fingerprints: [fingerprint], lines: [], algorithms: 'ssh-ed25519'},
    ],
    [
      'such a line of an RSA key',
      `3072 ${fingerprint} no comment (RSA)`,
      {fingerprints: [fingerprint], lines: [], algorithms: 'rsa-sha2-512,rsa-sha2-256'},
    ],
    ['a public key', ed25519, {lines: [`* ${ed25519}`]}],
    ['a public key and its comment', `${ed25519} root@host # x`, {lines: [`* ${ed25519}`]}],
    ['a line of known_hosts', `[h]:22,!x,*.y ${ed25519}`, {lines: [`[h]:22,!x,*.y ${ed25519}`]}],
    ['a hashed one', `|1|aGFzaA==|aGFzaA== ${ed25519}`, {lines: [`|1|aGFzaA==|aGFzaA== ${ed25519}`]}],
    [
      'an authority, which needs certificates',
      `@cert-authority *.y ${ed25519}`,
      {lines: [`@cert-authority *.y ${ed25519}`], algorithms: undefined},
    ],
    [
      "ssh-keyscan's output",
      `# h:22 SSH-2.0-x\nh ${ed25519}\n\n# h:22\n`,
      {lines: [`h ${ed25519}`], algorithms: '-*-cert-v01@openssh.com'},
    ],
    ['several', [fingerprint, ed25519], {fingerprints: [fingerprint], lines: [`* ${ed25519}`]}],
    [
      'a line of ssh-keygen -l and a public key of another kind, asked for in this order',
      [`3072 ${fingerprint} me (RSA)`, ed25519],
      {algorithms: 'rsa-sha2-512,rsa-sha2-256,ssh-ed25519'},
    ],
    [
      'the same the other way round, with a host name',
      [`h ${ed25519}`, `256 ${fingerprint} me (ECDSA)`],
      {algorithms: 'ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521'},
    ],
    [
      'one of a kind each, which is asked for once',
      [ed25519, `256 ${fingerprint} me (ED25519)`],
      {algorithms: 'ssh-ed25519'},
    ],
    [
      'a line of ssh-keygen -l beside a revoked key, whose kind nobody wants',
      [`3072 ${fingerprint} me (RSA)`, `@revoked * ${ed25519}`],
      {algorithms: 'rsa-sha2-512,rsa-sha2-256'},
    ],
    [
      'a line of ssh-keygen -l and a bare fingerprint, which may be of any kind',
      [`3072 ${fingerprint} me (RSA)`, fingerprint],
      {algorithms: '-*-cert-v01@openssh.com'},
    ],
    [
      'a line of ssh-keygen -l and an authority',
      [`3072 ${fingerprint} me (RSA)`, `@cert-authority * ${ed25519}`],
      {algorithms: undefined},
    ],
  ])('is %s', (_what, hostKey, wanted) => {
    expect(pinsOf(hostKey)).toMatchObject(wanted);
  });

  test.each([
    ['nothing', ''],
    ['no key', []],
    ['an empty one among others', [ed25519, '']],
    ['comments alone', '# h:22 SSH-2.0-x\n'],
    ['a number', 1],
    ['MD5', 'MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48'],
    ['a fingerprint that is too short', 'SHA256:p2QAMXNIC1TJYWeIOttrVc98'],
    ['two fingerprints on one line', `${fingerprint} ${fingerprint}`],
    ['a fingerprint in other letters', fingerprint.toLowerCase()],
    ['a fingerprint and a shell', `${fingerprint};id`],
    ['a kind that is not that of the key', ed25519.replace('ssh-ed25519', 'ssh-rsa')],
    ['a key without its kind', ed25519.split(' ')[1]],
    ['a name without a key', 'h'],
    ['a marker that there is none of', `@authority h ${ed25519}`],
    ['a key for SSH 1', 'h 1024 35 123456789'],
    ['NUL', `h\0 ${ed25519}`],
    ['base64 that is no key', 'ssh-ed25519 AAAA'],
    [
      'a certificate, which nobody knows a host by',
      `ssh-ed25519-cert-v01@openssh.com ${Buffer.from(`\0\0\0\x20ssh-ed25519-cert-v01@openssh.com0123456789`, 'latin1').toString('base64')}`,
    ],
  ])('is not %s', (_what, hostKey) => {
    expect(() => pinsOf(hostKey)).toThrow(/^Expected `hostKey(\[\d\])?` to be /);
  });

  test('says what to do with a fingerprint by MD5 and with a certificate', () => {
    expect(() => pinsOf('16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48')).toThrow(/SHA256/);
    const blob = Buffer.from('\0\0\0\x20ssh-ed25519-cert-v01@openssh.com0123456789', 'latin1').toString('base64');
    expect(() => pinsOf(`ssh-ed25519-cert-v01@openssh.com ${blob}`)).toThrow(/@cert-authority/);
  });

  test('a private key in its place is not repeated', () => {
    const key = `-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEIFakeFakeFakeFakeFake`;
    expect(() => pinsOf(key)).toThrow(/^(?!.*Fake)/);
  });

  test('leaves no room for a second opinion', () => {
    const options = hostKeyArguments(withHost({hostKey: ed25519}).hostKey, files, false);
    expect(Object.fromEntries(options)).toEqual({
      StrictHostKeyChecking: 'yes',
      UserKnownHostsFile: '/k',
      GlobalKnownHostsFile: '/dev/null',
      KnownHostsCommand: 'none',
      FingerprintHash: 'sha256',
      VerifyHostKeyDNS: 'no',
      NoHostAuthenticationForLocalhost: 'no',
      CheckHostIP: 'no',
      UpdateHostKeys: 'no',
      HostKeyAlgorithms: '-*-cert-v01@openssh.com',
    });
  });

  test("cannot be had with hostKeyCheck: 'accept-new'", () => {
    expect(() => withHost({hostKey: ed25519, hostKeyCheck: 'accept-new'})).toThrow(/`hostKeyCheck` not to be/);
    expect(withHost({hostKey: ed25519, hostKeyCheck: 'strict'}).hostKey.check).toBe('strict');
  });
});

describe('hostKeyCheck', () => {
  const given = (check: string, isKept = false): object =>
    Object.fromEntries(hostKeyArguments(withHost({hostKeyCheck: check}).hostKey, files, isKept));

  test("'strict' leaves a KnownHostsCommand of ssh_config alone, which tells what is known, but not the name service", () => {
    expect(given('strict')).toEqual({
      StrictHostKeyChecking: 'yes',
      NoHostAuthenticationForLocalhost: 'no',
      VerifyHostKeyDNS: 'no',
    });
  });

  test("'accept-new' accepts once", () => {
    const wanted = {
      StrictHostKeyChecking: 'accept-new',
      NoHostAuthenticationForLocalhost: 'no',
      VerifyHostKeyDNS: 'no',
      KnownHostsCommand: '/bin/sh /p /k /o %t %K',
    };
    expect(given('accept-new')).toEqual(wanted);
    expect(given('accept-new', true)).toEqual({...wanted, StrictHostKeyChecking: 'yes'});
  });

  test.each([
    ['a key', `* ${ed25519}\n`, `* ${ed25519}`],
    ['a key that an authority has signed', `* ssh-ed25519-cert-v01@openssh.com AAAA\n`, 'signed'],
    ['nothing', '', undefined],
    ['half a line', `* ${ed25519.slice(0, 40)}`, undefined],
    ['two lines', `* ${ed25519}\n* ${ed25519}\n`, undefined],
  ])('what was accepted is read: %s', (_what, said, kept) => {
    expect(readOffered(said)).toBe(kept);
  });
});

/** Every way to write an option that ssh 9.2 was seen to take. */
const spellings: readonly (readonly string[])[] = [
  ['-o', 'NAME=VALUE'],
  ['-o', 'NAME VALUE'],
  ['-o', 'NAME = VALUE'],
  ['-o', '\tNAME\tVALUE'],
  ['-oNAME=VALUE'],
  ['-o NAME VALUE'],
  ['-vvoNAME=VALUE'],
  ['-4o', 'NAME=VALUE'],
  ['-o', '"NAME" VALUE'],
  ['-o"NAME"VALUE'],
  ['-o', '"NAME"="VALUE"'],
  ['-o', '=NAME=VALUE'],
  ['-o', '""NAME VALUE'],
];
const cases = (name: string): readonly string[] => [name, name.toLowerCase(), name.toUpperCase()];
const inEverySpelling = (name: string, value: string): readonly (readonly string[])[] =>
  cases(name).flatMap((one) =>
    spellings.map((words) => words.map((word) => word.replace('NAME', one).replace('VALUE', value))),
  );

describe('a raw option', () => {
  test.each([
    ['in every spelling', inEverySpelling('StrictHostKeyChecking', 'no')],
    ['with a part of its name in quotes', [['-o', 'Strict"HostKeyChecking"no'], ['-o""Strict"HostKeyChecking" no']]],
  ])('is read %s', (_what, all) => {
    for (const words of all) {
      const read = words.map((word) => readRawOption(word, ['HostKeyAlias', 'StrictHostKeyChecking']));
      expect([words, read.at(-1)?.[0]]).toEqual([words, 'StrictHostKeyChecking']);
      expect(read.at(-1)?.[1].replaceAll('"', '').trim()).toBe('no');
    }
  });

  test.each([
    '-o',
    '-v',
    'HostKeyAliases=x',
    'HostKey=x',
    '-oXHostKeyAlias=x',
    'HostKeyAlias',
    '-iHostKeyAliasno x',
    'x',
  ])('is not seen in %s', (word) => {
    expect(readRawOption(word, ['HostKeyAlias'])).toBeUndefined();
  });

  test('letters and operands are told apart as ssh does', () => {
    expect(readRawLetters(['-4vS', '/s', '-J', '-W', '-i/S', '-oJ=x'])).toEqual({
      letters: new Map([
        ['4', 0],
        ['v', 0],
        ['S', 0],
        ['J', 2],
        ['i', 4],
        ['o', 5],
      ]),
      operand: undefined,
    });
    expect(readRawLetters(['-v', 'other', '-J', 'x']).operand).toBe(1);
    expect(readRawLetters(['-p', '22', '--']).operand).toBe(2);
    expect(readRawLetters(['-i', 'key', '-']).operand).toBe(2);
    expect(readRawLetters(['-i'])).toEqual({letters: new Map([['i', 0]]), operand: undefined});
  });
});

test.each([
  [['-N', 'h'], 2],
  [['-p', '22', 'h', '-o', 'X=y', 'command', '-o', 'Z=y'], 5],
  [['h', '--', 'command'], 1],
  [['-v', '--', 'h', '-v'], 1],
  [[], 0],
])('the options of a command line end before the command: %j', (words, count) => {
  expect(withoutCommand(words)).toEqual(words.slice(0, count));
});

const decided = {
  hostKey: [
    'StrictHostKeyChecking',
    'UserKnownHostsFile',
    'GlobalKnownHostsFile',
    'KnownHostsCommand',
    'FingerprintHash',
    'VerifyHostKeyDNS',
    'NoHostAuthenticationForLocalhost',
    'CheckHostIP',
    'UpdateHostKeys',
    'HostKeyAlgorithms',
    'HostKeyAlias',
    'ControlPath',
    'GSSAPIKeyExchange',
  ],
  hostKeyCheck: ['StrictHostKeyChecking', 'NoHostAuthenticationForLocalhost', 'VerifyHostKeyDNS', 'ControlPath'],
  jump: ['ProxyJump', 'ProxyCommand', 'ControlPath'],
};
const values = {hostKey: ed25519, hostKeyCheck: 'strict', jump: 'hop'};

describe.each(['hostKey', 'hostKeyCheck', 'jump'] as const)('what would undo %s is refused', (by) => {
  test.each(decided[by])('%s', (name) => {
    const wanted = (path: string): RegExp =>
      new RegExp(`^Expected \`${path}\` to be absent where \`${by}\` is given`, 'i');
    for (const one of cases(name))
      expect(() => withHost({[by]: values[by], sshOptions: {[one]: 'no'}})).toThrow(wanted(`sshOptions.${name}`));
    for (const words of inEverySpelling(name, 'no'))
      expect(() => withHost({[by]: values[by], extraArgs: ['-v', ...words]}), words.join(' ')).toThrow(
        wanted(String.raw`extraArgs\[${String(words.length)}\]`),
      );
  });

  test.each([
    ['a master of somebody else', ['-S', '/master']],
    ['the same in a cluster', ['-vS/master']],
    ['another destination', ['other']],
    ['another destination with a command', ['other', 'true']],
    ['the end of all options', ['--']],
    ['the end of all options and another destination', ['-v', '--', 'other']],
  ])('%s', (_what, extraArgs) => {
    expect(() => withHost({[by]: values[by], extraArgs})).toThrow(
      new RegExp(`^Expected \`extraArgs\\[\\d\\]\` to be absent where \`${by}\` is given`),
    );
  });

  test('but not what has nothing to do with it', () => {
    const extraArgs = ['-4', '-C', '-F', '/config', '-o', 'HostName=1.2.3.4', '-oUser=x', '-i', 'key', '-e', 'none'];
    expect(withHost({[by]: values[by], extraArgs, sshOptions: {Compression: true}}).extraArgs).toEqual(extraArgs);
  });
});

test("hostKeyCheck: 'accept-new' needs KnownHostsCommand for itself", () => {
  const given = {hostKeyCheck: 'accept-new', sshOptions: {KnownHostsCommand: '/bin/tell %H'}};
  expect(() => withHost(given)).toThrow('`sshOptions.KnownHostsCommand` to be absent where `hostKeyCheck` is given');
});

test.each([[['-J', 'other']], [['-4J', 'other']], [['-Jother']]])(
  'another way to the server is refused beside jump: %j',
  (extraArgs) => {
    expect(() => withHost({jump: 'hop', extraArgs})).toThrow('`extraArgs[0]`');
    expect(withHost({hostKey: ed25519, extraArgs}).extraArgs).toEqual(extraArgs);
  },
);

describe('an unchecked host key', () => {
  const by = (options: object): string | undefined => uncheckedBy(withHost(options));

  test.each(['no', 'off', 'false', 'NO', '"no"', "'no'", 'n"o"', 'no # really'])(
    'StrictHostKeyChecking %s',
    (value) => {
      for (const one of cases('StrictHostKeyChecking')) {
        expect(by({sshOptions: {[one]: value}})).toContain('StrictHostKeyChecking=');
        expect(by({extraArgs: ['-o', `${one} ${value}`]})).toContain('StrictHostKeyChecking=');
      }
    },
  );

  test('by sshOptions and extraArgs in every spelling', () => {
    expect(by({sshOptions: {StrictHostKeyChecking: false}})).toBe('StrictHostKeyChecking=no');
    expect(by({sshOptions: {StrictHostKeyChecking: ['no', 'yes']}})).toBe('StrictHostKeyChecking=no');
    for (const extraArgs of inEverySpelling('StrictHostKeyChecking', 'no'))
      expect([extraArgs, by({extraArgs})]).toEqual([extraArgs, 'StrictHostKeyChecking=no']);
    for (const extraArgs of inEverySpelling('NoHostAuthenticationForLocalhost', 'yes'))
      expect([extraArgs, by({extraArgs})]).toEqual([extraArgs, 'NoHostAuthenticationForLocalhost=yes']);
  });

  test('by a raw command line, but not by what runs at the server', () => {
    const raw = (...sshArguments: string[]): string | undefined => uncheckedBy(resolveOptions({sshArguments}, {}));
    for (const words of inEverySpelling('StrictHostKeyChecking', 'no')) {
      expect([words, raw(...words, '-N', 'h')]).toEqual([words, 'StrictHostKeyChecking=no']);
      expect([words, raw('-N', 'h', ...words)]).toEqual([words, 'StrictHostKeyChecking=no']);
      expect([words, raw('h', '-v', 'ssh', ...words, 'other')]).toEqual([words, undefined]);
      expect([words, raw('--', 'h', ...words)]).toEqual([words, undefined]);
    }
  });

  test('by a program that says which keys are known, whose arguments are not repeated', () => {
    for (const sshOptions of [{KnownHostsCommand: '/bin/echo * %t %K'}, {knownhostscommand: ['/bin/echo * %t %K']}]) {
      expect(by({sshOptions})).toMatch(/^KnownHostsCommand, (?!.*echo)/);
      expect(by({sshOptions, hostKeyCheck: 'strict'})).toMatch(/^KnownHostsCommand, /);
    }
    expect(by({extraArgs: ['-oKnownHostsCommand=/bin/echo * %t %K']})).toMatch(/^KnownHostsCommand, /);
    expect(by({sshOptions: {KnownHostsCommand: 'none'}})).toBeUndefined();
  });

  test.each([
    [{sshOptions: {StrictHostKeyChecking: 'accept-new', UserKnownHostsFile: '/dev/null'}}],
    [{sshOptions: {StrictHostKeyChecking: 'accept-new'}, extraArgs: ['-oUserKnownHostsFile=none']}],
    [{hostKeyCheck: 'accept-new', sshOptions: {UserKnownHostsFile: '/dev/null'}}],
    [{hostKeyCheck: 'accept-new', extraArgs: ['-o', 'userknownhostsfile "/dev/null" /dev/null']}],
  ])('accepted anew each time, because nothing is written down: %j', (options) => {
    expect(by(options)).toContain('accept-new');
  });

  test.each([
    [{}],
    [{sshOptions: {StrictHostKeyChecking: true}}],
    [{sshOptions: {StrictHostKeyChecking: 'accept-new'}}],
    [{sshOptions: {StrictHostKeyChecking: 'ask', UserKnownHostsFile: '/dev/null'}}],
    [{sshOptions: {UserKnownHostsFile: '/dev/null'}}],
    [{hostKeyCheck: 'strict', sshOptions: {UserKnownHostsFile: '/dev/null'}}],
    [{hostKeyCheck: 'accept-new', sshOptions: {UserKnownHostsFile: '/dev/null /my/file'}}],
    [{sshOptions: {NoHostAuthenticationForLocalhost: false}}],
    [{extraArgs: ['-o', 'StrictHostKeyChecking=yes'], sshOptions: {StrictHostKeyChecking: 'no'}}],
    [{sshOptions: {StrictHostKeyChecking: ['yes', 'no']}}],
  ])('is not what %j makes', (options) => {
    expect(by(options)).toBeUndefined();
  });
});
