import {afterAll, beforeAll, expect, test} from 'vitest';
import {once} from '../faults/scene.js';
import {AutoSSH, optionsFromCommandLine} from '../../src/index.js';
import {PrivateSshd, echoServer, exchange, freePort, signal, type SmallServer} from '../support/index.js';

let sshd: PrivateSshd;
let echo: SmallServer;

beforeAll(async () => {
  [sshd, echo] = await Promise.all([PrivateSshd.start(), echoServer()]);
});
afterAll(() => Promise.all([sshd.stop(), echo.close()]));

/** The free ports P and P + 1. */
async function freePair(): Promise<number> {
  for (;;) {
    const port = await freePort();
    if (port < 65_535 && (await freePort().then((other) => other !== port + 1))) return port;
  }
}

test('a program takes over a command line of autossh: forwards, heartbeat and restarts', async () => {
  const [port, monitor] = [await freePort(), await freePair()];
  const argv = [
    '-M',
    String(monitor),
    '-N',
    '-F',
    sshd.configFile,
    '-L',
    `127.0.0.1:${String(port)}:127.0.0.1:${String(echo.port)}`,
    'tunnel',
  ];
  const options = optionsFromCommandLine(argv, {AUTOSSH_POLL: '1', AUTOSSH_GATETIME: '0'});
  await using tunnel = new AutoSSH({...options, stdio: 'pipe'});
  const warned = once(tunnel, 'warning');
  await tunnel.start();
  // Server and client are one machine here: what ssh listens on is what the server should.
  expect((await warned).code).toBe('WARN_AUTOSSH_HEARTBEAT_PORT');
  await once(tunnel, 'heartbeat');
  expect(await exchange({port})).toBe('ping');

  const restarted = once(tunnel, 'restart');
  signal(tunnel.pid ?? 0, 'SIGKILL');
  expect(await restarted).toMatchObject({outcome: {reason: 'signal', signal: 'SIGKILL'}});
  await once(tunnel, 'heartbeat');
  expect(await exchange({port})).toBe('ping');
});

test('ssh that has done what it was for ends the tunnel without a failure', async () => {
  const argv = ['-M', '0', '-F', sshd.configFile, 'tunnel', 'true'];
  const options = optionsFromCommandLine(argv, {AUTOSSH_GATETIME: '0'});
  const tunnel = new AutoSSH({...options, stdio: 'pipe'});
  const stopped = once(tunnel, 'stop');
  await tunnel.start();
  expect(await stopped).toEqual({reason: 'exit'});
  expect(tunnel.state).toBe('stopped');
  await expect(tunnel.ready()).rejects.toMatchObject({code: 'ERR_AUTOSSH_STOPPED'});
});

test('the exit code of a remote command is fatal, and told', async () => {
  const argv = ['-M', '0', '-F', sshd.configFile, 'tunnel', 'exit 7'];
  const tunnel = new AutoSSH({...optionsFromCommandLine(argv, {AUTOSSH_GATETIME: '0'}), stdio: 'pipe'});
  const stopped = once(tunnel, 'stop');
  await tunnel.start();
  expect(await stopped).toMatchObject({reason: 'fatal', error: {code: 'ERR_AUTOSSH_EXIT', exitCode: 7}});
});

test("ssh's stderr is read, and passed on as it is, while it has the terminal", async () => {
  const passed: Buffer[] = [];
  const {PassThrough} = await import('node:stream');
  const stderr = new PassThrough().on('data', (chunk: Buffer) => passed.push(chunk));
  const argv = ['-M', '0', '-F', sshd.configFile, 'tunnel', String.raw`printf 'no line \033[1m\377end' >&2; exit 3`];
  const tunnel = new AutoSSH({...optionsFromCommandLine(argv, {AUTOSSH_GATETIME: '0'}), stderr});
  const [line, stopped] = [once(tunnel, 'stderr'), once(tunnel, 'stop')];
  await tunnel.start();
  expect((await line).line).toContain('no line');
  await stopped;
  expect(Buffer.concat(passed)).toEqual(Buffer.from('no line \x1b[1m\xffend', 'latin1'));
});

test('a port that the heartbeat should listen on and another has is fatal before ssh is started', async () => {
  const argv = ['-M', String(echo.port - 1), '-N', '-F', sshd.configFile, 'tunnel'];
  const tunnel = new AutoSSH({...optionsFromCommandLine(argv, {}), stdio: 'pipe'});
  await expect(tunnel.start()).rejects.toMatchObject({
    code: 'ERR_AUTOSSH_FORWARD',
    message: expect.stringContaining(`127.0.0.1:${String(echo.port)}`),
  });
  expect(tunnel.stats().starts).toBe(0);
});
