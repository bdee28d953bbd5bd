import type {Deviation} from './comparison.js';
import type {Scenario} from './programs.js';
import type {Lived} from './worlds.js';

/** What is done, and when: as soon as a line of the log has been written so many times. */
export type Step = {readonly at: string; readonly times?: number} & (
  | {readonly send: NodeJS.Signals; readonly to: 'autossh' | 'ssh'}
  /** What is in this file of the run's folder then. */
  | {readonly look: string}
  | {readonly server: 'ends its sessions' | 'ends'}
);

export interface Lifetime extends Scenario {
  readonly name: string;
  readonly steps?: readonly Step[];
  /** A sshd on another host, whose alias is `tunnel`; an echo service there at 20002; somebody who listens here at 20001. */
  readonly beside?: readonly ('sshd' | 'echo' | 'stranger')[];
  /** In seconds; 30. */
  readonly within?: number;
  readonly deviates?: Deviation<Lived>;
}

export const noMonitor = ['-M', '0', '-N', 'host'];
export const noGate = {AUTOSSH_GATETIME: '0'};

/** An ssh is there, and so far that it has written down its arguments. */
export const begun = 'ssh child pid is N';

/** Not a line of the log: what was started has ended. */
export const theEnd = 'the end';

export const terminate: Step = {at: begun, send: 'SIGTERM', to: 'autossh'};

export const unmonitored = 'port set to 0, monitoring disabled';

/** What is logged at the start of ssh. */
export function start(count: number | string): string[] {
  return [`starting ssh (count ${count})`, begun];
}
