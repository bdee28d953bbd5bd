import {execFile, spawn, type ChildProcess} from 'node:child_process';
import {randomUUID} from 'node:crypto';
import {once} from 'node:events';
import {appendFile, copyFile, mkdtemp, readFile, rename, rm, writeFile} from 'node:fs/promises';
import {createServer} from 'node:http';
import type {AddressInfo} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {promisify} from 'node:util';
import {afterAll, afterEach, beforeAll, expect, test} from 'vitest';
import {startPostgres, type Postgres} from '../examples/demo/postgres.js';
import {alive, findProgram, freePort, guard, pollUntil, PrivateSshd, signal, waitForExit} from './support/index.js';

/** The same file as redis-server, see scripts/prerequisites.ts. */
const redisServer = findProgram('redis-check-rdb');
const root = fileURLToPath(new URL('..', import.meta.url));

let sshd: PrivateSshd;
const running: ChildProcess[] = [];

beforeAll(async () => {
  sshd = await PrivateSshd.start();
});

afterEach(async () => {
  for (const {pid} of running.splice(0)) {
    if (pid === undefined || !alive(pid)) continue;
    signal(pid, 'SIGKILL');
    await waitForExit(pid);
  }
  await pollUntil('the end of all sessions', () => sshd.sessions().length === 0);
});

afterAll(async () => {
  await sshd.stop();
});

test('postgres-pool.ts: a plain pool is answered although ssh is killed, and then replaced', async () => {
  await using postgres = await startPostgres();
  const {text, exit} = example('postgres-pool.ts', environmentOf(postgres));
  expect(await exit, text()).toBe(0);
  for (const when of ['at first', 'after ssh was killed', 'after ssh was replaced'])
    expect(text()).toMatch(new RegExp(`^${when}: PostgreSQL 18.* \\(\\d+ ms\\)$`, 'm'));
  expect(text()).toContain('ssh is lost: ssh was ended by SIGKILL');
  expect(text().match(/^a new ssh is ready after \d+ ms$/gm)).toHaveLength(2);
});

test('streams.ts: pg and http over streams are answered, also after ssh was killed', async () => {
  await using postgres = await startPostgres();
  await using site = await serveSite();
  const {text, exit} = example('streams.ts', environmentOf(postgres), `http://localhost:${site.port}/page`);
  expect(await exit, text()).toBe(0);
  for (const when of ['at first', 'after ssh was killed']) {
    expect(text()).toMatch(new RegExp(`^${when}: PostgreSQL 18`, 'm'));
    expect(text()).toContain(`${when}: http://localhost:${site.port}/page answered 200 OK\n`);
  }
});

test.skipIf(redisServer === undefined)(
  `redis.ts: what was written is read although ssh was killed${redisServer ? '' : ' (skipped: redis-check-rdb of redis-tools is missing)'}`,
  async () => {
    await using redis = await startRedis();
    const {text, exit} = example('redis.ts', {
      REDIS_PORT: String(redis.port),
      REDIS_USERNAME: 'default',
      REDIS_PASSWORD: redis.password,
    });
    expect(await exit, text()).toBe(0);
    expect(text()).toContain('ssh is lost: ssh was ended by SIGKILL');
    expect(text()).toContain('read after ssh was killed: written before\n');
    expect(text().match(/^connected$/gm)).toHaveLength(2);
  },
);

test('reverse-tunnel.ts: the server side reaches the service, and again after a break, until it is interrupted', async () => {
  const {child, text, exit} = example('reverse-tunnel.ts', {});
  const places = () => [...text().matchAll(/^reachable at (127\.0\.0\.1:\d+)$/gm)].map(([, place = '']) => place);

  await pollUntil('the first place', () => places().length === 1);
  expect(await read(`http://${places()[0] ?? ''}/hooks`)).toBe('Hello from behind the tunnel, you asked for /hooks\n');
  await sshd.killSessions();
  await pollUntil('the second place', () => places().length === 2);
  expect(text()).toContain('unreachable: ');
  expect(await read(`http://${places()[1] ?? ''}/again`)).toContain('/again');

  child.kill('SIGINT');
  expect(await exit, text()).toBe(0);
  expect(text()).toMatch(/ended: aborted\n$/);
});

test('reverse-tunnel.ts: a server that is not there ends it with a sentence and 1', async () => {
  const {text, exit} = example('reverse-tunnel.ts', {SSH_HOST: 'nobody.invalid', SSH_CONFIG: '/dev/null'});
  expect(await exit).toBe(1);
  expect(text()).toContain('nobody.invalid');
});

test('socks.ts: a page is fetched from the server side', async () => {
  await using site = await serveSite();
  const {text, exit} = example('socks.ts', {}, `http://localhost:${site.port}/page`);
  expect(await exit, text()).toBe(0);
  expect(text()).toContain(`http://localhost:${site.port}/page answered 200 OK\nlocalhost:${site.port} has /page\n`);
});

test('socks.ts: a site that is not there is an error that names it', async () => {
  const {text, exit} = example('socks.ts', {}, 'http://127.0.0.1:1/');
  expect(await exit).toBe(1);
  expect(text()).toContain('cannot connect to 127.0.0.1:1');
});

