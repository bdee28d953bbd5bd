import type {Deviation} from './comparison.js';
import {begun, noGate, noMonitor, start, terminate, theEnd, unmonitored, type Lifetime} from './lifetime.js';
import type {Lived} from './worlds.js';

const codes = ['0', '1', '2', '3', '127', '255'];
const signals = ['SIGTERM', 'SIGKILL', 'SIGSEGV', 'SIGHUP', 'SIGINT'];
const shortGate = {AUTOSSH_GATETIME: '1'};

const firstStart: Lifetime[] = [
  ...codes.map((code) => ({
    name: `ssh ends with ${code} inside the gate`,
    args: noMonitor,
    play: [code, '0'],
  })),
  ...signals.map((name) => ({name: `ssh ends by ${name} inside the gate`, args: noMonitor, play: [name, '0']})),
  ...[...codes, 'SIGTERM'].flatMap((way) => [
    {
      name: `ssh ends with ${way} after the gate`,
      args: noMonitor,
      env: shortGate,
      play: [`${way} after 2500`, '0'],
    },
    {name: `ssh ends with ${way} where there is no gate`, args: noMonitor, env: noGate, play: [way, '0']},
  ]),
];

const laterStarts: Lifetime[] = [
  ...[...codes, ...signals].map((way) => ({
    name: `the second ssh ends with ${way}`,
    args: noMonitor,
    env: noGate,
    play: ['255', way, '0'],
  })),
  {
    name: 'the second ssh ends with 1 after a first one that passed the gate',
    args: noMonitor,
    env: shortGate,
    play: ['255 after 2500', '1', '2', '0'],
  },
  {
    name: 'ssh ends with 255, then with 0, in the background',
    args: ['-f', ...noMonitor],
    env: {AUTOSSH_GATETIME: '30'},
    play: ['255', '0'],
  },
  {name: 'ssh ends with 1, then with 3, in the background', args: ['-f', ...noMonitor], play: ['1', '3']},
];

const maxStart: Lifetime[] = [
  {
    name: 'one start at most, inside the gate',
    args: noMonitor,
    env: {AUTOSSH_MAXSTART: '1'},
    play: ['255'],
  },
  {name: 'one start at most', args: noMonitor, env: {...noGate, AUTOSSH_MAXSTART: '1'}, play: ['255']},
  {name: 'one start at most, of a 3', args: noMonitor, env: {...noGate, AUTOSSH_MAXSTART: '1'}, play: ['3']},
  {name: 'three starts at most', args: noMonitor, env: {...noGate, AUTOSSH_MAXSTART: '3'}, play: ['255']},
  {
    name: 'three starts at most, in the background',
    args: ['-f', ...noMonitor],
    env: {AUTOSSH_MAXSTART: '3'},
    play: ['255'],
  },
];

/** The time between two beats is that of the whole life then, or less. */
function lowered(seconds: number, netTimeout: number, events: readonly string[]): Deviation<Lived> {
  const log = [unmonitored, `short poll time: adjusting net timeouts to ${netTimeout}`, ...events];
  const notes = [
    `poll time is greater than lifetime, dropping poll time to ${seconds}`,
    `first poll time is greater than lifetime, dropping first poll time to ${seconds}`,
  ];
  return {
    why: '1.4g opens its log file after it has read the times',
    original: {log},
    ours: {log: [...notes, ...log]},
  };
}

const over = 'exceeded maximum time to live, shutting down';
const lost = 'ssh exited with error status 255; restarting ssh';

const maxLifetime: Lifetime[] = [
  {
    name: 'the lifetime is over',
    args: noMonitor,
    env: {AUTOSSH_MAXLIFETIME: '2'},
    play: ['stay'],
    deviates: lowered(2, 1_000, [...start(1), over]),
  },
  {
    name: 'the lifetime is over after a restart',
    args: noMonitor,
    env: {...noGate, AUTOSSH_MAXLIFETIME: '4'},
    play: ['255', 'stay'],
    deviates: lowered(4, 2_000, [...start(1), lost, ...start(2), over]),
  },
  {
    name: 'the lifetime is over, in the background',
    args: ['-f', ...noMonitor],
    env: {AUTOSSH_MAXLIFETIME: '2'},
    play: ['stay'],
    deviates: lowered(2, 1_000, [...start(1), over]),
  },
  {
    name: 'the lifetime is longer than that of ssh',
    args: noMonitor,
    env: {...noGate, AUTOSSH_MAXLIFETIME: '900'},
    play: ['0 after 100'],
  },
];

