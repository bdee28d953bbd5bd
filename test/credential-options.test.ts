import fc from 'fast-check';
import {describe, expect, test} from 'vitest';
import {AutoSSH} from '../src/index.js';
import {resolveKey, resolveLogin} from '../src/ssh/credential-options.js';

/** What an option is refused with; its TypeError has one line. */
function complaint(options: object): string {
  try {
    new AutoSSH({host: 'h', ...options});
  } catch (error) {
    expect(error).toBeInstanceOf(TypeError);
    expect((error as TypeError).message).not.toContain('\n');
    return (error as TypeError).message;
  }
  throw new Error('Expected a TypeError, but the options were taken');
}

const secret = 'hunter2-hunter2';

describe('secrets', () => {
  const wanted = {
    privateKey: 'a non-empty string, a Buffer or a function',
    passphrase: 'a non-empty string, a Buffer or a function',
    certificate: 'a non-empty string, a Buffer or a function',
    password: 'one non-empty line of at most 1023 bytes, or a function',
    keyboardInteractive: 'a function',
  } as const;
  const names = Object.keys(wanted) as (keyof typeof wanted)[];

  const wrong: readonly [value: unknown, kind: string][] = [
    [null, '`null`'],
    ['', 'an empty string'],
    [1234567890, 'a number'],
    [true, 'a boolean'],
    [Symbol(secret), 'a symbol'],
    [1234567890n, 'a bigint'],
    [[secret], 'an array'],
    [{key: secret}, 'an object'],
    [new Error(secret), 'an object'],
    [Promise.resolve(secret), 'an object'],
    [Object(secret), 'an object'],
    [{toString: () => secret, toJSON: () => secret}, 'an object'],
  ];

  test.each(names)('`%s` of another kind is refused by its kind, and no more is told of it', (name) => {
    // An empty variable is no passphrase.
    for (const [value, kind] of wrong.filter(([value]) => name !== 'passphrase' || value !== ''))
      expect(complaint({[name]: value})).toBe(`Expected \`${name}\` to be ${wanted[name]}, got ${kind}`);
  });

  test.each([
    ['two lines', `${secret}\n${secret}`],
    ['a line end', `${secret}\r`],
    ['a NUL', `${secret}\0`],
    ['more than ssh reads', secret.repeat(100)],
    ['more than ssh reads, in bytes', 'ß'.repeat(512)],
  ])('`password` is not one with %s', (_name, password) => {
    const said = complaint({password});
    expect(said).toBe(
      'Expected `password` to be one non-empty line of at most 1023 bytes, or a function, got a string',
    );
    expect(said).not.toContain(secret);
  });

  test('whatever it is, it is refused by its kind or taken', () => {
    const kinds =
      /, got (?:`null`|`undefined`|an empty string|an? (?:number|boolean|symbol|bigint|array|object|string))$/;
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.anything({withBigInt: true, withTypedArray: true}), (name, value) => {
        try {
          resolveLogin({privateKey: 'k', [name]: value});
        } catch (error) {
          expect(error).toBeInstanceOf(TypeError);
          expect((error as Error).message.replace(kinds, '')).toBe(`Expected \`${name}\` to be ${wanted[name]}`);
        }
      }),
    );
  });

  test('of a hop are named with the place of it', () => {
    expect(complaint({jump: [{host: 'a'}, {host: 'b', privateKey: 12_345_678}]})).toBe(
      'Expected `jump[1].privateKey` to be a non-empty string, a Buffer or a function, got a number',
    );
    expect(complaint({jump: [{host: 'a', passphrase: secret}]})).toBe(
      "Expected `jump[0].privateKey` to be there with `jump[0].passphrase`: for the keys of ssh's own files use an agent",
    );
  });

  test('are taken as text, as bytes and as functions', () => {
    for (const value of ['text', Buffer.from('text'), new Uint8Array([1]), () => 'text', async () => 'text']) {
      expect(() => resolveKey('', {privateKey: value, passphrase: value, certificate: value})).not.toThrow();
    }
  });

  test('that are functions are not called', () => {
    const called = (): never => {
      throw new Error('called');
    };
    const all = {privateKey: called, passphrase: called, certificate: called, password: called};
    expect(() => new AutoSSH({host: 'h', ...all, keyboardInteractive: called})).not.toThrow();
  });

  test('that are bytes are copied', () => {
    const privateKey = Buffer.from('key');
    const resolved = resolveKey('', {privateKey});
    privateKey.fill(0);
    expect(resolved.privateKey).toEqual(Uint8Array.from(Buffer.from('key')));
  });

  test('are frozen with the rest', () => {
    expect(resolveLogin({privateKey: 'k'})).toSatisfy(Object.isFrozen);
    expect(resolveKey('', {})).toSatisfy(Object.isFrozen);
  });
});

describe('`agent`', () => {
  test.each([
    ['inherit', 'inherit'],
    ['session', 'session'],
    [false, false],
    ['/run/user/0/agent with %h', {path: '/run/user/0/agent with %h'}],
    [undefined, 'inherit'],
  ])('%j', (agent, expected) => {
    expect(resolveLogin({agent}).agent).toEqual(expected);
  });

  test.each([
    true,
    null,
    '',
    'agent.sock',
    './agent',
    '~/agent',
    'none',
    'SSH_AUTH_SOCK',
    1,
    {},
    '/a\nb',
    '/a\0b',
    ['/a'],
  ])('is not %j', (agent) => {
    expect(complaint({agent})).toMatch(
      /^Expected `agent` to be 'inherit', 'session', false or the absolute path of a socket, got /,
    );
  });

  test("is 'session' with a private key", () => {
    expect(resolveLogin({privateKey: 'k'}).agent).toBe('session');
    expect(resolveLogin({privateKey: 'k', agent: 'session'}).agent).toBe('session');
  });

  test.each(['inherit', false, '/run/agent'])('is not %j with a private key', (agent) => {
    expect(complaint({privateKey: 'k', agent})).toBe(
      "Expected `agent` to be 'session' or absent with `privateKey`, which goes into one of the tunnel's own",
    );
  });
});

describe('options that do not go together', () => {
  test('a passphrase without a key', () => {
    expect(complaint({passphrase: secret})).toBe(
      "Expected `privateKey` to be there with `passphrase`: for the keys of ssh's own files use an agent",
    );
    expect(complaint({passphrase: secret, identityFile: '/k'})).toContain('`privateKey`');
  });

  test.each(['privateKey', 'passphrase', 'certificate', 'password', 'keyboardInteractive', 'agent'])(
    '`%s` and a raw command line',
    (name) => {
      const said = complaint({host: undefined, sshArguments: ['h'], [name]: secret});
      expect(said).toBe(`Expected \`${name}\` to be absent where \`sshArguments\` is given: it says all that ssh gets`);
    },
  );

  test.each([{password: secret}, {keyboardInteractive: () => []}])('%o and a terminal of ssh’s own', (option) => {
    const said = complaint({...option, stdio: 'inherit'});
    expect(said).toMatch(/`password` and `keyboardInteractive` to be absent with `stdio: 'inherit'`/);
    expect(said).not.toContain(secret);
  });
});
