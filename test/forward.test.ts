import fc from 'fast-check';
import {describe, expect, test} from 'vitest';
import {formatAddress, forwardArguments, resolveForward} from '../src/ssh/forward.js';
import type {Address, Forward, ForwardOption} from '../src/ssh/forward.js';

const at = (host: string, port: number): Address => ({host, port});
/** Where nothing is said about it, a local TCP port is held by the library itself. */
const local = (listen: Address, target: Address, name = 'local-0', steady = listen.port !== undefined): Forward => ({
  name,
  type: 'local',
  steady,
  listen,
  target,
});
const remote = (listen: Address, target: Address | undefined, name = 'remote-0'): Forward => ({
  name,
  type: 'remote',
  steady: false,
  listen,
  target,
});
const dynamic = (listen: Address, name = 'dynamic-0', steady = listen.port !== undefined): Forward => ({
  name,
  type: 'dynamic',
  steady,
  listen,
  target: undefined,
});

const understood: [option: ForwardOption, forward: Forward][] = [
  ['-L 5432:db.internal:5432', local(at('127.0.0.1', 5432), at('db.internal', 5432))],
  ['-L5432:db:5432', local(at('127.0.0.1', 5432), at('db', 5432))],
  ['  -L   5432:db:5432 ', local(at('127.0.0.1', 5432), at('db', 5432))],
  ['-L 0:db:5432', local(at('127.0.0.1', 0), at('db', 5432))],
  ['-L localhost:1:db:2', local(at('127.0.0.1', 1), at('db', 2))],
  ['-L :1:db:2', local(at('0.0.0.0', 1), at('db', 2))],
  ['-L *:1:db:2', local(at('0.0.0.0', 1), at('db', 2))],
  ['-L 0.0.0.0:1:db:2', local(at('0.0.0.0', 1), at('db', 2))],
  ['-L [::1]:80:[fe80::1]:80', local(at('::1', 80), at('fe80::1', 80))],
  ['-L [::1]:80:[db]:80', local(at('::1', 80), at('db', 80))],
  ['-L 80:[fe80::1%eth0]:80', local(at('127.0.0.1', 80), at('fe80::1%eth0', 80))],
  ['-L \\:\\:1:80:fe80\\:\\:1:80', local(at('::1', 80), at('fe80::1', 80))],
  ['-L /run/a.sock:db:5432', local({path: '/run/a.sock'}, at('db', 5432))],
  ['-L /run/a.sock:/run/b.sock', local({path: '/run/a.sock'}, {path: '/run/b.sock'})],
  ['-L [/run/a:b.sock]:/run/c\\:d\\\\e.sock', local({path: '/run/a:b.sock'}, {path: '/run/c:d\\e.sock'})],
  ['-L 5432:/var/run/pg.sock', local(at('127.0.0.1', 5432), {path: '/var/run/pg.sock'})],
  ['-L 127.0.0.1:5432:/var/run/pg.sock', local(at('127.0.0.1', 5432), {path: '/var/run/pg.sock'})],
  ['-L 5432:db:5432:', local(at('127.0.0.1', 5432), at('db', 5432))],
  ['-R 0:localhost:80', remote(at('127.0.0.1', 0), at('localhost', 80))],
  ['-R 0.0.0.0:8080:127.0.0.1:80', remote(at('0.0.0.0', 8080), at('127.0.0.1', 80))],
  ['-R /run/a.sock:127.0.0.1:80', remote({path: '/run/a.sock'}, at('127.0.0.1', 80))],
  ['-R 1080', remote(at('127.0.0.1', 1080), undefined)],
  ['-R *:1080', remote(at('0.0.0.0', 1080), undefined)],
  ['-D 1080', dynamic(at('127.0.0.1', 1080))],
  ['-D 0', dynamic(at('127.0.0.1', 0))],
  ['-D [::1]:1080', dynamic(at('::1', 1080))],
  ['-D /run/socks.sock', dynamic({path: '/run/socks.sock'})],
  [{type: 'local', target: 'db:5432'}, local(at('127.0.0.1', 0), at('db', 5432))],
  [{type: 'local', target: '5432'}, local(at('127.0.0.1', 0), at('127.0.0.1', 5432))],
  [{type: 'local', listen: '[::1]:1', target: {port: 2}, name: 'db'}, local(at('::1', 1), at('127.0.0.1', 2), 'db')],
  [{type: 'local', listen: {path: '/a b'}, target: {path: '/c'}}, local({path: '/a b'}, {path: '/c'})],
  [{type: 'local', listen: {host: 'LOCALHOST', port: 1}, target: '[::1]:2'}, local(at('127.0.0.1', 1), at('::1', 2))],
  [{type: 'remote', listen: {port: 0}, target: '/run/a:b.sock'}, remote(at('127.0.0.1', 0), {path: '/run/a:b.sock'})],
  [{type: 'remote', listen: '*:80', target: 'localhost:80'}, remote(at('0.0.0.0', 80), at('localhost', 80))],
  [{type: 'dynamic'}, dynamic(at('127.0.0.1', 0))],
  [{type: 'dynamic', listen: '1080'}, dynamic(at('127.0.0.1', 1080))],
];

