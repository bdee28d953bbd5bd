import {readFileSync, writeFileSync} from 'node:fs';
import {describe, expect, test} from 'vitest';
import {
  alive,
  allProcesses,
  children,
  commandLine,
  fixture,
  freePort,
  pollUntil,
  signal,
  silentServer,
} from '../support/index.js';
import {begin, once, rejection, setScene, starts, talk} from './scene.js';

const scene = setScene();

describe('a ProxyCommand or ProxyJump', () => {
  /** The processes that carry this word in their command line. */
  const running = (word: string): number[] =>
    allProcesses()
      .map(({pid}) => pid)
      .filter((pid) => commandLine(pid).some((argument) => argument.includes(word)));

  test('ProxyCommand hangs: the connect deadline, and nothing is left of it', async () => {
    // A number that no other test sleeps.
    const seconds = String(await freePort());
    const lines = [`ProxyCommand sleep ${seconds}`];
    const subject = scene.tunnel({
      configFile: scene.sshd.config({lines}),
      gateTime: 0,
      connectTimeout: 1_000,
      readyTimeout: 5_000,
    });
    const {tunnel} = subject;
    const second = once(tunnel, 'restart', {where: ({attempt}) => attempt === 2, unless: ['stop']});
    begin(tunnel).catch(() => undefined);
    const {outcome} = await second;
    expect(outcome).toMatchObject({retryable: true, uptime: 0});
    expect(outcome.code).toMatch(/^ERR_AUTOSSH_(CONNECT|TIMEOUT)$/);
    expect(running(seconds).length).toBeLessThanOrEqual(1);
    await tunnel.stop();
    expect(running(seconds)).toEqual([]);
  });

  test('ProxyCommand hangs: stop() does not wait for it', async () => {
    const seconds = String(await freePort());
    const lines = [`ProxyCommand sleep ${seconds}`];
    const {tunnel} = scene.tunnel({configFile: scene.sshd.config({lines}), connectTimeout: 0, readyTimeout: 0});
    const ended = rejection(begin(tunnel));
    await pollUntil('the ProxyCommand', () => running(seconds).length > 0);
    await tunnel.stop();
    expect(running(seconds)).toEqual([]);
    expect(await ended).toMatchObject({code: 'ERR_AUTOSSH_STOPPED'});
  });

  test('ProxyCommand outlives ssh and holds its stderr: the restart does not wait, and it goes as well', async () => {
    const lines = [`ProxyCommand ${process.execPath} ${fixture('stubborn-proxy.mjs')} %p`];
    const subject = await scene.tunnelUp({configFile: scene.sshd.config({lines})});
    const {tunnel} = subject;
    const [proxy = 0] = children(tunnel.pid ?? 0);
    expect(alive(proxy)).toBe(true);
    const again = once(tunnel, 'connect', {unless: ['stop']});
    signal(tunnel.pid ?? 0, 'SIGKILL');
    await again;
    expect(starts(subject)).toBe(2);
    expect(alive(proxy)).toBe(false);
    expect(await talk(tunnel)).toBe('ping');
  });

  test('ProxyCommand freezes: seen by the heartbeat', async () => {
    const lines = [`ProxyCommand ${process.execPath} ${fixture('stubborn-proxy.mjs')} %p`];
    const {tunnel} = await scene.tunnelUp({configFile: scene.sshd.config({lines})});
    const [proxy = 0] = children(tunnel.pid ?? 0);
    const lost = once(tunnel, 'disconnect');
    const again = once(tunnel, 'connect', {unless: ['stop']});
    signal(proxy, 'SIGSTOP');
    expect((await lost).outcome.code).toBe('ERR_AUTOSSH_HEARTBEAT');
    await again;
    expect(alive(proxy)).toBe(false);
    expect(await talk(tunnel)).toBe('ping');
  });

  test('ProxyJump: works, its ssh goes with ours, frozen or not', async () => {
    const {sshd} = scene;
    // Both hops lead to the same server; the configuration of the outer one is told to the inner one.
    const path = sshd.config({lines: [`ProxyJump hop`]});
    const {tunnel} = await scene.tunnelUp({configFile: withHop(path)});
    const [hop = 0] = children(tunnel.pid ?? 0);
    expect(commandLine(hop).join(' ')).toContain('hop');
    const again = once(tunnel, 'connect', {unless: ['stop']});
    signal(hop, 'SIGSTOP');
    await again;
    expect(alive(hop)).toBe(false);
    expect(await talk(tunnel)).toBe('ping');
    const second = children(tunnel.pid ?? 0);
    await tunnel.stop();
    expect(second.filter(alive)).toEqual([]);
  });

  test('ProxyJump to a host that accepts and never speaks: the deadline, and nothing is left of it', async () => {
    const silent = scene.use(await silentServer());
    const path = scene.sshd.config({lines: [`ProxyJump hop`]});
    const subject = scene.tunnel({configFile: withHop(path, silent.port), connectTimeout: 1_000, readyTimeout: 4_000});
    const error = await rejection(begin(subject.tunnel));
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_GATE'});
    expect((error.cause as {code: string}).code).toMatch(/^ERR_AUTOSSH_(CONNECT|TIMEOUT)$/);
    expect(running(`${silent.port}`)).toEqual([]);
  });
});

/** Adds the alias `hop` to a configuration: the same server, or another port of this host. */
function withHop(path: string, port = scene.sshd.port): string {
  const text = readFileSync(path, 'utf8');
  const hop = text
    .replace('Host tunnel', 'Host hop')
    .replace(/^ *ProxyJump.*\n/m, '')
    .replace(/Port \d+/, `Port ${port}`);
  writeFileSync(path, `${text}${hop}`);
  return path;
}