test('health-service.ts: healthy, unhealthy while the server is away, healthy again, and alive all the time', async () => {
  const {child, text, exit} = example('health-service.ts', {PORT: '0', TARGET: `127.0.0.1:${sshd.port}`});
  await pollUntil('its address', () => text().includes('/healthz\n'));
  const [, service = ''] = /^health: (.*)\/healthz$/m.exec(text()) ?? [];
  const state = async (path: string) => {
    const response = await fetch(`${service}${path}`);
    const {state: name} = (await response.json()) as {state: string};
    return `${response.status} ${name}`;
  };
  const says = (line: string, times: number) => pollUntil(line, () => text().split(`tunnel: ${line}\n`).length > times);

  await says('starting -> up', 1);
  expect(await state('/healthz')).toBe('200 up');
  await sshd.halt();
  await says('-> waiting', 0);
  await pollUntil('the loss', () => /up -> (waiting|starting)/.test(text()));
  expect(await state('/healthz')).toMatch(/^503 (waiting|starting)$/);
  expect(await state('/livez')).toMatch(/^200 /);
  await sshd.restart();
  await says('starting -> up', 2);
  expect(await state('/healthz')).toBe('200 up');

  child.kill('SIGTERM');
  expect(await exit, text()).toBe(0);
});

test('rotating-key.ts: SIGHUP replaces ssh by one with the new key, and one that is not let in replaces nothing', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'rotating-'));
  try {
    const file = join(folder, 'key');
    await copyFile(sshd.identityFile, file);
    const {stdout: hostKey} = await promisify(execFile)('ssh-keygen', ['-lf', `${sshd.hostKeyFile}.pub`]);
    // What the configuration says of keys and host keys is nothing that it needs.
    const config = join(folder, 'config');
    await writeFile(config, `Host tunnel\n  HostName 127.0.0.1\n  Port ${sshd.port}\n  UserKnownHostsFile /dev/null\n`);
    const {child, text, exit} = example('rotating-key.ts', {
      SSH_CONFIG: config,
      SSH_KEY_FILE: file,
      SSH_HOST_KEY: hostKey,
    });
    const says = (line: string) => pollUntil(line, () => text().includes(line));
    await says('127.0.0.1:5432 is at 127.0.0.1:');

    const fresh = join(folder, 'fresh');
    await promisify(execFile)('ssh-keygen', ['-q', '-t', 'ecdsa', '-N', '', '-f', fresh]);
    await rename(fresh, file);
    child.kill('SIGHUP');
    await says('not replaced: The server let nobody in');
    const publicKey = await readFile(`${fresh}.pub`, 'utf8');
    await appendFile(sshd.authorizedKeysFile, publicKey);
    const accepted = sshd.waitForLine(/Accepted publickey .* ECDSA/);
    child.kill('SIGHUP');
    await says('\nreplaced\n');
    await accepted;
    child.kill('SIGTERM');
    expect(await exit, text()).toBe(0);
  } finally {
    await rm(folder, {recursive: true});
  }
});

test('vitest-fixture: a test run of its own passes, with one tunnel for both tests of the file', async () => {
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  const before = sshd.log.length;
  const {text, exit} = start([vitest, 'run', '--root', 'examples/vitest-fixture'], {TARGET: `127.0.0.1:${sshd.port}`});
  expect(await exit, text()).toBe(0);
  expect(text()).toMatch(/Tests +2 passed/);
  expect(sshd.log.slice(before).filter((line) => line.startsWith('Accepted publickey'))).toHaveLength(1);
});

function example(name: string, environment: Record<string, string>, ...args: string[]) {
  return start(['--import', 'tsx', join('examples', name), ...args], environment);
}

function start(args: readonly string[], environment: Record<string, string>) {
  const {VITEST, VITEST_MODE, VITEST_POOL_ID, VITEST_WORKER_ID, ...inherited} = process.env;
  const child = spawn(process.execPath, args, {
    cwd: root,
    env: {...inherited, NO_COLOR: '1', SSH_HOST: 'tunnel', SSH_CONFIG: sshd.configFile, ...environment},
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.push(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  }
  const exit = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once('close', (code, name) => resolve(code ?? name));
  });
  return {child, text: () => output, exit};
}

function environmentOf({address}: Postgres): Record<string, string> {
  const {host, port, user, password, database} = address;
  return {PGHOST: host, PGPORT: String(port), PGUSER: user, PGPASSWORD: password, PGDATABASE: database};
}

async function serveSite() {
  const site = createServer((request, response) =>
    response.end(`${request.headers.host ?? ''} has ${request.url ?? ''}\n`),
  );
  await once(site.listen(0, '127.0.0.1'), 'listening');
  return {
    port: (site.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      site.close();
      await once(site, 'close');
    },
  };
}

/** A server that nobody else can use, on loopback, without any file. It is the checker of its dumps, under another name. */
async function startRedis() {
  const port = await freePort();
  const password = randomUUID();
  const child = spawn(redisServer ?? '', ['-'], {argv0: 'redis-server', cwd: root, stdio: ['pipe', 'pipe', 'inherit']});
  const exited = once(child, 'exit');
  guard('process', child.pid ?? 0);
  let log = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (log += chunk));
  child.stdin.end(`bind 127.0.0.1\nport ${port}\nrequirepass ${password}\nsave ""\nappendonly no\n`);
  await pollUntil('Redis', () => log.includes('Ready to accept connections') || child.exitCode !== null);
  if (child.exitCode !== null) throw new Error(`Redis did not start: ${log}`);
  return {
    port,
    password,
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await exited;
    },
  };
}

async function read(url: string): Promise<string> {
  return (await fetch(url, {headers: {connection: 'close'}})).text();
}
