import type {Deviation} from './comparison.js';
import {noGate, noMonitor, start, terminate, unmonitored, type Lifetime} from './lifetime.js';
import type {Lived} from './worlds.js';

const loop = ['-M', '20000', '-N', 'host'];
const echo = ['-M', '20000:7', '-N', 'host'];
// However slow the machine is, ssh has begun by the first beat.
const quick = {AUTOSSH_POLL: '1', AUTOSSH_FIRST_POLL: '4', AUTOSSH_DEBUG: '1'};

function busy(original: Partial<Lived> = {}, ours: Partial<Lived> = {}): Deviation<Lived> {
  const reason = 'listen EADDRINUSE: address already in use 127.0.0.1:20001';
  return {
    why: 'it is told on stderr, and before autossh goes to the background',
    original: {log: ['bind on 127.0.0.1:20001: Address already in use'], stderr: 'nothing', ...original},
    ours: {
      log: [`The heartbeat cannot listen on 127.0.0.1:20001, the port above its own: ${reason}`],
      stderr: 'something',
      ...ours,
    },
  };
}

/** No beat comes back, and ssh is started once more, or not. */
function silent(again: boolean): Deviation<Lived> {
  const before = (count: number): string[] => [
    ...(count === 1 ? ['short poll time: adjusting net timeouts to 500'] : []),
    `checking for grace period, tries = ${count - 1}`,
    ...start(`${count} of ${again ? 2 : 1}`),
  ];
  const told = (port: string): string =>
    `No beat came back through port ${port} of the server: the next ssh gets port another in its place`;
  const down = 'port down, restarting ssh';
  const [first, second] = [before(1), again ? before(2) : []];
  const end = 'max start count reached; exiting';
  const same = ['-L', '20000:127.0.0.1:20000', '-R', '20000:127.0.0.1:20001', '-N', 'host'];
  const other = ['-L', '20000:127.0.0.1:another', '-R', 'another:127.0.0.1:20001', '-N', 'host'];
  return {
    why: 'something else may have the port at the server, though it let ssh listen on it: the next ssh gets another',
    original: {
      log: [...first, down, ...second, ...(again ? [down] : []), end],
      ...(again && {starts: [same, same]}),
    },
    ours: {
      log: [...first, told('20000'), down, ...second, ...(again ? [told('another'), down] : []), end],
      ...(again && {starts: [same, other]}),
    },
  };
}

const monitor: Lifetime[] = [
  {
    name: 'somebody has the port that the loop ends at',
    args: loop,
    beside: ['stranger'],
    deviates: busy(),
  },
  {
    name: 'somebody has it, in the background',
    args: ['-f', ...loop],
    beside: ['stranger'],
    deviates: busy({exit: 0}, {exit: 1}),
  },
  {name: 'with an echo port it does not matter', args: echo, env: noGate, play: ['0'], beside: ['stranger']},
  {
    name: 'nobody at the monitor port',
    args: loop,
    env: {...quick, AUTOSSH_MAXSTART: '2'},
    play: ['stay'],
    deviates: silent(true),
  },
  {
    name: 'nobody at the monitor port, in two seconds',
    args: loop,
    env: {...quick, AUTOSSH_FIRST_POLL: '2', AUTOSSH_MAXSTART: '1'},
    play: ['stay'],
    deviates: silent(false),
  },
  {
    name: 'nothing comes back to the loop',
    args: loop,
    env: {...quick, AUTOSSH_MAXSTART: '2'},
    play: ['mute'],
    deviates: silent(true),
  },
  {name: 'nothing comes back from the echo port', args: echo, env: {...quick, AUTOSSH_MAXSTART: '1'}, play: ['mute']},
  {
    name: 'something else comes back from the echo port',
    args: echo,
    env: {...quick, AUTOSSH_MAXSTART: '1'},
    play: ['liar'],
  },
  {
    name: 'all is well at the echo port',
    args: echo,
    env: {AUTOSSH_POLL: '3', AUTOSSH_DEBUG: '1', AUTOSSH_MESSAGE: 'm'.repeat(64)},
    play: ['echo'],
    steps: [{at: 'connection ok', times: 2, send: 'SIGTERM', to: 'autossh'}],
  },
];

/** The log until the first pause, after six short lives. */
const sixLives = [
  unmonitored,
  ...Array.from({length: 6}, (_, tries) => [
    `checking for grace period, tries = ${tries}`,
    ...start(tries + 1),
    'ssh exited with error status 255; restarting ssh',
  ]).flat(),
  'checking for grace period, tries = 6',
  'sleeping for grace time 10 secs',
];
const sixStarts = Array.from({length: 6}, () => ['-N', 'host']);
const sevenStarts = [...sixStarts, ['-N', 'host']];
const backoff = {...noGate, AUTOSSH_DEBUG: '1'};

