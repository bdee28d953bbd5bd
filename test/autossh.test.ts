import {spawn} from 'node:child_process';
import {getEventListeners, once as nodeOnce} from 'node:events';
import {createInterface} from 'node:readline';
import fc from 'fast-check';
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from 'vitest';
import {
  AutoSSH,
  AutoSSHError,
  type AutoSSHEventPayloads,
  type AutoSSHEvents,
  type AutoSSHOptions,
  type Outcome,
  type RestartContext,
} from '../src/index.js';
import {
  type Collection,
  type Snapshot,
  type WaitOptions,
  alive,
  collect,
  compiled,
  exchange,
  expectNothingLeft,
  fixture,
  guard,
  once as onceOf,
  ownTemporaryFolder,
  patience,
  pollUntil,
  signal,
  snapshot,
  temporaryEntries,
  waitForExit,
  within,
} from './support/index.js';

const names = [
  ...(['state', 'start', 'connect', 'heartbeat', 'heartbeat-miss', 'disconnect', 'restart'] as const),
  ...(['warning', 'stderr', 'fatal', 'stop'] as const),
];

/** Up as soon as it is started, because nothing can be proven of a raw command line; and it stays. */
const up = {sshPath: '/bin/sleep', sshArguments: ['1000'], killTimeout: 2_000} as const satisfies AutoSSHOptions;

/** Stays, and is never proven ready. */
const hung = {host: 'h', sshPath: fixture('silent.mjs'), killTimeout: 2_000} as const satisfies AutoSSHOptions;

/** Ends at once without a word. Not raw: there, to be started is to be ready. */
const dead = {host: 'h', sshPath: '/bin/false', heartbeat: false, gateTime: 0} as const satisfies AutoSSHOptions;

/** Has a heartbeat and forwards, and no server. */
const played = {
  host: 'h',
  sshPath: fixture('play-ssh.mjs'),
  heartbeat: {interval: 50, timeout: 5_000},
  killTimeout: 2_000,
} as const satisfies AutoSSHOptions;

/** A wait that no test sits through. */
const long = {minTimeout: 1e6, maxTimeout: 1e6} as const;

/** A backoff that is none. */
const none = {minTimeout: 0} as const;

interface Subject {
  tunnel: AutoSSH;
  events: Collection<AutoSSHEvents>;
}

const subjects: Subject[] = [];
let before: Snapshot;
let restoreTemporaryFolder = (): void => undefined;

beforeAll(() => {
  restoreTemporaryFolder = ownTemporaryFolder();
  // The guardian starts with the first thing that is guarded, and stays.
  guard('folder', '/nonexistent');
});
afterAll(() => {
  restoreTemporaryFolder();
});
beforeEach(() => {
  before = snapshot();
});
afterEach(async () => {
  for (const {tunnel, events} of subjects.splice(0)) {
    await within(patience, 'stop()', tunnel.stop());
    expect(tunnel.state).toBe('stopped');
    // Once, and last.
    expect(events.count('stop')).toBe(1);
    expect(events.all.at(-1)?.name).toBe('stop');
    expect(events.of('start').filter(({pid}) => alive(pid))).toEqual([]);
    events.end();
  }
  await expectNothingLeft(before, {within: 3_000, resources: false});
});

function make(options: AutoSSHOptions): Subject {
  const tunnel = new AutoSSH(options);
  tunnel.on('start', ({pid}) => {
    guard('process', pid);
  });
  const subject = {tunnel, events: collect<AutoSSHEvents>(tunnel, names)};
  subjects.push(subject);
  return subject;
}

function once<N extends keyof AutoSSHEvents>(
  tunnel: AutoSSH,
  name: N,
  options: WaitOptions<AutoSSHEvents, N> = {},
): Promise<AutoSSHEventPayloads[N]> {
  return onceOf<AutoSSHEvents, N>(tunnel, name, options) as Promise<AutoSSHEventPayloads[N]>;
}

