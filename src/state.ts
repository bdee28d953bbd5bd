import type {AutoSSHError} from './errors.js';

/** Why a tunnel ended. */
export type StopReason =
  | 'stopped'
  | 'aborted'
  | 'max-lifetime'
  /** ssh ended by itself with the exit code 0, and `restart.policy` is `'autossh'`. */
  | 'exit'
  | 'fatal';

/** Where a tunnel is. */
export type StateName =
  /** It has not been started. */
  | 'idle'
  /** ssh was spawned and is not proven ready yet. */
  | 'starting'
  /** The tunnel is ready. */
  | 'up'
  /** ssh has ended, or nobody has wanted it yet; a new one will be started. */
  | 'waiting'
  /** No new ssh will be started; what there was is being cleared up. */
  | 'stopping'
  /** Nothing is left. */
  | 'stopped';

/** A {@link StateName} with what is known only there. */
export type State =
  | {readonly name: 'idle'}
  | {readonly name: 'starting'; readonly starts: number}
  | {readonly name: 'up'; readonly starts: number; readonly since: number}
  | {readonly name: 'waiting'; readonly delay: number}
  | {readonly name: 'stopping'; readonly reason: StopReason; readonly error?: AutoSSHError}
  | {readonly name: 'stopped'; readonly reason: StopReason; readonly error?: AutoSSHError};

/** What happened to a tunnel. */
export type StateEvent =
  | {readonly type: 'start'}
  | {readonly type: 'spawn'; readonly starts: number}
  | {readonly type: 'ready'; readonly starts: number; readonly at: number}
  | {readonly type: 'lost'}
  | {readonly type: 'wait'; readonly delay: number}
  | {readonly type: 'end'; readonly reason: StopReason; readonly error?: AutoSSHError}
  | {readonly type: 'ended'};

const from: Readonly<Record<StateEvent['type'], readonly StateName[]>> = {
  start: ['idle'],
  spawn: ['starting', 'waiting'],
  // Waiting too: another may have been on its way already when one was lost.
  ready: ['starting', 'waiting'],
  lost: ['up'],
  wait: ['starting', 'waiting'],
  end: ['idle', 'starting', 'up', 'waiting'],
  ended: ['stopping'],
};

/** The state after an event; `undefined`: the event is impossible in this state. */
export function next(state: State, event: StateEvent): State | undefined {
  if (!from[event.type].includes(state.name)) return undefined;
  switch (event.type) {
    case 'start':
      return {name: 'starting', starts: 0};
    case 'spawn':
      return {name: 'starting', starts: event.starts};
    case 'ready':
      return {name: 'up', starts: event.starts, since: event.at};
    case 'lost':
      return {name: 'waiting', delay: 0};
    case 'wait':
      return {name: 'waiting', delay: event.delay};
    case 'end':
      return {name: 'stopping', reason: event.reason, ...(event.error && {error: event.error})};
    case 'ended':
      if (state.name !== 'stopping') return undefined;
      return {...state, name: 'stopped'};
  }
}
