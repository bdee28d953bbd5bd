import fc from 'fast-check';
import {expect, test} from 'vitest';
import {describeOutcome} from '../src/outcome.js';
import {resolveForward} from '../src/ssh/forward.js';
import {Statistics} from '../src/statistics.js';

const forwards = [resolveForward('-L 5432:db:5432', 0), resolveForward('-R /run/a.sock:web:80', 1)];

test('before anything has happened there is nothing to tell', () => {
  expect(new Statistics().report('idle', 0, [], [])).toEqual({
    state: 'idle',
    starts: 0,
    restarts: 0,
    uptime: 0,
    heartbeats: {sent: 0, answered: 0, missed: 0, lastRtt: null, smoothedRtt: null},
    lastOutcome: null,
    forwards: [],
    targetFailures: 0,
  });
});

test('what is counted is told', () => {
  const statistics = new Statistics();
  const outcome = describeOutcome({
    cause: {type: 'heartbeat', misses: 2},
    exit: {exitCode: undefined, signal: 'SIGTERM'},
    spawnError: undefined,
    stderr: ['a line'],
    notices: [],
    stage: 'up',
    isRaw: false,
    isPinned: false,
    areHopsPinned: false,
    isAnswered: false,
    doubts: [],
    uptime: 5,
    forwards,
    holder: undefined,
    loopPort: undefined,
    ephemeralPorts: new Set(),
  });
  Object.assign(statistics, {starts: 3, sent: 7, missed: 2, targetFailures: 4, lastOutcome: outcome});
  statistics.answer(12);
  expect(statistics.report('up', 500, forwards, [])).toMatchObject({
    state: 'up',
    starts: 3,
    restarts: 2,
    uptime: 500,
    heartbeats: {sent: 7, answered: 1, missed: 2, lastRtt: 12, smoothedRtt: 12},
    lastOutcome: outcome,
    targetFailures: 4,
  });
});

test('a forward of ours tells of its connections, a direct one has none to tell of', () => {
  const traffic = {
    open: 1,
    waiting: 2,
    total: 3,
    held: 4,
    refused: 5,
    failed: 6,
    bytesSent: 7,
    bytesReceived: 8,
    longestHold: 9,
  };
  const report = new Statistics().report('up', 0, forwards, [traffic, null]);
  expect(report.forwards.map(({connections}) => connections)).toEqual([traffic, null]);
});

test('it is plain JSON', () => {
  const statistics = new Statistics();
  statistics.answer(1.5);
  const report = statistics.report('waiting', 0, forwards, []);
  // A target that each connection names for itself is not there; everything else comes back.
  expect(JSON.parse(JSON.stringify(report))).toEqual(report);
});

test.each([
  ['up', true],
  ['starting', false],
  ['waiting', false],
  ['stopped', false],
] as const)('forwards are bound in state %s: %s', (state, bound) => {
  const report = new Statistics().report(state, 0, forwards, []);
  expect(report.forwards).toEqual(forwards.map((one) => ({...one, bound, connections: null})));
});

test('the first start is no restart', () => {
  const statistics = new Statistics();
  statistics.starts = 1;
  expect(statistics.report('up', 0, [], []).restarts).toBe(0);
});

test('the round trip time is smoothed by an eighth of each new one', () => {
  const statistics = new Statistics();
  const smoothed = [100, 200, 0, 0].map((rtt) => {
    statistics.answer(rtt);
    return statistics.report('up', 0, [], []).heartbeats;
  });
  expect(smoothed.map(({smoothedRtt}) => smoothedRtt)).toEqual([100, 112.5, 98.4375, 86.1328125]);
  expect(smoothed.at(-1)).toMatchObject({answered: 4, lastRtt: 0});
});

test('the smoothed time stays between the shortest and the longest', () => {
  fc.assert(
    fc.property(fc.array(fc.double({min: 0, max: 1e6, noNaN: true}), {minLength: 1}), (times) => {
      const statistics = new Statistics();
      for (const time of times) statistics.answer(time);
      const {smoothedRtt} = statistics.report('up', 0, [], []).heartbeats;
      expect(smoothedRtt).toBeGreaterThanOrEqual(Math.min(...times) - 1e-6);
      expect(smoothedRtt).toBeLessThanOrEqual(Math.max(...times) + 1e-6);
    }),
  );
});
