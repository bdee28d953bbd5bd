import {describe, expect, test} from 'vitest';
import {LoopPort} from '../src/heartbeat/loop-port.js';
import type {HeartbeatSettings} from '../src/heartbeat/options.js';
import {resolveOptions} from '../src/options.js';

function settings(heartbeat: object = {}): HeartbeatSettings {
  const resolved = resolveOptions({host: 'a', heartbeat}, {}).heartbeat;
  if (!resolved) throw new Error('There is no heartbeat');
  return resolved;
}

describe('where any port will do', () => {
  test('each ssh gets another, below those of outgoing connections', () => {
    const loop = new LoopPort(settings(), []);
    const ports = Array.from({length: 20}, () => loop.next().loopPort);
    expect(new Set(ports).size).toBeGreaterThan(1);
    for (const port of ports) {
      expect(port).toBeGreaterThanOrEqual(10_240);
      expect(port).toBeLessThan(32_768);
    }
  });

  test('it is none that the host has other plans with', () => {
    const all = Array.from({length: 32_768 - 10_240}, (_, index) => 10_240 + index);
    expect(new LoopPort(settings(), all.slice(0, -1)).next().loopPort).toBe(32_767);
  });

  test('one refusal is chance, two in a row are a server that allows none, which is said', () => {
    const loop = new LoopPort(settings(), []);
    expect(loop.refuse()).toBeUndefined();
    loop.settle();
    expect(loop.refuse()).toBeUndefined();
    expect(loop.next().heartbeat).toMatchObject({mode: 'forward-loop'});
    expect(loop.refuse()).toMatchObject({code: 'WARN_AUTOSSH_HEARTBEAT_DEGRADED'});
    expect(loop.next().heartbeat).toMatchObject({mode: 'server-alive'});
  });
});

test('one that the host wants is given up when it is refused, which is said', () => {
  const loop = new LoopPort(settings({remotePort: 20_000}), []);
  expect([loop.next().loopPort, loop.next().loopPort]).toEqual([20_000, 20_000]);
  expect(loop.refuse()).toMatchObject({
    code: 'WARN_AUTOSSH_HEARTBEAT_PORT',
    message: expect.stringContaining('20000') as string,
  });
  expect(loop.next().heartbeat).toMatchObject({mode: 'forward-loop'});
  // Chance, as with any other.
  expect(loop.refuse()).toBeUndefined();
});

test('without a heartbeat there is no port', () => {
  expect(new LoopPort(false, []).next()).toEqual({heartbeat: false, loopPort: 0, monitorRemote: undefined});
});

describe('of a raw command line', () => {
  const monitor = {...settings(), monitorPort: 20_000};

  test('it is the one that it says, until that is refused', () => {
    const loop = new LoopPort(monitor, []);
    expect(loop.next()).toMatchObject({loopPort: 20_000, monitorRemote: undefined});
    expect(loop.mayMove).toBe(true);
    expect(loop.move(false)).toMatchObject({code: 'WARN_AUTOSSH_HEARTBEAT_PORT'});
    const {loopPort, monitorRemote} = loop.next();
    expect(loopPort).not.toBe(20_000);
    expect(monitorRemote).toBe(loopPort);
    expect(loop.mayMove).toBe(false);
  });

  test('two refusals in a row take the heartbeat away, which is said', () => {
    const loop = new LoopPort(monitor, []);
    loop.move(true);
    expect(loop.move(true)).toMatchObject({code: 'WARN_AUTOSSH_HEARTBEAT_DEGRADED'});
    expect(loop.next()).toEqual({heartbeat: false, loopPort: 20_000, monitorRemote: 0});
  });

  test('a server that lets no beat through takes the heartbeat away', () => {
    const loop = new LoopPort(monitor, []);
    expect(loop.degrade('it lets none through')).toMatchObject({
      code: 'WARN_AUTOSSH_HEARTBEAT_DEGRADED',
      message: 'There is no heartbeat from now on, because it lets none through',
    });
    expect(loop.next()).toEqual({heartbeat: false, loopPort: 20_000, monitorRemote: 0});
  });

  test('it is another after an ssh from which no beat came back, and that is no refusal', () => {
    const loop = new LoopPort(monitor, []);
    for (let time = 0; time < 3; time++) {
      const {loopPort} = loop.next();
      expect(loop.shift()).toMatchObject({
        code: 'WARN_AUTOSSH_HEARTBEAT_PORT',
        message: expect.stringContaining(String(loopPort)) as string,
      });
      expect(loop.next().loopPort).not.toBe(loopPort);
    }
    expect(loop.mayMove).toBe(true);
  });

  test('if the server refuses such another one, it is the one of the command line again', () => {
    const loop = new LoopPort(monitor, []);
    loop.shift();
    expect(loop.move(false)).toMatchObject({message: expect.stringMatching(/gets port 20000 in its place$/) as string});
    expect(loop.next()).toMatchObject({loopPort: 20_000, monitorRemote: undefined});
  });

  test('with an echo service there is no other', () => {
    const loop = new LoopPort({...monitor, mode: 'echo-port'}, []);
    expect(loop.shift()).toBeUndefined();
    expect(loop.next()).toMatchObject({loopPort: 20_000, monitorRemote: undefined});
  });
});