test.each(understood)('%j is understood', (option, forward) => {
  expect(resolveForward(option, 0)).toEqual(forward);
});

test('a name tells the type and the place in the list', () => {
  expect(resolveForward('-D 1080', 3).name).toBe('dynamic-3');
  expect(resolveForward({type: 'remote', listen: '1', target: '2'}, 4).name).toBe('remote-4');
});

const refused: [option: unknown, message: string][] = [
  [undefined, "Expected `forwards[0]` to be an object or a string such as '-L 5432:db.internal:5432', got `undefined`"],
  [
    ['-L', '1:a:2'],
    "Expected `forwards[0]` to be an object or a string such as '-L 5432:db.internal:5432', got `[ '-L', '1:a:2' ]` (array)",
  ],
  ['5432:db:5432', "Expected `forwards[0]` to be a forward as on ssh's command line"],
  ['-L 1:a:2 -oProxyCommand=x', "Expected `forwards[0]` to be a forward as on ssh's command line"],
  ['-L 1:a\n:2', "got `'-L 1:a\\n:2'` (string)"],
  ['-L 5432', "Expected `forwards[0]` to be '-L [host:]port:host:port'"],
  ['-L 127.0.0.1:5432', "Expected `forwards[0]` to be '-L [host:]port:host:port'"],
  ['-L a/1/b/2', 'a field with a slash is the path of a Unix socket'],
  ['-L 1:2:3:4:5', "Expected `forwards[0]` to be '-L [host:]port:host:port'"],
  ['-L [::1:80:a:80', "Expected `forwards[0]` to be '-L [host:]port:host:port'"],
  ['-L [::1]80:a:80', "Expected `forwards[0]` to be '-L [host:]port:host:port'"],
  ['-L 80:a:80\\', "Expected `forwards[0]` to be '-L [host:]port:host:port'"],
  ['-D 1:a:2', "Expected `forwards[0]` to be '-D [host:]port' or '-D /path'"],
  ['-R /run/a.sock', 'ssh has no SOCKS on a Unix socket of the server'],
  ['-R a/1/b/2', 'Expected the listen path of `forwards[0]` to be an absolute path'],
  [
    '-L 1:db:postgres',
    "Expected the target port of `forwards[0]` to be an integer from 1 to 65535, got `'postgres'` (string)",
  ],
  ['-L 65536:db:1', 'Expected the listen port of `forwards[0]` to be an integer from 0 to 65535, got `65536` (number)'],
  ['-L 1:db:0', 'Expected the target port of `forwards[0]` to be an integer from 1 to 65535, got `0` (number)'],
  ['-L 1::2', "Expected the target host of `forwards[0]` to be a host name or an IP address, got `''` (string)"],
  [
    '-L db:1:db:2',
    'Expected the listen host of `forwards[0]` to be a numeric address such as 127.0.0.1, 0.0.0.0 or ::1',
  ],
  ['-L 1:-oX:2', 'Expected the target host of `forwards[0]`'],
  ['-L 1:[a/b]:2', 'Expected the target host of `forwards[0]`'],
  ['-L 1:%h:2', 'Expected the target host of `forwards[0]`'],
  ['-L 1:${HOME}:2', "Expected `forwards[0]` to be a forward without '${', which ssh would expand"],
  ['-L 1:$\\{HOME}:2', 'Expected the target host of `forwards[0]`'],
  ['-L 1:/run/${USER}', "Expected `forwards[0]` to be a forward without '${', which ssh would expand"],
  ['-L 1:/run/%h', "a path without '%', which ssh would expand"],
  [
    {type: 'lokal', target: '1'},
    "Expected `forwards[0].type` to be 'local', 'remote' or 'dynamic', got `'lokal'` (string)",
  ],
  [
    {type: {toString: null}},
    "Expected `forwards[0].type` to be 'local', 'remote' or 'dynamic', got `{ toString: null }` (object)",
  ],
  [
    {type: 'local', target: '1', bind: '2'},
    'Unknown option `forwards[0].bind`; known are `type`, `listen`, `target`, `name`, `steady`',
  ],
  [{type: 'dynamic', target: '1'}, 'Unknown option `forwards[0].target`; known are `type`, `listen`, `name`, `steady`'],
  [{type: 'local'}, 'Expected `forwards[0].target` to be {host, port}, {path}'],
  [{type: 'remote', target: '1'}, 'Expected `forwards[0].listen` to be {host, port}, {path}'],
  [{type: 'remote', listen: '1'}, 'Expected `forwards[0].target` to be {host, port}, {path}'],
  [
    {type: 'remote', listen: '1', target: '1', steady: true},
    'Unknown option `forwards[0].steady`; known are `type`, `listen`, `target`, `name`',
  ],
  [{type: 'local', target: '1', steady: 'no'}, "Expected `forwards[0].steady` to be a boolean, got `'no'` (string)"],
  [
    {type: 'local', listen: '/run/a', target: '1', steady: true},
    'Expected `forwards[0].steady` to be false or absent where `listen` is a Unix socket',
  ],
  [{type: 'local', target: '1', name: ''}, "Expected `forwards[0].name` to be a non-empty string, got `''` (string)"],
  [{type: 'local', target: 5432}, 'Expected `forwards[0].target` to be {host, port}, {path}'],
  [{type: 'local', target: 'db'}, "'/path', got `'db'` (string)"],
  [{type: 'local', target: '::1:80'}, "'/path', got `'::1:80'` (string)"],
  [
    {type: 'local', target: 'db:http'},
    "Expected the port of `forwards[0].target` to be an integer from 1 to 65535, got `'http'` (string)",
  ],
  [
    {type: 'local', target: {host: 'db'}},
    'Expected `forwards[0].target.port` to be an integer from 1 to 65535, got `undefined`',
  ],
  [
    {type: 'local', target: {host: 'db', port: '1'}},
    "Expected `forwards[0].target.port` to be an integer from 1 to 65535, got `'1'` (string)",
  ],
  [{type: 'local', target: {host: 'db', port: 1.5}}, 'got `1.5` (number)'],
  [
    {type: 'local', listen: {port: 'x'}, target: '1'},
    "Expected `forwards[0].listen.port` to be an integer from 0 to 65535, got `'x'` (string)",
  ],
  [
    {type: 'local', listen: {port: 1, hots: 'a'}, target: '1'},
    'Unknown option `forwards[0].listen.hots`; known are `host`, `port`, `path`',
  ],
  [
    {type: 'local', target: {path: '/a', port: 1}},
    'Expected `forwards[0].target` to have either `path` or `host` and `port`, got both',
  ],
  [
    {type: 'local', target: {path: 'a'}},
    "Expected `forwards[0].target.path` to be an absolute path, got `'a'` (string)",
  ],
  [
    {type: 'local', target: {path: '/a\nb'}},
    'Expected `forwards[0].target.path` to be a path without control characters',
  ],
  [
    {type: 'local', target: {path: '/a\0b'}},
    'Expected `forwards[0].target.path` to be a path without control characters',
  ],
  [
    {type: 'local', target: {path: `/${'é'.repeat(52)}`}},
    'Expected `forwards[0].target.path` to be at most 103 bytes long',
  ],
  [
    {type: 'local', target: {host: 'a b', port: 1}},
    'Expected `forwards[0].target.host` to be a host name or an IP address',
  ],
  [
    {type: 'local', target: {host: 'a'.repeat(1025), port: 1}},
    'Expected `forwards[0].target.host` to be a host name or an IP address',
  ],
  [
    {type: 'local', target: {host: 'a:b', port: 1}},
    'Expected `forwards[0].target.host` to be a host name or an IP address',
  ],
  [
    {type: 'remote', listen: {host: 'web', port: 1}, target: '1'},
    'Expected `forwards[0].listen.host` to be a numeric address',
  ],
];

