import fc from 'fast-check';
import {describe, expect, test} from 'vitest';
import type {AutoSSHErrorCode, Outcome} from '../src/errors.js';
import {backoff} from '../src/restart/backoff.js';
import {resolveRestart} from '../src/restart/options.js';
import {type Decision, type History, type PolicySettings, decide} from '../src/restart/policy.js';

/** Without jitter, and past the gate. */
function settingsOf(more: Partial<PolicySettings> = {}): PolicySettings {
  return {...resolveRestart({randomize: false}), gateTime: 0, ...more};
}

function outcomeOf(code: AutoSSHErrorCode, more: Partial<Outcome> = {}): Outcome {
  return {
    reason: 'exit',
    code,
    message: `it was ${code}`,
    retryable: true,
    throttled: false,
    stage: 'connect',
    uptime: 0,
    stderr: [],
    ...more,
  };
}

const refused = outcomeOf('ERR_AUTOSSH_CONNECT');
const lost = outcomeOf('ERR_AUTOSSH_EXIT', {stage: 'up', uptime: 60_000});
const requested: Outcome = {
  reason: 'requested',
  message: 'why not',
  retryable: true,
  throttled: false,
  stage: 'up',
  uptime: 5,
  stderr: [],
};

/** The first ssh of a tunnel, which was started at this time, has ended. */
const beginning = 5_000;
const first: History = {
  starts: 1,
  firstStart: beginning,
  everReady: false,
  attempt: 1,
  outageSince: beginning,
  grown: 0,
  tries: 1,
  moves: 0,
};
/** A tunnel that has been up for long has just lost its ssh. */
const veteran: History = {
  starts: 5,
  firstStart: 0,
  everReady: true,
  attempt: 1,
  outageSince: 1_000_000,
  grown: 0,
  tries: 0,
  moves: 0,
};

/** The series of lives, as far as the policy has to do with it: it keeps the history, and its clock only jumps. */
class Outage {
  now: number;
  history: History;
  readonly #settings: PolicySettings;

  constructor(history: History, settings: PolicySettings) {
    this.history = history;
    this.now = history.outageSince;
    this.#settings = settings;
  }