const toAutossh: Lifetime[] = [
  ...(['SIGTERM', 'SIGINT'] as const).map((send) => ({
    name: `${send} while ssh is up`,
    args: noMonitor,
    play: ['stay'],
    steps: [{at: begun, send, to: 'autossh'} as const],
  })),
  ...[['SIGQUIT', 3] as const, ['SIGABRT', 6] as const].map(([send, number]) => ({
    name: `${send} while ssh is up`,
    args: noMonitor,
    play: ['stay'],
    steps: [{at: begun, send, to: 'autossh'} as const],
    deviates: {
      why: 'it ends ssh too; 1.4g dies by it and leaves ssh behind',
      original: {exit: send, log: [unmonitored, ...start(1)], orphans: 1},
      ours: {exit: 1, log: [unmonitored, ...start(1), `received signal to exit (${number})`], orphans: 0},
    },
  })),
  ...(['SIGHUP', 'SIGPIPE', 'SIGCONT', 'SIGWINCH'] as const).map((send) => ({
    name: `${send} while ssh is up changes nothing`,
    args: noMonitor,
    play: ['stay'],
    steps: [{at: begun, send, to: 'autossh'} as const, terminate],
  })),
  {
    name: 'SIGUSR1 replaces ssh',
    args: noMonitor,
    play: ['stay'],
    steps: [
      {at: begun, send: 'SIGUSR1', to: 'autossh'},
      {at: begun, times: 2, send: 'SIGUSR1', to: 'autossh'},
      {...terminate, times: 3},
    ],
  },
  {
    name: 'SIGUSR1 at the last start',
    args: noMonitor,
    env: {AUTOSSH_MAXSTART: '1'},
    play: ['stay'],
    steps: [{at: begun, send: 'SIGUSR1', to: 'autossh'}],
  },
  {name: 'SIGTERM in the background', args: ['-f', ...noMonitor], play: ['stay'], steps: [terminate]},
  {
    name: 'SIGKILL',
    args: noMonitor,
    play: ['stay'],
    steps: [{at: begun, send: 'SIGKILL', to: 'autossh'}],
    deviates: {why: 'no ssh is left behind', original: {orphans: 1}, ours: {orphans: 0}},
  },
  {
    name: 'SIGTERM while ssh is deaf',
    args: noMonitor,
    play: ['deaf'],
    steps: [terminate],
    within: 15,
    deviates: {why: '1.4g waits for ever', original: {exit: 'too late'}, ours: {exit: 1}},
  },
  {
    name: 'SIGTERM while ssh is stopped',
    args: noMonitor,
    play: ['stay'],
    steps: [{at: begun, send: 'SIGSTOP', to: 'ssh'}, terminate],
    within: 15,
    deviates: {why: '1.4g waits for ever', original: {exit: 'too late'}, ours: {exit: 1}},
  },
];

const toSsh: Lifetime[] = [
  {
    name: 'SIGTERM to ssh inside the gate',
    args: noMonitor,
    play: ['stay'],
    steps: [{at: begun, send: 'SIGTERM', to: 'ssh'}],
  },
  ...(['SIGKILL', 'SIGHUP', 'SIGSEGV'] as const).map((send) => ({
    name: `${send} to ssh inside the gate`,
    args: noMonitor,
    play: ['stay'],
    steps: [{at: begun, send, to: 'ssh'} as const, {...terminate, times: 2}],
  })),
];

const pidFile: Lifetime[] = [
  {
    name: 'the file with the process id',
    args: noMonitor,
    env: {AUTOSSH_PIDFILE: '{folder}/pid'},
    play: ['stay'],
    steps: [{at: begun, look: 'pid'}, terminate, {at: theEnd, look: 'pid'}],
  },
  {
    name: 'the file with the process id, in the background',
    args: ['-f', ...noMonitor],
    env: {AUTOSSH_PIDFILE: '{folder}/pid'},
    play: ['stay'],
    steps: [{at: begun, look: 'pid'}, terminate],
  },
];

/** How ssh ends, how often it may begin, and what signals do. */
export const lifetimes: readonly Lifetime[] = [
  ...firstStart,
  ...laterStarts,
  ...maxStart,
  ...maxLifetime,
  ...toAutossh,
  ...toSsh,
  ...pidFile,
];
