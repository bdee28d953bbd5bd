import {execFile, spawn, type ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import {chmodSync, existsSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync} from 'node:fs';
import {createServer, type Server, type Socket} from 'node:net';
import {dirname, join} from 'node:path';
import {createInterface} from 'node:readline';
import {promisify} from 'node:util';
import {afterEach, beforeEach, describe, expect, test} from 'vitest';
import {AutoSSHError, SSHAgent, agentAnswers, type SSHAgentOptions} from '../src/index.js';
import {
  type Snapshot,
  alive,
  children,
  commandLine,
  compiled,
  expectNothingLeft,
  findProgram,
  fixture,
  guard,
  ownTemporaryFolder,
  pollUntil,
  signal,
  snapshot,
  temporaryFolder,
  waitForExit,
  waitForState,
} from './support/index.js';

const run = promisify(execFile);

let folder: string;
let before: Snapshot;
let restoreTemporaryFolder: () => void;

beforeEach(() => {
  restoreTemporaryFolder = ownTemporaryFolder();
  folder = temporaryFolder('a-');
  before = snapshot();
});
afterEach(async () => {
  // The servers and hosts of the tests take an instant.
  await expectNothingLeft(before, {within: 1_000});
  rmSync(folder, {recursive: true, force: true});
  restoreTemporaryFolder();
});

describe('an agent', () => {
  test('answers as soon as it is open, on a socket that is this user’s alone', async () => {
    await using agent = await SSHAgent.open();
    expect(await agentAnswers(agent.socket)).toBe(true);
    expect(await list(agent.socket)).toBe('The agent has no identities.\n');
    expect(statSync(dirname(agent.socket)).mode & 0o777).toBe(0o700);
    expect(statSync(agent.socket).mode & 0o777).toBe(0o600);
    expect(readdirSync(dirname(agent.socket))).toEqual(['agent.sock']);
    expect(snapshot().listeners).toEqual(before.listeners);
  });

  test('is the process that its pid says, out of reach of a Ctrl-C', async () => {
    await using agent = await SSHAgent.open();
    const pid = agent.pid ?? 0;
    expect(commandLine(pid).slice(1)).toEqual(['-D', '-a', agent.socket]);
    expect(children(process.pid)).toContain(pid);
    const {stdout} = await run('ps', ['-o', 'pgid=,sid=', '-p', String(pid)]);
    expect(stdout.trim().split(/\s+/).map(Number)).toEqual([pid, pid]);
  });

  test('keeps a key that it is given', async () => {
    await using agent = await SSHAgent.open();
    const key = join(folder, 'key');
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'of a test', '-f', key]);
    await run('ssh-add', [key], {env: {...process.env, SSH_AUTH_SOCK: agent.socket}});
    expect(await list(agent.socket)).toContain('of a test');
  });

  test('is gone with its folder once it is closed, and closed twice is closed once', async () => {
    const agent = await SSHAgent.open();
    const pid = agent.pid ?? 0;
    await Promise.all([agent.close(), agent.close()]);
    await agent.close();
    await expectNothingLeft(before);
    expect(alive(pid)).toBe(false);
    expect(agent.pid).toBeUndefined();
    expect(existsSync(dirname(agent.socket))).toBe(false);
    expect(await agentAnswers(agent.socket)).toBe(false);
  });

  test('that is stopped is closed', async () => {
    const agent = await SSHAgent.open();
    const pid = agent.pid ?? 0;
    signal(pid, 'SIGSTOP');
    await waitForState(pid, 'T');
    await agent.close();
    expect(alive(pid)).toBe(false);
  });

  test('that does not end when it is asked to is killed', async () => {
    const agent = await SSHAgent.open({agentPath: fixture('stubborn-agent.mjs'), killTimeout: 100});
    const pid = agent.pid ?? 0;
    await agent.close();
    expect(alive(pid)).toBe(false);
  });

  test('that something else has ended has no pid, and leaves nothing when it is closed', async () => {
    const agent = await SSHAgent.open();
    signal(agent.pid ?? 0, 'SIGKILL');
    await pollUntil('no pid', () => agent.pid === undefined);
    expect(await agentAnswers(agent.socket)).toBe(false);
    await agent.close();
  });

  test('does not end with another one', async () => {
    const [one, two] = await Promise.all([SSHAgent.open(), SSHAgent.open()]);
    expect(one.socket).not.toBe(two.socket);
    await one.close();
    expect(await agentAnswers(two.socket)).toBe(true);
    await two.close();
  });

  test('is looked for in the PATH that it is given', async () => {
    const path = findProgram('ssh-agent') ?? '';
    symlinkSync(path, join(folder, 'ssh-agent'));
    await using agent = await SSHAgent.open({env: {PATH: folder}});
    expect(commandLine(agent.pid ?? 0)[0]).toBe(join(folder, 'ssh-agent'));
  });

  test('starts where setpriv is there and refuses its work', async () => {
    const path = join(folder, 'setpriv');
    writeFileSync(
      path,
      '#!/bin/sh\necho "setpriv: set parent death signal failed: Operation not permitted" >&2\nexit 1\n',
    );
    chmodSync(path, 0o755);
    await using agent = await SSHAgent.open({env: {...process.env, PATH: `${folder}:${process.env['PATH'] ?? ''}`}});
    expect(await agentAnswers(agent.socket)).toBe(true);
  });
});

