import {chmodSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {
  Namespaces,
  PrivateSshd,
  alive,
  canUseNamespaces,
  commandLine,
  pollUntil,
  signal,
  temporaryFolder,
  waitForExit,
  waitForState,
} from '../support/index.js';
import {Command, type CommandOptions, hasOriginal, original, ours} from './command.js';

/** Long enough for anything that happens by itself, where nothing may happen. */
const aWhile = 1_500;

/** The original can overlook the end of an ssh, between its look for it and its `pause()`: it gets so many goes. */
const goes = 3;

const folder = temporaryFolder('mended-');

/** A program in ssh's place that does one thing. */
function ssh(name: string, script: string): string {
  const path = join(folder, name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

const sleeping = ssh('sleeping', 'exec sleep 1000');
const failing = ssh('failing', 'exit 255');
// What is ignored stays ignored in the program that takes its place.
const stubborn = ssh('stubborn', "trap '' TERM INT; exec sleep 1000");

function start(program: readonly string[], path: string, env: CommandOptions['env'] = {}): Command {
  return new Command(['-M', '0', 'host'], {program, env: {AUTOSSH_PATH: path, ...env}});
}

/** Whether it ends, if nobody does any more. */
async function stillThere(command: Command): Promise<boolean> {
  return Promise.race([command.ended.then(() => false), sleep(aWhile, true)]);
}

/** Every fault of the original that is mended on purpose, shown on both. */
describe.skipIf(!hasOriginal)("faults of autossh 1.4g (skipped: Debian's autossh is not installed)", () => {
  describe('TERM while ssh is stopped', () => {
    async function stopBoth(program: readonly string[]): Promise<Command> {
      const command = start(program, sleeping);
      await command.says(/ssh child pid/);
      signal(command.ssh, 'SIGSTOP');
      await waitForState(command.ssh, 'T');
      command.signal('SIGTERM');
      await command.says(/received signal to exit \(15\)/);
      return command;
    }

    test('the original waits for ever', async () => {
      expect(await stillThere(await stopBoth(original))).toBe(true);
    });

    test('ours ends, and ssh with it', async () => {
      const command = await stopBoth(ours);
      const {ssh: child} = command;
      expect(await command.ended).toEqual({code: 1, signal: null});
      expect(alive(child)).toBe(false);
    });
  });

  describe('an ssh that does not end when it is asked to', () => {
    /** Before, it would end: it has to come to what it is. */
    async function startStubborn(program: readonly string[]): Promise<Command> {
      const command = start(program, stubborn);
      await command.says(/ssh child pid/);
      await pollUntil('a deaf ssh', () => commandLine(command.ssh)[0] === 'sleep');
      return command;
    }

    test('the original cannot be ended by a second signal', async () => {
      const command = await startStubborn(original);
      command.signal('SIGTERM');
      await command.says(/received signal to exit/);
      command.signal('SIGINT');
      expect(await stillThere(command)).toBe(true);
    });

    test('ours is ended at once by a second signal', async () => {
      const command = await startStubborn(ours);
      const {ssh: child} = command;
      command.signal('SIGTERM');
      await command.says(/received signal to exit/);
      command.signal('SIGINT');
      expect(await command.ended).toEqual({code: 1, signal: null});
      await waitForExit(child);
    });

    test('and kills it after a bound without one', async () => {
      const command = await startStubborn(ours);
      const {ssh: child} = command;
      command.signal('SIGTERM');
      expect(await command.ended).toEqual({code: 1, signal: null});
      expect(alive(child)).toBe(false);
    });
  });

  describe.each(['SIGHUP', 'SIGUSR1'] as const)('%s while it waits for the next ssh', (name) => {
    async function wait(program: readonly string[]): Promise<Command> {
      for (let go = 1; ; go++) {
        // The first wait of the backoff is 200 s then.
        const command = start(program, failing, {AUTOSSH_POLL: '60000'});
        const waits = command.says(/sleeping for grace time 200 secs/);
        if (go === goes || (await waits.then(Boolean, () => false))) return waits.then(() => command);
      }
    }

    test('the original is killed by it', async () => {
      const command = await wait(original);
      command.signal(name);
      expect(await command.ended).toEqual({code: null, signal: name});
    });

    test('ours starts ssh at once', async () => {
      const command = await wait(ours);
      const starts = command.count(/starting ssh/);
      command.signal(name);
      await command.says(/starting ssh/, {times: starts + 1});
    });
  });

  describe('an ssh that fails at once, six times', () => {
    async function sixStarts(program: readonly string[]): Promise<number> {
      const command = start(program, failing);
      await command.says(/starting ssh \(count 1\)/);
      const since = performance.now();
      await command.says(/starting ssh \(count 6\)/);
      return performance.now() - since;
    }

    /** The shortest that the original needs, of some. */
    async function fastest(): Promise<number> {
      const times: number[] = [];
      for (let go = 1; go <= goes; go++) times.push(await sixStarts(original).catch(() => Infinity));
      return Math.min(...times);
    }

    test('the original starts it without a pause, ours with short ones', async () => {
      expect(await fastest()).toBeLessThan(740);
      // The least that chance allows: 50, 100, 200 and 400 ms.
      expect(await sixStarts(ours)).toBeGreaterThan(740);
    });
  });

  describe('KILL', () => {
    test('the original leaves its ssh behind', async () => {
      const command = start(original, sleeping);
      await command.says(/ssh child pid/);
      const {ssh: child} = command;
      command.signal('SIGKILL');
      await waitForExit(command.pid);
      await sleep(aWhile);
      expect(alive(child)).toBe(true);
    });

    test.each([
      ['that ends when it is asked to', sleeping],
      ['that does not', stubborn],
    ])('ours leaves none %s', async (_which, path) => {
      const command = start(ours, path);
      await command.says(/ssh child pid/);
      const {ssh: child} = command;
      command.signal('SIGKILL');
      await waitForExit(child);
    });
  });

  describe.skipIf(!canUseNamespaces())('the path forgets the flow (skipped: network namespaces need root)', () => {
    let namespaces: Namespaces;
    let sshd: PrivateSshd;

    beforeAll(async () => {
      namespaces = await Namespaces.create();
      const {server} = namespaces;
      sshd = await PrivateSshd.start({listenAddress: server.address, wrapper: namespaces.enter(server)});
    });
    afterAll(async () => {
      await sshd.stop();
      await namespaces.close();
    });

    /** A loop that works, until the server has a dead session that goes on to hold the remote port of the loop. */
    async function loseFlow(program: readonly string[]): Promise<Command> {
      await namespaces.heal();
      const args = ['-M', '20000', '-N', '-o', 'ExitOnForwardFailure=yes', '-F', sshd.configFile, 'tunnel'];
      const wrapper = namespaces.enter(namespaces.client);
      const command = new Command(args, {program, wrapper, env: {AUTOSSH_POLL: '1'}});
      await command.says(/connection ok/);
      await namespaces.forgetFlow(...namespaces.flows());
      await command.says(/port down, restarting ssh/);
      return command;
    }

    test('the original never gets its port at the server back', async () => {
      const command = await loseFlow(original);
      const beats = command.count(/connection ok/);
      await command.says(/ssh exited with error status 255; restarting ssh/, {times: 5});
      expect(command.count(/connection ok/)).toBe(beats);
      await command.kill();
    });

    test('ours takes another', async () => {
      const command = await loseFlow(ours);
      const beats = command.count(/connection ok/);
      await command.says(/Port 20000 of the server could not be listened on/);
      await command.says(/connection ok/, {times: beats + 2});
      expect(command.count(/restarting ssh/)).toBe(1);
      await command.kill();
    });
  });
});
