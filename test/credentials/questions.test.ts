import {readFileSync} from 'node:fs';
import {describe, expect, test} from 'vitest';
import {begin, once, rejection, starts, talk} from '../faults/scene.js';
import {PasswordSshd, canLogInByCode, expectNothingLeft, signal} from '../support/index.js';
import {setStage, somePassword, tally} from './stage.js';

describe.skipIf(!canLogInByCode)('one-time codes (skipped without root, pam_oath or oathtool)', () => {
  const password = somePassword();
  let codes: PasswordSshd;
  let one: PasswordSshd;
  let two: PasswordSshd;
  const stage = setStage(async () => {
    const servers = await Promise.all([
      PasswordSshd.start({methods: 'keyboard-interactive', code: true, text: 'Hello (you@home)\n100% \\n é (yes/no)'}),
      PasswordSshd.start({methods: 'keyboard-interactive', code: true, password}),
      PasswordSshd.start({methods: 'password,keyboard-interactive', code: true, password}),
    ]);
    [codes, one, two] = servers;
    return servers;
  });

  test('are asked for with the words of the server, and again with each ssh', async () => {
    const prompts: (readonly string[])[] = [];
    const {tunnel} = stage.tunnel(codes, {
      keyboardInteractive: async (asked) => {
        prompts.push(asked);
        return [await codes.nextCode()];
      },
    });
    await tunnel.start();
    expect(await talk(tunnel)).toBe('ping');
    expect(prompts).toEqual([[expect.stringContaining('Hello (you@home)\n100% \\n é (yes/no)\nOne-time password')]]);
    const again = once(tunnel, 'connect', {unless: ['stop']});
    signal(tunnel.pid ?? 0, 'SIGKILL');
    await again;
    await tunnel.restart();
    expect(prompts).toHaveLength(3);
  });

  test('that are wrong are asked for once more, and then it is fatal', async () => {
    const count = tally(codes);
    let calls = 0;
    const {tunnel, events} = stage.tunnel(codes, {
      keyboardInteractive: () => {
        calls++;
        return ['000000'];
      },
    });
    const error = await rejection(tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_AUTH', retryable: false});
    expect(error.message).toContain('refused');
    expect(calls).toBe(2);
    expect(count().connections).toBe(1);
    expect(events.count('restart')).toBe(0);
    expect(JSON.stringify([error, error['hint'], events.all])).not.toContain('000000');
  });

  test('that are right the second time let in', async () => {
    let calls = 0;
    const {tunnel} = stage.tunnel(codes, {
      keyboardInteractive: async () => [++calls === 1 ? '000000' : await codes.nextCode()],
    });
    await tunnel.start();
    expect(calls).toBe(2);
  });

  test('go with a password in one conversation, one question after the other', async () => {
    const asked: string[] = [];
    const {tunnel} = stage.tunnel(one, {
      keyboardInteractive: async ([prompt = '']) => {
        asked.push(prompt);
        return [prompt.startsWith('Password') ? password : await one.nextCode()];
      },
    });
    await tunnel.start();
    expect(asked).toEqual([expect.stringMatching(/^Password: $/), expect.stringMatching(/^One-time password/)]);
  });

  test('go with a password by a method of its own, each asked where it belongs', async () => {
    const count = tally(two);
    const asked: string[] = [];
    const {tunnel} = stage.tunnel(two, {
      password,
      keyboardInteractive: async ([prompt = '']) => {
        asked.push(prompt);
        return [await two.nextCode()];
      },
    });
    await tunnel.start();
    expect(asked).toEqual([expect.stringMatching(/^One-time password/)]);
    expect(count()).toEqual({attempts: 1, refused: 0, connections: 1});
  });

  test('are not asked for after a wrong password', async () => {
    const count = tally(two);
    let calls = 0;
    const {tunnel} = stage.tunnel(two, {
      password: 'wrong',
      keyboardInteractive: () => {
        calls++;
        return ['000000'];
      },
    });
    expect(await rejection(tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_AUTH', retryable: false});
    expect(calls).toBe(0);
    expect(count().attempts).toBe(1);
  });

  test('that nobody can answer: fatal, with the question, and the password is not sent in their place', async () => {
    for (const server of [codes, two]) {
      const count = tally(server);
      const subject = stage.tunnel(server, {password});
      const error = await rejection(subject.tunnel.start());
      expect(error).toMatchObject({code: 'ERR_AUTOSSH_AUTH', retryable: false});
      expect(error.message).toContain('One-time password');
      expect(error['hint']).toContain('keyboardInteractive');
      expect(starts(subject)).toBe(1);
      expect(count()).toMatchObject({attempts: server === two ? 1 : 0, refused: 0, connections: 1});
    }
  });

  test.each([
    ['no array', '755224'],
    ['no answer', []],
    ['too many', ['755224', '755224']],
    ['two lines', ['755\n224']],
    ['nothing', undefined],
  ] as const)('answered with %s: fatal, and nothing is sent', async (_what, value) => {
    const count = tally(codes);
    const {tunnel} = stage.tunnel(codes, {keyboardInteractive: (() => value) as never});
    const error = await rejection(tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_AUTH', retryable: false});
    expect(error.message).toContain('`keyboardInteractive` gave');
    expect(error.message).not.toContain('755');
    expect(count()).toMatchObject({refused: 0, connections: 1});
  });

  test('whose function throws: nothing is sent, and it is asked again with the next ssh', async () => {
    const count = tally(codes);
    let calls = 0;
    const {tunnel, events} = stage.tunnel(codes, {
      keyboardInteractive: async () => {
        if (++calls === 1) throw new Error('The phone is off');
        return [await codes.nextCode()];
      },
    });
    await tunnel.start();
    expect(events.of('restart')[0]?.outcome).toMatchObject({
      reason: 'credentials',
      message: 'The function `keyboardInteractive` failed: Error: The phone is off',
    });
    expect(count()).toMatchObject({refused: 0, connections: 2});
  });

  test('that are waited for when it comes to a stop', async () => {
    const count = tally(codes);
    let onAsked: (signal: AbortSignal) => void = () => undefined;
    const asked = new Promise<AbortSignal>((resolve) => (onAsked = resolve));
    const {tunnel} = stage.tunnel(codes, {
      keyboardInteractive: async (_prompts, context) => {
        onAsked(context.signal);
        return new Promise(() => undefined);
      },
    });
    const up = begin(tunnel);
    const over = await asked;
    expect(over.aborted).toBe(false);
    await Promise.all([tunnel.stop(), rejection(up)]);
    expect(over.aborted).toBe(true);
    expect(count().refused).toBe(0);
    await expectNothingLeft(stage.before, {within: 3_000});
  });

  test('that do not come in time: the next ssh asks again', async () => {
    const count = tally(codes);
    const {tunnel} = stage.tunnel(codes, {
      readyTimeout: 1_000,
      keyboardInteractive: async () => new Promise(() => undefined),
    });
    void begin(tunnel);
    // One that has not come as far as to ask by then is another case.
    await once(tunnel, 'restart', {where: ({outcome}) => outcome.message.endsWith('an answer to what it asked')});
    await tunnel.stop();
    expect(count().refused).toBe(0);
    await expectNothingLeft(stage.before, {within: 3_000});
  });

  test('are not asked for where a key is enough', async () => {
    const either = await PasswordSshd.start({methods: 'publickey keyboard-interactive', code: true});
    try {
      let calls = 0;
      const {tunnel} = stage.tunnel(either, {
        privateKey: readFileSync(either.sshd.identityFile, 'utf8'),
        keyboardInteractive: () => {
          calls++;
          return [''];
        },
      });
      await tunnel.start();
      expect(calls).toBe(0);
      await tunnel.stop();
    } finally {
      await either.stop();
    }
  });
});
