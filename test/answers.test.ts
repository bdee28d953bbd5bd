import {describe, expect, test} from 'vitest';
import {AutoSSHError} from '../src/index.js';
import {Answers} from '../src/ssh/answers.js';
import {type LoginOptions, resolveLogin} from '../src/ssh/credential-options.js';

const methodPassword = "root@example.com's password: ";
const aliasPassword = "root@[127.0.0.1]:40222's password: ";

function answers(login: LoginOptions, signal = new AbortController().signal): Answers & {concealed: string[]} {
  const concealed: string[] = [];
  const subject = new Answers(resolveLogin({...login}), signal, (secret) => concealed.push(secret));
  return Object.assign(subject, {concealed});
}

async function refusal(promise: Promise<unknown>): Promise<AutoSSHError> {
  const error: unknown = await promise.then(
    (value) => {
      throw new Error(`Expected a refusal, got ${JSON.stringify(value)}`);
    },
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(AutoSSHError);
  expect(error).toMatchObject({code: 'ERR_AUTOSSH_AUTH'});
  return error as AutoSSHError;
}

describe('a password', () => {
  test.each([
    methodPassword,
    aliasPassword,
    '(root@example.com) Password: ',
    '(root@example.com) Hello root\n\tsecond line é\nPassword: ',
    '(root@example.com) Enter the code from the letter below\nPassword:',
    "(root@example.com) root@example.com's password: ",
    '(root@example.com) Password for root@box:',
    '(root@example.com) Passwort: ',
    'Password: ',
  ])('answers %j', async (question) => {
    const subject = answers({password: 'tiger'});
    expect(subject.given).toBe(false);
    expect(await subject.to(question)).toBe('tiger');
    expect(subject.given).toBe(true);
    expect(subject.concealed).toEqual(['tiger']);
  });

  test.each([
    "(root@example.com) One-time password (OATH) for `root': ",
    '(root@example.com) Verification code: ',
    '(root@example.com) Enter PASSCODE: ',
    '(root@example.com) Password or token: ',
    '(root@example.com) Enter HOTP password: ',
    '(root@example.com) New password: ',
    '(root@example.com) Retype new password: ',
    '(root@example.com) Your password was given\nDuo two-factor login, option (1-3): ',
    '(root@example.com) ',
    '',
  ])('is not given away to %j, which is told', async (question) => {
    const subject = answers({password: 'tiger'});
    const error = await refusal(subject.to(question));
    expect(error).toMatchObject({retryable: false});
    expect(error.message).toMatch(/^The server asks ".*", and there is nobody to answer$/);
    expect(error.hint).toContain('keyboardInteractive');
    expect(subject.given).toBe(false);
  });

  test.each([
    "Enter root@example.com's old password: ",
    "Enter root@example.com's new password: ",
    "Retype root@example.com's new password: ",
  ])('is not changed by %j', async (question) => {
    const error = await refusal(answers({password: 'tiger', keyboardInteractive: () => ['x']}).to(question));
    expect(error).toMatchObject({retryable: false});
    expect(error.message).toContain('changed');
  });

  test('as a string is given once', async () => {
    const subject = answers({password: 'tiger'});
    expect(await subject.to(methodPassword)).toBe('tiger');
    expect(await refusal(subject.to(methodPassword))).toMatchObject({
      retryable: false,
      message: 'The server refused the password',
    });
    await refusal(subject.to('(root@example.com) Password: '));
  });

  test('of a function is given twice at most, with whichever method', async () => {
    let calls = 0;
    const subject = answers({password: () => `tiger-${String(++calls)}`});
    expect(await subject.to(methodPassword)).toBe('tiger-1');
    expect(await subject.to('(root@example.com) Password: ')).toBe('tiger-2');
    expect(await refusal(subject.to(methodPassword))).toMatchObject({retryable: false});
    expect(calls).toBe(2);
    expect(subject.concealed).toEqual(['tiger-1', 'tiger-2']);
  });

  test.each(['tiger\n', 'tiger\r\n', Buffer.from('tiger'), Buffer.from('tiger\n')])(
    'is what a file has without its line end: %j',
    async (value) => {
      expect(await answers({password: value}).to(methodPassword)).toBe('tiger');
      expect(await answers({password: () => value}).to(methodPassword)).toBe('tiger');
    },
  );

  test('that is the same once more is not given', async () => {
    const subject = answers({password: async () => Promise.resolve('tiger')});
    expect(await subject.to(methodPassword)).toBe('tiger');
    expect(await refusal(subject.to(methodPassword))).toMatchObject({message: 'The server refused the password'});
  });

  test.each([
    ['`undefined`', undefined],
    ['`null`', null],
    ['an empty string', ''],
    ['a string', 'tiger\n\n'],
    ['a string', '\n'],
    ['a string', 'ti\rger'],
    ['a string', 'ti\0ger'],
    ['a string', 'x'.repeat(1024)],
    ['a string', 'é'.repeat(512)],
    ['a number', 4711],
    ['an object', Buffer.from('ti\nger')],
    ['an array', ['tiger']],
    ['an object', new String('tiger')],
    ['a function', () => 'tiger'],
  ])('that is %s is refused, and not repeated', async (kind, value) => {
    const subject = answers({password: (async () => Promise.resolve(value)) as never});
    const error = await refusal(subject.to(methodPassword));
    expect(error).toMatchObject({
      retryable: false,
      message: `\`password\` gave ${kind}, not one non-empty line of at most 1023 bytes`,
    });
    expect(subject.given).toBe(false);
    expect(subject.concealed).toEqual([]);
  });

  test.each(['x'.repeat(1023), `${'é'.repeat(511)}x`, ' ', '-n', '+', '\\0', '%s'])('may be %j', async (password) => {
    expect(await answers({password: () => password}).to(methodPassword)).toBe(password);
    expect(await answers({password}).to(methodPassword)).toBe(password);
  });

  test.each([
    [
      'throws',
      () => {
        throw new Error('The vault is sealed');
      },
    ],
    ['rejects', async () => Promise.reject(new Error('The vault is sealed'))],
  ] as const)(
    'whose function %s: an error that may be mended by the next ssh, with its cause',
    async (_how, password) => {
      const error = await refusal(answers({password}).to(methodPassword));
      expect(error).toMatchObject({retryable: true, cause: {message: 'The vault is sealed'}});
      expect(error.message).toBe('The function `password` failed: Error: The vault is sealed');
    },
  );

  test.each([undefined, null, 0, 'a string', {}])('whose function throws %j, which is no error', async (thrown) => {
    const subject = answers({
      password: () => {
        // eslint-disable-next-line @typescript-eslint/only-throw-error -- hosts do
        throw thrown;
      },
    });
    expect(await refusal(subject.to(methodPassword))).toMatchObject({retryable: true});
  });

  test('that is waited for no longer: the signal is aborted, and what comes late goes nowhere', async () => {
    const over = new AbortController();
    let give: (password: string) => void = () => undefined;
    let seen: AbortSignal | undefined;
    const subject = answers(
      {
        password: async ({signal}) => {
          seen = signal;
          return new Promise((resolve) => (give = resolve));
        },
      },
      over.signal,
    );
    const asked = subject.to(methodPassword);
    const refused = expect(asked).rejects.toThrow('enough');
    expect(seen?.aborted).toBe(false);
    over.abort(new Error('enough'));
    await refused;
    expect(seen?.aborted).toBe(true);
    give('tiger');
    await Promise.resolve();
    expect(subject.concealed).toEqual([]);
    expect(subject.given).toBe(false);
  });
});

describe("the server's own questions", () => {
  test.each([
    ['(root@example.com) Verification code: ', 'Verification code: '],
    ['(root@example.com) Password: ', 'Password: '],
    ['(root@example.com) Hello (you@home) \n% \\ "é"\nCode: ', 'Hello (you@home) \n% \\ "é"\nCode: '],
    ['(root@example.com) (you@home) Code: ', '(you@home) Code: '],
    ['(root@example.com) ', ''],
    // Older ones have nothing in front of them.
    ['Verification code: ', 'Verification code: '],
    // Those that sound like one of ssh's own.
    ['(root@example.com) Do you accept the terms (yes/no)? ', 'Do you accept the terms (yes/no)? '],
    ["(root@example.com) Enter passphrase for key 'x': ", "Enter passphrase for key 'x': "],
    ['(root@example.com) Enter PIN for token: ', 'Enter PIN for token: '],
    ["(root@example.com) Please type 'yes': ", "Please type 'yes': "],
    ['(root@example.com) Retype new password: ', 'Retype new password: '],
    ['Do you accept the terms (yes/no)? ', 'Do you accept the terms (yes/no)? '],
  ])('%j is asked as %j', async (question, prompt) => {
    const asked: (readonly string[])[] = [];
    const subject = answers({
      password: 'tiger',
      keyboardInteractive: (prompts) => {
        asked.push(prompts);
        return ['755224'];
      },
    });
    expect(await subject.to(question)).toBe('755224');
    expect(asked).toEqual([[prompt]]);
    expect(subject.given).toBe(true);
    expect(subject.concealed).toEqual(['755224']);
  });

  test('are not asked of what answers for the method password', async () => {
    let calls = 0;
    const keyboardInteractive = (): string[] => [String(++calls)];
    expect(await answers({password: 'tiger', keyboardInteractive}).to(methodPassword)).toBe('tiger');
    // No password, no answer: the code is none.
    expect(await answers({keyboardInteractive}).to(methodPassword)).toBeUndefined();
    expect(calls).toBe(0);
  });

  test('may be answered with nothing', async () => {
    expect(await answers({keyboardInteractive: () => ['']}).to('(r@h) Press return')).toBe('');
  });

  test.each([
    ['`undefined`', undefined],
    ['a string', '755224'],
    ['an array', []],
    ['an array', ['755224', '969429']],
    ['an array', [755224]],
    ['an array', ['75\n5224']],
    ['an array', ['x'.repeat(1024)]],
    ['an object', {0: '755224', length: 1}],
  ])('answered with %s: refused', async (kind, value) => {
    const subject = answers({keyboardInteractive: (() => value) as never});
    const error = await refusal(subject.to('(r@h) Code: '));
    expect(error).toMatchObject({retryable: false});
    expect(error.message).toContain(`gave ${kind} for one prompt`);
    expect(error.message).not.toContain('5224');
    expect(subject.given).toBe(false);
  });

  test('whose function throws: an error that may be mended by the next ssh', async () => {
    const subject = answers({
      keyboardInteractive: () => {
        throw new TypeError('no phone');
      },
    });
    expect(await refusal(subject.to('(r@h) Code: '))).toMatchObject({retryable: true, cause: {message: 'no phone'}});
  });
});

describe("ssh's own questions", () => {
  const unknownHost = `The authenticity of host '[127.0.0.1]:40222 ([127.0.0.1]:40222)' can't be established.
ED25519 key fingerprint is SHA256:abc.
This key is not known by any other names.
Are you sure you want to continue connecting (yes/no/[fingerprint])? `;

  test.each([
    unknownHost,
    unknownHost.replace('/[fingerprint]', ''),
    "Please type 'yes', 'no' or the fingerprint: ",
    "Enter passphrase for key 'id_ed25519': ",
    `Enter passphrase for key '${'x'.repeat(100)}`,
    'Enter PIN for ED25519-SK key /root/.ssh/id_ed25519_sk: ',
    "Enter PIN for 'token': ",
    'Confirm user presence for key ED25519-SK SHA256:abc',
    'Accept updated hostkeys? (yes/no): ',
  ])("%j is nobody's to answer", async (question) => {
    let calls = 0;
    const count = (): never => {
      calls++;
      throw new Error('asked');
    };
    const subject = answers({password: count, keyboardInteractive: count});
    expect(await subject.to(question)).toBeUndefined();
    expect(calls).toBe(0);
    expect(subject.given).toBe(false);
  });
});