test.each(refused)('%j is refused', (option, message) => {
  const resolve = () => resolveForward(option as ForwardOption, 0);
  expect(resolve).toThrow(TypeError);
  expect(resolve).toThrow(message);
});

test('the option is called what the caller calls it', () => {
  expect(() => resolveForward('-L', 0, 'steady[2]')).toThrow('Expected `steady[2]` to be');
});

const printed: [forward: Forward, flag: string, specification: string][] = [
  [local(at('127.0.0.1', 1), at('db', 2)), '-L', '127.0.0.1:1:db:2'],
  [local(at('::1', 1), at('fe80::1', 2)), '-L', '[::1]:1:[fe80::1]:2'],
  [local({path: '/a:b'}, {path: '/c\\d'}), '-L', '/a\\:b:/c\\\\d'],
  [remote(at('127.0.0.1', 0), at('db', 2)), '-R', '127.0.0.1:0:db:2'],
  [remote(at('127.0.0.1', 1080), undefined), '-R', '127.0.0.1:1080'],
  [dynamic(at('127.0.0.1', 1080)), '-D', '127.0.0.1:1080'],
  [dynamic({path: '/socks'}), '-D', '/socks'],
  [dynamic({path: '/${A}'}), '-D', '/$\\{A}'],
];

test.each(printed)('%j is printed for ssh', (forward, flag, specification) => {
  expect(forwardArguments(forward)).toEqual([flag, specification]);
});

