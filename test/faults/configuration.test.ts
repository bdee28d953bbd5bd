import {spawn} from 'node:child_process';
import {chmodSync, existsSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, test} from 'vitest';
import {
  decoy,
  dyingWithUs,
  exchange,
  freePort,
  guard,
  holdersOf,
  listeningPorts,
  ownProcesses,
  commandLine,
  pollUntil,
  readAll,
} from '../support/index.js';
import {once, placeOf, rejection, setScene, starts, talk} from './scene.js';

/** What a user's `ssh_config` may say that breaks a supervised ssh: every line of it works against us for real. */

const scene = setScene();

/** The one ssh there is, is ours. */
function sshProcesses(): number[] {
  return ownProcesses()
    .map(({pid}) => pid)
    .filter((pid) => /(^|\/)ssh$/.test(commandLine(pid)[0] ?? ''));
}

describe('ControlMaster auto', () => {
  test('with a live master: the tunnel has a connection of its own, and outlives the master', async () => {
    const control = join(scene.sshd.folder, 'control');
    const configFile = scene.sshd.config({lines: ['ControlMaster auto', `ControlPath ${control}`]});
    const [command = '', ...args] = dyingWithUs(['ssh', '-F', configFile, '-M', '-N', 'tunnel']);
    const master = spawn(command, args, {stdio: 'ignore'});
    if (master.pid !== undefined) guard('process', master.pid);
    const gone = new Promise((resolve) => master.once('exit', resolve));
    await pollUntil('the master', () => existsSync(control));
    try {
      const forwards = [{type: 'local', target: {port: scene.echo.port}, steady: false}] as const;
      const {tunnel} = await scene.tunnelUp({configFile, forwards});
      expect(holdersOf((placeOf(tunnel) as {port: number}).port)).toEqual([tunnel.pid]);
      master.kill('SIGKILL');
      await gone;
      await once(tunnel, 'heartbeat', {unless: ['disconnect', 'stop']});
      expect(await talk(tunnel)).toBe('ping');
    } finally {
      master.kill('SIGKILL');
      await gone;
    }
  });

  test('and ControlPersist, with no master yet: no master is left behind', async () => {
    const control = join(scene.sshd.folder, 'control');
    const lines = ['ControlMaster auto', `ControlPath ${control}`, 'ControlPersist yes'];
    const subject = await scene.tunnelUp({configFile: scene.sshd.config({lines})});
    expect(starts(subject)).toBe(1);
    expect(sshProcesses()).toEqual([subject.tunnel.pid]);
    await subject.tunnel.stop();
    expect(existsSync(control)).toBe(false);
    expect(sshProcesses()).toEqual([]);
  });
});

test('ForkAfterAuthentication yes: ssh stays in the foreground', async () => {
  const subject = await scene.tunnelUp({configFile: scene.sshd.config({lines: ['ForkAfterAuthentication yes']})});
  expect(sshProcesses()).toEqual([subject.tunnel.pid]);
  expect(starts(subject)).toBe(1);
});

test('ClearAllForwardings yes: the forwards are there', async () => {
  const {tunnel} = await scene.tunnelUp({configFile: scene.sshd.config({lines: ['ClearAllForwardings yes']})});
  expect(await talk(tunnel, 'there')).toBe('there');
});

describe('forwards of the user in the configuration', () => {
  test('a free LocalForward: the tunnel works', async () => {
    const port = await freePort();
    const lines = [`LocalForward 127.0.0.1:${port} 127.0.0.1:${scene.echo.port}`];
    const {tunnel} = await scene.tunnelUp({configFile: scene.sshd.config({lines})});
    expect(await talk(tunnel)).toBe('ping');
  });

  test('a busy LocalForward: one clear error that says where it comes from', async () => {
    const stranger = scene.use(await decoy());
    const lines = [`LocalForward 127.0.0.1:${stranger.port} 127.0.0.1:${scene.echo.port}`];
    const subject = scene.tunnel({configFile: scene.sshd.config({lines})});
    const error = await rejection(subject.tunnel.start());
    expect(error['code']).toMatch(/^ERR_AUTOSSH_(FORWARD|GATE)$/);
    expect(error.message).toContain(String(stranger.port));
    expect(`${error.message} ${String(error['hint'])}`).toMatch(/configuration|ssh_config|LocalForward/);
    expect(starts(subject)).toBe(1);
    expect(subject.events.count('restart')).toBe(0);
  });

  test('a busy RemoteForward: one clear error as well', async () => {
    const stranger = scene.use(await decoy());
    const lines = [`RemoteForward 127.0.0.1:${stranger.port} 127.0.0.1:${scene.echo.port}`];
    const {tunnel} = scene.tunnel({configFile: scene.sshd.config({lines})});
    const error = await rejection(tunnel.start());
    expect(error['code']).toMatch(/^ERR_AUTOSSH_(FORWARD|GATE)$/);
    expect(error.message).toContain(String(stranger.port));
  });
});

