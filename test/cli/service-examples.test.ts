import {execFile} from 'node:child_process';
import {readFileSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {promisify} from 'node:util';
import {describe, expect, test} from 'vitest';
import {longOptions} from '../../src/command-line/long-options.js';
import {findProgram, temporaryFolder} from '../support/index.js';

const run = promisify(execFile);
const unit = readFileSync('examples/systemd/autossh@.service', 'utf8');
const plist = readFileSync('examples/launchd/com.example.autossh.plist', 'utf8');
const containerfile = readFileSync('examples/container/Containerfile', 'utf8');
const hasAnalyze = findProgram('systemd-analyze') !== undefined;

const commands: Record<string, string[]> = {
  'the unit': directives('ExecStart')[0]?.split(' ') ?? [],
  'the property list': strings(/<key>ProgramArguments<\/key>\s*<array>([^]*?)<\/array>/.exec(plist)?.[1] ?? ''),
  'the container': JSON.parse(
    (/^ENTRYPOINT (\[[^]*?\])$/m.exec(containerfile)?.[1] ?? '[]').replace(/\\\n/g, ''),
  ) as string[],
};

describe.each(Object.entries(commands))('the command line of %s', (_, words) => {
  test('is one of autossh, with long options that it has', () => {
    expect(words[0]).toMatch(/^(\/usr\/local\/bin\/)?autossh$/);
    const known = longOptions.map(({name}) => `--${name}`);
    const used = words.filter((word) => word.startsWith('--')).map((word) => word.replace(/=.*/, ''));
    expect(used.filter((option) => !known.includes(option))).toEqual([]);
  });

  test('does not go to the background, where who supervises it would lose it', () => {
    expect(words.filter((word) => word === '--background' || /^-[A-Za-z]*f/.test(word))).toEqual([]);
    expect(words).toContain('-N');
  });
});

test.each([
  ['the unit', unit, ['AUTOSSH_AGENT', 'AUTOSSH_GATETIME', 'AUTOSSH_POLL']],
  ['the property list', plist, ['AUTOSSH_AGENT', 'AUTOSSH_GATETIME', 'AUTOSSH_POLL']],
  ['the container', containerfile, ['AUTOSSH_AGENT', 'AUTOSSH_GATETIME', 'AUTOSSH_POLL']],
])('the variables of %s are some that autossh reads', (_, text, expected) => {
  const used = [...new Set(text.match(/AUTOSSH_[A-Z]+/g))].sort();
  const known = longOptions.map(({variable}) => variable);
  expect(used).toEqual(expected);
  expect(used.filter((name) => !known.includes(name))).toEqual([]);
});

test('the unit is told how the tunnel is, by a child of the service, and asks for signs of life', () => {
  expect(directives('Type')).toEqual(['notify']);
  expect(directives('NotifyAccess')).toEqual(['all']);
  expect(directives('WatchdogSec')).toEqual(['60']);
});

test.skipIf(!hasAnalyze)(
  `systemd finds nothing wrong with the unit${hasAnalyze ? '' : ' (skipped: systemd-analyze is missing)'}`,
  async () => {
    const folder = temporaryFolder('unit-');
    // It also looks whether the program is there.
    const file = join(folder, 'autossh@database.service');
    writeFileSync(file, unit.replace('/usr/local/bin/autossh', '/bin/true'));
    const {stdout, stderr} = await run('systemd-analyze', ['verify', '--man=no', '--recursive-errors=no', file], {
      timeout: 30_000,
    });
    expect((stdout + stderr).split('\n').filter((line) => line.includes('autossh@'))).toEqual([]);
    rmSync(folder, {recursive: true, force: true});
  },
);

test('the property list is well-formed, each key has a value, and no comment ends early', () => {
  const text = plist.replace(/^<\?xml.*\?>\n<!DOCTYPE .*>\n/, '').replace(/<!--([^]*?)-->/g, (_, inside: string) => {
    expect(inside).not.toContain('--');
    return '';
  });
  const open: string[] = [];
  for (const [, end, name = '', alone] of text.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
    if (end) expect(open.pop()).toBe(name);
    else if (!alone) open.push(name);
  }
  expect(open).toEqual([]);
  expect(text.replace(/<[^>]*>/g, '')).not.toMatch(/[<>&]/);
  for (const [, rest = ''] of text.matchAll(/<\/key>\s*(<\/?[a-z]+)/g))
    expect(rest).toMatch(/^<(string|array|dict|true|integer)$/);
});

test('the container runs as somebody else than root, from an image of no registry in particular', () => {
  expect(/^FROM (.*)$/m.exec(containerfile)?.[1]).toMatch(/^node:\d+-alpine$/);
  const instructions = [...containerfile.matchAll(/^([A-Z]+) /gm)].map(([, name]) => name);
  expect(instructions).toEqual(['FROM', 'RUN', 'ARG', 'RUN', 'ENV', 'USER', 'ENTRYPOINT']);
  expect(containerfile).toMatch(/^USER node$/m);
});

/** Every value of a directive of the unit. */
function directives(name: string): string[] {
  return [...unit.matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].map(([, value = '']) => value);
}

function strings(xml: string): string[] {
  return [...xml.matchAll(/<string>(.*?)<\/string>/g)].map(([, value = '']) => value);
}
