import {execFile} from 'node:child_process';
import {copyFileSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {promisify} from 'node:util';
import {describe, expect, test} from 'vitest';
import type {AutoSSHOptions} from '../../src/index.js';
import {begin, once, rejection, starts, talk} from '../faults/scene.js';
import {PasswordSshd, type PrivateSshd, canLogInByPassword, expectNothingLeft, signal} from '../support/index.js';
import {setStage, somePassword, tally} from './stage.js';

const run = promisify(execFile);
const methods = ['password', 'keyboard-interactive'] as const;

describe.skipIf(!canLogInByPassword)('a password (skipped without root, or without PAM)', () => {
  const password = somePassword();
  let plain: PasswordSshd;
  let asking: PasswordSshd;
  let both: PasswordSshd;
  let either: PasswordSshd;
  const stage = setStage(async () => {
    const servers = await Promise.all([
      PasswordSshd.start({methods: 'password', password, text: 'Hello\nPassword: '}),
      PasswordSshd.start({methods: 'keyboard-interactive', password, text: 'Hello (you@home)\n100% \\n é'}),
      PasswordSshd.start({methods: 'publickey,password', password}),
      PasswordSshd.start({methods: 'publickey password', password}),
    ]);
    [plain, asking, both, either] = servers;
    return servers;
  });
  const server = (method: string): PasswordSshd => (method === 'password' ? plain : asking);

  describe.each(methods)('by %s', (method) => {
    test('as a string: let in at once', async () => {
      const count = tally(server(method));
      const subject = stage.tunnel(server(method), {password});
      await subject.tunnel.start();
      expect(await talk(subject.tunnel)).toBe('ping');
      expect(count()).toEqual({attempts: 1, refused: 0, connections: 1});
      expect(starts(subject)).toBe(1);
    });

    test('as a string that is wrong: sent once, and fatal', async () => {
      const count = tally(server(method));
      const {tunnel, events} = stage.tunnel(server(method), {password: somePassword()});
      const error = await rejection(tunnel.start());
      expect(error).toMatchObject({code: 'ERR_AUTOSSH_AUTH', retryable: false});
      expect(error.message).toMatch(/refused/);
      expect(count()).toMatchObject({attempts: 1, connections: 1});
      expect(events.count('restart')).toBe(0);
      expect(events.count('fatal')).toBe(1);
    });

    test('as a function that is wrong twice: asked twice, sent twice, and fatal', async () => {
      const count = tally(server(method));
      let calls = 0;
      const {tunnel, events} = stage.tunnel(server(method), {password: () => `wrong ${String(++calls)}`});
      expect(await rejection(tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_AUTH', retryable: false});
      expect(calls).toBe(2);
      expect(count()).toMatchObject({attempts: 2, connections: 1});
      expect(events.count('restart')).toBe(0);
    });

    test('as a function that knows better the second time: let in', async () => {
      const count = tally(server(method));
      let calls = 0;
      const {tunnel} = stage.tunnel(server(method), {
        password: async () => Promise.resolve(++calls === 1 ? 'old one' : password),
      });
      await tunnel.start();
      expect(await talk(tunnel)).toBe('ping');
      expect(count()).toMatchObject({attempts: 2, connections: 1});
    });

    test('as a function that gives the same again: that is not sent', async () => {
      const count = tally(server(method));
      let calls = 0;
      const {tunnel} = stage.tunnel(server(method), {
        password: () => {
          calls++;
          return 'wrong';
        },
      });
      expect(await rejection(tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_AUTH', retryable: false});
      expect(calls).toBe(2);
      expect(count()).toMatchObject({attempts: 1, connections: 1});
    });

    test('that has changed is asked for with every ssh', async () => {
      const one = server(method);
      const count = tally(one);
      let now = password;
      let calls = 0;
      const {tunnel} = stage.tunnel(one, {
        password: () => {
          calls++;
          return now;
        },
      });
      const change = (): void => {
        now = somePassword();
        one.setPassword(now);
      };
      try {
        await tunnel.start();
        change();
        await tunnel.restart();
        expect(calls).toBe(2);
        change();
        let again = once(tunnel, 'connect', {unless: ['stop']});
        signal(tunnel.pid ?? 0, 'SIGKILL');
        await again;
        expect(calls).toBe(3);
        change();
        again = once(tunnel, 'connect', {unless: ['stop']});
        await one.sshd.restart();
        await again;
        expect(calls).toBe(4);
        expect(await talk(tunnel)).toBe('ping');
        expect(count().attempts).toBe(4);
      } finally {
        one.setPassword(password);
      }
    });

    test('whose function hangs: the error says so, and nothing was sent', async () => {
      const count = tally(server(method));
      const signals: AbortSignal[] = [];
      const {tunnel} = stage.tunnel(server(method), {
        readyTimeout: 1_000,
        password: async (context) => {
          signals.push(context.signal);
          return new Promise(() => undefined);
        },
      });
      void begin(tunnel);
      // One that has not come as far as to ask by then is another case.
      const {outcome} = await once(tunnel, 'restart', {where: () => signals[0]?.aborted === true});
      expect(outcome).toMatchObject({
        code: 'ERR_AUTOSSH_TIMEOUT',
        message: 'The tunnel was not ready within 1000 ms: ssh waited for an answer to what it asked',
      });
      await tunnel.stop();
      expect(count()).toMatchObject({attempts: 0, refused: 0});
      await expectNothingLeft(stage.before, {within: 3_000});
    });

    test.each(['stop', 'abort', 'restart'] as const)('that is waited for when it comes to a %s', async (how) => {
      const count = tally(server(method));
      const signals: AbortSignal[] = [];
      let onAsked: () => void = () => undefined;
      const asked = new Promise<void>((resolve) => (onAsked = resolve));
      const end = new AbortController();
      const {tunnel} = stage.tunnel(server(method), {
        signal: end.signal,
        password: async (context) => {
          signals.push(context.signal);
          onAsked();
          return signals.length === 1 ? new Promise(() => undefined) : password;
        },
      });
      const up = begin(tunnel);
      await asked;
      expect(signals[0]?.aborted).toBe(false);
      if (how === 'restart') {
        await tunnel.restart();
        await up;
        expect(count().attempts).toBe(1);
      } else {
        if (how === 'abort') end.abort();
        await Promise.all([how === 'stop' ? tunnel.stop() : once(tunnel, 'stop'), rejection(up)]);
        await expectNothingLeft(stage.before, {within: 3_000});
        expect(count().attempts).toBe(0);
      }
      expect(signals[0]?.aborted).toBe(true);
      expect(count().refused).toBe(0);
    });
  });

  test.each(['x'.repeat(500), ' both ends ', '-n \\n %s $(id) `id` "\'', '+plus', 'é漢🔑', '*'])(
    'may be %j',
    async (odd) => {
      plain.setPassword(odd);
      try {
        await stage.tunnel(plain, {password: odd}).tunnel.start();
      } finally {
        plain.setPassword(password);
      }
    },
  );

  test('as a string, changed on the server while the tunnel is up: one attempt more, and fatal', async () => {
    const subject = stage.tunnel(plain, {password});
    await subject.tunnel.start();
    const count = tally(plain);
    plain.setPassword('another');
    try {
      const fatal = once(subject.tunnel, 'fatal');
      await plain.sshd.killSessions();
      expect(await fatal).toMatchObject({code: 'ERR_AUTOSSH_AUTH', retryable: false});
      expect(count()).toMatchObject({attempts: 1, connections: 1});
      expect(starts(subject)).toBe(2);
    } finally {
      plain.setPassword(password);
    }
  });

  test('with a standby: each ssh asks, and of one that is refused the other one hears nothing', async () => {
    let now = password;
    let calls = 0;
    const {tunnel, events} = stage.tunnel(plain, {
      standby: true,
      password: () => {
        calls++;
        return now;
      },
    });
    const second = once(tunnel, 'connect', {where: ({starts: number}) => number === 2});
    await tunnel.start();
    await second;
    expect(calls).toBe(2);
    now = 'wrong';
    const warning = once(tunnel, 'warning', {unless: ['stop']});
    signal(events.of('start')[1]?.pid ?? 0, 'SIGKILL');
    expect(await warning).toMatchObject({code: 'WARN_AUTOSSH_STANDBY'});
    expect(await talk(tunnel)).toBe('ping');
    expect(tunnel.state).toBe('up');
  });

  test('whose function throws: nothing is sent, and it is asked again with the next ssh', async () => {
    const count = tally(asking);
    let calls = 0;
    const {tunnel, events} = stage.tunnel(asking, {
      password: () => {
        if (++calls < 3) throw new Error('The vault is sealed');
        return password;
      },
    });
    await tunnel.start();
    expect(calls).toBe(3);
    expect(events.of('restart').map(({delay}) => delay)).toEqual([50, 100]);
    expect(events.of('restart')[0]?.outcome).toMatchObject({
      reason: 'credentials',
      code: 'ERR_AUTOSSH_AUTH',
      stage: 'authenticate',
      retryable: true,
    });
    expect(count()).toMatchObject({attempts: 1, refused: 0, connections: 3});
  });

  test('whose function throws inside the gate: its own error is the cause', async () => {
    const broken = new Error('The vault is sealed');
    const {tunnel} = stage.tunnel(plain, {gateTime: 10_000, password: async () => Promise.reject(broken)});
    const {cause} = await rejection(tunnel.start());
    expect(cause).toMatchObject({code: 'ERR_AUTOSSH_AUTH', cause: broken});
    expect((cause as Error).message).toContain('The vault is sealed');
  });

  test.each([
    ['nothing', undefined],
    ['a number', 4711],
    ['two lines', 'a\nb'],
    ['an empty one', ''],
  ] as const)('whose function gives %s: fatal, and nothing is sent', async (_what, value) => {
    const count = tally(plain);
    const {tunnel} = stage.tunnel(plain, {password: (() => value) as never});
    const error = await rejection(tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_AUTH', retryable: false});
    expect(error.message).toContain('`password` gave');
    expect(count()).toMatchObject({attempts: 0, refused: 0});
  });

  test('is not asked for where a key is enough', async () => {
    const {identityFile} = either.sshd;
    const keys: readonly Partial<AutoSSHOptions>[] = [
      {sshOptions: {PreferredAuthentications: 'publickey,password'}},
      {privateKey: readFileSync(identityFile, 'utf8')},
      {identityFile},
    ];
    let calls = 0;
    for (const key of keys) {
      const {tunnel} = stage.tunnel(either, {
        ...key,
        password: () => {
          calls++;
          return password;
        },
      });
      await tunnel.start();
      expect(calls).toBe(0);
    }
  });

  test('goes with a key where the server wants both', async () => {
    const count = tally(both);
    const privateKey = readFileSync(both.sshd.identityFile, 'utf8');
    const {tunnel} = stage.tunnel(both, {privateKey, password});
    await tunnel.start();
    expect(await talk(tunnel)).toBe('ping');
    expect(count().attempts).toBe(1);
    const wrong = stage.tunnel(both, {privateKey, password: 'wrong'});
    expect(await rejection(wrong.tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_AUTH', retryable: false});
    expect(count().attempts).toBe(2);
  });

  test.each(['ask', 'yes', 'accept-new'])(
    'with StrictHostKeyChecking %s and a host key that is not the known one: nothing is asked, nothing is sent',
    async (strict) => {
      const count = tally(plain);
      const knownHosts = join(plain.sshd.folder, `known-${strict}`);
      const other = readFileSync(`${either.sshd.hostKeyFile}.pub`, 'utf8').split(' ').slice(0, 2).join(' ');
      const changed = `[${plain.sshd.host}]:${String(plain.sshd.port)} ${other}\n`;
      for (const lines of strict === 'accept-new' ? [changed] : [changed, '']) {
        writeFileSync(knownHosts, lines);
        let calls = 0;
        const spoken = (): string => `yes${String(++calls)}`;
        const subject = stage.tunnel(plain, {
          sshOptions: {StrictHostKeyChecking: strict, UserKnownHostsFile: knownHosts},
          password: spoken,
          keyboardInteractive: () => [spoken()],
        });
        const error = await rejection(subject.tunnel.start());
        expect(error).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY', retryable: false});
        expect(calls).toBe(0);
        expect(starts(subject)).toBe(1);
        expect(readFileSync(knownHosts, 'utf8')).toBe(lines);
      }
      expect(count()).toMatchObject({attempts: 0, refused: 0});
    },
  );

  test('is not given to a file that wants a passphrase, which is passed over', async () => {
    const path = join(either.sshd.folder, 'encrypted');
    copyFileSync(either.sshd.identityFile, path);
    await run('ssh-keygen', ['-q', '-p', '-P', '', '-N', 'secret', '-f', path]);
    const count = tally(either);
    let calls = 0;
    const {tunnel} = stage.tunnel(either, {
      configFile: withoutIdentity(either.sshd),
      identityFile: path,
      password: () => {
        calls++;
        return password;
      },
    });
    await tunnel.start();
    expect(calls).toBe(1);
    expect(count()).toEqual({attempts: 1, refused: 0, connections: 1});
  });
});

/** A configuration that names no key. */
function withoutIdentity(sshd: PrivateSshd): string {
  const path = sshd.config({});
  const text = readFileSync(path, 'utf8').replace(/^ *IdentityFile .*\n/m, '  IdentityFile none\n');
  writeFileSync(path, text);
  return path;
}
