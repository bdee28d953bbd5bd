import {readFileSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {AutoSSH} from '../../src/index.js';
import {decoy, exchange, serve, temporaryFolder} from '../support/index.js';
import {begin, once, quickRestart, rejection, setScene, starts} from './scene.js';

const scene = setScene();

describe('started and stopped in one breath', () => {
  test('two calls of start() are one start', async () => {
    const subject = scene.tunnel();
    await Promise.all([subject.tunnel.start(), subject.tunnel.start()]);
    expect(starts(subject)).toBe(1);
    expect(subject.events.count('connect')).toBe(1);
  });

  test('it is starting before start() has returned', async () => {
    const {tunnel} = scene.tunnel();
    const up = begin(tunnel);
    expect(tunnel.state).toBe('starting');
    await up;
  });

  test('stop() at once: nothing was there, and one stop', async () => {
    const subject = scene.tunnel();
    const failure = rejection(subject.tunnel.start());
    await subject.tunnel.stop();
    expect(await failure).toMatchObject({code: 'ERR_AUTOSSH_STOPPED'});
    expect(subject.events.count('stop')).toBe(1);
    expect(readdirSync(tmpdir()).filter((name) => /^autossh-\w{6}$/.test(name))).toEqual([]);
  });
});

describe('called from a listener', () => {
  test('restart() at the state up: it resolves with the next ssh, not with this one', async () => {
    const subject = scene.tunnel();
    const {tunnel} = subject;
    const restarted = new Promise<number>((resolve, reject) => {
      tunnel.on('state', ({to}) => {
        if (to !== 'up' || starts(subject) > 1) return;
        tunnel.restart().then(() => {
          resolve(tunnel.stats().starts);
        }, reject);
      });
    });
    await tunnel.start();
    expect(await restarted).toBe(2);
  });

  test('stop() at the state up: start() rejects, and no connect comes after the end has begun', async () => {
    const subject = scene.tunnel();
    const {tunnel} = subject;
    tunnel.on('state', ({to}) => {
      if (to === 'up') void tunnel.stop();
    });
    expect(await rejection(tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_STOPPED'});
    await tunnel.stop();
    expect(subject.events.count('connect')).toBe(0);
    expect(subject.events.count('stop')).toBe(1);
  });
});

describe("the host's last word", () => {
  test('it never comes: stop() ends the tunnel all the same', async () => {
    let asked: (() => void) | undefined;
    const question = new Promise<void>((resolve) => (asked = resolve));
    const {tunnel} = await scene.tunnelUp({
      restart: {
        shouldRestart: async () => {
          asked?.();
          return new Promise<boolean>(() => undefined);
        },
      },
    });
    process.kill(tunnel.pid ?? 0, 'SIGKILL');
    await question;
    await tunnel.stop();
    expect(tunnel.state).toBe('stopped');
  });

  test('it throws: the tunnel gives up, and says whose fault it is', async () => {
    const mistake = new Error('a mistake of the host');
    const {tunnel} = await scene.tunnelUp({
      restart: {
        shouldRestart: () => {
          throw mistake;
        },
      },
    });
    const fatal = once(tunnel, 'fatal');
    process.kill(tunnel.pid ?? 0, 'SIGKILL');
    expect(await fatal).toMatchObject({code: 'ERR_AUTOSSH_GAVE_UP', cause: mistake});
  });
});

describe('files', () => {
  test('a file where a forward is to listen is not replaced', async () => {
    const path = join(temporaryFolder('precious-'), 'file');
    writeFileSync(path, 'precious');
    const {tunnel} = scene.tunnel({forwards: [{type: 'local', listen: {path}, target: {port: scene.echo.port}}]});
    expect(await rejection(tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_FORWARD'});
    expect(readFileSync(path, 'utf8')).toBe('precious');
  });

  test('a socket on which another listens is not taken over', async () => {
    const path = join(temporaryFolder('held-'), 'held.sock');
    scene.use(await serve({path}, (socket) => socket.end('STRANGER')));
    const {tunnel} = scene.tunnel({forwards: [{type: 'local', listen: {path}, target: {port: scene.echo.port}}]});
    const error = await rejection(tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_FORWARD'});
    expect(error.message).toContain(path);
  });

  test('no socket of a forward is left after stop(), nor after a killed ssh', async () => {
    const folder = temporaryFolder('ours-');
    const path = join(folder, 'ours.sock');
    const {tunnel} = await scene.tunnelUp({
      forwards: [
        {type: 'local', target: {port: scene.echo.port}},
        {type: 'local', listen: {path}, target: {port: scene.echo.port}},
      ],
      restart: quickRestart,
    });
    expect(await exchange({path})).toBe('ping');
    const back = once(tunnel, 'connect');
    process.kill(tunnel.pid ?? 0, 'SIGKILL');
    await back;
    expect(await exchange({path})).toBe('ping');
    await tunnel.stop();
    expect(readdirSync(folder)).toEqual([]);
  });

  test('the private folder is cleared away under a tunnel: the next ssh has a new one', async () => {
    const {tunnel} = await scene.tunnelUp();
    for (const name of readdirSync(tmpdir()).filter((one) => /^autossh-\w{6}$/.test(one))) {
      rmSync(join(tmpdir(), name), {recursive: true});
    }
    const back = once(tunnel, 'connect');
    process.kill(tunnel.pid ?? 0, 'SIGKILL');
    await back;
  });
});

test('a taken port is never handed out, with whatever heartbeat', async () => {
  const stranger = scene.use(await decoy());
  for (const heartbeat of [false, {mode: 'server-alive'}, {mode: 'forward-loop'}] as const) {
    const listen = {port: stranger.port};
    const {tunnel} = scene.tunnel({heartbeat, forwards: [{type: 'local', listen, target: {port: scene.echo.port}}]});
    const error = await rejection(tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_FORWARD'});
    expect(error.message).toContain(String(process.pid));
  }
});

test('two forwards that ssh cannot have at once are refused', () => {
  const target = '127.0.0.1:80';
  for (const forwards of [
    [`-L 5000:${target}`, `-D 5000`],
    [{type: 'remote', listen: '0', target} as const, {type: 'remote', listen: '0', target} as const],
    [`-R 5000:${target}`, '-R 5000:127.0.0.1:81'],
  ]) {
    expect(() => new AutoSSH({host: 'tunnel', forwards})).toThrow(TypeError);
  }
});

test('twelve tunnels on one signal end together, without a warning', async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error): number => warnings.push(warning);
  process.on('warning', onWarning);
  const controller = new AbortController();
  const subjects = Array.from({length: 12}, () => scene.tunnel({signal: controller.signal}));
  const failures = subjects.map(async ({tunnel}) => rejection(tunnel.start()));
  controller.abort();
  for (const error of await Promise.all(failures)) expect(error).toMatchObject({code: 'ERR_AUTOSSH_ABORTED'});
  await Promise.all(subjects.map(async ({tunnel}) => tunnel.stop()));
  process.off('warning', onWarning);
  expect(warnings).toEqual([]);
});
