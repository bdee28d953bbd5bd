import {describe, expect, test} from 'vitest';
import {StatusModel, type ToldEvent, bounds, inWords, lastWords} from '../../src/cli/status-model.js';
import {count, duration, oneLine, roundTrip, stopwatch} from '../../src/cli/status-words.js';
import {AutoSSHError, type AutoSSHEventPayloads, type Outcome} from '../../src/index.js';

const lost: Outcome = {
  reason: 'signal',
  code: 'ERR_AUTOSSH_EXIT',
  message: 'ssh was ended by SIGKILL',
  retryable: true,
  throttled: false,
  stage: 'up',
  uptime: 182_000,
  stderr: [],
};
const failed: Outcome = {...lost, message: 'Connection refused by 192.0.2.1', stage: 'connect', uptime: 0};

describe('every event in words', () => {
  test.each<[ToldEvent, string[]]>([
    [{name: 'state', payload: {from: 'up', to: 'waiting'}}, []],
    [{name: 'start', payload: {starts: 2, pid: 77, command: 'ssh h'}}, ['started: ssh 2, pid 77']],
    [{name: 'connect', payload: {starts: 2, pid: 77, elapsed: 312.4, forwards: []}}, []],
    [{name: 'heartbeat', payload: {rtt: 0.423, beats: 1}}, ['beat: answered after 0.42 ms']],
    [
      {name: 'heartbeat-miss', payload: {misses: 1, maxMisses: 2, waited: 15_000, reason: 'timeout'}},
      ['missed: 1 of 2: nothing came for 15 s'],
    ],
    [
      {name: 'heartbeat-miss', payload: {misses: 3, maxMisses: Infinity, waited: 20, reason: 'closed'}},
      ['missed: 3: its connection was closed after 20 ms'],
    ],
    [
      {name: 'disconnect', payload: {outcome: lost, uptime: 182_000}},
      ['disconnected: ssh was ended by SIGKILL (after 3 min 2 s)'],
    ],
    [{name: 'restart', payload: {outcome: lost, attempt: 0, delay: 0}}, ['restart: at once']],
    [{name: 'restart', payload: {outcome: lost, attempt: 2, delay: 4_600}}, ['restart: in 4.6 s (attempt 2)']],
    [
      {name: 'restart', payload: {outcome: failed, attempt: 2, delay: 4_600}},
      ['failed: Connection refused by 192.0.2.1', 'restart: in 4.6 s (attempt 2)'],
    ],
    [
      {name: 'warning', payload: {code: 'WARN_AUTOSSH_TARGET', message: 'ssh could not\nreach'}},
      ['warning: ssh could not reach'],
    ],
    [{name: 'stderr', payload: {line: 'debug1: hello'}}, ['ssh: debug1: hello']],
    [{name: 'fatal', payload: new AutoSSHError('ERR_AUTOSSH_AUTH', 'Permission denied')}, ['fatal: Permission denied']],
    [{name: 'stop', payload: {reason: 'max-lifetime'}}, ['ended: its lifetime is over']],
  ])('%j', (event, expected) => {
    expect(inWords(event).map(({kind, text}) => `${kind}: ${text}`)).toEqual(expected);
  });
});

test.each([
  [0, '0 ms'],
  [999.4, '999 ms'],
  [999.6, '1 s'],
  [3_240, '3.2 s'],
  [9_960, '10 s'],
  [12_500, '12.5 s'],
  [59_960, '1 min'],
  [182_000, '3 min 2 s'],
  [3_600_000, '1 h'],
  [630_000, '10 min 30 s'],
  [7_440_000, '2 h 4 min'],
  [86_400_000 * 3 + 7_200_000, '3 d 2 h'],
])('%d ms are %s', (milliseconds, words) => {
  expect(duration(milliseconds)).toBe(words);
});

test.each([
  [-5, '00:00:00'],
  [999, '00:00:00'],
  [7_471_000, '02:04:31'],
  [86_400_000 * 3 + 7_471_999, '3 d 02:04:31'],
])('a stopwatch shows %d ms as %s', (milliseconds, words) => {
  expect(stopwatch(milliseconds)).toBe(words);
});

test.each([
  [0.4234, '0.42 ms'],
  [0.996, '1.0 ms'],
  [9.94, '9.9 ms'],
  [9.96, '10 ms'],
  [1_240, '1.2 s'],
])('a round trip of %d ms is %s', (milliseconds, words) => {
  expect(roundTrip(milliseconds)).toBe(words);
});

test('a noun has its number', () => {
  expect([count(0, 'restart'), count(1, 'restart'), count(2, 'restart')]).toEqual([
    '0 restarts',
    '1 restart',
    '2 restarts',
  ]);
});

test('what may come from anywhere is one line without control characters', () => {
  expect(oneLine(' a\r\nb\u001B[31m\u2028c\u0000 ')).toBe('a b [31m c');
});

test('a loss is a countdown with its reason until the next ssh is started', () => {
  const {model, tell} = scene();
  tell('state', {from: 'starting', to: 'up'});
  tell('connect', {starts: 1, pid: 7, elapsed: 300, forwards: []});
  tell('state', {from: 'up', to: 'waiting'}, 1_000);
  tell('disconnect', {outcome: lost, uptime: 700});
  tell('restart', {outcome: lost, attempt: 2, delay: 4_000}, 1_001);
  expect(model).toMatchObject({
    state: 'waiting',
    since: 1_000,
    wait: {until: 5_001, delay: 4_000, attempt: 2, why: 'ssh was ended by SIGKILL'},
  });
  tell('state', {from: 'waiting', to: 'starting'});
  expect(model.wait).toBeUndefined();
});