test('LogLevel QUIET: errors are told apart all the same', async () => {
  const configFile = scene.sshd.config({lines: ['LogLevel QUIET']});
  const {tunnel} = await scene.tunnelUp({configFile});
  await tunnel.stop();
  writeFileSync(scene.sshd.authorizedKeysFile, '');
  const refused = scene.tunnel({configFile});
  expect(await rejection(refused.tunnel.start())).toMatchObject({cause: {code: 'ERR_AUTOSSH_AUTH'}});
  await scene.sshd.halt();
  const away = scene.tunnel({configFile});
  expect(await rejection(away.tunnel.start())).toMatchObject({cause: {code: 'ERR_AUTOSSH_CONNECT'}});
});

test('GatewayPorts yes: the forward listens on loopback alone', async () => {
  const {tunnel} = await scene.tunnelUp({configFile: scene.sshd.config({lines: ['GatewayPorts yes']})});
  const {port} = placeOf(tunnel) as {port: number};
  const listeners = listeningPorts().filter((listener) => listener.port === port);
  expect(listeners.map(({address}) => address)).toEqual(['127.0.0.1']);
});

test.each([['RemoteCommand sleep 1000'], ['RequestTTY force'], ['RemoteCommand exit 3', 'RequestTTY yes']])(
  '%s: no concern of a tunnel',
  async (...lines) => {
    const subject = await scene.tunnelUp({configFile: scene.sshd.config({lines})});
    await once(subject.tunnel, 'heartbeat', {unless: ['disconnect', 'stop']});
    expect(await talk(subject.tunnel)).toBe('ping');
    expect(starts(subject)).toBe(1);
  },
);

describe('more of the kind', () => {
  test.each([
    ['ExitOnForwardFailure no'],
    ['BatchMode no'],
    ['ServerAliveInterval 0'],
    ['StreamLocalBindUnlink no'],
    ['StreamLocalBindMask 0777'],
    ['StdinNull yes'],
    ['SessionType subsystem'],
    ['SessionType none'],
    ['PermitLocalCommand yes', 'LocalCommand true'],
    ['Tunnel no'],
    ['LogVerbose *'],
    ['AddressFamily inet'],
    ['EscapeChar none'],
    ['VisualHostKey yes'],
    ['ForwardAgent yes'],
    ['ForwardX11 yes'],
  ])('%s: the tunnel works', async (...lines) => {
    const subject = await scene.tunnelUp({
      configFile: scene.sshd.config({lines}),
      connectTimeout: 5_000,
      readyTimeout: 8_000,
    });
    await once(subject.tunnel, 'heartbeat', {unless: ['disconnect', 'stop']});
    expect(starts(subject)).toBe(1);
  });

  // ssh takes the last value of this one, so that the command line cannot overrule it: its sockets refuse their owner.
  test('StreamLocalBindMask 0777, without a heartbeat: the tunnel works', async () => {
    const configFile = scene.sshd.config({lines: ['StreamLocalBindMask 0777']});
    const subject = await scene.tunnelUp({configFile, heartbeat: false, readyTimeout: 8_000});
    expect(starts(subject)).toBe(1);
  });

  test('ExitOnForwardFailure no, and a port that is taken: still never half a tunnel', async () => {
    const stranger = scene.use(await decoy());
    const subject = scene.tunnel({
      configFile: scene.sshd.config({lines: ['ExitOnForwardFailure no']}),
      forwards: [{type: 'local', listen: {port: stranger.port}, target: {port: scene.echo.port}}],
    });
    expect(await rejection(subject.tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_FORWARD'});
    expect(subject.events.count('connect')).toBe(0);
    expect(await readAll(stranger)).toBe('DECOY');
  });
});

test('an ssh too old for one of our options: it is left out, and the tunnel works', async () => {
  // What OpenSSH before 8.7 says of an option it does not know.
  const path = join(scene.sshd.folder, 'ssh');
  writeFileSync(
    path,
    `#!/bin/sh
case "$*" in *ForkAfterAuthentication*)
  echo 'command-line: line 0: Bad configuration option: forkafterauthentication' >&2
  exit 255
esac
exec ssh "$@"
`,
  );
  chmodSync(path, 0o755);
  const subject = await scene.tunnelUp({sshPath: path});
  expect(subject.events.count('restart')).toBe(0);
  expect(starts(subject)).toBeLessThanOrEqual(2);
  const {tunnel} = subject;
  const before = starts(subject);
  const again = once(tunnel, 'connect', {unless: ['stop']});
  process.kill(tunnel.pid ?? 0, 'SIGKILL');
  await again;
  // Learnt once.
  expect(starts(subject)).toBe(before + 1);
  expect(await exchange(placeOf(tunnel))).toBe('ping');
});

test('a setpriv too old for --pdeathsig: ssh is started without it', async () => {
  const folder = scene.sshd.folder;
  const path = join(folder, 'setpriv');
  writeFileSync(path, `#!/bin/sh\necho "setpriv: unrecognized option '--pdeathsig'" >&2\nexit 1\n`);
  chmodSync(path, 0o755);
  const subject = await scene.tunnelUp({env: {...process.env, PATH: `${folder}:${process.env['PATH'] ?? ''}`}});
  expect(subject.events.count('restart')).toBe(0);
  expect(starts(subject)).toBeLessThanOrEqual(2);
});
