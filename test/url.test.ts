import fc from 'fast-check';
import {describe, expect, test} from 'vitest';
import {throughTunnel} from '../src/front/url.js';
import {type Forward, formatAddress, resolveForward} from '../src/ssh/forward.js';

const forwards: readonly Forward[] = [
  '-L 127.0.0.1:40001:db.internal:5432',
  '-L 127.0.0.1:40002:db.internal:6432',
  '-L [::1]:40003:fe80\\:\\:1:5432',
  '-L 127.0.0.1:40004:replica.internal:5432',
  '-L 127.0.0.1:40005:cache:6379',
  '-L 127.0.0.1:40006:web.internal:443',
  '-L 127.0.0.1:40007:web.internal:80',
  '-L 127.0.0.1:40008:mongo-1:27017',
  '-L 127.0.0.1:40009:mongo-2:27018',
  '-L /run/a.sock:hidden:5432',
  '-D 127.0.0.1:1080',
  '-R 8080:elsewhere:5432',
].map((one, index) => resolveForward(one, index));

describe('throughTunnel()', () => {
  test.each([
    ['postgres://db.internal:5432/app', 'postgres://127.0.0.1:40001/app'],
    ['postgres://u:p@db.internal:5432/app', 'postgres://u:p@127.0.0.1:40001/app'],
    ['postgres://u:p@db.internal:6432/app', 'postgres://u:p@127.0.0.1:40002/app'],
    ['postgres://db.internal', 'postgres://127.0.0.1:40001'],
    ['postgres://db.internal:/app', 'postgres://127.0.0.1:40001/app'],
    ['postgresql://u@DB.Internal/app?sslmode=disable#x', 'postgresql://u@127.0.0.1:40001/app?sslmode=disable#x'],
    // Whatever is in the credentials, encoded or not, stays letter for letter.
    ['postgres://u:p%40ss%3A%2F@db.internal/app', 'postgres://u:p%40ss%3A%2F@127.0.0.1:40001/app'],
    ['postgres://u:p@ss@db.internal/app', 'postgres://u:p@ss@127.0.0.1:40001/app'],
    ['postgres://u:p:q,r;s=t&u+v@db.internal/app', 'postgres://u:p:q,r;s=t&u+v@127.0.0.1:40001/app'],
    ['postgres://:only@db.internal/', 'postgres://:only@127.0.0.1:40001/'],
    ['postgres://ü:ß@db.internal/', 'postgres://ü:ß@127.0.0.1:40001/'],
    // What looks like the host elsewhere is none of our business.
    [
      'postgres://db.internal:5432@db.internal:5432/db.internal:5432?host=db.internal:5432',
      'postgres://db.internal:5432@127.0.0.1:40001/db.internal:5432?host=db.internal:5432',
    ],
    ['postgres://db.internal/app?email=a@b', 'postgres://127.0.0.1:40001/app?email=a@b'],
    ['postgres://u:p@[fe80::1]:5432/app', 'postgres://u:p@[::1]:40003/app'],
    ['postgres://[FE80::1]/app', 'postgres://[::1]:40003/app'],
    [
      'postgres://u:p@db.internal:5432,replica.internal:5432/app?target_session_attrs=any',
      'postgres://u:p@127.0.0.1:40001,127.0.0.1:40004/app?target_session_attrs=any',
    ],
    ['mongodb://mongo-1,mongo-2:27018/?replicaSet=rs', 'mongodb://127.0.0.1:40008,127.0.0.1:40009/?replicaSet=rs'],
    ['redis://:secret@cache/0', 'redis://:secret@127.0.0.1:40005/0'],
    ['rediss://cache:6379', 'rediss://127.0.0.1:40005'],
    ['https://web.internal/a?b#c', 'https://127.0.0.1:40006/a?b#c'],
    ['http://web.internal', 'http://127.0.0.1:40007'],
    ['HTTP://WEB.internal:80/', 'HTTP://127.0.0.1:40007/'],
    ['anything+else://web.internal:443', 'anything+else://127.0.0.1:40006'],
  ])('%s becomes %s', (url, expected) => {
    expect(throughTunnel(url, forwards)).toBe(expected);
  });

  test.each([
    ['postgres://nobody:5432/app', 'nobody:5432'],
    ['postgres://db.internal:1/app', 'db.internal:1'],
    ['unknown://db.internal/app', 'no port'],
    ['postgres://hidden/app', 'hidden:5432'],
    ['postgres://elsewhere/app', 'elsewhere:5432'],
    ['postgres://db.internal,nobody/app', 'nobody:5432'],
  ])('%s leads nowhere: a RangeError that says where the forwards lead', (url, what) => {
    const attempt = (): string => throughTunnel(url, forwards);
    expect(attempt).toThrow(RangeError);
    expect(attempt).toThrow(what);
    expect(attempt).toThrow('db.internal:5432, db.internal:6432');
  });

  test('without any forward it says that there is none', () => {
    expect(() => throughTunnel('postgres://db', [])).toThrow('there are: none');
  });

  test.each([
    '',
    'db.internal:5432',
    '//db.internal/',
    'postgres:db',
    'postgres:///app',
    'postgres://u:p@/app',
    '://x',
  ])("'%s' is a TypeError", (url) => {
    expect(() => throughTunnel(url, forwards)).toThrow(TypeError);
  });

  test('no secret is in a message', () => {
    for (const url of [
      'postgres://u:hunter2@nobody/',
      'postgres://u:hunter2@/',
      'postgres://hunter2@/',
      'u:hunter2@db.internal',
    ]) {
      expect(() => throughTunnel(url, forwards)).toThrow(
        expect.not.objectContaining({message: expect.stringContaining('hunter2') as string}) as Error,
      );
    }
  });

  test('whatever the rest is, host and port are what changes, and nothing else', () => {
    // Of a password only '/', '?' and '#' have to be encoded: they would end it.
    const credential = fc.string({unit: fc.constantFrom(...Array.from('aZ9:@%,;=&+[] ß"\'\\')), maxLength: 12});
    const rest = fc.string({unit: fc.constantFrom(...Array.from('a9/?#@:,[]&=')), maxLength: 12});
    fc.assert(
      fc.property(
        fc.option(credential, {nil: undefined}),
        rest,
        fc.constantFrom(...forwards.filter(({type, listen}) => type === 'local' && listen.port !== undefined)),
        (user, tail, forward) => {
          const before = `postgres://${user === undefined ? '' : `${user}@`}`;
          const after = tail === '' ? '' : `/${tail}`;
          const to = forward.target && formatAddress(forward.target);
          expect(throughTunnel(`${before}${to ?? ''}${after}`, forwards)).toBe(
            `${before}${formatAddress(forward.listen)}${after}`,
          );
        },
      ),
      {numRuns: 1_000},
    );
  });

  test('any text is a TypeError, a RangeError or a string', () => {
    fc.assert(
      fc.property(fc.string({unit: fc.constantFrom(...Array.from('a:/@[],5432?#db.'))}), (text) => {
        try {
          expect(typeof throughTunnel(text, forwards)).toBe('string');
        } catch (error) {
          expect(error instanceof TypeError || error instanceof RangeError).toBe(true);
        }
      }),
    );
  });
});