test('an address is printed for people without ssh’s escapes', () => {
  expect(formatAddress(at('127.0.0.1', 5432))).toBe('127.0.0.1:5432');
  expect(formatAddress(at('::1', 5432))).toBe('[::1]:5432');
  expect(formatAddress({path: '/a:b'})).toBe('/a:b');
});

describe('whatever is asked for', () => {
  const numeric = fc.oneof(fc.ipV4(), fc.ipV6(), fc.constantFrom('::', 'fe80::1%eth0'));
  const host = fc.oneof(numeric, fc.domain(), fc.constantFrom('localhost', 'höst.example', '_a.b'));
  const path = fc
    .string({
      unit: fc.constantFrom('a', '/', ':', '\\', '[', ']', '$', '{', '}', 'é', '-', '.', '*', '~'),
      maxLength: 50,
    })
    .map((tail) => `/${tail}`);
  const address = (from: fc.Arbitrary<string>, min: number): fc.Arbitrary<Address> =>
    fc.oneof(
      fc.record({host: from, port: fc.integer({min, max: 65_535})}),
      path.map((text) => ({path: text})),
    );
  const listen = address(numeric, 0);
  const target = address(host, 1);
  const forward: fc.Arbitrary<Forward> = fc.oneof(
    fc.tuple(listen, target).map(([at, to]) => local(at, to)),
    fc.tuple(listen, target).map(([at, to]) => remote(at, to)),
    listen.map((at) => dynamic(at)),
    fc.record({host: numeric, port: fc.integer({min: 0, max: 65_535})}).map((at) => remote(at, undefined)),
  );

  test('what is printed for ssh reads back as the same forward', () => {
    fc.assert(
      fc.property(forward, (wanted) => {
        expect(resolveForward(forwardArguments(wanted).join(' '), 0)).toEqual(wanted);
      }),
      {numRuns: 2000},
    );
  });

  test('an address printed for people reads back as the same address', () => {
    fc.assert(
      fc.property(target, (wanted) => {
        const found = resolveForward({type: 'local', target: formatAddress(wanted)}, 0).target;
        expect(found).toEqual(wanted);
      }),
    );
  });

  const scrap = fc.constantFrom(
    '-L',
    '-R',
    '-D',
    ' ',
    ':',
    '::1',
    '[',
    ']',
    '\\',
    '/',
    '/a',
    '80',
    '0',
    'db',
    '127.0.0.1',
    '*',
    '-',
    '\n',
    '%h',
    '${A}',
    '"',
    '\0',
    '\u2028',
  );
  const text = fc.oneof(
    fc.string({unit: 'binary'}),
    fc.array(scrap, {maxLength: 9}).map((scraps) => scraps.join('')),
    fc
      .tuple(fc.constantFrom('-L ', '-R', '-D '), fc.array(scrap, {maxLength: 8}))
      .map(([flag, scraps]) => flag + scraps.join('')),
  );

  test('a string is refused with a TypeError or becomes one argument that ssh cannot take for anything else', () => {
    fc.assert(
      fc.property(text, (option) => {
        for (const attempt of [
          option,
          {type: 'local', target: option},
          {type: 'remote', listen: option, target: {host: option, port: 1}},
        ]) {
          let found: Forward;
          try {
            found = resolveForward(attempt as ForwardOption, 0);
          } catch (error) {
            expect(error).toBeInstanceOf(TypeError);
            expect((error as TypeError).message).not.toMatch(/[\n\0]/);
            continue;
          }
          const [, specification] = forwardArguments(found);
          expect(specification).not.toMatch(/^-|[\n\r\0]|\$\{|%[^e]/);
          if (typeof attempt === 'string') expect(specification).not.toMatch(/\s/);
        }
      }),
      {numRuns: 5000},
    );
  });

  test('any other value is refused with a TypeError', () => {
    fc.assert(
      fc.property(fc.anything(), fc.anything(), (whole, part) => {
        const attempts = [
          whole,
          {type: 'local', target: part},
          {type: 'local', target: {host: part, port: whole}},
          {type: 'dynamic', listen: {path: part}},
        ];
        for (const attempt of attempts) {
          try {
            resolveForward(attempt as ForwardOption, 0);
          } catch (error) {
            expect(error).toBeInstanceOf(TypeError);
          }
        }
      }),
    );
  });
});
