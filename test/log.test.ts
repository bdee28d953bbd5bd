import createDebug from 'debug';
import {afterEach, beforeEach, describe, expect, test, vi} from 'vitest';
import {log, redact} from '../src/log.js';

describe('the log', () => {
  const written: string[] = [];
  const before = createDebug.disable();

  beforeEach(() => {
    written.length = 0;
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      written.push(String(text));
      return true;
    });
  });
  afterEach(() => {
    vi.restoreAllMocks();
    createDebug.disable();
    if (before !== '') createDebug.enable(before);
  });

  test('is off by default, and then prints nothing', () => {
    log('state', 1)('%s -> %s', 'idle', 'starting');
    log('ssh', 1)('a line');
    log('heartbeat', 1)('beat');
    expect(written).toEqual([]);
  });

  test('is on stderr, one line each, with its room and the number of the tunnel', () => {
    createDebug.enable('autossh:*');
    log('state', 7)('%s -> %s', 'idle', 'starting');
    expect(written).toHaveLength(1);
    expect(written[0]).toMatch(/autossh:state.*#7 idle -> starting.*\n$/);
  });

  test('is turned on and off room by room, also after the tunnels were made', () => {
    const [state, ssh] = [log('state', 1), log('ssh', 1)];
    createDebug.enable('autossh:ssh');
    state('not this');
    ssh('but this');
    createDebug.disable();
    ssh('and no more');
    expect(written.join('')).toMatch(/but this/);
    expect(written).toHaveLength(1);
  });

  test('leaves out what looks like a secret', () => {
    createDebug.enable('autossh:*');
    log('ssh', 1)('%s %d %s', 'password=hunter2', 5, 'postgres://me:hunter2@db/x');
    expect(written.join('')).not.toContain('hunter2');
    expect(written.join('')).toContain('password=*** 5 postgres://me:***@db/x');
  });

  test('leaves the caller’s percent signs alone', () => {
    createDebug.enable('autossh:*');
    log('ssh', 1)('%s', '100%d %s');
    expect(written.join('')).toContain('100%d %s');
  });
});

test.each([
  ['password=hunter2', 'password=***'],
  ['Password: hunter2', 'Password: ***'],
  ['the PASSPHRASE = hunter2 is', 'the PASSPHRASE = *** is'],
  ['PGPASSWORD=hunter2 psql', 'PGPASSWORD=*** psql'],
  ['API_TOKEN=hunter2', 'API_TOKEN=***'],
  ['client-secret:hunter2', 'client-secret:***'],
  ['passwd=hunter2', 'passwd=***'],
  ['password="hunter2 and more" x', 'password=*** x'],
  ["secret='hunter2 and more' x", 'secret=*** x'],
  ['{"token": "hunter2", "a": 1}', '{"token": ***, "a": 1}'],
  ['a token=hunter2 and a secret=hunter2', 'a token=*** and a secret=***'],
  ['postgres://me:hunter2@db:5432/x', 'postgres://me:***@db:5432/x'],
  ['http://me:hun@ter2@proxy:80 http://you:hunter2@b', 'http://me:***@proxy:80 http://you:***@b'],
])('%s is logged as %s', (text, shown) => {
  expect(redact(text)).toBe(shown);
});

test.each([
  'Enter passphrase for key',
  'me@db: Permission denied (publickey,password).',
  'debug1: 5 tokens are left',
  'http://host:80/a@b',
  'me@host:path',
  'ssh: connect to host db port 22: Connection refused',
  '',
])('%j is nothing to hide', (text) => {
  expect(redact(text)).toBe(text);
});

test('what is no text stays as it is', () => {
  const thing = {a: 1};
  expect(redact(thing)).toBe(thing);
  expect(redact(5)).toBe(5);
  expect(redact(undefined)).toBeUndefined();
});

test('a long line is read in no time', () => {
  const lines = ['//a:', 'password ', 'token=" ', '//a:b@', ' ', '=', '"'].map((one) => one.repeat(5_000));
  const begun = performance.now();
  for (const line of lines) redact(line);
  expect(performance.now() - begun).toBeLessThan(2_000);
});
