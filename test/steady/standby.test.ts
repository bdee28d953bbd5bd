import {describe, expect, test} from 'vitest';
import {alive, Relay, signal, waitForExit, waitForState} from '../support/index.js';
import {once, patientHeartbeat, quickHeartbeat, setScene, starts, talk, type Subject} from '../faults/scene.js';
import type {AutoSSHOptions} from '../../src/index.js';
import {changeable, denied, refused} from './changeable.js';
import {Client, client, open, traffic} from './client.js';

const scene = setScene();

interface Pair extends Subject {
  serving: number;
  spare: number;
}

/** A tunnel with both its ssh ready. */
async function pair(options: Partial<AutoSSHOptions> = {}): Promise<Pair> {
  const subject = scene.tunnel({standby: true, heartbeat: patientHeartbeat, ...options});
  const second = once(subject.tunnel, 'connect', {where: ({starts: number}) => number === 2});
  await subject.tunnel.start();
  const serving = subject.tunnel.pid ?? 0;
  const spare = (await second).pid;
  return {...subject, serving, spare};
}

describe('standby', () => {
  test('a second ssh is ready; connections go through the first', async () => {
    const {tunnel, serving, spare, events} = await pair();
    expect(spare).not.toBe(serving);
    expect(alive(spare)).toBe(true);
    expect(tunnel.pid).toBe(serving);
    expect(await talk(tunnel)).toBe('ping');
    expect(events.of('state').map(({to}) => to)).toEqual(['starting', 'up']);
  });

  test('the first is lost: the second serves at once, nobody waits, and there is a new spare', async () => {
    const {tunnel, serving, spare, events} = await pair();
    const again = once(tunnel, 'connect', {unless: ['stop']});
    signal(serving, 'SIGKILL');
    const texts = Array.from({length: 20}, (_, n) => `text ${String(n)}`);
    expect(await Promise.all(texts.map((text) => talk(tunnel, text)))).toEqual(texts);
    await again;
    expect(tunnel.pid).toBe(spare);
    expect(tunnel.state).toBe('up');
    expect(events.of('state').map(({to}) => to)).toEqual(['starting', 'up']);
    await open(tunnel, 0);
    expect(traffic(tunnel)).toMatchObject({failed: 0, refused: 0});
    // And once more, with the spare that was started.
    const third = once(tunnel, 'connect', {unless: ['stop']});
    signal(spare, 'SIGKILL');
    expect(await talk(tunnel)).toBe('ping');
    await third;
    expect(events.of('state').map(({to}) => to)).toEqual(['starting', 'up']);
  });

  test('the spare is lost: nobody notices, and there is a new one', async () => {
    const {tunnel, serving, spare, events} = await pair();
    const kept = await client(tunnel);
    await kept.echo('one ');
    const again = once(tunnel, 'connect', {unless: ['stop']});
    signal(spare, 'SIGKILL');
    await again;
    await kept.echo('two');
    expect(tunnel.pid).toBe(serving);
    expect(events.of('state').map(({to}) => to)).toEqual(['starting', 'up']);
    kept.socket.destroy();
  });

  test('both are lost: an outage, in which connections wait', async () => {
    const subject = await pair();
    const {tunnel, serving, spare, events} = subject;
    const again = once(tunnel, 'connect', {unless: ['stop']});
    signal(serving, 'SIGKILL');
    signal(spare, 'SIGKILL');
    expect(await talk(tunnel)).toBe('ping');
    await again;
    expect(events.of('state').map(({to}) => to)).toContain('waiting');
    expect(tunnel.state).toBe('up');
  });

  test('the first freezes: new connections go to the spare, none is lost', async () => {
    const {tunnel, serving, spare} = await pair({heartbeat: quickHeartbeat});
    signal(serving, 'SIGSTOP');
    await waitForState(serving, 'T');
    const lost = once(tunnel, 'disconnect');
    const texts = Array.from({length: 20}, (_, n) => `text ${String(n)}`);
    expect(await Promise.all(texts.map((text) => talk(tunnel, text)))).toEqual(texts);
    await lost;
    expect(tunnel.pid).toBe(spare);
    await waitForExit(serving);
    await open(tunnel, 0);
    expect(traffic(tunnel)).toMatchObject({failed: 0, refused: 0});
  });

  test('the path forgets both: found out, and both are replaced', async () => {
    const relay = scene.use(await Relay.start({port: scene.sshd.port}));
    const {tunnel, serving, spare} = await pair({
      configFile: scene.sshd.config({port: relay.port}),
      heartbeat: quickHeartbeat,
    });
    const third = once(tunnel, 'connect', {where: ({starts: number}) => number === 3});
    const fourth = once(tunnel, 'connect', {where: ({starts: number}) => number === 4});
    relay.forgetOld();
    expect(await talk(tunnel)).toBe('ping');
    await Promise.all([third, fourth]);
    expect([alive(serving), alive(spare)]).toEqual([false, false]);
  });

  test('restart() replaces both, and no connection fails', async () => {
    const subject = await pair();
    const {tunnel, serving, spare} = subject;
    const kept = await client(tunnel);
    await kept.echo('one ');
    await tunnel.restart();
    expect(starts(subject)).toBe(4);
    await waitForExit(spare);
    expect(alive(serving)).toBe(true);
    await kept.echo('two');
    kept.socket.end();
    await kept.ending;
    await waitForExit(serving);
    expect(await talk(tunnel)).toBe('ping');
  });

  test('stop() ends both', async () => {
    const {tunnel, serving, spare, events} = await pair();
    await tunnel.stop();
    expect([alive(serving), alive(spare)]).toEqual([false, false]);
    expect(events.count('stop')).toBe(1);
  });

  test('a remote forward whose port the server chooses is there in both', async () => {
    const {tunnel, serving} = await pair({
      forwards: [`-L 0:127.0.0.1:${String(scene.echo.port)}`, `-R 0:127.0.0.1:${String(scene.echo.port)}`],
    });
    const again = once(tunnel, 'connect', {unless: ['stop']});
    signal(serving, 'SIGKILL');
    await again;
    expect(await talk(tunnel, 'remote', 1)).toBe('remote');
  });

  test('maxStarts: one start is left for no spare', async () => {
    const subject = scene.tunnel({standby: true, restart: {maxStarts: 1}});
    await subject.tunnel.start();
    expect(await talk(subject.tunnel)).toBe('ping');
    expect(starts(subject)).toBe(1);
  });

  test.each([
    ['retries are over', {retries: 1, minTimeout: 1, maxTimeout: 1}],
    ['shouldRestart says no', {shouldRestart: () => false}],
  ])('the first is lost for good (%s): the spare serves on, and only with it all is over', async (_, restart) => {
    const {sshPath, become} = changeable(scene.sshd.folder);
    const {tunnel, serving, spare, events} = await pair({sshPath, restart});
    const warned = once(tunnel, 'warning');
    become(denied);
    signal(serving, 'SIGKILL');
    const kept = await client(tunnel);
    await kept.echo('one ');
    expect(await warned).toMatchObject({code: 'WARN_AUTOSSH_STANDBY'});
    await kept.echo('two');
    expect(await talk(tunnel)).toBe('ping');
    expect(tunnel).toMatchObject({pid: spare, state: 'up'});
    expect(events.of('state').map(({to}) => to)).toEqual(['starting', 'up']);
    const fatal = once(tunnel, 'fatal');
    signal(spare, 'SIGKILL');
    expect(await fatal).toMatchObject({code: 'ERR_AUTOSSH_GAVE_UP'});
    expect(events.count('stop')).toBe(1);
  });

  test('both are lost for good: it is over, and nothing is started any more', async () => {
    const {sshPath, become} = changeable(scene.sshd.folder);
    const subject = await pair({sshPath, restart: {retries: 1, minTimeout: 1, maxTimeout: 1}});
    const fatal = once(subject.tunnel, 'fatal');
    become(denied);
    signal(subject.serving, 'SIGKILL');
    signal(subject.spare, 'SIGKILL');
    expect(await fatal).toMatchObject({code: 'ERR_AUTOSSH_GAVE_UP'});
    become('exec ssh "$@"');
    await subject.tunnel.stop();
    expect(subject.tunnel.state).toBe('stopped');
    expect(subject.events.count('stop')).toBe(1);
  });

  test('the spare fails to start at first: that is no matter of the gate, and it is tried again', async () => {
    const {sshPath, become} = changeable(scene.sshd.folder);
    const subject = scene.tunnel({standby: true, heartbeat: patientHeartbeat, sshPath});
    const {tunnel, events} = subject;
    tunnel.once('connect', () => {
      become(refused);
    });
    const failed = once(tunnel, 'restart');
    await tunnel.start();
    expect((await failed).outcome).toMatchObject({code: 'ERR_AUTOSSH_CONNECT'});
    become('exec ssh "$@"');
    await once(tunnel, 'connect');
    expect(events.count('warning')).toBe(0);
    expect(events.of('state').map(({to}) => to)).toEqual(['starting', 'up']);
  });

  test('nothing was said on a connection, and its ssh dies as the first word comes: the spare gets that', async () => {
    const {tunnel, serving} = await pair();
    // Inside this process, so that the word is there before the news of the death.
    const one = new Client(tunnel.connect());
    await open(tunnel, 1);
    signal(serving, 'SIGKILL');
    while (alive(serving));
    one.socket.write('first');
    await one.until('first');
    one.socket.destroy();
  });
});
