import {generateKeyPairSync} from 'node:crypto';
import {describe, expect, test} from 'vitest';
import {Secrets} from '../src/ssh/secrets.js';

const pem = {type: 'pkcs8', format: 'pem'} as const;
const key = generateKeyPairSync('ed25519').privateKey.export(pem).toString();
const other = generateKeyPairSync('ed25519').privateKey.export(pem).toString();
const password = 'correct horse/battery+staple';

const forms: readonly (readonly [string, (text: string) => string])[] = [
  ['as it is', (text) => text],
  ['without its last line end', (text) => text.trim()],
  ['with CRLF', (text) => text.replaceAll('\n', '\r\n')],
  ['with spaces for line ends', (text) => text.replaceAll('\n', ' ')],
  ['with \\n in two letters', (text) => text.replaceAll('\n', '\\n')],
  ['in base64', (text) => Buffer.from(text).toString('base64')],
  ['in base64 with line ends', (text) => Buffer.from(text).toString('base64').replace(/.{64}/g, '$&\n')],
  ['in JSON', (text) => JSON.stringify({a: {b: text}})],
  ['in JSON in JSON', (text) => JSON.stringify({a: JSON.stringify({b: text})})],
  ['in JSON in base64', (text) => Buffer.from(JSON.stringify({a: text})).toString('base64')],
  ['in a URL', (text) => `postgres://me:${encodeURIComponent(text)}@db/app`],
  ['in quotes', (text) => ` '${text}' `],
  ['in a command', (text) => `mysql -p${text} app`],
];

describe('are found in a variable', () => {
  test.each(forms)('%s', (_how, form) => {
    for (const [, given] of forms.slice(0, 5)) {
      const secrets = new Secrets();
      secrets.add(given(key));
      // As it was understood.
      secrets.add(key);
      secrets.add(password);
      expect(secrets.areIn(form(key))).toBe(true);
      expect(secrets.areIn(form(password))).toBe(true);
      expect(secrets.areIn(form(other))).toBe(false);
    }
  });

  test('where they are short, only if they are all of it', () => {
    const secrets = new Secrets();
    secrets.add('root');
    expect(secrets.areIn('root')).toBe(true);
    expect(secrets.areIn(Buffer.from('root').toString('base64'))).toBe(true);
    for (const value of ['/root', '', 'ro', 'roots', 'root@host']) expect(secrets.areIn(value)).toBe(false);
  });

  test.each([
    ['in a URL', 'ssh://root:hunter2@host', true],
    ['in a URL, escaped', 'ssh%3A%2F%2Froot%3Ahunter2%40host', true],
    ['in a list of settings', 'host=db password=hunter2 user=me', true],
    ['at the end of one', 'user=me;password=hunter2', true],
    ['in JSON', '{"password":"hunter2"}', true],
    ['in base64', Buffer.from('me:hunter2@host').toString('base64'), true],
    ['as a part of a word', 'hunter2000', false],
    ['as a folder of a path', '/opt/hunter2/bin:/opt/hunter2', false],
    ['as a host', 'ssh://hunter2:22', false],
  ])('where they could be chance, only in the place of a password: %s', (_where, text, found) => {
    const secrets = new Secrets();
    secrets.add('hunter2');
    expect(secrets.areIn(text)).toBe(found);
  });

  test('and nothing is found where there are none', () => {
    for (const value of ['', '%', '%E0%A4%A', key, 'x'.repeat(100_000)]) expect(new Secrets().areIn(value)).toBe(false);
  });
});

test('are taken out of a line, if they are long enough to be any', () => {
  const secrets = new Secrets();
  for (const secret of [password, 'tiger', '$&']) secrets.add(secret);
  expect(secrets.conceal(`a ${password} b ${password} tiger $&`)).toBe('a *** b *** tiger $&');
});

test('an empty answer is none', () => {
  const secrets = new Secrets();
  secrets.add('');
  expect(secrets.areIn('')).toBe(false);
  expect(secrets.areIn('text')).toBe(false);
});