function inAPause(send: NodeJS.Signals, deviates: Deviation<Lived>): Lifetime {
  return {
    name: `${send} in a pause`,
    args: noMonitor,
    env: {...backoff, AUTOSSH_POLL: '3000'},
    play: ['255', '255', '255', '255', '255', '255', 'stay'],
    steps: [
      {at: 'sleeping for grace time 10 secs', send, to: 'autossh'},
      {...terminate, times: 7},
    ],
    deviates,
  };
}

const pauses: Lifetime[] = [
  {
    name: 'the pauses between nine starts',
    args: noMonitor,
    env: {...backoff, AUTOSSH_POLL: '100', AUTOSSH_MAXSTART: '9'},
    play: ['255'],
  },
  {
    name: 'no pauses where the poll time is short',
    args: noMonitor,
    env: {...backoff, AUTOSSH_POLL: '10', AUTOSSH_MAXSTART: '9'},
    play: ['255'],
  },
  {
    name: 'the pauses of a monitored ssh',
    args: loop,
    env: {...backoff, AUTOSSH_POLL: '30', AUTOSSH_MAXSTART: '11'},
    play: ['255'],
  },
  {
    name: 'a run of ten seconds starts the count anew',
    args: noMonitor,
    env: {...backoff, AUTOSSH_POLL: '60', AUTOSSH_MAXSTART: '5'},
    play: ['255', '255', '255 after 11500', '255'],
  },
  inAPause('SIGTERM', {
    why: 'it is told in the same words at any time',
    original: {log: [...sixLives, 'signalled to exit']},
    ours: {log: [...sixLives, 'received signal to exit (15)']},
  }),
  inAPause('SIGHUP', {
    why: 'it ends the pause; 1.4g dies by it',
    original: {starts: sixStarts, exit: 'SIGHUP', log: sixLives},
    ours: {starts: sevenStarts, exit: 1, log: [...sixLives, ...start(7), 'received signal to exit (15)']},
  }),
  inAPause('SIGUSR1', {
    why: 'it ends the pause; 1.4g dies by it',
    original: {starts: sixStarts, exit: 'SIGUSR1', log: sixLives},
    ours: {
      starts: sevenStarts,
      exit: 1,
      log: [...sixLives, 'signalled to kill and restart ssh', ...start(7), 'received signal to exit (15)'],
    },
  }),
];

const real = {FAKE_SSH: 'ssh', AUTOSSH_POLL: '3', AUTOSSH_DEBUG: '1'};
const toServer = ['-F', '{configuration}', '-N', 'tunnel'];
const realLoop = ['-M', '20000', ...toServer];

const realServer: Lifetime[] = [
  {
    name: 'a loop through a server',
    args: realLoop,
    env: real,
    beside: ['sshd'],
    steps: [{at: 'connection ok', times: 2, send: 'SIGTERM', to: 'autossh'}],
  },
  {
    name: 'an echo service behind a server',
    args: ['-M', '20000:20002', ...toServer],
    env: real,
    beside: ['sshd', 'echo'],
    steps: [{at: 'connection ok', times: 2, send: 'SIGTERM', to: 'autossh'}],
  },
  {
    name: 'ssh is killed',
    args: realLoop,
    env: real,
    beside: ['sshd'],
    steps: [
      {at: 'connection ok', send: 'SIGKILL', to: 'ssh'},
      {at: 'connection ok', times: 2, send: 'SIGTERM', to: 'autossh'},
    ],
  },
  {
    name: 'ssh is told to go',
    args: realLoop,
    env: {...real, ...noGate},
    beside: ['sshd'],
    steps: [{at: 'connection ok', send: 'SIGTERM', to: 'ssh'}],
  },
  {
    name: 'ssh is replaced',
    args: realLoop,
    env: real,
    beside: ['sshd'],
    steps: [
      {at: 'connection ok', send: 'SIGUSR1', to: 'autossh'},
      {at: 'connection ok', times: 2, send: 'SIGTERM', to: 'autossh'},
    ],
  },
  {
    name: 'the server ends the session',
    args: realLoop,
    env: {...real, ...noGate},
    beside: ['sshd'],
    steps: [
      {at: 'connection ok', server: 'ends its sessions'},
      {at: 'connection ok', times: 2, send: 'SIGTERM', to: 'autossh'},
    ],
  },
  {
    name: 'the server ends',
    args: realLoop,
    env: {...real, ...noGate, AUTOSSH_MAXSTART: '4'},
    beside: ['sshd'],
    steps: [{at: 'connection ok', server: 'ends'}],
  },
  {
    name: 'a command ends on the server',
    args: ['-M', '0', '-F', '{configuration}', 'tunnel', 'exit 7'],
    env: {...real, ...noGate},
    beside: ['sshd'],
  },
  {
    name: 'a server that is not there',
    args: [...realLoop, '-o', 'HostName=127.0.0.1', '-p', '9'],
    env: {...real, ...noGate, AUTOSSH_MAXSTART: '2'},
  },
];

/** Beats that come back and beats that do not, the pauses between starts, and the real ssh. */
export const monitoredLifetimes: readonly Lifetime[] = [...monitor, ...pauses, ...realServer];
