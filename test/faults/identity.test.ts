import {execFile, spawn} from 'node:child_process';
import {chmodSync, copyFileSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {promisify} from 'node:util';
import {describe, expect, test} from 'vitest';
import {dyingWithUs, guard, pollUntil} from '../support/index.js';
import {once, quickRestart, rejection, setScene, starts, talk} from './scene.js';

const run = promisify(execFile);
const scene = setScene();

/** A backoff whose longest wait is easily told from the others. */
const slowest = {...quickRestart, maxTimeout: 1_500, quickFor: 0};

describe('the host key', () => {
  test.each(['yes', 'ask'])('unknown, StrictHostKeyChecking %s: fatal at once, with what to do', async (strict) => {
    writeFileSync(scene.sshd.knownHostsFile, '');
    const subject = scene.tunnel({sshOptions: {StrictHostKeyChecking: strict}, gateTime: 0});
    const error = await rejection(subject.tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY', retryable: false});
    expect(error['hint']).toContain('known_hosts');
    expect(starts(subject)).toBe(1);
    expect(subject.events.count('restart')).toBe(0);
  });

  test('changed before the start: fatal at once', async () => {
    await scene.sshd.swapHostKey();
    const subject = scene.tunnel({gateTime: 0});
    expect(await rejection(subject.tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY', retryable: false});
    expect(starts(subject)).toBe(1);
  });

  test('changed while the tunnel is up: unmoved, and fatal with the next connection', async () => {
    const subject = await scene.tunnelUp();
    const {tunnel, events} = subject;
    await scene.sshd.swapHostKey();
    await once(tunnel, 'heartbeat', {unless: ['disconnect', 'stop']});
    expect(await talk(tunnel)).toBe('ping');
    const fatal = once(tunnel, 'fatal');
    await scene.sshd.killSessions();
    expect(await fatal).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY', retryable: false});
    expect(starts(subject)).toBe(2);
    await tunnel.stop();
    expect(events.of('stop')).toMatchObject([{reason: 'fatal', error: {code: 'ERR_AUTOSSH_HOST_KEY'}}]);
    expect(tunnel.state).toBe('stopped');
  });

  test('revoked: fatal at once', async () => {
    const key = readFileSync(`${scene.sshd.hostKeyFile}.pub`, 'utf8').split(' ').slice(0, 2).join(' ');
    writeFileSync(scene.sshd.knownHostsFile, `@revoked * ${key}\n`);
    const {tunnel} = scene.tunnel({gateTime: 0});
    expect(await rejection(tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_HOST_KEY', retryable: false});
  });
});

describe('the key', () => {
  test('rejected from the start: fatal inside the gate, after one attempt', async () => {
    writeFileSync(scene.sshd.authorizedKeysFile, '');
    const subject = scene.tunnel();
    const error = await rejection(subject.tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_GATE', cause: {code: 'ERR_AUTOSSH_AUTH'}});
    expect(error.message).toMatch(/Permission denied|refused|not accepted|publickey/);
    expect(starts(subject)).toBe(1);
  });

  test('rejected while the tunnel is up: retried with the slowest wait, and back when it is accepted again', async () => {
    const subject = await scene.tunnelUp({restart: slowest});
    const {tunnel, events} = subject;
    const authorized = readFileSync(scene.sshd.authorizedKeysFile);
    writeFileSync(scene.sshd.authorizedKeysFile, '');
    const second = once(tunnel, 'restart', {where: ({attempt}) => attempt === 3, unless: ['stop']});
    await scene.sshd.killSessions();
    await second;
    expect(events.of('restart').map(({delay}) => delay)).toEqual([0, 1_500, 1_500]);
    expect(events.of('restart').at(-1)?.outcome).toMatchObject({code: 'ERR_AUTOSSH_AUTH', retryable: true});
    expect(events.count('fatal')).toBe(0);
    const again = once(tunnel, 'connect', {unless: ['stop']});
    writeFileSync(scene.sshd.authorizedKeysFile, authorized);
    await again;
    expect(await talk(tunnel)).toBe('ping');
  });

  test('not there: a clear error after one attempt', async () => {
    const path = join(scene.sshd.folder, 'no_such_key');
    const subject = scene.tunnel({
      identityFile: path,
      sshOptions: {IdentitiesOnly: true},
      configFile: withoutIdentity(),
    });
    const error = await rejection(subject.tunnel.start());
    expect(error).toMatchObject({cause: {code: 'ERR_AUTOSSH_AUTH'}});
    expect(`${error.message} ${String(error['hint'])} ${String(error['stderr'])}`).toContain(path);
    expect(starts(subject)).toBe(1);
  });

  test.skipIf(process.getuid?.() === 0)('unreadable (skipped: root reads everything): a clear error', async () => {
    const path = copyOfKey();
    chmodSync(path, 0o000);
    const {tunnel} = scene.tunnel({identityFile: path, configFile: withoutIdentity()});
    const error = await rejection(tunnel.start());
    expect(error).toMatchObject({cause: {code: 'ERR_AUTOSSH_AUTH'}});
    expect(`${error.message} ${String(error['hint'])} ${String(error['stderr'])}`).toContain(path);
  });

  test('no key at all: a clear error', async () => {
    const path = copyOfKey();
    writeFileSync(path, 'this is not a key\n');
    rmSync(`${path}.pub`, {force: true});
    const {tunnel} = scene.tunnel({identityFile: path, configFile: withoutIdentity()});
    const error = await rejection(tunnel.start());
    expect(error).toMatchObject({cause: {code: 'ERR_AUTOSSH_AUTH'}});
  });

  test('too open: a clear error that names the file and the mode', async () => {
    const path = copyOfKey();
    chmodSync(path, 0o644);
    const subject = scene.tunnel({identityFile: path, configFile: withoutIdentity()});
    const error = await rejection(subject.tunnel.start());
    expect(error).toMatchObject({cause: {code: 'ERR_AUTOSSH_AUTH'}});
    const said = `${error.message} ${String((error.cause as {hint?: string}).hint)}`;
    expect(said).toContain(path);
    expect(said).toMatch(/open|chmod|mode|permission/i);
    expect(starts(subject)).toBe(1);
  });

  test('with a passphrase that nobody is there to type: no prompt, a clear error', async () => {
    const path = copyOfKey();
    await run('ssh-keygen', ['-q', '-p', '-P', '', '-N', 'secret', '-f', path]);
    rmSync(`${path}.pub`, {force: true});
    const subject = scene.tunnel({identityFile: path, configFile: withoutIdentity(), readyTimeout: 10_000});
    expect(await rejection(subject.tunnel.start())).toMatchObject({cause: {code: 'ERR_AUTOSSH_AUTH'}});
    expect(starts(subject)).toBe(1);
  });
});

describe('the agent', () => {
  test('gone while the tunnel is up: unmoved; then retried slowly; back when the agent is', async () => {
    const socket = join(scene.sshd.folder, 'agent');
    const stopAgent = await startAgent(socket);
    const lines = [`IdentityAgent ${socket}`, 'IdentitiesOnly no'];
    const {tunnel, events} = await scene.tunnelUp({
      configFile: withoutIdentity(lines),
      restart: slowest,
    });
    await stopAgent();
    await once(tunnel, 'heartbeat', {unless: ['disconnect', 'stop']});
    const failed = once(tunnel, 'restart', {where: ({attempt}) => attempt === 2, unless: ['stop']});
    await scene.sshd.killSessions();
    const {outcome, delay} = await failed;
    expect(outcome).toMatchObject({code: 'ERR_AUTOSSH_AUTH', retryable: true});
    expect(delay).toBe(1_500);
    const again = once(tunnel, 'connect', {unless: ['stop']});
    const stopSecond = await startAgent(socket);
    await again;
    expect(await talk(tunnel)).toBe('ping');
    expect(events.count('fatal')).toBe(0);
    await stopSecond();
  });
});

/** A configuration that names no key, so that the one under test is all there is. */
function withoutIdentity(lines: readonly string[] = []): string {
  const path = scene.sshd.config({lines: [...lines]});
  const rest = readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => !line.includes('IdentityFile'));
  // With none named, ssh would try the user's own.
  writeFileSync(path, [...rest, lines.length > 0 ? '' : `  IdentityFile none`, ''].join('\n'));
  return path;
}

function copyOfKey(): string {
  const path = join(scene.sshd.folder, 'copy_of_key');
  copyFileSync(scene.sshd.identityFile, path);
  chmodSync(path, 0o600);
  return path;
}

/** An agent that holds the key; returns how to end it. */
async function startAgent(socket: string): Promise<() => Promise<void>> {
  rmSync(socket, {force: true});
  const [command = '', ...args] = dyingWithUs(['ssh-agent', '-D', '-a', socket]);
  const agent = spawn(command, args, {stdio: 'ignore'});
  if (agent.pid !== undefined) guard('process', agent.pid);
  const gone = new Promise((resolve) => agent.once('exit', resolve));
  const env = {...process.env, SSH_AUTH_SOCK: socket};
  let added = false;
  // There is no event for a socket of somebody else that begins to listen.
  await pollUntil(
    'the agent takes the key',
    () => {
      void run('ssh-add', ['-q', scene.sshd.identityFile], {env}).then(
        () => (added = true),
        () => undefined,
      );
      return added;
    },
    {every: 50},
  );
  return async () => {
    agent.kill('SIGKILL');
    await gone;
  };
}
