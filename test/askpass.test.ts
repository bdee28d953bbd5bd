import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {Duplex, PassThrough} from 'node:stream';
import {text} from 'node:stream/consumers';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {answerQuestions, askpassScript} from '../src/ssh/askpass.js';
import {readNotice} from '../src/ssh/notice-table.js';
import {findProgram, temporaryFolder, within} from './support/index.js';

interface Run {
  /** What is started, with the script and its argument behind it. */
  shell: readonly string[];
  descriptor?: 0 | 3;
  questions: readonly string[];
  answer?: (question: string) => Promise<string | undefined>;
  env?: NodeJS.ProcessEnv;
}

interface Result {
  /** What each question got, with its line end. */
  printed: string[];
  codes: number[];
  asked: string[];
  complaints: string;
}

let folder: string;
beforeAll(() => {
  folder = temporaryFolder('askpass-');
  for (const descriptor of [0, 3] as const) {
    const path = join(folder, `askpass-${String(descriptor)}`);
    writeFileSync(path, askpassScript(descriptor), {mode: 0o700});
  }
});
afterAll(() => {
  rmSync(folder, {recursive: true, force: true});
});

/** Has the shell run the script once for each question, with the same socket, as ssh does. */
async function run({shell, descriptor = 0, questions, answer, env = {}}: Run): Promise<Result> {
  const script = join(folder, `askpass-${String(descriptor)}`);
  const hasSocket = descriptor === 0 ? 'exec <&3 3<&-; ' : '';
  const walk = `count=$1; shift; ${hasSocket}i=0; while [ $i -lt $count ]; do q=$1; shift; i=$((i+1)); ${shell.map((word) => `'${word}'`).join(' ')} '${script}' "$q" >&4; echo $? >&5; printf '\\036' >&4; done`;
  const child = spawn('/bin/sh', ['-c', walk, 'sh', String(questions.length), ...questions], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
    env: {PATH: process.env['PATH'], ...env},
    detached: true,
  });
  const asked: string[] = [];
  const [stderr, socket, output, codes] = child.stdio.slice(2) as Duplex[];
  if (!stderr || !socket || !output || !codes) throw new Error('No pipes');
  if (answer) {
    answerQuestions(socket, async (question) => {
      asked.push(question);
      return answer(question);
    });
  } else {
    socket.destroy();
  }
  const [printed, ended, complaints] = await within(
    10_000,
    'the end of the helper',
    Promise.all([text(output), text(codes), text(stderr), once(child, 'exit')]),
  );
  return {
    printed: printed.split('\u001e').slice(0, -1),
    codes: ended.split('\n').slice(0, -1).map(Number),
    asked,
    complaints,
  };
}

const shells = [
  {name: 'dash', argv: ['dash']},
  {name: 'bash', argv: ['bash']},
  {name: 'bash as sh', argv: ['bash', '--posix']},
  {name: 'busybox sh', argv: ['busybox', 'sh']},
].map((one) => ({...one, isThere: findProgram(one.argv[0] ?? '') !== undefined}));

const awkward = [
  '',
  ' ',
  '  both ends\t',
  '\t',
  'back\\slash \\n \\0 \\c \\',
  '"double" \'single\' `back` $HOME $(id) ${x}',
  '%s %d %% 100%',
  '-n',
  '-e',
  '--',
  '-',
  '+',
  '+plus',
  '++',
  '-minus',
  '*',
  '~',
  '#!',
  'é ß 漢字 🔑 \u0301',
  'a=b;c&d|e>f<g',
  '\u007f\u0001\u001b[31m',
  'x'.repeat(1023),
];

