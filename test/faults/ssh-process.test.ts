import {existsSync} from 'node:fs';
import {chmodSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {AutoSSHError} from '../../src/index.js';
import {
  alive,
  connectTo,
  exchangeOn,
  fixture,
  patience,
  signal,
  temporaryEntries,
  waitForExit,
  waitForState,
  within,
} from '../support/index.js';
import {once, begin, patientHeartbeat, placeOf, rejection, setScene, starts, talk} from './scene.js';

const scene = setScene();

describe('ssh dies', () => {
  // SEGV stands for every crash; ssh itself turns TERM and HUP into an exit.
  test.each(['SIGKILL', 'SIGTERM', 'SIGSEGV', 'SIGHUP'] as const)(
    '%s: it is started again at once, on the same port',
    async (name) => {
      const {tunnel, events} = await scene.tunnelUp({heartbeat: patientHeartbeat});
      const port = tunnel.forward().listen;
      const old = tunnel.pid ?? 0;
      const lost = once(tunnel, 'disconnect');
      const restart = once(tunnel, 'restart');
      const again = once(tunnel, 'connect', {unless: ['stop']});
      signal(old, name);
      const {outcome} = await lost;
      expect(outcome).toMatchObject({code: 'ERR_AUTOSSH_EXIT', retryable: true, stage: 'up'});
      if (name === 'SIGKILL' || name === 'SIGSEGV') expect(outcome).toMatchObject({reason: 'signal', signal: name});
      else expect(outcome).toMatchObject({reason: 'exit'});
      expect(await restart).toMatchObject({attempt: 1, delay: 0});
      const {pid} = await again;
      expect(pid).not.toBe(old);
      expect(tunnel.forward().listen).toEqual(port);
      expect(await talk(tunnel)).toBe('ping');
      expect(events.count('restart')).toBe(1);
      expect(events.count('heartbeat-miss')).toBe(0);
    },
  );

  test('without a heartbeat: its exit alone is enough', async () => {
    const {tunnel, events} = await scene.tunnelUp({heartbeat: false});
    const again = once(tunnel, 'connect', {unless: ['stop']});
    signal(tunnel.pid ?? 0, 'SIGKILL');
    await again;
    expect(await talk(tunnel)).toBe('ping');
    expect(events.count('restart')).toBe(1);
  });

  test('again and again: from the second time on it waits, and longer each time', async () => {
    const {tunnel, events} = await scene.tunnelUp({heartbeat: false});
    for (let n = 0; n < 4; n++) {
      const again = once(tunnel, 'connect', {unless: ['stop']});
      signal(tunnel.pid ?? 0, 'SIGKILL');
      await again;
    }
    expect(events.of('restart').map(({attempt}) => attempt)).toEqual([1, 2, 3, 4]);
    expect(events.of('restart').map(({delay}) => delay)).toEqual([0, 50, 100, 200]);
  });

  test('with 0: a clean exit is no end either', async () => {
    // A real ssh that ends by itself, as with a master that takes its forwards over.
    const {tunnel} = scene.tunnel({
      sshPath: fixture('die-later.mjs'),
      env: {...process.env, FAKE_LIFE: '1500', FAKE_EXIT: '0'},
      heartbeat: false,
    });
    const lost = once(tunnel, 'disconnect', {unless: ['stop']});
    const again = once(tunnel, 'connect', {where: ({starts}) => starts === 2, unless: ['stop']});
    await tunnel.start();
    expect((await lost).outcome).toMatchObject({exitCode: 0, code: 'ERR_AUTOSSH_EXIT', retryable: true});
    await again;
  });

  test.each(['', 'own'])(
    'and leaves a process (session %j) that holds its stderr: that delays nothing',
    async (session) => {
      const subject = scene.tunnel({
        sshPath: fixture('grandchild.mjs'),
        env: {...process.env, FAKE_SESSION: session},
        gateTime: 0,
        heartbeat: false,
        restart: {minTimeout: 10, maxTimeout: 10, randomize: false, maxStarts: 3},
      });
      const error = await within(patience, 'the end', rejection(subject.tunnel.start()));
      expect(error).toMatchObject({code: 'ERR_AUTOSSH_GAVE_UP', cause: {exitCode: 255}});
      expect(starts(subject)).toBe(3);
      const grandchildren = subject.events.of('stderr').flatMap(({line}) => /^grandchild (\d+)$/.exec(line)?.[1] ?? []);
      expect(grandchildren).toHaveLength(3);
      // Who has left the process group of ssh is none of its own any more.
      if (session === 'own') for (const pid of grandchildren) signal(Number(pid), 'SIGKILL');
      await Promise.all(grandchildren.map((pid) => waitForExit(Number(pid), {timeout: 1_000})));
    },
  );
});

describe('ssh freezes', () => {
  test('SIGSTOP: seen by the heartbeat, replaced, and nothing is left of the old one', async () => {
    const {tunnel, events} = await scene.tunnelUp();
    const old = tunnel.pid ?? 0;
    const lost = once(tunnel, 'disconnect');
    const restart = once(tunnel, 'restart');
    const again = once(tunnel, 'connect', {unless: ['stop']});
    signal(old, 'SIGSTOP');
    expect((await lost).outcome).toMatchObject({reason: 'heartbeat', code: 'ERR_AUTOSSH_HEARTBEAT', retryable: true});
    expect(await restart).toMatchObject({delay: 0});
    expect(alive(old)).toBe(false);
    await again;
    expect(events.of('heartbeat-miss').map(({misses}) => misses)).toEqual([1, 2]);
    expect(await talk(tunnel)).toBe('ping');
  });

  test('SIGSTOP while it still logs in: the ready deadline replaces it', async () => {
    const subject = scene.tunnel({gateTime: 0, readyTimeout: 2_000});
    const {tunnel} = subject;
    tunnel.once('start', ({pid}) => {
      signal(pid, 'SIGSTOP');
    });
    const restart = once(tunnel, 'restart', {unless: ['stop']});
    const up = begin(tunnel);
    expect((await restart).outcome).toMatchObject({reason: 'timeout', code: 'ERR_AUTOSSH_TIMEOUT'});
    await up;
    expect(starts(subject)).toBe(2);
    expect(await talk(tunnel)).toBe('ping');
  });

  test.each([{heartbeat: false}, {heartbeat: patientHeartbeat}] as const)(
    'SIGSTOP, then stop(): bounded by killTimeout (%j)',
    async ({heartbeat}) => {
      const {tunnel, events} = await scene.tunnelUp({heartbeat, killTimeout: 500});
      const pid = tunnel.pid ?? 0;
      signal(pid, 'SIGSTOP');
      await waitForState(pid, 'T');
      await within(5_000, 'stop()', tunnel.stop());
      expect(alive(pid)).toBe(false);
      expect(events.of('stop')).toEqual([{reason: 'stopped'}]);
      expect(temporaryEntries()).toEqual([]);
    },
  );

  test('SIGSTOP, then restart(): bounded as well', async () => {
    const {tunnel} = await scene.tunnelUp({heartbeat: false, killTimeout: 500, drainTimeout: 500});
    const pid = tunnel.pid ?? 0;
    signal(pid, 'SIGSTOP');
    await waitForState(pid, 'T');
    await within(patience, 'restart()', tunnel.restart());
    // The new one is there already while the old one is being killed.
    await waitForExit(pid, {timeout: 5_000});
    expect(await talk(tunnel)).toBe('ping');
  });

  test('and ignores TERM: KILL follows', async () => {
    const {tunnel} = scene.tunnel({sshPath: fixture('ignore-term.mjs'), heartbeat: false, killTimeout: 300});
    const ended = rejection(tunnel.start());
    await once(tunnel, 'stderr', {where: ({line}) => line === 'ignoring every signal'});
    const pid = tunnel.pid ?? 0;
    await within(5_000, 'stop()', tunnel.stop());
    expect(alive(pid)).toBe(false);
    expect(await ended).toMatchObject({code: 'ERR_AUTOSSH_STOPPED'});
  });

  test('killTimeout 0: killed at once', async () => {
    const {tunnel} = scene.tunnel({sshPath: fixture('ignore-term.mjs'), heartbeat: false, killTimeout: 0});
    const ended = rejection(tunnel.start());
    await once(tunnel, 'stderr', {where: ({line}) => line === 'ignoring every signal'});
    await within(2_000, 'stop()', tunnel.stop());
    await ended;
  });

  test('with connections open: they end, new ones work', async () => {
    const {tunnel} = await scene.tunnelUp();
    const socket = await connectTo(placeOf(tunnel));
    expect(await exchangeOn(socket, 'before')).toBe('before');
    const again = once(tunnel, 'connect', {unless: ['stop']});
    const closed = new Promise((resolve) => socket.once('close', resolve));
    signal(tunnel.pid ?? 0, 'SIGSTOP');
    await Promise.all([again, closed]);
    expect(await talk(tunnel)).toBe('ping');
  });
});

describe('ssh cannot be started', () => {
  test('missing: fatal at once, with how to install it', async () => {
    const subject = scene.tunnel({sshPath: '/nonexistent/ssh', gateTime: 0});
    const error = await rejection(subject.tunnel.start());
    expect(error).toBeInstanceOf(AutoSSHError);
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_SPAWN', retryable: false});
    expect(error.message).toContain('/nonexistent/ssh');
    expect(error['hint']).toMatch(/install/i);
    expect(starts(subject)).toBe(0);
    expect(subject.events.count('restart')).toBe(0);
    expect(subject.events.of('stop')).toMatchObject([{reason: 'fatal', error: {code: 'ERR_AUTOSSH_SPAWN'}}]);
  });

  test('missing from the PATH: the same', async () => {
    const subject = scene.tunnel({env: {...process.env, PATH: '/nonexistent'}, gateTime: 0});
    expect(await rejection(subject.tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_SPAWN', retryable: false});
    expect(subject.events.count('restart')).toBe(0);
  });

  test('not executable: fatal at once', async () => {
    const path = join(scene.sshd.folder, 'ssh');
    writeFileSync(path, '#!/bin/sh\n');
    chmodSync(path, 0o644);
    const subject = scene.tunnel({sshPath: path, gateTime: 0});
    const error = await rejection(subject.tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_SPAWN', retryable: false});
    expect(error.message).toContain(path);
    expect(subject.events.count('restart')).toBe(0);
  });

  test('no program at all: fatal at once', async () => {
    const path = join(scene.sshd.folder, 'ssh');
    writeFileSync(path, '#!/nonexistent/interpreter\n');
    chmodSync(path, 0o755);
    const subject = scene.tunnel({sshPath: path, gateTime: 0});
    expect(await rejection(subject.tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_SPAWN', retryable: false});
    expect(subject.events.count('connect')).toBe(0);
  });

  test('gone after it has worked: fatal, for it will not come back by itself', async () => {
    const path = join(scene.sshd.folder, 'ssh');
    writeFileSync(path, '#!/bin/sh\nexec ssh "$@"\n');
    chmodSync(path, 0o755);
    const {tunnel, events} = await scene.tunnelUp({sshPath: path});
    writeFileSync(path, '');
    chmodSync(path, 0o644);
    const fatal = once(tunnel, 'fatal');
    signal(tunnel.pid ?? 0, 'SIGKILL');
    expect(await fatal).toMatchObject({code: 'ERR_AUTOSSH_SPAWN'});
    await tunnel.stop();
    expect(events.of('stop')).toMatchObject([{reason: 'fatal'}]);
  });

  test.each([
    {name: 'an option it does not know', options: {sshOptions: {NoSuchOption: 'yes'}}, said: 'nosuchoption'},
    {name: 'a value it does not take', options: {sshOptions: {Compression: 'often'}}, said: 'often'},
    {name: 'a raw argument it does not know', options: {extraArgs: ['-@']}, said: '@'},
  ])('$name: fatal at once, with its words', async ({options, said}) => {
    const subject = scene.tunnel({...options, gateTime: 0});
    const error = await rejection(subject.tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_USAGE', retryable: false});
    expect(`${error.message} ${String(error['stderr'])}`).toContain(said);
    expect(starts(subject)).toBe(1);
    expect(subject.events.count('restart')).toBe(0);
  });

  test('a configuration file that is not there: fatal at once', async () => {
    const path = join(scene.sshd.folder, 'no_config');
    const subject = scene.tunnel({configFile: path, gateTime: 0});
    const error = await rejection(subject.tunnel.start());
    expect(existsSync(path)).toBe(false);
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_USAGE', retryable: false});
    expect(subject.events.count('restart')).toBe(0);
  });

  test('a configuration file with a mistake: fatal at once, with file and line', async () => {
    const subject = scene.tunnel({configFile: scene.sshd.config({lines: ['Compresion yes']}), gateTime: 0});
    const error = await rejection(subject.tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_USAGE', retryable: false});
    expect(error.message).toMatch(/compresion/i);
    expect(error.message).toMatch(/ssh_config-1.*2/);
  });
});
