import {spawn} from 'node:child_process';
import {once as nodeOnce} from 'node:events';
import {existsSync, mkdirSync, rmSync, statSync, symlinkSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {beforeAll, beforeEach, describe, expect, test} from 'vitest';
import {agentAnswers, type AutoSSH} from '../../src/index.js';
import {
  alive,
  allProcesses,
  commandLine,
  compiled,
  dyingWithUs,
  environmentOf,
  expectNothingLeft,
  findProgram,
  guard,
  ownProcesses,
  pollUntil,
  serve,
  signal,
  snapshot,
  temporaryEntries,
  waitForExit,
} from '../support/index.js';
import {begin, once, rejection, talk} from '../faults/scene.js';
import {HostProcess} from '../faults/host.js';
import {addKey, filledAgent, heldBy, openSSHKey, type KeyPair} from './keys.js';
import {file, setKeyScene} from './key-scene.js';

const scene = setKeyScene();

let key: KeyPair;
let locked: KeyPair;
let another: KeyPair;

beforeAll(async () => {
  [key, locked, another] = await Promise.all([openSSHKey(), openSSHKey('ed25519', 'secret'), openSSHKey()]);
});
beforeEach(() => {
  scene.authorize(key.publicKey, locked.publicKey);
});

/** What an ssh was given as the socket of its agent. */
function socketOf({pid}: Pick<AutoSSH, 'pid'>): string | undefined {
  return environmentOf(pid ?? 0)['SSH_AUTH_SOCK'];
}

/** The process behind a socket. */
function agentAt(socket: string | undefined): number {
  const found = allProcesses().find(({pid}) => commandLine(pid).at(-1) === socket);
  if (!found) throw new Error(`No agent at ${String(socket)}`);
  return found.pid;
}

function withAgent(socket: string): NodeJS.ProcessEnv {
  return {...process.env, SSH_AUTH_SOCK: socket};
}

describe("an agent of the tunnel's own", () => {
  test('is what ssh has, in a folder of this user alone, and ends with the tunnel', async () => {
    const before = snapshot();
    const subject = scene.tunnel({agent: 'session', identityFile: file(scene, 'identity', key.privateKey)});
    await subject.tunnel.start();
    const socket = socketOf(subject.tunnel) ?? '';
    expect(await agentAnswers(socket)).toBe(true);
    expect(await heldBy(socket)).toEqual([]);
    expect(statSync(dirname(socket)).mode & 0o777).toBe(0o700);
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    const pid = agentAt(socket);
    await subject.tunnel.stop();
    expect(alive(pid)).toBe(false);
    expect(existsSync(dirname(socket))).toBe(false);
    // The echo of the tunnel's end at the server takes a moment.
    await expectNothingLeft(before, {within: 5_000});
  });

  test('is the one that a key of its own goes to, and has that key alone', async () => {
    await using other = await filledAgent([another]);
    await using subject = await scene.up({privateKey: key.privateKey, env: withAgent(other.socket)});
    const socket = socketOf(subject.tunnel) ?? '';
    expect(socket).not.toBe(other.socket);
    expect(await heldBy(socket)).toEqual([key.publicKey]);
    expect(await heldBy(other.socket)).toEqual([another.publicKey]);
  });

  test('takes what the host puts into it', async () => {
    const identityFile = file(scene, 'until then', key.privateKey);
    await using subject = await scene.up({agent: 'session', identityFile});
    await addKey(socketOf(subject.tunnel) ?? '', key.privateKey);
    rmSync(identityFile);
    await subject.tunnel.restart();
    expect(await talk(subject.tunnel)).toBe('ping');
  });

  test('has no variable of the host that a function may read later', async () => {
    const env = {...process.env, LANG: 'C', VAULT_TOKEN: 'not given out yet', SSH_PASSPHRASE: 'secret'};
    await using subject = await scene.up({privateKey: locked.privateKey, passphrase: () => env.SSH_PASSPHRASE, env});
    const pid = agentAt(socketOf(subject.tunnel));
    const names = Object.keys(environmentOf(pid));
    expect(names).toEqual(expect.arrayContaining(['PATH', 'LANG']));
    expect(names).not.toContain('VAULT_TOKEN');
    expect(names).not.toContain('SSH_PASSPHRASE');
  });

  test('is no other tunnel’s', async () => {
    await using one = await scene.up({privateKey: key.privateKey});
    await using two = await scene.up({privateKey: key.privateKey});
    expect(socketOf(one.tunnel)).not.toBe(socketOf(two.tunnel));
    const socket = socketOf(two.tunnel) ?? '';
    await one.tunnel.stop();
    expect(await agentAnswers(socket)).toBe(true);
  });

  test('is there with the first ssh of a lazy tunnel, and stays while that is idle', async () => {
    await using subject = scene.tunnel({privateKey: key.privateKey, lazy: true, idleTimeout: 200});
    const {tunnel} = subject;
    await tunnel.start();
    expect(agents()).toEqual([]);
    const connected = once(tunnel, 'connect');
    const idle = once(tunnel, 'disconnect');
    expect(await talk(tunnel)).toBe('ping');
    const socket = socketOf({pid: (await connected).pid}) ?? '';
    await idle;
    expect(await heldBy(socket)).toEqual([key.publicKey]);
    const again = once(tunnel, 'connect');
    expect(await talk(tunnel)).toBe('ping');
    expect(socketOf({pid: (await again).pid})).toBe(socket);
    await tunnel.stop();
    expect(agents()).toEqual([]);
  });

  test('that somebody has killed is another one with the next ssh, and has the key', async () => {
    let calls = 0;
    await using subject = await scene.up({
      privateKey: locked.privateKey,
      passphrase: () => {
        calls++;
        return 'secret';
      },
    });
    const {tunnel} = subject;
    const socket = socketOf(tunnel);
    const pid = agentAt(socket);
    signal(pid, 'SIGKILL');
    await waitForExit(pid);
    expect(await talk(tunnel)).toBe('ping');
    await tunnel.restart();
    expect(socketOf(tunnel)).not.toBe(socket);
    expect(await heldBy(socketOf(tunnel) ?? '')).toEqual([locked.publicKey]);
    expect(calls).toBe(2);
    expect(agents()).toHaveLength(1);
    expect(subject.events.count('warning')).toBe(0);
  });

  test('whose folders a cleaner of temporary files has deleted is another one, too', async () => {
    await using subject = await scene.up({privateKey: key.privateKey});
    const {tunnel} = subject;
    const pid = agentAt(socketOf(tunnel));
    const folders = temporaryEntries();
    expect(folders).toHaveLength(2);
    for (const folder of folders) rmSync(folder, {recursive: true});
    const again = once(tunnel, 'connect', {unless: ['stop']});
    signal(tunnel.pid ?? 0, 'SIGKILL');
    await again;
    expect(await talk(tunnel)).toBe('ping');
    await waitForExit(pid);
    expect(agents()).toHaveLength(1);
  });
});

describe("the host is killed (KILL), and so is an agent of the tunnel's own", () => {
  const paths: readonly [name: string, path: () => string][] = [
    ['with setpriv', () => process.env['PATH'] ?? ''],
    ['without setpriv', () => pathWithoutSetpriv()],
  ];

  test.each(paths)('%s, while the tunnel is up', async (_name, path) => {
    const host = await HostProcess.start(scene.options({privateKey: key.privateKey}), {
      env: {...process.env, PATH: path()},
    });
    const connected = host.next('connect', {unless: ['stop']});
    expect(await host.command('start')).toBeUndefined();
    const {pid: ssh} = await connected;
    const pid = agentAt(socketOf({pid: ssh}));
    await host.kill();
    await waitForExit(pid, {timeout: 2_000});
    await waitForExit(ssh, {timeout: 2_000});
    await pollUntil('the folders are gone', () => temporaryEntries().length === 0, {timeout: 3_000});
  });

  test.each(paths)('%s, while it asks for a passphrase', async (_name, path) => {
    const options = scene.options({privateKey: locked.privateKey});
    const [command = '', ...args] = dyingWithUs([
      ...[process.execPath, compiled('vault-host.ts'), JSON.stringify(options)],
    ]);
    const host = spawn(command, args, {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      env: {...process.env, PATH: path()},
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    guard('process', host.pid ?? 0);
    await nodeOnce(host.stdout, 'data');
    const [folders, running] = [temporaryEntries(), agents()];
    const exit = nodeOnce(host, 'exit');
    host.kill('SIGKILL');
    await exit;
    expect([folders.length, running.length]).toEqual([2, 2]);
    await pollUntil('agent and ssh-add are gone', () => agents().length === 0, {timeout: 3_000});
    await pollUntil('the folders are gone', () => temporaryEntries().length === 0, {timeout: 3_000});
  });
});

describe('an agent of others', () => {
  test.each([
    ['of SSH_AUTH_SOCK by default', () => ({})],
    ["of SSH_AUTH_SOCK with 'inherit'", () => ({agent: 'inherit'})],
  ])('%s lets in', async (_name, option) => {
    await using agent = await filledAgent([key]);
    await using subject = await scene.up({...option(), env: withAgent(agent.socket)});
    expect(socketOf(subject.tunnel)).toBe(agent.socket);
    expect(subject.events.count('warning')).toBe(0);
    expect(agents()).toEqual([agentAt(agent.socket)]);
  });

  test('is not used with false', async () => {
    await using agent = await filledAgent([key]);
    await using subject = scene.tunnel({agent: false, env: withAgent(agent.socket)});
    const started = once(subject.tunnel, 'start');
    const up = rejection(subject.tunnel.start());
    expect(socketOf(await started)).toBeUndefined();
    expect(await up).toMatchObject({code: 'ERR_AUTOSSH_GATE', cause: {code: 'ERR_AUTOSSH_AUTH'}});
    expect(scene.offers()).toEqual([]);
  });

  test('is not used with false, though ssh_config names it', async () => {
    await using agent = await filledAgent([key]);
    const configFile = file(scene, 'config', `IdentityAgent ${agent.socket}\n`);
    await using subject = scene.tunnel({agent: false, configFile});
    expect(await rejection(subject.tunnel.start())).toMatchObject({cause: {code: 'ERR_AUTOSSH_AUTH'}});
    await scene.works({configFile});
  });

  test.each(['plain', 'with spaces and %h %% %', `~ $HOME "quoted" 'twice' #`])(
    'is used at its path: %s',
    async (name) => {
      await using agent = await filledAgent([key]);
      const path = join(scene.folder, name);
      symlinkSync(agent.socket, path);
      await using subject = await scene.up({agent: path, env: withAgent('/nowhere')});
      expect(subject.events.count('warning')).toBe(0);
    },
  );
});

describe('an agent that is not there', () => {
  /** A socket whose agent was killed. */
  async function deadSocket(): Promise<string> {
    const agent = await filledAgent([key]);
    const path = join(scene.folder, 'dead');
    rmSync(path, {force: true});
    signal(agent.pid ?? 0, 'SIGKILL');
    await pollUntil('no agent', () => agent.pid === undefined);
    const server = await serve({path}, (socket) => socket.destroy());
    await server.close();
    await agent.close();
    return path;
  }

  test.each([
    ['nobody listens', deadSocket],
    ['there is nothing', async () => '/nowhere/agent'],
    ['there is a file', async () => file(scene, 'no socket', '')],
  ])('because %s at SSH_AUTH_SOCK is told once, and an `identityFile` lets in', async (_name, place) => {
    const socket = await place();
    const identityFile = file(scene, 'identity', key.privateKey);
    await using subject = await scene.up({env: withAgent(socket), identityFile});
    await subject.tunnel.restart();
    const again = once(subject.tunnel, 'connect', {unless: ['stop']});
    signal(subject.tunnel.pid ?? 0, 'SIGKILL');
    await again;
    expect(subject.events.of('warning')).toEqual([
      {code: 'WARN_AUTOSSH_AGENT', message: `No ssh-agent answers at ${socket} (SSH_AUTH_SOCK): ssh has to do without`},
    ]);
    expect(subject.events.all.findIndex(({name}) => name === 'warning')).toBeLessThan(
      subject.events.all.findIndex(({name}) => name === 'start'),
    );
  });

  test('is told again when it has been there meanwhile', async () => {
    const identityFile = file(scene, 'identity', key.privateKey);
    const path = join(scene.folder, 'now and then');
    await using subject = await scene.up({agent: path, identityFile});
    {
      await using agent = await filledAgent([]);
      symlinkSync(agent.socket, path);
      await subject.tunnel.restart();
      expect(subject.events.count('warning')).toBe(1);
    }
    await subject.tunnel.restart();
    expect(subject.events.of('warning').map(({message}) => message)).toEqual(
      Array.from({length: 2}, () => `No ssh-agent answers at ${path} (\`agent\`): ssh has to do without`),
    );
  });

  test('and that nobody named is nothing to tell', async () => {
    const identityFile = file(scene, 'identity', key.privateKey);
    const {SSH_AUTH_SOCK: _, ...env} = process.env;
    await using without = await scene.up({env, identityFile});
    expect(without.events.count('warning')).toBe(0);
    // As ssh has it, an empty name is none (`ssh_get_authentication_socket` in authfd.c).
    await using empty = await scene.up({env: {...env, SSH_AUTH_SOCK: ''}, identityFile});
    expect(empty.events.count('warning')).toBe(0);
  });

  test.each([
    ['SSH_AUTH_SOCK', (path: string) => ({env: withAgent(path)})],
    ['`agent`', (agent: string) => ({agent})],
  ])('and is all there is: the error names its socket (%s)', async (_name, option) => {
    const path = await deadSocket();
    await using subject = scene.tunnel(option(path));
    const {cause} = await rejection(subject.tunnel.start());
    expect(cause).toMatchObject({code: 'ERR_AUTOSSH_AUTH', retryable: true});
    const {message, hint} = cause as {message: string; hint: string};
    expect(message).toContain(`no ssh-agent answers at ${path}`);
    expect(hint).toMatch(/ssh-add/);
  });

  test('or is silent is not called dead, and holds ssh up for a moment only', async () => {
    const path = join(scene.folder, 'silent');
    const server = await serve({path}, (socket) => socket.resume());
    await Promise.all(
      Array.from({length: 12}, async (_one, index) => {
        await new Promise((resolve) => setTimeout(resolve, index * 7.3));
        await using subject = scene.tunnel({agent: path});
        // Long before the end of `readyTimeout`.
        const started = once(subject.tunnel, 'start', {timeout: 10_000});
        void begin(subject.tunnel);
        await started;
        expect(subject.events.count('warning')).toBe(0);
      }),
    );
    await server.close();
  });
});

/** The agents that are this process's and its children's, and the ssh-add that fill them. */
function agents(): number[] {
  const mine = ownProcesses().map(({pid}) => pid);
  return mine.filter((pid) => /(?:^|\/)ssh-(?:agent|add)$/.test(commandLine(pid)[0] ?? ''));
}

/** A PATH on which everything is but setpriv. */
function pathWithoutSetpriv(): string {
  const folder = join(scene.folder, 'bin');
  if (existsSync(folder)) return folder;
  mkdirSync(folder);
  for (const name of ['ssh', 'ssh-add', 'ssh-agent', 'sh', 'sleep', 'cat', 'env', 'rm', 'rmdir', 'kill']) {
    const path = findProgram(name);
    if (path !== undefined) symlinkSync(path, join(folder, name));
  }
  return folder;
}
