import {once} from 'node:events';
import {existsSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {createServer} from 'node:net';
import {join} from 'node:path';
import {afterAll, afterEach, beforeAll, expect, describe, test} from 'vitest';
import {AutoSSH, type AutoSSHEvents, type AutoSSHOptions} from '../src/index.js';
import {resolveOptions} from '../src/options.js';
import {Provision} from '../src/provision.js';
import {
  canListen,
  collect,
  findProgram,
  fixture,
  guard,
  ownTemporaryFolder,
  patience,
  temporaryEntries,
  within,
} from './support/index.js';

let restoreTemporaryFolder = (): void => undefined;
const provisions: Provision[] = [];
const {signal} = new AbortController();

beforeAll(() => {
  restoreTemporaryFolder = ownTemporaryFolder();
});
afterAll(() => {
  restoreTemporaryFolder();
});
afterEach(async () => {
  for (const provision of provisions.splice(0)) await provision.close();
  expect(temporaryEntries()).toEqual([]);
});

async function provide(options: Partial<AutoSSHOptions> = {}): Promise<Provision> {
  const provision = new Provision(resolveOptions({host: 'h', ...options}, {}));
  provisions.push(provision);
  await provision.prepare();
  return provision;
}

async function portsOf(provision: Provision): Promise<(number | undefined)[]> {
  return (await provision.next(signal)).forwards.map(({listen}) => listen.port);
}

describe('local ports', () => {
  const direct = {type: 'local', target: 'a:1', steady: false} as const;
  const forwards = [
    direct,
    {...direct, listen: '127.0.0.1:5432'},
    '-R 0:a:1',
    {type: 'dynamic', steady: false} as const,
    {...direct, listen: '[::1]:0'},
    '-L /run/a:b:1',
  ];

  test('that are left to us are chosen, all different and free; the others stay', async () => {
    const provision = await provide({forwards});
    const [first, fixed, remote, second, third, socket] = await portsOf(provision);
    expect([fixed, remote, socket]).toEqual([5432, 0, undefined]);
    expect(new Set([first, second, third]).size).toBe(3);
    for (const port of [first, second]) expect(await canListen(port ?? 0)).toBe(true);
    expect(await canListen(third ?? 0, '::1')).toBe(true);
    expect([...(await provision.next(signal)).ephemeralPorts].sort()).toEqual([first, second, third].sort());
  });

  test('of steady forwards are not chosen here: ssh listens behind them, on a private socket of each life', async () => {
    const provision = await provide({forwards: ['-L 0:a:1', '-R 0:a:1', '-D 127.0.0.1:1080']});
    for (const life of [1, 2]) {
      const {forwards, folder, number, ephemeralPorts} = await provision.next(signal);
      expect(number).toBe(life);
      expect(forwards.map(({listen}) => listen)).toEqual([
        {path: join(folder, `${String(life)}-0.sock`)},
        {host: '127.0.0.1', port: 0},
        {path: join(folder, `${String(life)}-2.sock`)},
      ]);
      expect(ephemeralPorts).toEqual(new Set());
    }
  });

  test('stay the same for every life', async () => {
    const provision = await provide({forwards});
    expect(portsOf(provision)).toEqual(portsOf(provision));
  });

  test('are chosen anew when another has taken one, but not for ever', async () => {
    const provision = await provide({forwards});
    const seen = new Set([(await portsOf(provision))[0]]);
    for (let n = 0; n < 5; n++) {
      expect(await provision.adapt({type: 'local-port', port: (await portsOf(provision))[0] ?? 0})).toBe(true);
      seen.add((await portsOf(provision))[0]);
    }
    expect(seen.size).toBeGreaterThan(1);
    expect(await provision.adapt({type: 'local-port', port: 1})).toBe(false);
  });

  test('are nobody’s to choose anew once they were given out', async () => {
    const provision = await provide({forwards});
    provision.settle();
    expect((await provision.next(signal)).ephemeralPorts).toEqual(new Set());
  });

  test('at an address that this machine has not are an error that names the forward', async () => {
    const strange = {type: 'dynamic', listen: '192.0.2.1:0', name: 'socks', steady: false} as const;
    await expect(provide({forwards: [strange]})).rejects.toMatchObject({
      code: 'ERR_AUTOSSH_FORWARD',
      retryable: false,
      message: expect.stringContaining('The forward socks cannot listen on 192.0.2.1:0'),
    });
  });
});

describe('local sockets', () => {
  test('are no files of others: that is an error which names the forward and the file', async () => {
    const folder = mkdtempSync(join(process.env['TMPDIR'] ?? '/tmp', 's-'));
    const path = join(folder, 'precious');
    writeFileSync(path, '');
    await expect(provide({forwards: [`-L ${path}:a:1`]})).rejects.toMatchObject({
      code: 'ERR_AUTOSSH_FORWARD',
      message: `The forward local-0 cannot listen on ${path}: something that is no socket is there`,
    });
    expect(existsSync(path)).toBe(true);
    rmSync(folder, {recursive: true});
  });

  test('on which another listens are not ours; at the server they are not looked for here', async () => {
    const folder = mkdtempSync(join(process.env['TMPDIR'] ?? '/tmp', 's-'));
    const path = join(folder, 'a.sock');
    const server = createServer((socket) => socket.destroy()).listen(path);
    await once(server, 'listening');
    await expect(provide({forwards: [`-D ${path}`]})).rejects.toMatchObject({
      code: 'ERR_AUTOSSH_FORWARD',
      message: `The forward dynamic-0 cannot listen on ${path}: another program listens there`,
    });
    await provide({forwards: [`-R ${path}:a:1`]});
    server.close();
    await once(server, 'close');
    rmSync(folder, {recursive: true});
  });
});

describe('the heartbeat’s port at the server', () => {
  test('is another for every life, below those that Linux takes for itself, and none of the tunnel’s', async () => {
    const provision = await provide({forwards: ['-R 20000:a:1']});
    const ports: number[] = [];
    while (ports.length < 200) ports.push((await provision.next(signal)).loopPort);
    expect(new Set(ports).size).toBeGreaterThan(150);
    expect(ports.filter((port) => port < 10_240 || port >= 32_768 || port === 20_000)).toEqual([]);
  });

  test('that the user chose is used until it is refused, which is told', async () => {
    const provision = await provide({heartbeat: {remotePort: 20_000}});
    expect([(await provision.next(signal)).loopPort, (await provision.next(signal)).loopPort]).toEqual([
      20_000, 20_000,
    ]);
    expect(await provision.adapt({type: 'loop-port'})).toMatchObject({
      code: 'WARN_AUTOSSH_HEARTBEAT_PORT',
      message: expect.stringContaining('Port 20000'),
    });
    expect(await provision.next(signal)).toMatchObject({heartbeat: {mode: 'forward-loop'}});
    const fresh = [await provision.next(signal), await provision.next(signal), await provision.next(signal)];
    expect(new Set(fresh.map(({loopPort}) => loopPort)).size).toBeGreaterThan(1);
  });

  test('refused twice in a row: the heartbeat does without, which is told', async () => {
    const provision = await provide();
    expect(await provision.adapt({type: 'loop-port'})).toBe(true);
    expect(await provision.next(signal)).toMatchObject({heartbeat: {mode: 'forward-loop'}});
    expect(await provision.adapt({type: 'loop-port'})).toMatchObject({code: 'WARN_AUTOSSH_HEARTBEAT_DEGRADED'});
    expect(await provision.next(signal)).toMatchObject({heartbeat: {mode: 'server-alive', interval: 10_000}});
  });

  test('refused twice, but not in a row: it goes on', async () => {
    const provision = await provide();
    expect(await provision.adapt({type: 'loop-port'})).toBe(true);
    provision.settle();
    expect(await provision.adapt({type: 'loop-port'})).toBe(true);
    expect(await provision.next(signal)).toMatchObject({heartbeat: {mode: 'forward-loop'}});
  });
});

test('an option that ssh does not know is left out from then on, and cannot be left out twice', async () => {
  const provision = await provide();
  expect([...(await provision.next(signal)).unknownOptions]).toEqual([]);
  const adaptation = {type: 'unknown-option', name: 'forkafterauthentication'} as const;
  expect(await provision.adapt(adaptation)).toBe(true);
  expect([...(await provision.next(signal)).unknownOptions]).toEqual(['forkafterauthentication']);
  expect(await provision.adapt(adaptation)).toBe(false);
});

test.skipIf(findProgram('setpriv') === undefined)(
  'a setpriv that is too old is left out from then on, and cannot be left out twice',
  async () => {
    const provision = await provide({sshPath: '/bin/true'});
    const before = (await provision.next(signal)).program();
    expect(before.slice(-5)).toEqual([expect.stringMatching(/setpriv$/), '--pdeathsig', 'TERM', '--', '/bin/true']);
    expect(await provision.adapt({type: 'no-setpriv'})).toBe(true);
    expect((await provision.next(signal)).program()).toEqual(['/bin/true']);
    expect(await provision.adapt({type: 'no-setpriv'})).toBe(false);
  },
);

test('the private folder is there for every life, and none is left at the end', async () => {
  const provision = await provide();
  const {folder} = await provision.next(signal);
  expect(existsSync(folder)).toBe(true);
  expect((await provision.next(signal)).folder).toBe(folder);
  rmSync(folder, {recursive: true});
  const other = (await provision.next(signal)).folder;
  expect(other).not.toBe(folder);
  expect(existsSync(other)).toBe(true);
});

describe('an ssh that fails for want of something', () => {
  test.each([
    'Error: remote port forwarding failed for listen path /run/web.sock',
    'Error: remote port forwarding failed for listen port 8080',
  ])('that is not the heartbeat’s is retried as any other, not again and again at once: %s', async (line) => {
    const tunnel = new AutoSSH({
      host: 'h',
      sshPath: fixture('exit-with.mjs'),
      env: {...process.env, FAKE_STDERR: line},
      heartbeat: false,
      gateTime: 0,
      restart: {minTimeout: 1, maxStarts: 4},
    });
    tunnel.on('start', ({pid}) => {
      guard('process', pid);
    });
    const events = collect<AutoSSHEvents>(tunnel, ['start', 'restart', 'warning']);
    const ended = within(patience, 'the end', tunnel.start());
    await expect(ended).rejects.toMatchObject({
      code: 'ERR_AUTOSSH_GAVE_UP',
      cause: expect.objectContaining({code: 'ERR_AUTOSSH_FORWARD'}),
    });
    await tunnel.stop();
    expect(events.all.map(({name}) => name)).toEqual([
      ...['start', 'restart', 'start', 'restart', 'start', 'restart', 'start'],
    ]);
  });

  test('that is an option it is too old for is started again at once without it', async () => {
    const tunnel = new AutoSSH({
      host: 'h',
      sshPath: fixture('exit-with.mjs'),
      env: {...process.env, FAKE_STDERR: 'command-line: line 0: Bad configuration option: forkafterauthentication'},
      gateTime: 0,
    });
    const commands: string[] = [];
    tunnel.on('start', ({pid, command}) => {
      guard('process', pid);
      commands.push(command);
    });
    await expect(tunnel.start()).rejects.toMatchObject({code: 'ERR_AUTOSSH_USAGE'});
    expect(commands.map((command) => command.includes('ForkAfterAuthentication'))).toEqual([true, false]);
  });
});