  /** An ssh that lived for so long has ended: what is decided, and by how much time that moves the clock. */
  end(outcome: Outcome, lived = 0, random = 1): Decision {
    this.now += lived;
    const decision = decide(outcome, this.history, this.#settings, this.now, random);
    if (decision.type === 'restart') {
      const {starts, attempt} = this.history;
      this.now += decision.delay;
      this.history = {...this.history, starts: starts + 1, attempt: attempt + 1, grown: decision.grown};
    }
    return decision;
  }

  delays(outcomes: readonly Outcome[], lived = 0): (number | 'give-up')[] {
    return outcomes.map((one) => {
      const decision = this.end(one, lived);
      return decision.type === 'restart' ? decision.delay : 'give-up';
    });
  }
}

function repeat(outcome: Outcome, times: number): Outcome[] {
  return Array.from({length: times}, () => outcome);
}

function delay(
  outcome: Outcome,
  history: History,
  settings: PolicySettings,
  random = 1,
  now = history.outageSince,
): number {
  const decision = decide(outcome, history, settings, now, random);
  if (decision.type !== 'restart') throw new Error(`Gave up: ${decision.why}`);
  return decision.delay;
}

describe('the gate', () => {
  const gated = settingsOf({gateTime: 30_000});

  test.each<[what: string, history: History, after: number, type: Decision['type']]>([
    ['the first ssh, at once', first, 0, 'give-up'],
    ['the first ssh, at the last moment', first, 29_999, 'give-up'],
    ['the first ssh, when the time is over', first, 30_000, 'restart'],
    ['the second ssh', {...first, starts: 2, attempt: 2}, 5, 'restart'],
    ['an ssh after one that was ready', {...first, everReady: true}, 5, 'restart'],
  ])('%s', (_what, history, after, type) => {
    expect(decide(refused, history, gated, beginning + after, 1).type).toBe(type);
  });

  test('says which cause it was, and that it was the gate', () => {
    expect(decide(refused, first, gated, beginning + 5, 1)).toEqual({
      type: 'give-up',
      code: 'ERR_AUTOSSH_GATE',
      why: 'The first ssh ended before it was ready, within the gate time of 30000 ms: it was ERR_AUTOSSH_CONNECT',
    });
  });

  test('is not there with 0', () => {
    expect(decide(refused, first, settingsOf({gateTime: 0}), beginning, 1).type).toBe('restart');
  });

  test('does not hold back a restart that was asked for', () => {
    expect(decide(requested, {...first, attempt: 0}, gated, 5, 1)).toMatchObject({type: 'restart', delay: 0});
  });

  test('holds the ssh after a restart that was asked for', () => {
    expect(decide(refused, {...first, starts: 2}, gated, beginning + 5, 1)).toMatchObject({code: 'ERR_AUTOSSH_GATE'});
  });
});

describe('giving up', () => {
  test.each(['ERR_AUTOSSH_SPAWN', 'ERR_AUTOSSH_USAGE', 'ERR_AUTOSSH_HOST_KEY'] as const)(
    '%s: at once, in every situation, and with its own code',
    (code) => {
      const permanent = outcomeOf(code, {retryable: false});
      for (const history of [first, {...first, attempt: 7}, veteran]) {
        expect(decide(permanent, history, settingsOf({gateTime: 30_000}), 1e9, 1)).toEqual({
          type: 'give-up',
          code,
          why: permanent.message,
        });
      }
    },
  );

  test('a local port that cannot be had: at once before it was given out, and never after', () => {
    const taken = outcomeOf('ERR_AUTOSSH_FORWARD', {forward: {side: 'local', listen: '127.0.0.1:1'}, stage: 'forward'});
    const late = settingsOf({gateTime: 0});
    expect(decide(taken, first, late, 1e6, 1)).toMatchObject({type: 'give-up', code: 'ERR_AUTOSSH_FORWARD'});
    expect(decide(taken, {...first, attempt: 9}, late, 1e6, 1)).toMatchObject({type: 'give-up'});
    expect(decide(taken, veteran, late, 1e6, 1)).toMatchObject({type: 'restart'});
    const remote = {...taken, forward: {side: 'remote', listen: '127.0.0.1:1'}} as const;
    expect(decide(remote, first, late, 1e6, 1)).toMatchObject({type: 'restart'});
  });

  test.each([
    [0, ['give-up']],
    [1, [500, 'give-up']],
    [3, [500, 1_000, 2_000, 'give-up']],
  ])('after %d retries', (retries, delays) => {
    const outage = new Outage(first, settingsOf({retries}));
    expect(outage.delays(repeat(outcomeOf('ERR_AUTOSSH_EXIT'), delays.length))).toEqual(delays);
  });

  test.each([
    [1, ['give-up']],
    [2, [500, 'give-up']],
    [4, [500, 1_000, 2_000, 'give-up']],
  ])('after %d starts', (maxStarts, delays) => {
    const outage = new Outage(first, settingsOf({maxStarts}));
    expect(outage.delays(repeat(outcomeOf('ERR_AUTOSSH_EXIT'), delays.length))).toEqual(delays);
  });

  test('the starts of earlier outages count, the retries do not', () => {
    expect(decide(lost, veteran, settingsOf({maxStarts: 5}), 0, 1)).toMatchObject({code: 'ERR_AUTOSSH_GAVE_UP'});
    expect(decide(lost, veteran, settingsOf({maxStarts: 6}), 0, 1).type).toBe('restart');
    expect(decide(lost, veteran, settingsOf({retries: 1}), 0, 1).type).toBe('restart');
  });

  test('a restart that was asked for is a start as well', () => {
    const history = {...veteran, attempt: 0};
    expect(decide(requested, history, settingsOf({maxStarts: 5}), 0, 1)).toMatchObject({code: 'ERR_AUTOSSH_GAVE_UP'});
    expect(decide(requested, history, settingsOf({retries: 0}), 0, 1)).toMatchObject({type: 'restart', delay: 0});
  });

  test.each([
    [{retries: 1}, {...first, attempt: 2}, 'Gave up after 1 retry: it was ERR_AUTOSSH_CONNECT'],
    [{retries: 2}, {...first, attempt: 3}, 'Gave up after 2 retries: it was ERR_AUTOSSH_CONNECT'],
    [{maxStarts: 1}, first, 'Gave up after 1 start of ssh: it was ERR_AUTOSSH_CONNECT'],
    [{maxStarts: 2}, {...first, starts: 2}, 'Gave up after 2 starts of ssh: it was ERR_AUTOSSH_CONNECT'],
  ])('%j: says how often, and why', (limits, history, why) => {
    expect(decide(refused, history, settingsOf(limits), beginning, 1)).toEqual({
      type: 'give-up',
      code: 'ERR_AUTOSSH_GAVE_UP',
      why,
    });
  });
});

describe('the wait', () => {
  test('after a connection that was up is none, the first time', () => {
    expect(delay(lost, veteran, settingsOf())).toBe(0);
    expect(delay(lost, {...first, everReady: true}, settingsOf())).toBe(0);
  });

  test('does not count that one: the next is the first wait', () => {
    const outage = new Outage(veteran, settingsOf());
    expect(outage.delays([lost, ...repeat(outcomeOf('ERR_AUTOSSH_EXIT'), 4)])).toEqual([0, 500, 1_000, 2_000, 4_000]);
  });

  test('grows for a connection that comes up and goes down again', () => {
    const outage = new Outage(veteran, settingsOf());
    expect(outage.delays(repeat({...lost, uptime: 5}, 5), 5)).toEqual([0, 500, 1_000, 2_000, 4_000]);
  });

  test('is none when a restart was asked for, and that does not count', () => {
    const outage = new Outage({...veteran, attempt: 0}, settingsOf());
    expect(outage.end(requested)).toEqual({type: 'restart', delay: 0, grown: 0});
    outage.history = {...outage.history, attempt: 4, grown: 3};
    expect(outage.end(requested)).toEqual({type: 'restart', delay: 0, grown: 3});
  });

  test('grows up to the longest', () => {
    const outage = new Outage(first, settingsOf({minTimeout: 100, factor: 3, maxTimeout: 2_000}));
    expect(outage.delays(repeat(outcomeOf('ERR_AUTOSSH_EXIT'), 6))).toEqual([100, 300, 900, 2_000, 2_000, 2_000]);
  });

  test('stays short for a while when a server that was there cannot be reached', () => {
    const outage = new Outage(veteran, settingsOf({quickFor: 2_000, minTimeout: 500}));
    expect(outage.delays([lost, ...repeat(refused, 8)])).toEqual([0, 500, 500, 500, 500, 500, 1_000, 2_000, 4_000]);
  });

  test.each(['ERR_AUTOSSH_CONNECT', 'ERR_AUTOSSH_RESOLVE'] as const)(
    '%s is one that costs the server nothing',
    (code) => {
      const outage = new Outage(veteran, settingsOf());
      expect(outage.delays([lost, ...repeat(outcomeOf(code), 3)])).toEqual([0, 500, 500, 500]);
    },
  );

  test.each(['ERR_AUTOSSH_TIMEOUT', 'ERR_AUTOSSH_EXIT', 'ERR_AUTOSSH_HEARTBEAT', 'ERR_AUTOSSH_FORWARD'] as const)(
    '%s grows at once',
    (code) => {
      const outage = new Outage(veteran, settingsOf());
      expect(outage.delays([lost, ...repeat(outcomeOf(code), 3)])).toEqual([0, 500, 1_000, 2_000]);
    },
  );

  test('grows at once for a server that was never there, and where quickFor is 0', () => {
    expect(new Outage(first, settingsOf()).delays(repeat(refused, 3))).toEqual([500, 1_000, 2_000]);
    expect(new Outage(veteran, settingsOf({quickFor: 0})).delays([lost, ...repeat(refused, 2)])).toEqual([
      0, 500, 1_000,
    ]);
  });

  test('is the longest from the first time on when nobody is let in', () => {
    const outage = new Outage(first, settingsOf());
    expect(outage.delays(repeat(outcomeOf('ERR_AUTOSSH_AUTH', {stage: 'authenticate'}), 3))).toEqual([
      60_000, 60_000, 60_000,
    ]);
    expect(delay(outcomeOf('ERR_AUTOSSH_AUTH'), veteran, settingsOf())).toBe(60_000);
  });

  test('begins ten times as long where the server has too many', () => {
    const throttled = {...refused, throttled: true};
    expect(new Outage(veteran, settingsOf()).delays(repeat(throttled, 4))).toEqual([5_000, 10_000, 20_000, 40_000]);
    expect(delay(throttled, veteran, settingsOf({maxTimeout: 3_000}))).toBe(3_000);
  });

  test('is none with minTimeout 0, however long the outage', () => {
    const settings = settingsOf({minTimeout: 0});
    expect(delay(outcomeOf('ERR_AUTOSSH_EXIT'), {...first, attempt: 5_000, grown: 5_000}, settings)).toBe(0);
    expect(delay({...refused, throttled: true}, {...first, attempt: 5_000, grown: 5_000}, settings)).toBe(0);
  });

  test('is the same each time with factor 1', () => {
    const outage = new Outage(first, settingsOf({factor: 1}));
    expect(outage.delays(repeat(outcomeOf('ERR_AUTOSSH_EXIT'), 3))).toEqual([500, 500, 500]);
  });

  test.each([
    [0, 250],
    [0.5, 375],
    [1, 500],
  ])('with jitter, and chance %d, is %d ms of 500', (random, wanted) => {
    expect(delay(outcomeOf('ERR_AUTOSSH_EXIT'), first, settingsOf({randomize: true}), random)).toBe(wanted);
  });
});

describe('in whatever situation', () => {
  const codes: AutoSSHErrorCode[] = [
    'ERR_AUTOSSH_AUTH',
    'ERR_AUTOSSH_CONNECT',
    'ERR_AUTOSSH_RESOLVE',
    'ERR_AUTOSSH_EXIT',
    'ERR_AUTOSSH_TIMEOUT',
    'ERR_AUTOSSH_HEARTBEAT',
    'ERR_AUTOSSH_FORWARD',
  ];
  const settings = fc
    .record({
      policy: fc.constant('exponential' as const),
      factor: fc.double({min: 1, max: 1_000, noNaN: true}),
      minTimeout: fc.nat(100_000),
      further: fc.nat(10_000_000),
      randomize: fc.boolean(),
      stableAfter: fc.nat(100_000),
      quickFor: fc.nat(100_000),
      gateTime: fc.constant(0),
      retries: fc.constant(Infinity),
      maxStarts: fc.constant(Infinity),
      shouldRestart: fc.constant(undefined),
    })
    .map(({further, ...rest}): PolicySettings => ({...rest, maxTimeout: rest.minTimeout + further}));
  const outcome = fc
    .record({
      code: fc.constantFrom(...codes),
      stage: fc.constantFrom('connect', 'authenticate', 'forward', 'heartbeat', 'up'),
      throttled: fc.boolean(),
    })
    .map(({code, stage, throttled}) => outcomeOf(code, {stage, throttled}));
  const history: fc.Arbitrary<History> = fc.record({
    starts: fc.integer({min: 1, max: 1e6}),
    firstStart: fc.constant(0),
    everReady: fc.boolean(),
    attempt: fc.integer({min: 1, max: 1e6}),
    outageSince: fc.nat(1e6),
    grown: fc.nat(1e4),
    tries: fc.nat(1e4),
    moves: fc.constant(0),
  });
  const random = fc.double({min: 0, max: 1, noNaN: true});
  const later = fc.nat(1e6);

  test('a failure that can be retried, within the limits, is retried', () => {
    fc.assert(
      fc.property(outcome, history, settings, later, random, (one, past, limits, since, chance) => {
        expect(decide(one, past, limits, past.outageSince + since, chance).type).toBe('restart');
      }),
    );
  });

  test('no wait is longer than maxTimeout, shorter than none, or no number', () => {
    fc.assert(
      fc.property(outcome, history, settings, later, random, (one, past, limits, since, chance) => {
        const wait = delay(one, past, limits, chance, past.outageSince + since);
        expect(wait).toBeGreaterThanOrEqual(0);
        expect(wait).toBeLessThanOrEqual(limits.maxTimeout);
        expect(Number.isInteger(wait)).toBe(true);
      }),
      {numRuns: 2_000},
    );
  });

  test('jitter takes away half of a wait at most, and adds nothing', () => {
    fc.assert(
      fc.property(outcome, history, settings, later, random, (one, past, limits, since, chance) => {
        const at = past.outageSince + since;
        const full = delay(one, past, {...limits, randomize: false}, chance, at);
        const jittered = delay(one, past, {...limits, randomize: true}, chance, at);
        expect(jittered).toBeLessThanOrEqual(full);
        expect(jittered).toBeGreaterThanOrEqual(Math.floor(full / 2));
      }),
    );
  });

  test('the waits of one outage never get shorter as long as it fails in one way', () => {
    const many = fc.array(fc.nat(20_000), {minLength: 2, maxLength: 20});
    fc.assert(
      fc.property(outcome, history, settings, many, (one, past, limits, lives) => {
        const outage = new Outage({...past, attempt: 1}, {...limits, randomize: false});
        const waits = lives.map((lived) => {
          const decision = outage.end(one, lived);
          return decision.type === 'restart' ? decision.delay : NaN;
        });
        expect(waits).toEqual([...waits].sort((a, b) => a - b));
      }),
    );
  });

  test('the waits of one outage past the quick time never get shorter, with whatever cannot reach the server', () => {
    const unreached = fc.constantFrom(refused, outcomeOf('ERR_AUTOSSH_RESOLVE'));
    fc.assert(
      fc.property(fc.array(unreached, {maxLength: 20}), history, settings, (outcomes, past, limits) => {
        const outage = new Outage({...past, attempt: 2}, {...limits, randomize: false});
        outage.now += limits.quickFor;
        const waits = outage.delays(outcomes);
        expect(waits).toEqual([...waits].sort((a, b) => Number(a) - Number(b)));
      }),
    );
  });

  test('nothing waits longer than a login that was refused', () => {
    fc.assert(
      fc.property(outcome, history, settings, later, random, (one, past, limits, since, chance) => {
        const at = past.outageSince + since;
        const refusal = delay(outcomeOf('ERR_AUTOSSH_AUTH'), past, limits, chance, at);
        expect(delay(one, past, limits, chance, at)).toBeLessThanOrEqual(refusal);
      }),
    );
  });

  test('a server that has too many is left alone for longer', () => {
    fc.assert(
      fc.property(outcome, history, settings, later, random, (one, past, limits, since, chance) => {
        const at = past.outageSince + since;
        const calm = delay({...one, throttled: false}, past, limits, chance, at);
        expect(delay({...one, throttled: true}, past, limits, chance, at)).toBeGreaterThanOrEqual(calm);
      }),
    );
  });

  test('a restart that was asked for comes at once and changes nothing', () => {
    fc.assert(
      fc.property(history, settings, later, random, (past, limits, since, chance) => {
        const decision = decide(requested, past, limits, past.outageSince + since, chance);
        expect(decision).toEqual({type: 'restart', delay: 0, grown: past.grown});
      }),
    );
  });

  test('an ssh that was ready and is the first to end is followed by the next at once', () => {
    const known = outcome.filter(({code, throttled}) => code !== 'ERR_AUTOSSH_AUTH' && !throttled);
    fc.assert(
      fc.property(known, history, settings, later, random, (one, past, limits, since, chance) => {
        const ready = {...past, attempt: 1, everReady: true};
        expect(delay({...one, stage: 'up'}, ready, limits, chance, past.outageSince + since)).toBe(0);
      }),
    );
  });

  test('ssh is started at most maxStarts times, and retried at most retries times in a row', () => {
    const limit = fc.integer({min: 1, max: 15});
    fc.assert(
      fc.property(fc.array(outcome, {minLength: 40, maxLength: 40}), settings, limit, limit, (ends, limits, a, b) => {
        const outage = new Outage(first, {...limits, maxStarts: a, retries: b});
        const waits = outage.delays(ends.map((one) => ({...one, stage: 'connect'})));
        expect(waits.indexOf('give-up')).toBe(Math.min(a - 1, b));
      }),
    );
  });
});

describe('backoff', () => {
  const plain = {factor: 2, minTimeout: 100, maxTimeout: 1_000, randomize: false};

  test('is a number for however many retries', () => {
    for (const retry of [0, 1, 10, 1_023, 1_024, 1e9]) {
      expect(backoff(retry, plain, 1)).toBe(Math.min(100 * 2 ** retry, 1_000));
      expect(backoff(retry, {...plain, minTimeout: 0}, 1)).toBe(0);
      expect(backoff(retry, {...plain, factor: 1}, 1)).toBe(100);
    }
  });

  test('caps before the jitter: a cap that many have reached is no meeting point', () => {
    const waits = [0, 0.25, 0.5, 1].map((random) => backoff(50, {...plain, randomize: true}, random));
    expect(waits).toEqual([500, 625, 750, 1_000]);
  });
});