describe('an agent that cannot be', () => {
  test('because the program is missing is an error that says what to install', async () => {
    const error = await refusal({env: {PATH: folder}});
    expect(error.message).toBe('ssh-agent could not be started: ssh-agent was not found in PATH');
    expect(error.hint).toContain('apt-get install openssh-client');
  });

  test('because it may not be executed is an error that names it', async () => {
    const path = join(folder, 'ssh-agent');
    writeFileSync(path, '', {mode: 0o644});
    const error = await refusal({agentPath: path});
    expect(error.message).toBe(`ssh-agent could not be started: ${path} may not be executed`);
  });

  test('because it is no program is an error with the words of the system', async () => {
    const path = join(folder, 'ssh-agent');
    writeFileSync(path, '#!/nonexistent\n', {mode: 0o755});
    const error = await refusal({agentPath: path, env: {PATH: folder}});
    expect(error.message).toMatch(/^ssh-agent could not be started: .*not found$/);
  });

  test('because it ends is an error with its last words', async () => {
    const env = {...process.env, FAKE_STDERR: 'no entropy', FAKE_EXIT: '3'};
    const error = await refusal({agentPath: fixture('exit-with.mjs'), env});
    expect(error.message).toBe('ssh-agent exited with code 3: no entropy');
    expect(error.stderr).toEqual(['no entropy']);
  });

  test('because it does not answer is an error, and it is ended', async () => {
    const error = await refusal({agentPath: fixture('silent.mjs'), readyTimeout: 200});
    expect(error.message).toBe('ssh-agent did not answer within 200 ms');
  });

  test('because an option is wrong is a TypeError that names it', async () => {
    await expect(SSHAgent.open({readyTimeout: -1})).rejects.toThrow('Expected `readyTimeout` to be');
    await expect(SSHAgent.open({agentPath: ''})).rejects.toThrow('Expected `agentPath` to be');
    await expect(SSHAgent.open({killTimout: 1} as SSHAgentOptions)).rejects.toThrow('Unknown option `killTimout`');
  });
});

describe('the host of an agent', () => {
  const withoutSetpriv = (): string => {
    symlinkSync(findProgram('ssh-agent') ?? '', join(folder, 'ssh-agent'));
    return folder;
  };

  test.each([
    ['with setpriv', () => process.env['PATH'] ?? ''],
    ['without setpriv', withoutSetpriv],
  ])('that is killed leaves neither process nor folder after a second, %s', async (_what, path) => {
    const host = await startHost('stay', path());
    expect(await agentAnswers(host.socket)).toBe(true);
    host.child.kill('SIGKILL');
    await host.exited;
    await Promise.all([
      waitForExit(host.pid, {timeout: 1_000}),
      pollUntil('no folder', () => !existsSync(dirname(host.socket)), {timeout: 1_000}),
    ]);
  });

  test('that is killed leaves none that is stopped either', async () => {
    const host = await startHost('stay');
    signal(host.pid, 'SIGSTOP');
    await waitForState(host.pid, 'T');
    host.child.kill('SIGKILL');
    await waitForExit(host.pid);
    await pollUntil('no folder', () => !existsSync(dirname(host.socket)));
  });

  test('is not kept alive by it', async () => {
    const host = await startHost('rest');
    expect(await host.exited).toEqual([0, null]);
    await waitForExit(host.pid);
    await pollUntil('no folder', () => !existsSync(dirname(host.socket)));
  });
});

