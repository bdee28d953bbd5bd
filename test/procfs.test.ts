import {type ChildProcess, spawn} from 'node:child_process';
import {once} from 'node:events';
import {mkdtempSync, readFileSync, rmSync} from 'node:fs';
import {type AddressInfo, type Server, connect, createServer} from 'node:net';
import {join} from 'node:path';
import {afterEach, describe, expect, test} from 'vitest';
import {freePort} from '../src/local-port.js';
import {descriptorOf, isConnected, isExiting, isOpen, listenerOf} from '../src/procfs.js';
import {canListen, guard} from './support/index.js';

const ends: (() => void)[] = [];

afterEach(() => {
  for (const end of ends.splice(0)) end();
});

async function listen(host = '127.0.0.1'): Promise<{server: Server; port: number}> {
  const server = createServer((socket) => {
    ends.push(() => socket.destroy());
  });
  ends.push(() => server.close());
  server.listen({port: 0, host});
  await once(server, 'listening');
  return {server, port: (server.address() as AddressInfo).port};
}

/** Another process, which runs a line of JavaScript and says a number when it is done. */
async function other(
  script: string,
  env: NodeJS.ProcessEnv = {},
): Promise<{child: ChildProcess; pid: number; said: number}> {
  const child = spawn(process.execPath, ['-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {...process.env, ...env},
  });
  ends.push(() => child.kill('SIGKILL'));
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const pid = child.pid ?? 0;
  guard('process', pid);
  return {child, pid, said: Number(String(line))};
}

/** Listens, says its port and stays. */
function otherListener(host: string): ReturnType<typeof other> {
  return other(
    `const s = require('net').createServer().listen(0, '${host}', () => console.log(s.address().port)); setInterval(() => 0, 1e6)`,
  );
}

describe('who listens on a port', () => {
  test.each(['127.0.0.1', '0.0.0.0', '::1'])('at %s is found, with pid and name', async (host) => {
    const {pid, said} = await otherListener(host);
    const name = readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
    expect(name).not.toBe('');
    expect(await listenerOf(said)).toEqual({pid, name});
  });

  test('may be this process', async () => {
    const {port} = await listen();
    expect(await listenerOf(port)).toMatchObject({pid: process.pid});
  });

  test('is nobody where nobody does', async () => {
    expect(await listenerOf(await freePort('127.0.0.1'))).toBeUndefined();
  });

  test('is nobody once it is gone', async () => {
    const {child, said} = await otherListener('127.0.0.1');
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(await listenerOf(said)).toBeUndefined();
  });

  test('is nobody where a connection only leaves from that port', async () => {
    const {port} = await listen();
    const socket = connect({port, host: '127.0.0.1'});
    ends.push(() => socket.destroy());
    await once(socket, 'connect');
    expect(await listenerOf(socket.localPort ?? 0)).toBeUndefined();
  });
});

describe('whether a process is connected', () => {
  test('yes, as soon as its connection is there', async () => {
    const {server, port} = await listen();
    const accepted = once(server, 'connection');
    const {pid} = await other(
      `const s = require('net').connect(${port}, '127.0.0.1', () => console.log(1)); setInterval(() => 0, 1e6)`,
    );
    await accepted;
    expect(await isConnected(pid)).toBe(true);
  });

  test('no, where it only listens, and others are connected', async () => {
    const {pid, said} = await otherListener('127.0.0.1');
    expect(await isConnected(pid)).toBe(false);
    const {port} = await listen();
    const socket = connect({port, host: '127.0.0.1'});
    ends.push(() => socket.destroy());
    await once(socket, 'connect');
    expect(await isConnected(pid)).toBe(false);
    expect(said).toBeGreaterThan(0);
  });

  test('no, where there is no such process', async () => {
    expect(await isConnected(2 ** 22 + 1)).toBe(false);
  });

  test('is not known where there is no /proc', async () => {
    const platform = Object.getOwnPropertyDescriptor(process, 'platform');
    if (!platform) throw new Error('Expected a platform');
    Object.defineProperty(process, 'platform', {...platform, value: 'darwin'});
    try {
      expect(await isConnected(process.pid)).toBeUndefined();
    } finally {
      Object.defineProperty(process, 'platform', platform);
    }
  });
});

test.each(['127.0.0.1', '::1', '0.0.0.0'])(
  'a free port of %s can be listened on, and differs each time',
  async (host) => {
    const ports = await Promise.all(Array.from({length: 8}, () => freePort(host)));
    expect(new Set(ports).size).toBeGreaterThan(1);
    for (const port of ports) expect(await canListen(port, host)).toBe(true);
  },
);

test('a free port of an address that this machine has not is an error', async () => {
  await expect(freePort('192.0.2.1')).rejects.toMatchObject({code: 'EADDRNOTAVAIL'});
});

describe.runIf(process.platform === 'linux')('the descriptor with which a process listens on a Unix socket', () => {
  /** Listens, connects to itself, and does as it is told: a signal closes the listener and leaves the connection. */
  const script = `
    const {createServer, connect} = require('net');
    const path = process.env.LISTEN_ON;
    const s = createServer(() => console.log(1)).listen(path, () => connect(path));
    process.on('SIGUSR2', () => { s.close(); console.log(2); });
    setInterval(() => 0, 1e6)`;

  test('is that of the listener, whatever connections it has; and is open until it closes that', async () => {
    const folder = mkdtempSync(join(process.env['TMPDIR'] ?? '/tmp', 'p-'));
    ends.push(() => {
      rmSync(folder, {recursive: true});
    });
    const path = join(folder, 'a.sock');
    const {child, pid} = await other(script, {LISTEN_ON: path});
    const found = descriptorOf(pid, path);
    if (!found) throw new Error('There is none');
    expect(isOpen(found)).toBe(true);
    child.kill('SIGUSR2');
    if (child.stdout) await once(child.stdout, 'data');
    expect(isOpen(found)).toBe(false);
    expect(descriptorOf(pid, path)).toBeUndefined();
    expect(descriptorOf(pid, '/nowhere')).toBeUndefined();
  });

  test('is not to be had of a process that is gone', async () => {
    const {child, pid} = await other('console.log(1); setInterval(() => 0, 1e6)');
    expect(isExiting(pid)).toBe(false);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(isExiting(pid)).toBe(true);
    expect(descriptorOf(pid, '/nowhere')).toBeUndefined();
  });
});
