import {appendFileSync, existsSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import type {AutoSSHOptions} from '../../src/index.js';
import {rejection, starts} from '../faults/scene.js';
import {
  PasswordSshd,
  PrivateSshd,
  Terminal,
  canLogInByPassword,
  compiled,
  hasTmux,
  temporaryFolder,
} from '../support/index.js';
import {setStage, somePassword, tally} from './stage.js';

describe.skipIf(!canLogInByPassword)('nobody but the host is asked (skipped without root, or without PAM)', () => {
  const password = somePassword();
  let plain: PasswordSshd;
  let asking: PasswordSshd;
  let both: PasswordSshd;
  let open: PrivateSshd;
  const stage = setStage(async () => {
    const servers = await Promise.all([
      PasswordSshd.start({methods: 'password', password}),
      PasswordSshd.start({methods: 'keyboard-interactive', password}),
      PasswordSshd.start({methods: 'publickey,password', password}),
      PrivateSshd.start(),
    ]);
    [plain, asking, both, open] = servers;
    return servers;
  });
  const folder = temporaryFolder('screen-');
  const trace = join(folder, 'trace');
  const program = join(folder, 'ask');
  writeFileSync(program, `#!/bin/sh\nprintf '%s\\n' "$*" >> '${trace}'\necho yes\n`, {mode: 0o700});
  const env = {...process.env, DISPLAY: ':99', WAYLAND_DISPLAY: 'wayland-99', SSH_ASKPASS: program};
  const screens: readonly (readonly [string, Record<string, string>])[] = [
    ['', {}],
    [' that is preferred', {SSH_ASKPASS_REQUIRE: 'prefer'}],
    [' that is forced', {SSH_ASKPASS_REQUIRE: 'force'}],
  ];

  /** The configuration of one server, with another in front of it. */
  function through(first: PasswordSshd, last: PasswordSshd | PrivateSshd, lines = ['ProxyJump hop']): string {
    const path = ('sshd' in last ? last.sshd : last).config({lines});
    appendFileSync(path, readFileSync(first.sshd.configFile, 'utf8').replace('Host tunnel', 'Host hop'));
    return path;
  }

  test.each(screens)('at a screen%s: without a password', async (_how, more) => {
    const count = tally(plain);
    const {tunnel} = stage.tunnel(plain, {env: {...env, ...more}, gateTime: 10_000});
    expect(await rejection(tunnel.start())).toMatchObject({cause: {code: 'ERR_AUTOSSH_AUTH'}});
    expect(existsSync(trace)).toBe(false);
    expect(count().attempts).toBe(0);
  });

  test.each(screens)('at a screen%s: with a password, a wrong one, an unknown host', async (_how, more) => {
    const options = {env: {...env, ...more}};
    await stage.tunnel(plain, {...options, password}).tunnel.start();
    await rejection(stage.tunnel(plain, {...options, password: 'wrong'}).tunnel.start());
    const unknown = {StrictHostKeyChecking: 'ask', UserKnownHostsFile: '/dev/null'};
    await rejection(stage.tunnel(plain, {...options, password, sshOptions: unknown}).tunnel.start());
    expect(existsSync(trace)).toBe(false);
  });

  // An empty answer is one: servers count it, and lock accounts.
  describe.each(['password', 'keyboard-interactive'])('on the way, by a hop that asks by %s', (method) => {
    test.each([
      ['ProxyJump', 'with'],
      ['ProxyJump', 'without'],
      ['jump', 'with'],
      ['jump', 'without'],
      ['a hop of its own', 'with'],
      ['a hop of its own', 'without'],
    ])('in %s, %s a password: it is told nothing', async (way, login) => {
      const first = method === 'password' ? plain : asking;
      const last = login === 'with' ? both : open;
      const [atFirst, atLast] = [tally(first), tally(both)];
      const subject = stage.tunnel(last, {
        ...(login === 'with' && {password}),
        ...(way === 'jump' && {jump: 'hop'}),
        ...(way === 'a hop of its own' && {jump: [{host: 'hop', hostKeyCheck: 'strict'}]}),
        configFile: through(first, last, way === 'ProxyJump' ? ['ProxyJump hop'] : []),
        env: {...env, SSH_ASKPASS_REQUIRE: 'prefer'},
        gateTime: 10_000,
        readyTimeout: 5_000,
      });
      const error = await rejection(subject.tunnel.start());
      expect(error['code'] === 'ERR_AUTOSSH_GATE' ? error.cause : error).toMatchObject({code: 'ERR_AUTOSSH_AUTH'});
      if (way === 'ProxyJump' || (way === 'jump' && login === 'without'))
        expect(error.message).toContain('A host on the way');
      expect(atFirst()).toEqual({attempts: 0, refused: 0, connections: 1});
      expect(atLast().connections).toBe(0);
      expect(existsSync(trace)).toBe(false);
      expect(starts(subject)).toBe(1);
    });
  });

  test.skipIf(!hasTmux)('at a terminal (skipped without tmux): nothing is printed, nothing is asked', async () => {
    const asks = plain.sshd.config({lines: ['StrictHostKeyChecking ask', 'UserKnownHostsFile /dev/null']});
    const cases: readonly (readonly [code: string, options: Partial<AutoSSHOptions>])[] = [
      ['ERR_AUTOSSH_AUTH', {configFile: plain.sshd.configFile}],
      ['ERR_AUTOSSH_AUTH', {configFile: plain.sshd.configFile, password: 'wrong'}],
      ['ERR_AUTOSSH_HOST_KEY', {configFile: asks}],
      ['ERR_AUTOSSH_HOST_KEY', {configFile: asks, password}],
      ['ERR_AUTOSSH_AUTH', {configFile: through(plain, open)}],
      ['ERR_AUTOSSH_AUTH', {configFile: through(plain, both), password}],
    ];
    const said = join(folder, 'said');
    const options = cases.map(([, one]) => ({host: 'tunnel', gateTime: 10_000, forwards: [], ...one}));
    await using terminal = await Terminal.open(
      [process.execPath, compiled('terminal-host.ts'), said, JSON.stringify(options)],
      {env: {SSH_ASKPASS: program, DISPLAY: ':99'}},
    );
    // All that the program itself prints.
    await terminal.shows(/the end/);
    expect((await terminal.screen()).trim().split('\n')[0]).toBe('the end');
    expect(readFileSync(said, 'utf8').trim().split('\n')).toEqual(cases.map(([code]) => code));
    expect(existsSync(trace)).toBe(false);
  });
});
