import {describe, expect, test} from 'vitest';
import {alive, expectNothingLeft, freePort, patience, signal, snapshot, waitForExit, within} from '../support/index.js';
import {
  once,
  patientHeartbeat,
  placeOf,
  quickRestart,
  rejection,
  setScene,
  starts,
  talk,
  type Subject,
} from '../faults/scene.js';
import {changeable} from './changeable.js';
import {client, open, traffic, waiting} from './client.js';

const scene = setScene();

/** New connections, one after the other, until something is done; each is answered, or this rejects. */
async function load({tunnel}: Subject, during: Promise<unknown>): Promise<number> {
  let done = false;
  const end = (): void => {
    done = true;
  };
  during.then(end, end);
  let count = 0;
  const goOn = (): boolean => !done;
  while (goOn()) expect(await talk(tunnel, `load ${String(count)}`)).toBe(`load ${String(count++)}`);
  return count;
}

describe('restart()', () => {
  test('no connection fails; those that are open go on to their end, and then the old ssh ends', async () => {
    const subject = await scene.tunnelUp({heartbeat: patientHeartbeat});
    const {tunnel, events} = subject;
    await open(tunnel, 0);
    const old = tunnel.pid ?? 0;
    const place = placeOf(tunnel);
    const kept = await client(tunnel);
    await kept.echo('before ');
    const restarted = tunnel.restart('for the test');
    expect(await load(subject, restarted)).toBeGreaterThan(0);
    await restarted;
    expect(tunnel.pid).not.toBe(old);
    expect(placeOf(tunnel)).toEqual(place);
    await kept.echo('and after');
    expect(alive(old)).toBe(true);
    const ended = once(tunnel, 'disconnect');
    kept.socket.end();
    expect(await kept.ending).toEqual({text: 'before and after', ended: true, error: undefined});
    expect((await ended).outcome).toMatchObject({
      reason: 'requested',
      message: expect.stringContaining('for the test'),
    });
    expect(alive(old)).toBe(false);
    expect(await talk(tunnel)).toBe('ping');
    expect(events.of('state').map(({to}) => to)).toEqual(['starting', 'up']);
    expect(events.count('restart')).toBe(0);
    await open(tunnel, 0);
    expect(traffic(tunnel)).toMatchObject({failed: 0, refused: 0, held: 0});
  });

  test('again and again under load: no connection fails', async () => {
    const subject = await scene.tunnelUp({heartbeat: patientHeartbeat});
    const {tunnel} = subject;
    const restarts = (async () => {
      for (let n = 0; n < 5; n++) await tunnel.restart();
    })();
    await Promise.all([load(subject, restarts), load(subject, restarts), load(subject, restarts)]);
    await restarts;
    expect(starts(subject)).toBe(6);
    await open(tunnel, 0);
    expect(traffic(tunnel)).toMatchObject({failed: 0, refused: 0});
  });

  test('twice at once: one replacement', async () => {
    const subject = await scene.tunnelUp({heartbeat: patientHeartbeat});
    await Promise.all([subject.tunnel.restart(), subject.tunnel.restart()]);
    expect(starts(subject)).toBe(2);
    expect(await talk(subject.tunnel)).toBe('ping');
  });

  test('drainTimeout over: what is still open is cut, and seen as cut', async () => {
    const {tunnel} = await scene.tunnelUp({drainTimeout: 300, heartbeat: patientHeartbeat});
    const old = tunnel.pid ?? 0;
    const kept = await client(tunnel);
    await kept.echo('open');
    const told = once(tunnel, 'connection-end', {where: ({end}) => end === 'cut'});
    await tunnel.restart();
    expect(await kept.ending).toEqual({text: 'open', ended: false, error: 'ECONNRESET'});
    expect(await told).toMatchObject({bytesSent: 4, bytesReceived: 4});
    await waitForExit(old);
    expect(await talk(tunnel)).toBe('ping');
  });

  test('drainTimeout 0: cut at once', async () => {
    const {tunnel} = await scene.tunnelUp({drainTimeout: 0, heartbeat: patientHeartbeat});
    const kept = await client(tunnel);
    await kept.echo('open');
    await tunnel.restart();
    expect(await kept.ending).toMatchObject({ended: false, error: 'ECONNRESET'});
  });

  test('the new one is lost while the old one still has connections: there is a next one at once', async () => {
    const subject = await scene.tunnelUp({heartbeat: patientHeartbeat});
    const {tunnel} = subject;
    const kept = await client(tunnel);
    await kept.echo('on ');
    await tunnel.restart();
    const again = once(tunnel, 'connect', {unless: ['stop']});
    signal(tunnel.pid ?? 0, 'SIGKILL');
    await again;
    expect(starts(subject)).toBe(3);
    expect(await talk(tunnel)).toBe('ping');
    await kept.echo('the first');
    kept.socket.destroy();
  });

  test('the old one is lost before the new one is ready: what comes in between waits for the new one', async () => {
    const subject = await scene.tunnelUp({heartbeat: patientHeartbeat});
    const {tunnel} = subject;
    const old = tunnel.pid ?? 0;
    const started = once(tunnel, 'start');
    const restarted = tunnel.restart();
    await started;
    signal(old, 'SIGKILL');
    expect(await talk(tunnel)).toBe('ping');
    await restarted;
    expect(starts(subject)).toBe(2);
    expect(tunnel.state).toBe('up');
    expect(tunnel.stats().forwards[0]?.bound).toBe(true);
    await tunnel.ready();
    expect(subject.events.of('state').map(({to}) => to)).toEqual(['starting', 'up', 'waiting', 'up']);
  });

  test('in a listener of its own connect: it is the new one, which goes on', async () => {
    const subject = await scene.tunnelUp({heartbeat: patientHeartbeat});
    const {tunnel, events} = subject;
    const inner = new Promise((resolve, reject) => {
      tunnel.once('connect', () => {
        tunnel.restart().then(resolve, reject);
      });
    });
    const retired = once(tunnel, 'disconnect');
    await tunnel.restart();
    await inner;
    const {pid} = tunnel;
    expect(await talk(tunnel)).toBe('ping');
    await retired;
    expect(tunnel).toMatchObject({pid, state: 'up'});
    expect(events.count('disconnect')).toBe(1);
    expect(starts(subject)).toBe(2);
  });

  test('the new one fails: it rejects, and the old one goes on', async () => {
    const {sshPath, become} = changeable(scene.sshd.folder);
    const subject = await scene.tunnelUp({sshPath, heartbeat: patientHeartbeat});
    const {tunnel, events} = subject;
    const {pid} = tunnel;
    const kept = await client(tunnel);
    await kept.echo('one ');
    become('echo "ssh: connect to host h port 1: Connection refused" >&2; exit 255');
    expect(await rejection(tunnel.restart())).toMatchObject({code: 'ERR_AUTOSSH_CONNECT'});
    expect(tunnel).toMatchObject({pid, state: 'up'});
    await kept.echo('two');
    expect(await talk(tunnel)).toBe('ping');
    expect(events.count('restart')).toBe(0);
    become('exec ssh "$@"');
    await tunnel.restart();
    expect(tunnel.pid).not.toBe(pid);
    expect(await talk(tunnel)).toBe('ping');
    kept.socket.destroy();
  });

  test('the new one hangs: it rejects after readyTimeout, and the old one goes on', async () => {
    const {sshPath, become} = changeable(scene.sshd.folder);
    const {tunnel} = await scene.tunnelUp({sshPath, readyTimeout: 3_000, heartbeat: patientHeartbeat});
    const {pid} = tunnel;
    become('exec sleep 1000');
    expect(await rejection(tunnel.restart())).toMatchObject({code: 'ERR_AUTOSSH_TIMEOUT'});
    expect(tunnel).toMatchObject({pid, state: 'up'});
    expect(await talk(tunnel)).toBe('ping');
  });

  test('stop() before the new one is ready: it rejects as stopped, and nothing is left', async () => {
    const before = snapshot();
    const {tunnel, events} = await scene.tunnelUp({heartbeat: patientHeartbeat});
    const started = once(tunnel, 'start');
    const restarted = rejection(tunnel.restart());
    await started;
    await tunnel.stop();
    expect(await restarted).toMatchObject({code: 'ERR_AUTOSSH_STOPPED'});
    expect(events.of('stop')).toEqual([{reason: 'stopped'}]);
    await scene.sshd.killSessions();
    await expectNothingLeft(before, {within: 2_000, resources: false});
  });

  test('stop() while the old one still has connections: they are cut, and nothing waits for drainTimeout', async () => {
    const {tunnel} = await scene.tunnelUp({heartbeat: patientHeartbeat});
    const old = tunnel.pid ?? 0;
    const kept = await client(tunnel);
    await kept.echo('open');
    await tunnel.restart();
    await within(5_000, 'stop()', tunnel.stop());
    expect(alive(old)).toBe(false);
    expect(await kept.ending).toMatchObject({ended: false, error: 'ECONNRESET'});
  });

  test('during an outage: what waits is served by the new one', async () => {
    const subject = await scene.tunnelUp({restart: {...quickRestart, minTimeout: 60_000, maxTimeout: 60_000}});
    const {tunnel} = subject;
    const lost = once(tunnel, 'disconnect');
    await scene.sshd.halt();
    await lost;
    await once(tunnel, 'restart', {where: ({delay}) => delay > 0});
    const held = await client(tunnel);
    await waiting(tunnel, 1);
    await scene.sshd.restart();
    await within(patience, 'restart()', tunnel.restart());
    await held.echo('served');
    held.socket.destroy();
  });
});

