import {describe, expect, test} from 'vitest';
import type {AutoSSHOptions} from '../src/index.js';
import {type Settings, resolveOptions} from '../src/options.js';
import {type Hop, jumpArgument} from '../src/ssh/jump.js';
import {type LoginPlace, planLogin} from '../src/ssh/login.js';

const publicKey = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPfmeXpGmlHAkxOQ4mbbZYudYVW8WCjhb4q1lQUYtTP4';
const fingerprint = 'SHA256:p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM';
const secret = 'not-for-messages';

function withJump(jump: unknown, options: object = {}): Settings {
  return resolveOptions({host: 'h', jump, ...options} as AutoSSHOptions, {});
}

function hopsOf(jump: unknown): readonly Hop[] {
  const settings = withJump(jump);
  if (settings.jump === 'none') throw new Error('Expected hops');
  return settings.jump;
}

const place: LoginPlace = {
  folder: '/f',
  agent: undefined,
  sshPath: '/usr/bin/ssh',
  configFile: undefined,
  kept: new Map(),
};

/** The plan, and its files by name. */
function plan(
  jump: unknown,
  options: object = {},
  where: Partial<LoginPlace> = {},
): {words: readonly string[]; options: Record<string, string>; files: Record<string, string>} {
  const {words, options: given, files} = planLogin(withJump(jump, options), {...place, ...where});
  return {
    words,
    options: Object.fromEntries(given),
    files: Object.fromEntries(files.map(({name, text}) => [name, text])),
  };
}

describe('a way that ssh takes as it is', () => {
  test.each([
    ['hop', 'hop'],
    ['me@hop:2222', 'me@hop:2222'],
    ['ssh://me@hop:2222', 'me@hop:2222'],
    ['ssh://hop/', 'hop'],
    ['[::1]:22', '[::1]:22'],
    ['me@[fe80::1]', 'me@[fe80::1]'],
    [' a , b:22,c@d ', 'a,b:22,c@d'],
    ['me@realm@hop', 'me@realm@hop'],
    [{host: 'hop'}, 'hop'],
    [{host: '::1', port: 22, username: 'me'}, 'me@[::1]:22'],
    [['a:1', {host: 'b', port: 2}], 'a:1,b:2'],
  ])('%j', (jump, argument) => {
    expect(jumpArgument(hopsOf(jump))).toBe(argument);
    expect(plan(jump)).toMatchObject({words: ['-J', argument], options: {BatchMode: 'yes'}, files: {}});
  });

  test.each(['none', 'None', 'NONE'])('%s is straight', (jump) => {
    expect(plan(jump)).toMatchObject({words: [], options: {ProxyJump: 'none'}, files: {}});
  });
});

