import {execFile} from 'node:child_process';
import {existsSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {promisify} from 'node:util';
import {describe, expect, test} from 'vitest';
import {completion} from '../../src/cli/completion.js';
import {usage, usageShort} from '../../src/cli/usage.js';
import {longOptions} from '../../src/command-line/long-options.js';
import {findProgram, temporaryFolder} from '../support/index.js';

const run = promisify(execFile);

const options = longOptions.map(({name}) => name);
const withArgument = longOptions.filter(({argument}) => argument !== undefined).map(({name}) => name);
const variables = [
  // What autossh 1.4g has besides those that a long option stands for.
  ...['AUTOSSH_PORT', 'AUTOSSH_NTSERVICE'],
  ...longOptions.flatMap(({variable}) => variable ?? []),
];

const manual = readFileSync('man/autossh.1', 'utf8');
const help = usage('autossh');
const bash = completion('bash');
const zsh = completion('zsh');
const fish = completion('fish');

describe('what the table of options says is what each paper says', () => {
  test.each<[paper: string, named: string[]]>([
    ['the help', found(help, /^ +(?:-\w, )? *--([a-z-]+)/gm)],
    ['the manual page', found(manual, /^\.It .*Fl -([a-z-]+)/gm)],
    ['the completions of bash', found(/compgen -W '(-M[^']*)'/.exec(bash)?.[1] ?? '', /--([a-z-]+)/g)],
    ['the completions of zsh', found(zsh, /^ +'--([a-z-]+):/gm)],
    ['the completions of fish', found(fish, /^complete .* -l ([a-z-]+)/gm)],
  ])('%s: the long options', (_paper, named) => {
    expect(sorted(named)).toEqual(sorted(options));
  });

  test.each<[paper: string, named: string[]]>([
    ['the help', found(help, /--([a-z-]+) (?:[A-Z][A-Z:[\]]+|0-7|bash\|zsh\|fish)/g)],
    ['the manual page', found(manual, /^\.It .*Fl -([a-z-]+) (?:Ar|Cm) /gm)],
    ['the completions of bash', bashArguments()],
    ['the completions of zsh', wordsOf(/\$1 == --\(([a-z|-]+)\)/.exec(zsh)?.[1] ?? '')],
    ['the completions of fish', found(fish, /^complete .* -l ([a-z-]+) -[rx]/gm)],
    ['the completions of fish, those it looks past', found(fish, /"none --"\{([a-z,-]+)\}/g).flatMap(wordsOf)],
  ])('%s: which of them take an argument', (_paper, named) => {
    expect(sorted(named)).toEqual(sorted(withArgument));
  });

  test.each<[paper: string, pattern: RegExp]>([
    ['the help', /^ +-([A-Za-z]), /gm],
    ['the manual page', /^\.It Fl ([A-Za-z]) .*, Fl -/gm],
    ['the completions of fish', /^complete .* -s ([A-Za-z]) -l/gm],
  ])('%s: the letters', (paper, pattern) => {
    const text = {'the help': help, 'the manual page': manual}[paper] ?? fish;
    expect(sorted(found(text, pattern))).toEqual(sorted(longOptions.flatMap(({letter}) => letter ?? [])));
  });

  test.each<[paper: string, text: string, variable: RegExp]>([
    ['the help', help, /^ +(AUTOSSH_[A-Z_]+)/gm],
    ['the manual page', manual, /^\.It Ev (AUTOSSH_[A-Z_]+)/gm],
  ])('%s: the variables', (_paper, text, variable) => {
    expect(sorted(found(text, variable))).toEqual(sorted(variables));
  });

  test('the manual page: after each option its variable', () => {
    const options = manual.slice(manual.indexOf('.Sh OPTIONS'), manual.indexOf('.Sh WHEN SSH ENDS'));
    const pairs = options.split('\n.It ').flatMap((item) => {
      const name = /^.*Fl -([a-z-]+)/.exec(item)?.[1];
      const variable = /^\.Pq Ev (AUTOSSH_[A-Z_]+)$/m.exec(item)?.[1];
      return variable === undefined ? [] : [`${name} ${variable}`];
    });
    const table = longOptions.flatMap(({name, variable}) => (variable === undefined ? [] : [`${name} ${variable}`]));
    expect(sorted(pairs)).toEqual(sorted(table));
  });

  test('the manual page: the variables of others that matter', () => {
    for (const name of ['SSH_AUTH_SOCK', 'NOTIFY_SOCKET', 'WATCHDOG_USEC', 'NO_COLOR'])
      expect(manual).toMatch(new RegExp(`^\\.It Ev .*\\b${name}\\b`, 'm'));
  });

  test('README.md: each long option and each variable, and no others', () => {
    const text = readFileSync('README.md', 'utf8');
    expect(options.filter((name) => !namesOption(text, name))).toEqual([]);
    expect(variables.filter((name) => !found(text, variablePattern).includes(name))).toEqual([]);
    expect(found(text, variablePattern).filter((name) => !variables.includes(name))).toEqual([]);
  });

  test('CHANGELOG.md: each long option, and no other variables', () => {
    const text = readFileSync('CHANGELOG.md', 'utf8');
    expect(options.filter((name) => !namesOption(text, name))).toEqual([]);
    expect(found(text, variablePattern).filter((name) => !variables.includes(name))).toEqual([]);
  });
});

describe('the help', () => {
  test('begins as that of autossh does', () => {
    const first = 'usage: autossh [-V] [-M monitor_port[:echo_port]] [-f] [SSH_OPTIONS]\n';
    expect(help.startsWith(first)).toBe(true);
    expect(usageShort('autossh').startsWith(first)).toBe(true);
    expect(usageShort('other').startsWith('usage: other [-V]')).toBe(true);
  });

  test('fits into 80 columns, and ends with a line end', () => {
    for (const text of [help, usageShort('autossh')]) {
      expect(text.split('\n').filter((line) => line.length > 80 || line.endsWith(' '))).toEqual([]);
      expect(text.endsWith('\n')).toBe(true);
      expect(text.endsWith('\n\n')).toBe(false);
    }
  });

  test('has a space between each option and what it says of it', () => {
    for (const {name, argument, help: sentence} of longOptions) {
      const firstWord = sentence.split(' ', 1)[0] ?? '';
      expect(help).toContain(`--${name}${argument ? ` ${argument}` : ''} `);
      expect(help).toMatch(new RegExp(`--${name}( .*)? ${firstWord.replace(/[^\w,]/g, '.')}`));
    }
  });
});

describe('the manual page', () => {
  const mandoc = findProgram('mandoc');
  const man = findProgram('man');

  test.skipIf(mandoc === undefined)(named('is clean', mandoc, 'mandoc'), async () => {
    const {stdout} = await run(mandoc ?? '', ['-T', 'lint', 'man/autossh.1']).catch((error: unknown) => {
      return error as {stdout: string};
    });
    // Which manual pages the machine has besides is its own matter.
    const complaints = stdout
      .split('\n')
      .filter((line) => line !== '' && !line.includes('referenced manual not found'));
    expect(complaints).toEqual([]);
  });

  test.skipIf(man === undefined)(named('can be read in 80 columns', man, 'man'), async () => {
    const env = {
      ...process.env,
      MANWIDTH: '80',
      MANPAGER: 'cat',
      PAGER: 'cat',
      LC_ALL: 'C.UTF-8',
      MAN_KEEP_FORMATTING: '',
    };
    const {stdout, stderr} = await run(man ?? '', ['-l', 'man/autossh.1'], {env});
    expect(stderr).toBe('');
    expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([]);
    for (const name of options) expect(stdout).toMatch(new RegExp(`^ +(-\\w.*, )?--${name}\\b`, 'm'));
    expect(stdout).toMatch(/^ +255, as ssh's own errors +exit 1 +restart$/m);
    expect(stdout).toMatch(/^ +ssh exited with error status N; restarting ssh$/m);
    expect(stdout).toMatch(/^ +starting ssh \(count N of M\)$/m);
    expect(stdout).toMatch(/^ +received signal to exit \(N\)$/m);
  });
});

/** A user whose ssh knows some hosts. */
const home = temporaryFolder('papers-');
mkdirSync(join(home, '.ssh'));
writeFileSync(join(home, '.ssh/config'), 'Host bastion-one *.nowhere\n  User me\nHost bastion-two\n');
writeFileSync(
  join(home, '.ssh/known_hosts'),
  'bastion-three,[bastion-four]:2222 ssh-ed25519 AAAA\n|1|a=|b= ssh-rsa AAAA\n',
);
writeFileSync(join(home, 'a-log'), '');

const env = {HOME: home, PATH: process.env['PATH'], TERM: 'xterm', LC_ALL: 'C.UTF-8', TMPDIR: home};
const shells = {bash: findProgram('bash'), zsh: findProgram('zsh'), fish: findProgram('fish')};
const terminal = findProgram('script');
const bashCompletion = '/usr/share/bash-completion/bash_completion';
const bashProgram = terminal && shells.bash;

type Complete = (line: string) => Promise<string[]>;
const ways: readonly [way: string, program: string | undefined, needs: string, complete: Complete][] = [
  [
    'bash with bash-completion',
    existsSync(bashCompletion) ? bashProgram : undefined,
    'bash, script or bash-completion',
    (line) => candidates(shells.bash, 'test/fixtures/complete.bash', line, bashCompletion),
  ],
  ['bash alone', bashProgram, 'bash or script', (line) => candidates(shells.bash, 'test/fixtures/complete.bash', line)],
  ['zsh', shells.zsh, 'zsh', (line) => candidates(shells.zsh, '-f', 'test/fixtures/complete.zsh', line)],
  [
    'zsh, sourced',
    shells.zsh,
    'zsh',
    (line) => candidates(shells.zsh, '-f', 'test/fixtures/complete.zsh', line, 'source'),
  ],
  [
    'fish',
    shells.fish,
    'fish',
    (line) => candidates(shells.fish, '-c', 'source completions/autossh.fish; complete -C "$argv[1]"', line),
  ],
];

describe.each(ways)('%s', (way, program, needs, complete) => {
  test.skipIf(program === undefined).each<[line: string, expected: string[]]>([
    ['autossh --', options.map((name) => `--${name}`)],
    ['autossh --po', ['--poll']],
    ['autossh -4C --po', ['--poll']],
    ['autossh -o Port=22 -M 0 -p 22 --po', ['--poll']],
    ['autossh --completion ', ['bash', 'fish', 'zsh']],
    ['autossh --completion=z', ['zsh']],
    ['autossh --log-level ', ['0', '1', '2', '3', '4', '5', '6', '7']],
    [`autossh --pid-file ${home}/a-l`, ['a-log']],
    [`autossh --log-file=${home}/a-l`, ['a-log']],
    ['autossh --ssh-path /usr/bin/ssh-ag', ['ssh-agent']],
    ['autossh -M ', []],
    ['autossh --poll ', []],
    ['autossh --message --po', []],
    ['autossh --message -', []],
    // From the destination on, and after the first --, everything is ssh's.
    ['autossh bastion-one --gate-t', []],
    ['autossh -N bastion-one --gate-t', []],
    ['autossh -- --gate-t', []],
    // The arguments of autossh's options are no destination, after which ssh would have a command.
    ['autossh bastion-o', ['bastion-one']],
    ['autossh -M 0 bastion-tw', ['bastion-two']],
    ['autossh -M 0 bastion-th', ['bastion-three']],
    ['autossh --poll 5 --debug -fNM 20000:7 bastion-o', ['bastion-one']],
    ['autossh --log-level=7 -M20000 bastion-f', ['bastion-four']],
    ['autossh -- bastion-o', ['bastion-one']],
    ['autossh -M 0 ssh-ag', []],
    ['autossh --poll 5 ssh-ag', []],
  ])(`completes %s${program ? '' : ` (skipped: ${needs} is missing)`}`, async (line, expected) => {
    expect(await complete(line)).toEqual(sorted(expected));
  });

  if (way === 'bash alone') return;

  test.skipIf(program === undefined)(
    named('asks the completion of ssh for all that is its own', program, needs),
    async () => {
      expect(await complete('autossh -M 0 -o LogLev')).toEqual(['LogLevel']);
      expect(await complete('autossh --poll=5 -')).toEqual(
        expect.arrayContaining(['--poll', '-4', '-L', '-M', '-V', '-f']),
      );
      expect(await complete('autossh -- -')).toContain('-M');
      expect(await complete('autossh --poll 5 bastion-one ssh-ag')).toEqual(['ssh-agent']);
    },
  );
});

test.skipIf(!bashProgram || !existsSync(bashCompletion))(
  'bash: the completion of ssh, which would be that of autossh too, is loaded before ours and not again',
  async () => {
    const script = `source ${bashCompletion}; source completions/autossh.bash; complete -p autossh; complete -p ssh`;
    const {stdout} = await run(shells.bash ?? '', ['--norc', '-c', script], {env});
    expect(stdout).toMatch(/^complete -F _autossh autossh\ncomplete .* ssh\n$/);
  },
);

/** What a shell said, one a line, without what may stand around it: folders, the option, a description. */
async function candidates(shell: string | undefined, ...args: string[]): Promise<string[]> {
  const {stdout} = await run(shell ?? '', args, {env, timeout: 30_000});
  const words = stdout.split('\n').map((line) =>
    line
      .replace(/\t.*$/, '')
      .replace(/^--[a-z-]+=|=$/g, '')
      .trim(),
  );
  return sorted(words.map((word) => word.slice(word.lastIndexOf('/') + 1)).filter((word) => word !== ''));
}

function bashArguments(): string[] {
  const body = /_autossh_argument\(\)\n\{(.*?)\n\}/s.exec(bash)?.[1] ?? '';
  return found(body, /--([a-z-]+)/g);
}

function wordsOf(list: string): string[] {
  return list.split(/[|,]/);
}

const variablePattern = /(?<![A-Z_])(AUTOSSH_[A-Z_]+)/g;

function namesOption(text: string, name: string): boolean {
  return new RegExp(`(?<![\\w-])--${name}(?![\\w-])`).test(text);
}

/** The first group of every match. */
function found(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map((match) => match[1] ?? '');
}

function sorted(words: readonly string[]): string[] {
  return [...new Set(words)].sort();
}

function named(fact: string, program: string | undefined, needs: string): string {
  return program ? fact : `${fact} (skipped: ${needs} is missing)`;
}