describe('whether an agent answers', () => {
  let server: Server | undefined;
  const sockets: Socket[] = [];

  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    if (!server) return;
    server.close();
    await once(server, 'close');
    server = undefined;
  });

  async function listener(serve: (socket: Socket) => void): Promise<string> {
    const path = join(folder, 'some.sock');
    server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => undefined);
      serve(socket);
    });
    server.listen(path);
    await once(server, 'listening');
    return path;
  }

  test.each([
    ['an agent with no keys', [0, 0, 0, 5, 12, 0, 0, 0, 0], true],
    ['one that refuses', [0, 0, 0, 1, 5], true],
    ['something else', [0, 0, 0, 1, 6], false],
    ['a web server', [...Buffer.from('HTTP/1.1 400 Bad Request\r\n')], false],
  ])('%s', async (_what, bytes, lives) => {
    const path = await listener((socket) => {
      socket.once('data', (request: Buffer) => {
        // The shortest message that there is, and nothing after it.
        if (request.equals(Buffer.from([0, 0, 0, 1, 11]))) socket.write(Buffer.from(bytes));
      });
    });
    expect(await agentAnswers(path)).toBe(lives);
  });

  test('in pieces, too', async () => {
    const path = await listener((socket) => {
      socket.once('data', () => {
        socket.write(Buffer.from([0, 0]));
        setImmediate(() => socket.write(Buffer.from([0, 5, 12])));
      });
    });
    expect(await agentAnswers(path)).toBe(true);
  });

  test('not where somebody listens and is silent, or hangs up', async () => {
    let hangUp = false;
    const path = await listener((socket) => {
      if (hangUp) socket.end();
    });
    expect(await agentAnswers(path, 100)).toBe(false);
    hangUp = true;
    expect(await agentAnswers(path)).toBe(false);
  });

  test('not where the socket of a dead one is left', async () => {
    const agent = await SSHAgent.open();
    signal(agent.pid ?? 0, 'SIGKILL');
    await pollUntil('no pid', () => agent.pid === undefined);
    expect(statSync(agent.socket).isSocket()).toBe(true);
    expect(await agentAnswers(agent.socket)).toBe(false);
    await agent.close();
  });

  test('not where there is nothing, a file, or what cannot be a path', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    for (const path of [join(folder, 'none'), file, folder, '', 'x'.repeat(300), 'a\0b']) {
      expect(await agentAnswers(path), path).toBe(false);
    }
  });
});

/** What ssh-add says of the keys; it exits with 1 where there are none. */
async function list(socket: string): Promise<string> {
  const listing = run('ssh-add', ['-l'], {env: {...process.env, SSH_AUTH_SOCK: socket}});
  return (await listing.catch((error: unknown) => error as {stdout: string})).stdout;
}

async function refusal(options: SSHAgentOptions): Promise<AutoSSHError> {
  const error: unknown = await SSHAgent.open(options).then(
    () => undefined,
    (one: unknown) => one,
  );
  if (!(error instanceof AutoSSHError)) throw new Error('Expected an AutoSSHError', {cause: error});
  expect(error).toMatchObject({code: 'ERR_AUTOSSH_SPAWN', retryable: false});
  return error;
}

interface Host {
  child: ChildProcess;
  exited: Promise<unknown>;
  /** Of its agent. */
  pid: number;
  socket: string;
}

/** A program of its own that has an agent: see the fixture. */
async function startHost(how: 'stay' | 'rest', path = process.env['PATH']): Promise<Host> {
  const child = spawn(process.execPath, [compiled('agent-host.ts'), how], {
    env: {...process.env, PATH: path},
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  guard('process', child.pid ?? 0);
  const exited = once(child, 'exit');
  const [line] = (await once(createInterface({input: child.stdout}), 'line')) as [string];
  const {pid, socket} = JSON.parse(line) as {pid: number; socket: string};
  guard('process', pid);
  return {child, exited, pid, socket};
}