/** The error with which a promise is rejected. */
async function rejection(promise: Promise<unknown>): Promise<AutoSSHError> {
  const error: unknown = await promise.then(
    () => expect.fail('Expected a rejection'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(AutoSSHError);
  return error as AutoSSHError;
}

function changes({events}: Subject): string[] {
  return events.of('state').map(({from, to}) => `${from} -> ${to}`);
}

/** A tunnel in each of its states. */
const states: Record<AutoSSH['state'], () => Promise<Subject>> = {
  idle: async () => make(up),
  starting: async () => {
    const subject = make(hung);
    subject.tunnel.start().catch(() => undefined);
    await once(subject.tunnel, 'start');
    return subject;
  },
  up: async () => {
    const subject = make(up);
    await subject.tunnel.start();
    return subject;
  },
  waiting: async () => {
    const subject = make({...dead, restart: long});
    subject.tunnel.start().catch(() => undefined);
    await once(subject.tunnel, 'restart');
    return subject;
  },
  stopping: async () => {
    const subject = make(up);
    await subject.tunnel.start();
    void subject.tunnel.stop();
    return subject;
  },
  stopped: async () => {
    const subject = make(up);
    await subject.tunnel.start();
    await subject.tunnel.stop();
    return subject;
  },
};
const inEveryState = test.each(Object.keys(states) as AutoSSH['state'][]);

describe('made and not started', () => {
  test('it is nothing yet', () => {
    const {tunnel, events} = make(up);
    expect(tunnel.state).toBe('idle');
    expect(tunnel.pid).toBeUndefined();
    expect(tunnel.forwards).toEqual([]);
    expect(tunnel.stats()).toMatchObject({state: 'idle', starts: 0, uptime: 0, lastOutcome: null});
    expect(() => tunnel.forward()).toThrow(RangeError);
    expect(events.all).toEqual([]);
    expect(temporaryEntries()).toEqual([]);
  });

  test('it cannot be restarted', async () => {
    const {tunnel} = make(up);
    const error = await rejection(tunnel.restart());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_STOPPED', hint: 'Call `start()` first.'});
    expect(tunnel.state).toBe('idle');
  });
});

describe('start()', () => {
  test('resolves when the tunnel is up, and says all of it in order', async () => {
    const subject = make(up);
    const {tunnel, events} = subject;
    const started = tunnel.start();
    expect(tunnel.state).toBe('starting');
    await started;
    expect(tunnel.state).toBe('up');
    expect(alive(tunnel.pid ?? 0)).toBe(true);
    expect(changes(subject)).toEqual(['idle -> starting', 'starting -> up']);
    expect(events.all.map(({name}) => name)).toEqual(['state', 'start', 'state', 'connect']);
    expect(events.of('start')).toEqual([{starts: 1, pid: tunnel.pid, command: '/bin/sleep 1000'}]);
    expect(events.of('connect')).toEqual([{starts: 1, pid: tunnel.pid, elapsed: expect.any(Number), forwards: []}]);
  });

  test('twice at once is one start', async () => {
    const {tunnel, events} = make(up);
    await Promise.all([tunnel.start(), tunnel.start(), tunnel.ready()]);
    await tunnel.start();
    expect(events.count('start')).toBe(1);
    expect(events.count('connect')).toBe(1);
  });

  test('in the listener of its own first event is the same start', async () => {
    const {tunnel, events} = make(up);
    let second: Promise<void> | undefined;
    tunnel.once('state', () => {
      second = tunnel.start();
    });
    await tunnel.start();
    await second;
    expect(events.count('start')).toBe(1);
  });

  test('after the end is refused, and starts nothing', async () => {
    const {tunnel, events} = await states.stopped();
    expect(await rejection(tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_STOPPED'});
    expect(events.count('start')).toBe(1);
    expect(tunnel.state).toBe('stopped');
  });

  test('is what open() does', async () => {
    const tunnel = await AutoSSH.open(up);
    try {
      expect(tunnel.state).toBe('up');
    } finally {
      await tunnel.stop();
    }
    await expect(AutoSSH.open({...dead, gateTime: 30_000})).rejects.toMatchObject({code: 'ERR_AUTOSSH_GATE'});
  });

  test('fails with what the system says where nothing can be prepared', async () => {
    const {TMPDIR} = process.env;
    process.env['TMPDIR'] = '/nonexistent';
    try {
      const {tunnel, events} = make(hung);
      const error = await rejection(tunnel.start());
      expect(error.message).toContain('/nonexistent');
      expect(error.hint).toContain('TMPDIR');
      expect(error.cause).toMatchObject({code: 'ENOENT'});
      expect(events.of('stop')).toEqual([{reason: 'fatal', error}]);
    } finally {
      process.env['TMPDIR'] = TMPDIR;
    }
  });
});

describe('ready()', () => {
  test('waits for the start, and resolves at once when up', async () => {
    const {tunnel} = make(up);
    const ready = tunnel.ready();
    await tunnel.start();
    await ready;
    await tunnel.ready();
    await tunnel.ready({});
  });

  test('waits for the next connect after a loss', async () => {
    const {tunnel, events} = await states.up();
    const lost = once(tunnel, 'disconnect');
    signal(tunnel.pid ?? 0, 'SIGKILL');
    await lost;
    await tunnel.ready();
    expect(events.count('connect')).toBe(2);
  });

  test('rejects with the reason of its signal, and does nothing to the tunnel', async () => {
    const {tunnel} = await states.starting();
    const controller = new AbortController();
    const reason = new Error('no time');
    const ready = tunnel.ready({signal: controller.signal});
    controller.abort(reason);
    await expect(ready).rejects.toBe(reason);
    await expect(tunnel.ready({signal: controller.signal})).rejects.toBe(reason);
    expect(tunnel.state).toBe('starting');
  });

  test('leaves nothing on its signal', async () => {
    const {tunnel} = make(up);
    const {signal: own} = new AbortController();
    const ready = tunnel.ready({signal: own});
    expect(getEventListeners(own, 'abort')).toHaveLength(1);
    await tunnel.start();
    await ready;
    expect(getEventListeners(own, 'abort')).toEqual([]);
  });

  test.each(['idle', 'starting', 'waiting'] as const)('rejects when the tunnel is stopped: %s', async (state) => {
    const {tunnel} = await states[state]();
    const [one, two] = [rejection(tunnel.ready()), rejection(tunnel.ready())];
    await tunnel.stop();
    expect(await one).toMatchObject({code: 'ERR_AUTOSSH_STOPPED', retryable: false});
    expect(await two).toBe(await one);
  });

  test('rejects after the end with what ended it', async () => {
    const {tunnel} = make({...dead, gateTime: 30_000});
    const error = await rejection(tunnel.start());
    expect(await rejection(tunnel.ready())).toBe(error);
    expect(await rejection(tunnel.start())).toBe(error);
    expect(await rejection(tunnel.restart())).toBe(error);
  });
});

describe('restart()', () => {
  test('replaces the ssh, says why, and resolves when the next is up', async () => {
    const subject = await states.up();
    const {tunnel, events} = subject;
    const old = tunnel.pid ?? 0;
    await tunnel.restart('because I can');
    expect(tunnel.state).toBe('up');
    expect(tunnel.pid).not.toBe(old);
    expect(alive(old)).toBe(false);
    const [{outcome}] = events.of('disconnect') as [AutoSSHEventPayloads['disconnect']];
    expect(outcome).toMatchObject({reason: 'requested', message: 'because I can', stage: 'up', retryable: true});
    expect(outcome).not.toHaveProperty('code');
    expect(events.of('restart')).toEqual([{outcome, attempt: 0, delay: 0}]);
    expect(changes(subject).slice(2)).toEqual(['up -> waiting', 'waiting -> starting', 'starting -> up']);
    expect(tunnel.stats()).toMatchObject({starts: 2, restarts: 1, lastOutcome: outcome});
  });

  test('cuts a wait short', async () => {
    const {tunnel, events} = make({...dead, restart: long});
    const ended = rejection(tunnel.start());
    for (let starts = 1; starts < 4; starts++) {
      await once(tunnel, 'restart', {where: ({delay}) => delay > 0});
      const next = once(tunnel, 'start');
      tunnel.restart().catch(() => undefined);
      expect((await next).starts).toBe(starts + 1);
    }
    expect(events.of('restart').map(({attempt}) => attempt)).toEqual([1, 2, 3]);
    await tunnel.stop();
    await ended;
  });

  test('in the listener of the event that announces the wait cuts it short as well', async () => {
    const {tunnel} = make({...dead, restart: {...long, maxStarts: 3}});
    tunnel.on('restart', () => {
      tunnel.restart().catch(() => undefined);
    });
    expect(await within(patience, 'the end', rejection(tunnel.start()))).toMatchObject({code: 'ERR_AUTOSSH_GAVE_UP'});
  });

  test('replaces an ssh that hangs at its start', async () => {
    const {tunnel, events} = await states.starting();
    const old = tunnel.pid;
    const next = once(tunnel, 'start');
    const restarted = rejection(tunnel.restart());
    expect((await next).pid).not.toBe(old);
    // It was never up, so nothing was lost.
    expect(events.count('disconnect')).toBe(0);
    await tunnel.stop();
    expect(await restarted).toMatchObject({code: 'ERR_AUTOSSH_STOPPED'});
  });

  test('twice at once is one', async () => {
    const {tunnel, events} = await states.up();
    await Promise.all([tunnel.restart(), tunnel.restart()]);
    expect(events.count('start')).toBe(2);
  });

  test.each(['stopping', 'stopped'] as const)('is refused when %s', async (state) => {
    const {tunnel} = await states[state]();
    expect(await rejection(tunnel.restart())).toMatchObject({code: 'ERR_AUTOSSH_STOPPED'});
  });

  test('counts as a start', async () => {
    const {tunnel} = make({...up, restart: {maxStarts: 2}});
    await tunnel.start();
    await tunnel.restart();
    expect(await rejection(tunnel.restart())).toMatchObject({code: 'ERR_AUTOSSH_GAVE_UP'});
  });
});

describe('stop()', () => {
  inEveryState('when %s: wins, and leaves nothing', async (state) => {
    const {tunnel, events} = await states[state]();
    const pid = tunnel.pid;
    await within(5_000, 'stop()', tunnel.stop());
    expect(tunnel.state).toBe('stopped');
    expect(tunnel.pid).toBeUndefined();
    expect(pid === undefined || !alive(pid)).toBe(true);
    expect(events.of('stop')).toEqual([{reason: 'stopped'}]);
    expect(events.count('fatal')).toBe(0);
    expect(temporaryEntries()).toEqual([]);
    await expectNothingLeft(before, {resources: false});
  });

  inEveryState('when %s, three times: is one end', async (state) => {
    const {tunnel, events} = await states[state]();
    await Promise.all([tunnel.stop(), tunnel.stop(), tunnel[Symbol.asyncDispose]()]);
    await tunnel.stop();
    expect(events.count('stop')).toBe(1);
    expect(events.of('state').filter(({to}) => to === 'stopping' || to === 'stopped')).toHaveLength(2);
  });

  test('straight after start(), before there is an ssh', async () => {
    const subject = make(up);
    const started = rejection(subject.tunnel.start());
    await subject.tunnel.stop();
    expect(await started).toMatchObject({code: 'ERR_AUTOSSH_STOPPED'});
    expect(subject.events.of('stop')).toEqual([{reason: 'stopped'}]);
    expect(changes(subject)).toEqual(['idle -> starting', 'starting -> stopping', 'stopping -> stopped']);
    await expectNothingLeft(before, {resources: false});
  });

  test.each(['start', 'connect', 'state', 'restart', 'disconnect'] as const)('in a listener of %s', async (name) => {
    const {tunnel, events} = make(name === 'restart' ? {...dead, restart: long} : up);
    let stopped: Promise<void> | undefined;
    tunnel.once(name, () => {
      stopped = tunnel.stop();
    });
    const settled = tunnel.start().catch(() => undefined);
    if (name === 'disconnect') {
      await settled;
      signal(tunnel.pid ?? 0, 'SIGKILL');
    }
    await once(tunnel, 'stop');
    await Promise.all([stopped, settled]);
    expect(events.of('stop')).toEqual([{reason: 'stopped'}]);
  });

  test('says last of all that it is over, with the disconnect before', async () => {
    const {tunnel, events} = await states.up();
    await tunnel.stop();
    const last = events.all.slice(-4).map(({name}) => name);
    expect(last).toEqual(['state', 'disconnect', 'state', 'stop']);
    expect(events.of('disconnect')).toMatchObject([{outcome: {reason: 'requested'}}]);
    // Nothing was lost that has to be won back.
    expect(events.count('restart')).toBe(0);
  });

  test('by `await using`', async () => {
    let tunnel: AutoSSH | undefined;
    {
      await using mine = await AutoSSH.open(up);
      tunnel = mine;
      expect(tunnel.state).toBe('up');
    }
    expect(tunnel.state).toBe('stopped');
  });

  test('is soon over where ssh is stopped itself, or does not listen', async () => {
    const {tunnel} = make({...hung, sshPath: fixture('ignore-term.mjs'), killTimeout: 100});
    const started = rejection(tunnel.start());
    await once(tunnel, 'stderr', {where: ({line}) => line === 'ignoring every signal'});
    await within(5_000, 'stop()', tunnel.stop());
    await started;
  });
});

describe('the signal', () => {
  inEveryState('aborted when %s', async (state) => {
    const controller = new AbortController();
    const options = {idle: up, starting: hung, up, waiting: {...dead, restart: long}, stopping: up, stopped: up}[state];
    const {tunnel, events} = make({...options, signal: controller.signal});
    const settled = state === 'idle' ? undefined : tunnel.start().catch((error: unknown) => error);
    if (state === 'starting') await once(tunnel, 'start');
    else if (state === 'waiting') await once(tunnel, 'restart');
    else await settled;
    if (state === 'stopping') void tunnel.stop();
    if (state === 'stopped') await tunnel.stop();

    controller.abort();
    if (state === 'idle') {
      expect(await rejection(tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_ABORTED'});
      expect(events.count('start')).toBe(0);
    }
    await tunnel.stop();
    const first = state === 'stopping' || state === 'stopped' ? 'stopped' : 'aborted';
    expect(events.of('stop')).toEqual([{reason: first}]);
    if (state === 'starting' || state === 'waiting') expect(await settled).toMatchObject({code: 'ERR_AUTOSSH_ABORTED'});
    expect(await rejection(tunnel.ready())).toMatchObject({code: `ERR_AUTOSSH_${first.toUpperCase()}`});
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  });

  test('aborted before the tunnel is made: start() rejects, and nothing is started', async () => {
    const {tunnel, events} = make({...up, signal: AbortSignal.abort()});
    expect(await rejection(tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_ABORTED'});
    expect(events.all.map(({name}) => name)).toEqual(['state', 'state', 'stop']);
  });

  test('has no listener left after the end', async () => {
    const {signal: own} = new AbortController();
    const {tunnel} = make({...up, signal: own});
    await tunnel.start();
    expect(getEventListeners(own, 'abort')).toHaveLength(1);
    await tunnel.stop();
    expect(getEventListeners(own, 'abort')).toEqual([]);
  });
});

describe('the longest lifetime', () => {
  test.each([
    ['up', up],
    ['starting', hung],
    ['waiting', {...dead, restart: long}],
  ] as const)('ends a tunnel that is %s', async (state, options) => {
    const {tunnel, events} = make({...options, maxLifetime: 400});
    const settled = tunnel.start().catch((error: unknown) => error);
    expect(await once(tunnel, 'stop')).toEqual({reason: 'max-lifetime'});
    const end = events.of('state').find(({to}) => to === 'stopping');
    expect(end?.from).toBe(state);
    if (state !== 'up') expect(await settled).toMatchObject({code: 'ERR_AUTOSSH_STOPPED'});
    expect(await rejection(tunnel.ready())).toMatchObject({message: expect.stringContaining('lifetime')});
    expect(events.count('fatal')).toBe(0);
  });
});

describe('the gate', () => {
  test('makes the first failure fatal, whatever it was, and its cause tells what', async () => {
    const subject = make({...dead, gateTime: 30_000});
    const {tunnel, events} = subject;
    const error = await rejection(tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_GATE', retryable: false, exitCode: 1});
    expect(error.cause).toMatchObject({code: 'ERR_AUTOSSH_EXIT', retryable: true, exitCode: 1});
    expect(events.of('fatal')).toEqual([error]);
    expect(events.of('stop')).toEqual([{reason: 'fatal', error}]);
    expect(events.count('start')).toBe(1);
    expect(events.count('restart')).toBe(0);
    expect(changes(subject)).toEqual(['idle -> starting', 'starting -> stopping', 'stopping -> stopped']);
  });

  test('tells ssh’s own words', async () => {
    const {tunnel} = make({
      ...dead,
      sshPath: fixture('exit-with.mjs'),
      env: {...process.env, FAKE_STDERR: 'me@h: Permission denied (publickey).'},
      gateTime: 30_000,
    });
    const error = await rejection(tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_GATE', stderr: ['me@h: Permission denied (publickey).']});
    expect(error.message).toContain('Permission denied');
    expect(error.cause).toMatchObject({code: 'ERR_AUTOSSH_AUTH'});
  });

  test('is not there with 0: it is tried again', async () => {
    const {tunnel, events} = make({...dead, restart: {...none, maxStarts: 3}});
    expect(await rejection(tunnel.start())).toMatchObject({code: 'ERR_AUTOSSH_GAVE_UP'});
    expect(events.count('start')).toBe(3);
  });

  test('is behind a tunnel that was up once', async () => {
    const {tunnel, events} = make({...up, gateTime: 30_000});
    await tunnel.start();
    const again = once(tunnel, 'connect', {unless: ['stop']});
    signal(tunnel.pid ?? 0, 'SIGKILL');
    await again;
    expect(events.of('restart')).toMatchObject([
      {attempt: 1, delay: 0, outcome: {reason: 'signal', signal: 'SIGKILL'}},
    ]);
  });
});

describe('it gives up', () => {
  test('after so many starts', async () => {
    const {tunnel, events} = make({...dead, restart: {...none, maxStarts: 4}});
    const error = await rejection(tunnel.start());
    expect(error).toMatchObject({
      code: 'ERR_AUTOSSH_GAVE_UP',
      message: 'Gave up after 4 starts of ssh: ssh exited with code 1',
      retryable: false,
      cause: expect.objectContaining({code: 'ERR_AUTOSSH_EXIT', exitCode: 1}),
    });
    expect(error.hint).toMatch(/\S/);
    expect(events.of('start').map(({starts}) => starts)).toEqual([1, 2, 3, 4]);
    expect(events.of('restart').map(({attempt}) => attempt)).toEqual([1, 2, 3]);
    expect(events.of('fatal')).toEqual([error]);
    expect(events.of('stop')).toEqual([{reason: 'fatal', error}]);
  });

  test('after so many retries', async () => {
    const {tunnel, events} = make({...dead, restart: {...none, retries: 2}});
    expect(await rejection(tunnel.start())).toMatchObject({
      code: 'ERR_AUTOSSH_GAVE_UP',
      message: 'Gave up after 2 retries: ssh exited with code 1',
    });
    expect(events.count('start')).toBe(3);
  });

  test('after the retries of a connection that does not stay up', async () => {
    const {tunnel, events} = make({...up, sshArguments: ['0'], restart: {...none, retries: 2}});
    await tunnel.start();
    await once(tunnel, 'stop');
    expect(events.of('connect')).toHaveLength(3);
    expect(events.of('fatal')).toMatchObject([{code: 'ERR_AUTOSSH_GAVE_UP'}]);
  });

  test('not while each connection is stable in between', async () => {
    const {tunnel, events} = make({...up, restart: {retries: 1, stableAfter: 10}});
    await tunnel.start();
    for (let n = 0; n < 4; n++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      const next = once(tunnel, 'connect', {unless: ['stop']});
      signal(tunnel.pid ?? 0, 'SIGKILL');
      await next;
    }
    expect(new Set(events.of('restart').map(({attempt}) => attempt))).toEqual(new Set([1]));
  });

  test('at once for what no retry can mend, with how to mend it', async () => {
    const {tunnel, events} = make({...dead, sshPath: '/nonexistent/ssh'});
    const error = await rejection(tunnel.start());
    expect(error).toMatchObject({
      code: 'ERR_AUTOSSH_SPAWN',
      message: 'ssh could not be started: /nonexistent/ssh was not found',
      retryable: false,
    });
    expect(error.hint).toMatch(/Install the OpenSSH client .*apt-get install openssh-client/);
    expect(events.all.map(({name}) => name)).toEqual(['state', 'state', 'state', 'fatal', 'stop']);
  });

  test('at once where the working directory is not there, and says so', async () => {
    const {tunnel} = make({...dead, cwd: '/nonexistent'});
    expect(await rejection(tunnel.start())).toMatchObject({
      code: 'ERR_AUTOSSH_SPAWN',
      message: 'ssh could not be started: the working directory /nonexistent is not there',
      hint: 'Correct `cwd`.',
    });
  });

  test('at once where an environment without a PATH leads to no ssh', async () => {
    const {tunnel} = make({...dead, sshPath: 'ssh', env: {PATH: '/nonexistent'}});
    const error = await rejection(tunnel.start());
    expect(error.message).toBe('ssh could not be started: ssh was not found in PATH');
  });
});

describe('shouldRestart', () => {
  test('is asked before each restart, and told what has happened', async () => {
    const asked: [Outcome, RestartContext][] = [];
    const {tunnel, events} = make({
      ...dead,
      restart: {
        ...none,
        shouldRestart: (outcome, context) => {
          asked.push([outcome, context]);
          return asked.length < 3;
        },
      },
    });
    const error = await rejection(tunnel.start());
    expect(error).toMatchObject({
      code: 'ERR_AUTOSSH_GAVE_UP',
      message: '`restart.shouldRestart` said no: ssh exited with code 1',
      cause: expect.objectContaining({code: 'ERR_AUTOSSH_EXIT'}),
    });
    expect(asked.map(([, context]) => context)).toEqual([
      {attempt: 1, starts: 1, delay: 0},
      {attempt: 2, starts: 2, delay: 0},
      {attempt: 3, starts: 3, delay: 0},
    ]);
    expect(asked[0]?.[0]).toMatchObject({reason: 'exit', exitCode: 1, retryable: true});
    expect(events.count('start')).toBe(3);
  });

  test('may take its time', async () => {
    const questions: ((goOn: boolean) => void)[] = [];
    const shouldRestart = (): Promise<boolean> => new Promise((resolve) => questions.push(resolve));
    const {tunnel, events} = make({...dead, restart: {...none, shouldRestart}});
    const ended = rejection(tunnel.start());
    await pollUntil('the question', () => questions.length === 1);
    // It is not announced before it is allowed.
    expect(events.count('restart')).toBe(0);
    questions[0]?.(true);
    await pollUntil('the second question', () => questions.length === 2);
    expect(events.count('start')).toBe(2);
    questions[1]?.(false);
    expect(await ended).toMatchObject({code: 'ERR_AUTOSSH_GAVE_UP'});
  });

  test.each([
    [
      'throws',
      () => {
        throw new Error('of no mind');
      },
    ],
    ['rejects', () => Promise.reject(new Error('of no mind'))],
  ])('that %s ends the tunnel, and is not hidden', async (_what, shouldRestart) => {
    const {tunnel, events} = make({...dead, restart: {...none, shouldRestart}});
    const error = await rejection(tunnel.start());
    expect(error).toMatchObject({code: 'ERR_AUTOSSH_GAVE_UP', cause: new Error('of no mind')});
    expect(error.message).toContain('shouldRestart');
    expect(error.message).toContain('of no mind');
    expect(events.of('stop')).toEqual([{reason: 'fatal', error}]);
  });

  test('that never answers does not keep stop() from its end', async () => {
    let asked = false;
    const shouldRestart = (): Promise<boolean> => {
      asked = true;
      return new Promise(() => undefined);
    };
    const {tunnel} = make({...dead, restart: {...none, shouldRestart}});
    const ended = rejection(tunnel.start());
    await pollUntil('the question', () => asked);
    await within(3_000, 'stop()', tunnel.stop());
    expect(await ended).toMatchObject({code: 'ERR_AUTOSSH_STOPPED'});
  });

  test('is not asked about a restart that was asked for, nor where there is none', async () => {
    let asked = 0;
    const shouldRestart = (): boolean => ++asked < 0;
    const {tunnel} = make({...up, restart: {shouldRestart}});
    await tunnel.start();
    await tunnel.restart();
    await tunnel.stop();
    const other = make({...dead, gateTime: 30_000, restart: {shouldRestart}});
    await rejection(other.tunnel.start());
    expect(asked).toBe(0);
  });

  test('that says no ends a tunnel that was up, as well', async () => {
    const {tunnel, events} = make({...up, restart: {shouldRestart: () => false}});
    await tunnel.start();
    const fatal = once(tunnel, 'fatal');
    signal(tunnel.pid ?? 0, 'SIGKILL');
    expect(await fatal).toMatchObject({code: 'ERR_AUTOSSH_GAVE_UP', signal: 'SIGKILL'});
    await tunnel.stop();
    expect(events.count('disconnect')).toBe(1);
  });
});

test('an ssh that is never ready is ended when the time for it is over', async () => {
  const {tunnel, events} = make({...hung, readyTimeout: 300, gateTime: 0, restart: {...none, maxStarts: 2}});
  expect(await rejection(tunnel.start())).toMatchObject({
    code: 'ERR_AUTOSSH_GAVE_UP',
    cause: expect.objectContaining({
      code: 'ERR_AUTOSSH_TIMEOUT',
      message: 'The tunnel was not ready within 300 ms: ssh hung while looking up or connecting to the server',
    }),
  });
  expect(events.of('restart')).toMatchObject([{outcome: {reason: 'timeout', stage: 'connect'}}]);
});

describe('with an ssh that is played', () => {
  test('the first beat comes with the connect, and the others after it', async () => {
    const {tunnel, events} = make(played);
    await tunnel.start();
    await once(tunnel, 'heartbeat', {where: ({beats}) => beats === 3});
    expect(events.of('heartbeat').slice(0, 3)).toEqual([1, 2, 3].map((beats) => ({beats, rtt: expect.any(Number)})));
    const order = events.all.map(({name}) => name).filter((name) => name === 'connect' || name === 'heartbeat');
    expect(order.slice(0, 2)).toEqual(['connect', 'heartbeat']);
    const {heartbeats} = tunnel.stats();
    expect(heartbeats).toMatchObject({missed: 0, lastRtt: expect.any(Number), smoothedRtt: expect.any(Number)});
    expect(heartbeats.answered).toBeGreaterThanOrEqual(3);
    expect(heartbeats.sent).toBeGreaterThanOrEqual(heartbeats.answered);
  });

  test('a local port that is left to us is found, told, and kept over a restart', async () => {
    const {tunnel, events} = make({
      ...played,
      forwards: [
        {type: 'local', target: 'a:1', name: 'first'},
        {type: 'local', listen: '127.0.0.1:0', target: 'b:2'},
      ],
    });
    await tunnel.start();
    const bound = tunnel.forwards;
    const ports = bound.map(({listen}) => listen.port ?? 0);
    expect(new Set(ports).size).toBe(2);
    expect(ports.every((port) => port > 1_024)).toBe(true);
    expect(tunnel.forward()).toBe(bound[0]);
    expect(tunnel.forward('first')).toBe(bound[0]);
    expect(tunnel.forward(1)).toBe(bound[1]);
    expect(tunnel.forward('local-1')).toBe(bound[1]);
    expect(() => tunnel.forward('third')).toThrow("There is no forward 'third'; bound are: 'first', 'local-1'");
    expect(() => tunnel.forward(2)).toThrow(RangeError);
    for (const port of ports) expect(await exchange({host: '127.0.0.1', port}, 'ping')).toBe('ping');

    await tunnel.restart();
    expect(tunnel.forwards).toEqual(bound);
    expect(events.of('connect').map(({forwards}) => forwards)).toEqual([bound, bound]);
    expect(tunnel.stats().forwards).toMatchObject(bound.map((one) => ({...one, bound: true})));
    for (const port of ports) expect(await exchange({host: '127.0.0.1', port}, 'pong')).toBe('pong');
  });

  test('its heartbeat’s port at the server is another for every ssh', async () => {
    const {tunnel, events} = make(played);
    await tunnel.start();
    for (let n = 0; n < 3; n++) await tunnel.restart();
    const ports = events.of('start').map(({command}) => /-R 127\.0\.0\.1:(\d+):/.exec(command)?.[1]);
    expect(new Set(ports).size).toBe(4);
    await tunnel.stop();
    const fixed = make({...played, heartbeat: {...played.heartbeat, remotePort: 20_007}});
    await fixed.tunnel.start();
    await fixed.tunnel.restart();
    for (const {command} of fixed.events.of('start')) expect(command).toContain('-R 127.0.0.1:20007:');
  });

  test.each<[what: string, options: AutoSSHOptions['heartbeat']]>([
    ['no heartbeat', false],
    ['keep-alives alone', {mode: 'server-alive'}],
  ])('it is ready with %s', async (_what, heartbeat = false) => {
    const {tunnel, events} = make({...played, heartbeat});
    await tunnel.start();
    expect(tunnel.stats().heartbeats).toMatchObject({sent: 0, answered: 0, lastRtt: null});
    expect(events.count('heartbeat')).toBe(0);
  });

  test('beats that do not come back have it replaced', async () => {
    const {tunnel, events} = make({...played, heartbeat: {interval: 50, timeout: 300, maxMisses: 2}});
    await tunnel.start();
    const old = tunnel.pid ?? 0;
    const again = once(tunnel, 'connect', {unless: ['stop']});
    signal(old, 'SIGSTOP');
    await again;
    expect(alive(old)).toBe(false);
    expect(events.of('heartbeat-miss')).toMatchObject([
      {misses: 1, maxMisses: 2, reason: 'timeout'},
      {misses: 2, maxMisses: 2, reason: 'timeout'},
    ]);
    expect(events.of('disconnect')).toMatchObject([{outcome: {reason: 'heartbeat', code: 'ERR_AUTOSSH_HEARTBEAT'}}]);
    expect(tunnel.stats().heartbeats.missed).toBe(2);
  });
});

describe('whatever is done to it', () => {
  const action = fc.constantFrom('start', 'stop', 'restart', 'ready', 'kill', 'wait', 'abort', 'turn');
  const kind = fc.constantFrom('up', 'hung', 'gated', 'dead');

  test('every promise settles, nothing is left, and it is over once', async () => {
    let started = 0;
    await fc.assert(
      fc.asyncProperty(kind, fc.boolean(), fc.array(action, {maxLength: 12}), async (which, begin, rest) => {
        const actions = [...(begin ? (['start', 'wait'] as const) : []), ...rest];
        const controller = new AbortController();
        const options = {
          up,
          hung,
          gated: {...dead, gateTime: 30_000},
          dead: {...dead, restart: {maxStarts: 20, minTimeout: 1}},
        };
        const {tunnel, events} = make({...options[which], signal: controller.signal});
        const promises: Promise<unknown>[] = [];
        let stops = 0;
        for (const one of actions) {
          if (one === 'start' || one === 'stop' || one === 'restart' || one === 'ready') promises.push(tunnel[one]());
          else if (one === 'abort') controller.abort();
          else if (one === 'kill' && tunnel.pid !== undefined) signal(tunnel.pid, 'SIGKILL');
          else if (one === 'wait' && goesOn(tunnel, which)) await once(tunnel, 'state');
          else await new Promise(setImmediate);
          promises.at(-1)?.catch(() => undefined);
          stops = events.count('stop');
        }
        expect(stops).toBeLessThanOrEqual(1);
        promises.push(tunnel.stop());
        await within(patience, `every promise after ${actions.join(', ')}`, Promise.allSettled(promises));
        expect(tunnel.state).toBe('stopped');
        expect(events.count('stop')).toBe(1);
        expect(events.all.at(-1)?.name).toBe('stop');
        expect(events.of('start').filter(({pid}) => alive(pid))).toEqual([]);
        expect(temporaryEntries()).toEqual([]);
        started += events.count('start');
      }),
      {numRuns: 100},
    );
    // Or else nothing is shown by this. Half of the runs begin with a start: fewer than 20 of 100 happens never.
    expect(started).toBeGreaterThan(20);
  });
});

/** Whether it will be in another state by itself. */
function goesOn({state}: AutoSSH, kind: string): boolean {
  return state === 'waiting' || state === 'stopping' || (state === 'starting' && kind !== 'hung');
}

describe('in a program of its own', () => {
  interface Run {
    /** What it has said so far, line by line. */
    lines: string[];
    stderr: () => string;
    pid: number;
    exited: Promise<[code: number | null, signal: NodeJS.Signals | null]>;
    said: () => Promise<unknown>;
  }

  function run(scene: string, env: NodeJS.ProcessEnv = {}): Run {
    const {DEBUG: _debug, ...rest} = process.env;
    const child = spawn(process.execPath, [compiled('embedding.ts'), scene], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {...rest, ...env},
    });
    guard('process', child.pid ?? 0);
    const lines: string[] = [];
    let stderr = '';
    child.stderr.on('data', (chunk) => (stderr += String(chunk)));
    const reader = createInterface({input: child.stdout});
    const first = nodeOnce(reader, 'line');
    reader.on('line', (line) => lines.push(line));
    return {
      lines,
      stderr: () => stderr,
      pid: child.pid ?? 0,
      exited: nodeOnce(child, 'close') as Run['exited'],
      said: async () => JSON.parse(String((await first)[0])) as unknown,
    };
  }

  test('it prints nothing', async () => {
    const {lines, stderr, exited} = run('quiet');
    expect(await within(patience, 'the end', exited)).toEqual([0, null]);
    expect(lines).toEqual([]);
    expect(stderr()).toBe('');
  });

  test('it logs under DEBUG=autossh:*', async () => {
    const {lines, stderr, exited} = run('quiet', {DEBUG: 'autossh:*'});
    await within(patience, 'the end', exited);
    expect(lines).toEqual([]);
    for (const change of ['idle -> starting', 'starting -> up', 'up -> waiting', 'stopping -> stopped']) {
      expect(stderr()).toContain(change);
    }
    expect(stderr()).not.toContain('impossible');
  });

  test('it listens to no signal, and to no exception', async () => {
    const {said, exited} = run('listeners');
    const {before: none, during, after} = (await said()) as Record<string, Record<string, number>>;
    expect(during).toEqual(none);
    expect(after).toEqual(none);
    expect(Object.keys(during ?? {}).filter((name) => /^SIG|^uncaught|^unhandled/.test(name))).toEqual([]);
    await exited;
  });

  test('a listener that throws does nothing to the tunnel, and is heard of as an uncaught exception', async () => {
    const {said, exited, stderr} = run('throwing');
    const {heard, uncaught, state, stats} = (await said()) as Record<string, unknown>;
    expect(await exited).toEqual([0, null]);
    expect(heard).toEqual([
      ...['state', 'start', 'state', 'connect'],
      ...['state', 'disconnect', 'restart', 'state', 'start', 'state', 'connect'],
      ...['state', 'disconnect', 'state', 'stop'],
    ]);
    expect(uncaught).toEqual((heard as string[]).map((name, index) => `thrown at ${name} ${String(index + 1)}`));
    expect(state).toBe('stopped');
    expect(stats).toMatchObject({starts: 2, restarts: 1});
    expect(stderr()).toBe('');
  });

  test('a listener that throws ends a program that does not catch it, and its ssh with it', async () => {
    const {said, exited, stderr} = run('uncaught');
    const pid = (await said()) as number;
    expect(await within(patience, 'the end', exited)).toEqual([1, null]);
    expect(stderr()).toContain('thrown by a listener');
    await waitForExit(pid);
  });

  test.each(['unreferenced', 'unreferencedBeating', 'unreferencedBefore'])(
    'it does not keep the program when it is %s, and its ssh goes too',
    async (scene) => {
      const {said, exited} = run(scene);
      const pid = (await said()) as number;
      guard('process', pid);
      expect(await within(patience, 'the end', exited)).toEqual([0, null]);
      await waitForExit(pid);
    },
  );

  test('it does not keep the program while it waits, either', async () => {
    const {said, exited} = run('unreferencedWaiting');
    expect(await said()).toBe('waiting');
    expect(await within(patience, 'the end', exited)).toEqual([0, null]);
  });

  test('it keeps the program otherwise', async () => {
    const {said, exited, pid} = run('referenced');
    const ssh = (await said()) as number;
    let gone = false;
    void exited.then(() => (gone = true));
    // Longer than the end of one that is not kept takes.
    const other = run('unreferenced');
    await other.exited;
    expect(gone).toBe(false);
    expect(alive(ssh)).toBe(true);
    signal(pid, 'SIGTERM');
    expect(await exited).toEqual([null, 'SIGTERM']);
    await waitForExit(ssh);
    await waitForExit((await other.said()) as number);
  });
});
