import fc from 'fast-check';
import {expect, test} from 'vitest';
import {AutoSSHError} from '../src/errors.js';
import {type State, type StateEvent, type StateName, next} from '../src/state.js';

const error = new AutoSSHError('ERR_AUTOSSH_GAVE_UP', 'enough');

const states: Record<StateName, State> = {
  idle: {name: 'idle'},
  starting: {name: 'starting', starts: 3},
  up: {name: 'up', starts: 3, since: 100},
  waiting: {name: 'waiting', delay: 500},
  stopping: {name: 'stopping', reason: 'stopped'},
  stopped: {name: 'stopped', reason: 'stopped'},
};

const events: Record<StateEvent['type'], StateEvent> = {
  start: {type: 'start'},
  spawn: {type: 'spawn', starts: 4},
  ready: {type: 'ready', starts: 4, at: 200},
  lost: {type: 'lost'},
  wait: {type: 'wait', delay: 700},
  end: {type: 'end', reason: 'fatal', error},
  ended: {type: 'ended'},
};

const starting = {name: 'starting', starts: 4};
const up = {name: 'up', starts: 4, since: 200};
const waiting = {name: 'waiting', delay: 700};
const stopping = {name: 'stopping', reason: 'fatal', error};

/** What is not here is impossible. */
const possible: Record<StateName, Partial<Record<StateEvent['type'], object>>> = {
  idle: {start: {name: 'starting', starts: 0}, end: stopping},
  // Spawned anew at once where only a port had to be chosen again.
  starting: {spawn: starting, ready: up, wait: waiting, end: stopping},
  up: {lost: {name: 'waiting', delay: 0}, end: stopping},
  // Ready where another was on its way already when the one before it was lost.
  waiting: {spawn: starting, ready: up, wait: waiting, end: stopping},
  stopping: {ended: {name: 'stopped', reason: 'stopped'}},
  stopped: {},
};

const pairs = Object.values(states).flatMap((state) =>
  Object.values(events).map((event) => ({state, event, wanted: possible[state.name][event.type]})),
);

test.each(pairs)('$state.name, then $event.type', ({state, event, wanted}) => {
  expect(next(state, event)).toEqual(wanted);
});

test('the end keeps its reason and its error until it is over', () => {
  const ending = next(states.up, events.end);
  if (!ending) throw new Error('Expected the end to be possible');
  expect(next(ending, {type: 'ended'})).toEqual({name: 'stopped', reason: 'fatal', error});
  expect(next(states.idle, {type: 'end', reason: 'aborted'})).toEqual({name: 'stopping', reason: 'aborted'});
});

const event: fc.Arbitrary<StateEvent> = fc.oneof(
  fc.nat().map((starts): StateEvent => ({type: 'spawn', starts})),
  fc.nat().map((starts): StateEvent => ({type: 'ready', starts, at: 5})),
  fc.constantFrom<StateEvent>({type: 'start'}, {type: 'lost'}, {type: 'ended'}),
  fc.nat().map((delay): StateEvent => ({type: 'wait', delay})),
  fc
    .constantFrom('stopped' as const, 'aborted' as const, 'max-lifetime' as const)
    .map((reason): StateEvent => ({type: 'end', reason})),
);

test('whatever happens: stopping leads nowhere but to stopped, and stopped is final', () => {
  fc.assert(
    fc.property(fc.array(event, {maxLength: 40}), (happening) => {
      let state: State = {name: 'idle'};
      for (const one of happening) {
        const after = next(state, one);
        if (state.name === 'stopped') expect(after).toBeUndefined();
        if (state.name === 'stopping') expect(after?.name ?? 'stopped').toBe('stopped');
        if (after?.name === 'stopped') expect(state.name).toBe('stopping');
        if (after?.name === 'up') expect(state.name).toMatch(/^(starting|waiting)$/);
        state = after ?? state;
      }
    }),
    {numRuns: 1_000},
  );
});

test('no state is changed by what comes after it', () => {
  const frozen: State = Object.freeze({name: 'stopping', reason: 'stopped'});
  expect(next(frozen, {type: 'ended'})).not.toBe(frozen);
  expect(frozen).toEqual({name: 'stopping', reason: 'stopped'});
});