describe('a way that needs a configuration of its own', () => {
  test.each<[what: string, jump: unknown, options?: object, where?: Partial<LoginPlace>]>([
    ['a host key', {host: 'hop', hostKey: publicKey}],
    ['a check of the host key', {host: 'hop', hostKeyCheck: 'strict'}],
    ['a key', {host: 'hop', privateKey: secret}],
    ['the file of a key', {host: 'hop', identityFile: '/key'}],
    ['a certificate', {host: 'hop', certificate: 'c'}],
    ['one of several with one of these', ['first', {host: 'hop', identityFile: '/key'}]],
    ['a password for the server: nobody is to answer for the hop', 'hop', {password: secret}],
    ["a key of the tunnel's, which is the hop's, too", 'hop', {privateKey: secret}],
    ["an agent of the tunnel's own", 'hop', {agent: 'session'}],
    ['another agent', 'hop', {agent: '/agent'}],
    ['no agent', 'hop', {agent: false}],
    ['an address with a zone, which -J would expand', '[fe80::1%eth0]'],
    ['a user that -J would split', {host: 'hop', username: 'a,b@c'}],
    ['a user that a shell would expand', {host: 'hop', username: '$HOME'}],
    ['a user with a domain', {host: 'hop', username: 'DOMAIN\\me'}],
    ['a host that a shell would expand', '$HOME'],
    ['an ssh whose path has a space', 'hop', {}, {sshPath: '/my programs/ssh'}],
    ['an ssh whose path has a quote', 'hop', {}, {sshPath: "/it's/ssh"}],
    ['a configuration whose path has a space', 'hop', {configFile: '/my files/config'}],
    ['a configuration whose path a shell would expand', 'hop', {configFile: '/$HOME'}],
  ])('%s', (_what, jump, options, where) => {
    const {words, options: given, files} = plan(jump, options, where);
    expect(words).not.toContain('-J');
    expect(given).toHaveProperty('ProxyCommand');
    expect(files).toHaveProperty('hop-1.config');
  });

  test('hop by hop, the last one for the server, each with its own', () => {
    const {options, files} = plan(
      [
        {host: 'a', port: 1, username: 'me', hostKey: fingerprint},
        {host: 'b', hostKey: publicKey, identityFile: ['/k e y', '/other']},
      ],
      {hostKeyCheck: 'strict', connectTimeout: 3_000},
    );
    expect(options).toMatchObject({
      ProxyCommand: "'/usr/bin/ssh' -F /f/hop-2.config -W '[%h]:%p' -- 'b'",
      StrictHostKeyChecking: 'yes',
    });
    expect(Object.keys(files).sort()).toEqual(['hop-1.config', 'hop-2.config', 'hop-2.known_hosts', 'host-key.sh']);
    const lines = (name: string): readonly string[] => (files[name] ?? '').split('\n');
    expect(lines('hop-1.config')).toEqual(
      expect.arrayContaining([
        'Port 1',
        'User "me"',
        'BatchMode yes',
        'ConnectTimeout 3',
        'UserKnownHostsFile /dev/null',
        `KnownHostsCommand /bin/sh /f/host-key.sh %f %t %K ${fingerprint}`,
      ]),
    );
    expect(files['hop-1.config']).not.toContain('ProxyCommand');
    expect(lines('hop-2.config')).toEqual(
      expect.arrayContaining([
        'UserKnownHostsFile /f/hop-2.known_hosts',
        'KnownHostsCommand none',
        'IdentityFile "/k e y"',
        'IdentityFile "/other"',
        "ProxyCommand '/usr/bin/ssh' -F /f/hop-1.config -W '[%h]:%p' -- 'a'",
      ]),
    );
    expect(files['hop-2.config']).not.toMatch(/Port |User /);
    expect(lines('hop-2.config').slice(-3)).toEqual(['Include "~/.ssh/config"', 'Include "/etc/ssh/ssh_config"', '']);
    expect(files['hop-2.known_hosts']).toBe(`* ${publicKey}\n`);
  });

  test.each<[what: string, jump: object, options: object, lines: string[]]>([
    ['as configured', {}, {}, []],
    ['none', {}, {agent: false}, ['IdentityAgent none']],
    ['the one at a path', {}, {agent: '/a b'}, ['IdentityAgent SSH_AUTH_SOCK']],
    ["the tunnel's, and all that the host puts into it", {}, {agent: 'session'}, ['IdentityAgent /f/agent.sock']],
    [
      "the tunnel's, and its key",
      {},
      {privateKey: secret},
      ['IdentityAgent /f/agent.sock', 'IdentityFile /f/login.pub', 'IdentitiesOnly yes'],
    ],
    [
      "the tunnel's, and the hop's own key",
      {privateKey: secret},
      {privateKey: secret},
      ['IdentityAgent /f/agent.sock', 'IdentityFile /f/hop-1.pub', 'IdentitiesOnly yes'],
    ],
    [
      "the tunnel's, and the hop's own key, where the tunnel has none",
      {privateKey: secret},
      {agent: false},
      ['IdentityAgent /f/agent.sock', 'IdentityFile /f/hop-1.pub', 'IdentitiesOnly yes'],
    ],
    [
      "the tunnel's, and the file of the hop alone",
      {identityFile: '/key'},
      {privateKey: secret},
      ['IdentityAgent /f/agent.sock', 'IdentitiesOnly yes', 'IdentityFile "/key"'],
    ],
    ['as configured, beside a file', {identityFile: '/key'}, {}, ['IdentityFile "/key"']],
  ])('the agent and the keys of a hop: %s', (_what, jump, options, lines) => {
    const {files} = plan({host: 'hop', hostKeyCheck: 'strict', ...jump}, options, {agent: '/f/agent.sock'});
    expect(files['hop-1.config']?.split('\n').filter((line) => line.startsWith('Identit'))).toEqual(lines);
  });

  test.each([
    ['/a b/config', 'Include "/a b/config"'],
    ['/a"b/c', String.raw`Include "/a\"b/c"`],
    ['/a[b]/c*', String.raw`Include "/a\\[b]/c\\*"`],
    [String.raw`/a\b`, String.raw`Include "/a\\\\b"`],
  ])('the host has its say behind: %s', (configFile, line) => {
    expect(plan({host: 'hop', hostKey: publicKey}, {}, {configFile}).files['hop-1.config']?.split('\n')).toContain(
      line,
    );
  });

  test("configFile 'none': nothing behind", () => {
    const {files} = plan({host: 'hop', hostKey: publicKey}, {}, {configFile: 'none'});
    expect(files['hop-1.config']).not.toContain('Include');
  });

  test('what a shell reads is in quotes, and what ssh expands is doubled', () => {
    const {options} = plan({host: 'fe80::1%eth0', identityFile: '/key'}, {}, {sshPath: "/it's 100%/ssh"});
    expect(options['ProxyCommand']).toBe(
      String.raw`'/it'\''s 100%%/ssh' -F /f/hop-1.config -W '[%h]:%p' -- 'fe80::1%%eth0'`,
    );
  });
});

