import {describe, expect, test} from 'vitest';
import type {Outcome} from '../src/errors.js';
import {autosshDelay, decideAsAutossh} from '../src/restart/autossh-policy.js';
import {resolveRestart} from '../src/restart/options.js';
import type {History, PolicySettings} from '../src/restart/policy.js';

const settings: PolicySettings = {...resolveRestart({policy: 'autossh'}), gateTime: 30_000};
const begun = 5_000;
const first: History = {
  starts: 1,
  firstStart: begun,
  everReady: true,
  attempt: 1,
  outageSince: begun,
  grown: 0,
  tries: 1,
  moves: 0,
};

function exited(exitCode: number): Outcome {
  return outcome({reason: 'exit', code: 'ERR_AUTOSSH_EXIT', exitCode});
}

function outcome(facts: Partial<Outcome>): Outcome {
  return {
    reason: 'exit',
    message: 'It ended',
    retryable: true,
    throttled: false,
    stage: 'up',
    uptime: 1,
    stderr: [],
    ...facts,
  };
}

function decide(what: Outcome, history: Partial<History> = {}, more: Partial<PolicySettings> = {}, after = 1): string {
  const decision = decideAsAutossh(what, {...first, ...history}, {...settings, ...more}, begun + after, 0.5);
  return decision.type === 'give-up' ? decision.code : decision.type;
}

/** autossh(1), "SSH exits" and "Startup behaviour". */
describe('what is decided when ssh ends', () => {
  const [inGate, afterGate] = [30_000, 30_001];
  test.each([
    [0, 'ERR_AUTOSSH_GATE', 'finish', 'finish', 'finish'],
    [255, 'ERR_AUTOSSH_GATE', 'restart', 'restart', 'restart'],
    [1, 'ERR_AUTOSSH_GATE', 'ERR_AUTOSSH_EXIT', 'restart', 'restart'],
    [2, 'ERR_AUTOSSH_GATE', 'ERR_AUTOSSH_EXIT', 'restart', 'restart'],
    [3, 'ERR_AUTOSSH_GATE', 'ERR_AUTOSSH_EXIT', 'ERR_AUTOSSH_EXIT', 'ERR_AUTOSSH_EXIT'],
    [127, 'ERR_AUTOSSH_GATE', 'ERR_AUTOSSH_EXIT', 'ERR_AUTOSSH_EXIT', 'ERR_AUTOSSH_EXIT'],
  ])('exit %d: first in the gate, first after it, first without one, a later one', (code, ...expected) => {
    const ended = exited(code);
    expect([
      decide(ended, {}, {}, inGate),
      decide(ended, {}, {}, afterGate),
      decide(ended, {}, {gateTime: 0}),
      decide(ended, {starts: 2}),
    ]).toEqual(expected);
  });

  test.each([
    ['a signal', outcome({reason: 'signal', signal: 'SIGTERM'})],
    ['missed beats', outcome({reason: 'heartbeat', exitCode: 255})],
    ['a restart that was asked for', outcome({reason: 'requested', exitCode: 255})],
    ['a shortage of processes', outcome({reason: 'spawn', code: 'ERR_AUTOSSH_SPAWN'})],
  ])('%s restarts, in the gate too', (_what, ended) => {
    expect(decide(ended)).toBe('restart');
  });

  test('an ssh that is not there is fatal', () => {
    expect(decide(outcome({reason: 'spawn', code: 'ERR_AUTOSSH_SPAWN', retryable: false}))).toBe('ERR_AUTOSSH_SPAWN');
  });

  test('the last start is the last, but a remote command may end then as at any time', () => {
    expect(decide(exited(255), {starts: 3}, {maxStarts: 3})).toBe('ERR_AUTOSSH_GAVE_UP');
    expect(decide(exited(0), {starts: 3}, {maxStarts: 3})).toBe('finish');
    expect(decide(exited(255), {starts: 2}, {maxStarts: 3})).toBe('restart');
  });
});

describe('the wait before the next ssh', () => {
  const seconds = (tries: number, poll: number): number =>
    Math.floor(autosshDelay(tries, {minTimeout: 100, maxTimeout: poll * 1_000, randomize: true}, 0) / 1_000);

  test.each([
    [600, [2, 8, 18, 32, 50, 72, 98, 128, 162, 200]],
    [100, [0, 1, 3, 5, 8, 12, 16, 21, 27, 33]],
    [10, [0, 0, 0, 0, 0, 1, 1, 2, 2, 3]],
  ])('with a poll time of %d s, from the sixth short run on, in seconds', (poll, expected) => {
    expect(expected.map((_, index) => seconds(6 + index, poll))).toEqual(expected);
  });

  test('is at most the poll time', () => {
    expect([22, 23, 24, 1_000].map((tries) => seconds(tries, 600))).toEqual([578, 600, 600, 600]);
  });

  test('is none after a stable run, or where a restart was asked for', () => {
    const restart = (what: Outcome, tries: number): unknown =>
      decideAsAutossh(what, {...first, starts: 2, tries}, settings, 0, 1);
    expect(restart(exited(255), 0)).toMatchObject({delay: 0});
    expect(restart(outcome({reason: 'requested'}), 9)).toMatchObject({delay: 0});
  });

  test.each([
    [0, [50, 100, 200, 400, 500]],
    [1, [100, 200, 400, 800, 1_000]],
  ])('among the first five is short, and random: %d', (random, expected) => {
    const waits = [1, 2, 3, 4, 5].map((tries) => autosshDelay(tries, settings, random));
    expect(waits).toEqual(expected);
  });

  test('is never shorter than the longest of those, where autossh has none yet', () => {
    expect(autosshDelay(6, {minTimeout: 100, maxTimeout: 10_000, randomize: false}, 0)).toBe(1_000);
  });
});