test('a restart while another ssh serves is no countdown', () => {
  const {model, tell} = scene();
  tell('state', {from: 'starting', to: 'up'});
  tell('restart', {outcome: lost, attempt: 1, delay: 4_000});
  expect(model.wait).toBeUndefined();
});

test('misses count until an answer, a connect, or the next ssh where there is none', () => {
  const {model, tell} = scene();
  const miss = {misses: 2, maxMisses: 3, waited: 500, reason: 'timeout'} as const;
  tell('state', {from: 'starting', to: 'up'});
  tell('heartbeat-miss', miss);
  expect(model).toMatchObject({misses: 2, maxMisses: 3});
  tell('start', {starts: 2, pid: 8, command: 'ssh h'});
  expect(model.misses).toBe(2);
  tell('heartbeat', {rtt: 1, beats: 1});
  expect(model.misses).toBe(0);
  tell('heartbeat-miss', miss);
  tell('connect', {starts: 2, pid: 8, elapsed: 300, forwards: []});
  expect(model.misses).toBe(0);
  tell('heartbeat-miss', miss);
  tell('state', {from: 'up', to: 'waiting'});
  tell('start', {starts: 3, pid: 9, command: 'ssh h'});
  expect(model.misses).toBe(0);
  expect(model.beats).toEqual([null, 1, null, null]);
});

test('neither beats nor entries grow without bound, and the newest are kept', () => {
  const {model, tell} = scene();
  for (let number = 1; number <= 1_000; number++) {
    tell('heartbeat', {rtt: number, beats: number});
    tell('stderr', {line: `line ${number}`});
  }
  expect(model.beats).toHaveLength(bounds.beats);
  expect(model.entries).toHaveLength(bounds.entries);
  expect(model.beats.at(-1)).toBe(1_000);
  expect(model.entries.at(-1)).toMatchObject({text: 'line 1000'});
});

test('what is said over and over stands there once, with how often and when last', () => {
  const {model, tell} = scene();
  tell('stderr', {line: 'again'}, 0, '12:00:00');
  tell('stderr', {line: 'again'}, 0, '12:00:01');
  tell('stderr', {line: 'other'}, 0, '12:00:02');
  tell('stderr', {line: 'again'}, 0, '12:00:03');
  expect(model.entries.map(({clock, text, times}) => `${clock} ${text} ${times}`)).toEqual([
    '12:00:01 again 2',
    '12:00:02 other 1',
    '12:00:03 again 1',
  ]);
});

test('an ssh has started until its first beat comes back: then it runs, and further beats are no entries', () => {
  const {model, tell} = scene();
  for (const [starts, pid] of [
    [1, 8],
    [2, 9],
  ] as const) {
    tell('start', {starts, pid, command: 'ssh h'});
    tell('connect', {starts, pid, elapsed: 0, forwards: []});
    expect(model.isProven).toBe(false);
    for (const beats of [1, 2]) tell('heartbeat', {rtt: 1, beats});
    expect(model.isProven).toBe(true);
  }
  expect(model.entries.map(({kind, text}) => `${kind} ${text}`)).toEqual([
    'started ssh 1, pid 8',
    'running ssh 1, pid 8',
    'started ssh 2, pid 9',
    'running ssh 2, pid 9',
  ]);
});

describe('the last words', () => {
  const figures = {restarts: 2, uptime: 61_000};

  test('of a tunnel that goes on: how it stands', () => {
    const {model, tell} = scene();
    expect(lastWords(model, figures)).toEqual(['deploy@host: idle']);
    tell('state', {from: 'starting', to: 'up'});
    expect(lastWords(model, figures)).toEqual(['deploy@host: started, and there for 1 min 1 s']);
    tell('heartbeat', {rtt: 1, beats: 1});
    expect(lastWords(model, figures)).toEqual(['deploy@host: up for 1 min 1 s']);
    tell('state', {from: 'up', to: 'waiting'});
    tell('restart', {outcome: lost, attempt: 1, delay: 500});
    expect(lastWords(model, figures)).toEqual(['deploy@host: waiting: ssh was ended by SIGKILL']);
  });

  test('of one that was stopped: that it was asked to', () => {
    const {model, tell} = scene();
    tell('stop', {reason: 'stopped'});
    expect(lastWords(model, figures)).toEqual(['deploy@host: ended, after 2 restarts: it was asked to']);
  });

  test('of a fatal end: why, the cause behind it, and what to do', () => {
    const {model, tell} = scene();
    const cause = new AutoSSHError('ERR_AUTOSSH_CONNECT', 'Connection refused');
    const error = new AutoSSHError('ERR_AUTOSSH_GATE', 'The first ssh failed', {cause, hint: 'Start the server.'});
    tell('fatal', error);
    tell('stop', {reason: 'fatal', error});
    expect(lastWords(model, {restarts: 0, uptime: 0})).toEqual([
      'deploy@host: ended: The first ssh failed',
      'cause: Connection refused',
      'hint: Start the server.',
    ]);
  });

  test('of an end with a hint for programs alone: none', () => {
    const {model, tell} = scene();
    tell('fatal', new AutoSSHError('ERR_AUTOSSH_EXIT', 'ssh exited with code 255'));
    expect(lastWords(model, figures)).toEqual(['deploy@host: idle']);
  });
});

function scene() {
  const model = new StatusModel('deploy@host', true, 0);
  const tell = <Name extends ToldEvent['name']>(
    name: Name,
    payload: AutoSSHEventPayloads[Name],
    now = 0,
    clock = '12:00:00',
  ): void => {
    model.apply({name, payload} as ToldEvent, {clock, now});
  };
  return {model, tell};
}