describe('what is wrong is named, and tells no secret', () => {
  const own = {host: 'b', privateKey: secret, passphrase: secret, certificate: secret};

  test.each<[option: string, jump: unknown]>([
    ['jump', ''],
    ['jump', []],
    ['jump', 1],
    ['jump', true],
    ['jump', null],
    ['jump', 'a,,b'],
    ['jump', 'a,'],
    ['jump', 'me@'],
    ['jump', 'a:b'],
    ['jump', '[::1'],
    ['jump', 'a\nProxyCommand x'],
    ['jump.port', 'a:0'],
    ['jump.port', 'a:65536'],
    ['jump.host', '-oProxyCommand=x'],
    ['jump.username', '-l@a'],
    ['jump.host', 'a;id'],
    ['jump.host', '`id`'],
    ['jump.host', '$(id)'],
    ['jump.host', 'a,none'],
    ['jump[0].host', ['none']],
    ['jump.host', {host: 'None'}],
    ['jump.host', {}],
    ['jump.host', {host: ''}],
    ['jump.host', {host: 'me@a'}],
    ['jump.host', {host: 'a,b'}],
    ['jump.host', {host: 'a\nb'}],
    ['jump.host', {host: 'a\0'}],
    ['jump.host', {host: '-a'}],
    ['jump.host', {host: 'a b'}],
    ['jump.host', {host: '[::1]'}],
    ['jump.username', {host: 'a', username: '-x'}],
    ['jump.username', {host: 'a', username: 'x\nUser y'}],
    ['jump.username', {host: 'a', username: "x'y"}],
    ['jump.identityFile', {host: 'a', identityFile: 'x\ny'}],
    ['jump.identityFile', {host: 'a', identityFile: ''}],
    ['jump.identityFile[1]', {host: 'a', identityFile: ['x', 1]}],
    ['jump[1]', ['a', 1]],
    ['jump[1].host', ['a', 'b,c']],
    ['jump[1]', ['a', [own]]],
    ['jump[1].port', ['a', {...own, port: '22'}]],
    ['jump[1].port', ['a', {...own, port: 0}]],
    ['jump[1].username', ['a', {...own, username: 'x y'}]],
    ['jump[1].hostKey', ['a', {...own, hostKey: 'x'}]],
    ['jump[1].hostKey[0]', ['a', {...own, hostKey: ['x']}]],
    ['jump[1].hostKeyCheck', ['a', {...own, hostKeyCheck: 'no'}]],
    ['jump[1].hostKeyCheck', ['a', {...own, hostKey: publicKey, hostKeyCheck: 'accept-new'}]],
    ['jump[1].privateKey', ['a', {...own, privateKey: 1}]],
    ['jump[1].privateKey', ['a', {host: 'b', passphrase: secret}]],
    ['jump[1].passphrase', ['a', {...own, passphrase: [secret]}]],
    ['jump[1].certificate', ['a', {...own, certificate: {secret}}]],
    ['jump[1].password', ['a', {...own, password: secret}]],
    ['jump[1].hostkey', ['a', {...own, hostkey: publicKey}]],
    ['jump.identityFile', {host: 'a', identityFile: `-----BEGIN EC PRIVATE KEY-----\n${secret}`}],
    ['jump.host', {...own, host: undefined}],
  ])('%s in %j', (option, jump) => {
    let said: unknown;
    try {
      withJump(jump);
    } catch (error) {
      said = error;
    }
    expect(said).toBeInstanceOf(TypeError);
    const {message} = said as TypeError;
    expect(message).toContain(`\`${option}\``);
    expect(message).not.toContain(secret);
    expect(message).not.toContain('\n');
  });

  /** As variables and secret stores hand a key on. */
  const handedOn = [
    ['as it is', (key: string) => key],
    ['with \\n in two letters', (key: string) => key.replaceAll('\n', '\\n')],
    ['in base64', (key: string) => Buffer.from(key).toString('base64')],
    ['without its first and last line', () => `b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE${secret}`],
  ] as const;

  describe.each(handedOn)('a private key where no key is meant is refused and not repeated, %s', (_how, handOn) => {
    const key = handOn(`-----BEGIN EC PRIVATE KEY-----\n${secret}\n-----END EC PRIVATE KEY-----\n`);
    test.each([
      ['identityFile', {identityFile: key}],
      ['identityFile[1]', {identityFile: ['id', key]}],
      ['username', {username: key}],
      ['configFile', {configFile: key}],
      ['jump', {jump: key}],
      ['jump.identityFile', {jump: {host: 'hop', identityFile: key}}],
      ['hostKey[0]', {hostKey: key}],
    ])('%s', (option, options) => {
      let said: unknown;
      try {
        resolveOptions({host: 'h', ...options}, {});
      } catch (error) {
        said = error;
      }
      expect(said).toBeInstanceOf(TypeError);
      const {message} = said as TypeError;
      expect(message).toContain(`\`${option}\``);
      for (const part of [secret, key.slice(0, 40), Buffer.from(secret).toString('base64').slice(4, 20)])
        expect(message).not.toContain(part);
    });
  });
});