for (const {name, argv, isThere} of shells) {
  describe.skipIf(!isThere)(`the helper, run by ${name}`, () => {
    test.each([0, 3] as const)('prints each answer as it is, asked over descriptor %d', async (descriptor) => {
      const questions = awkward.map((_, index) => `question ${String(index)}`);
      const answer = async (question: string): Promise<string | undefined> => awkward[questions.indexOf(question)];
      for (const env of [{}, {LC_ALL: 'C.UTF-8'}, {LC_ALL: 'C', IFS: '+x'}]) {
        const result = await run({shell: argv, descriptor, questions, answer, env});
        expect(result).toEqual({
          printed: awkward.map((one) => `${one}\n`),
          codes: awkward.map(() => 0),
          asked: questions,
          complaints: '',
        });
      }
    });

    test('asks with the whole question', async () => {
      const questions = [
        '(root@h) one\n\ttwo é\n\nPassword: ',
        '-n',
        '%s\\n\\c',
        '',
        ' $(id) `id` "\' ',
        'x'.repeat(9_000),
      ];
      const {asked, printed} = await run({shell: argv, questions, answer: async () => 'yes'});
      expect(asked).toEqual(questions);
      expect(printed).toEqual(questions.map(() => 'yes\n'));
    });

    test('fails where there is no answer, and prints none; the next one is heard again', async () => {
      const answer = async (question: string): Promise<string | undefined> => (question === 'b' ? undefined : question);
      const {printed, codes} = await run({shell: argv, questions: ['a', 'b', 'c'], answer});
      expect(printed).toEqual(['a\n', '', 'c\n']);
      expect(codes[0]).toBe(0);
      expect(codes[1]).toBeGreaterThan(0);
      expect(codes[2]).toBe(0);
    });

    // An ssh that gets no answer would give the server an empty one.
    test('ends whoever asks where whoever answers is gone, before anything is printed', async () => {
      const {printed, codes, complaints} = await run({shell: argv, questions: ['a', 'b']});
      expect(printed).toEqual([]);
      expect(codes).toEqual([]);
      expect(complaints.trim().split('\n').map(readNotice)).toEqual([{kind: 'nobody-to-ask'}]);
    });

    test('only fails there for what no server asks', async () => {
      const questions = ["The authenticity of host 'a' can't", "Enter passphrase for key 'a': ", 'Enter PIN for a: '];
      const {printed, codes, complaints} = await run({shell: argv, questions});
      expect(printed).toEqual(['', '', '']);
      expect(codes).toEqual([1, 1, 1]);
      expect(complaints).toBe('');
    });

    test('asks nobody for what is only to be shown', async () => {
      const env = {SSH_ASKPASS_PROMPT: 'none'};
      const result = await run({shell: argv, questions: ['Touch it'], answer: async () => 'x', env});
      expect(result).toEqual({printed: [''], codes: [0], asked: [], complaints: ''});
    });

    test.each(['protocol', 'nothing', 'closed'])(
      'takes nothing from a descriptor that it cannot ask over, as that of a hop is, and ends it: %s',
      async (kind) => {
        // What is in the pipe is the protocol of somebody else.
        const input = {protocol: '', nothing: '</dev/null', closed: '<&-'}[kind] ?? '';
        const helper = `${argv.join(' ')} '${join(folder, 'askpass-0')}' question ${input}`;
        // A pipe that ssh has, too: what Node makes for a child is a socket.
        const command = `printf '+stolen\\nrest\\n' | { ${helper}; echo alive; }`;
        const child = spawn('/bin/sh', ['-c', command], {detached: true});
        const ended = once(child, 'exit');
        const [said, complaints, [, signal]] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
        expect(said).toBe('');
        expect(signal).toBe('SIGTERM');
        expect(complaints.trim().split('\n').map(readNotice)).toEqual([{kind: 'nobody-to-ask'}]);
      },
    );

    test('leaves what it cannot ask over as it is', async () => {
      const helper = `${argv.join(' ')} '${join(folder, 'askpass-0')}' question`;
      const command = `printf '+stolen\\nrest\\n' | { setsid -w ${helper} 2>/dev/null; cat; }`;
      const child = spawn('/bin/sh', ['-c', command], {detached: true, stdio: ['ignore', 'pipe', 'inherit']});
      expect(await text(child.stdout)).toBe('+stolen\nrest\n');
    });
  });
}

describe('the answers to its questions', () => {
  function pair(): {near: Duplex; far: PassThrough; said: string[]} {
    const far = new PassThrough();
    const said: string[] = [];
    const near = Duplex.from({
      readable: far,
      writable: new PassThrough().on('data', (chunk) => said.push(String(chunk))),
    });
    return {near, far, said};
  }

  test('come in order, whichever is ready first, and however the bytes come', async () => {
    const {near, far, said} = pair();
    const waiting = new Map<string, (answer: string | undefined) => void>();
    const asked: string[] = [];
    answerQuestions(near, async (question) => {
      asked.push(question);
      return new Promise((resolve) => waiting.set(question, resolve));
    });
    for (const byte of Buffer.from('é one\0two\0')) far.write(Buffer.from([byte]));
    await expect.poll(() => asked).toEqual(['é one']);
    waiting.get('é one')?.('1');
    await expect.poll(() => asked).toEqual(['é one', 'two']);
    waiting.get('two')?.(undefined);
    await expect.poll(() => said.join('')).toBe('+1\n-\n');
  });

  test('go nowhere once the socket is closed', async () => {
    const {near, far, said} = pair();
    let give: (answer: string) => void = () => undefined;
    answerQuestions(near, async () => new Promise((resolve) => (give = resolve)));
    far.write('one\0');
    await new Promise((resolve) => setImmediate(resolve));
    near.destroy();
    give('late');
    await new Promise((resolve) => setImmediate(resolve));
    expect(said).toEqual([]);
  });
});