describe('with what only one ssh can have', () => {
  test('a fixed remote port: the old one ends first, and new connections wait meanwhile', async () => {
    const remote = await freePort();
    const subject = await scene.tunnelUp({
      forwards: [
        `-L 0:127.0.0.1:${String(scene.echo.port)}`,
        `-R ${String(remote)}:127.0.0.1:${String(scene.echo.port)}`,
      ],
      heartbeat: patientHeartbeat,
    });
    const {tunnel, events} = subject;
    const old = tunnel.pid ?? 0;
    tunnel.on('start', () => {
      expect(alive(old)).toBe(false);
    });
    const restarted = tunnel.restart();
    await Promise.all([load(subject, restarted), restarted]);
    expect(events.of('state').map(({to}) => to)).toEqual(['starting', 'up', 'waiting', 'starting', 'up']);
    await open(tunnel, 0);
    expect(traffic(tunnel)).toMatchObject({refused: 0});
  });

  test('a direct forward: the same', async () => {
    const subject = await scene.tunnelUp({
      forwards: [{type: 'local', target: {port: scene.echo.port}, steady: false}],
      heartbeat: patientHeartbeat,
    });
    const {tunnel} = subject;
    const old = tunnel.pid ?? 0;
    tunnel.on('start', () => {
      expect(alive(old)).toBe(false);
    });
    await tunnel.restart();
    expect(await talk(tunnel)).toBe('ping');
    expect(tunnel.stats().forwards).toMatchObject([{steady: false, connections: null}]);
  });
});

test('maxStarts: a replacement is a start too; where there may be none it rejects, and the old one goes on', async () => {
  const subject = await scene.tunnelUp({restart: {...quickRestart, maxStarts: 2}, heartbeat: patientHeartbeat});
  const {tunnel} = subject;
  await tunnel.restart();
  expect(await rejection(tunnel.restart())).toMatchObject({code: 'ERR_AUTOSSH_GAVE_UP'});
  expect(starts(subject)).toBe(2);
  expect(tunnel.state).toBe('up');
  expect(await talk(tunnel)).toBe('ping');
});
