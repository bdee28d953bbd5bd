import {isLoopback} from './addresses.js';
import {type Facts, type Finding, type Row, valueOf} from './finding.js';
import {by} from './forward-findings.js';

const about = 'heartbeat';
const keepAlive = ['-o ServerAliveInterval=15', '-o ServerAliveCountMax=3'];

const ports: Row = (facts) => {
  const {monitor} = facts.line;
  if (!monitor) return [];
  const needed = monitor.echoPort === undefined ? [monitor.port, monitor.port + 1] : [monitor.port];
  const found = needed.flatMap((port): Finding[] => {
    const state = facts.machine.ports.get(port);
    // autossh talks to 127.0.0.1, whatever else ssh listens on.
    const lost = state?.listening.find(
      ({address, vacancy}) => (address === '127.0.0.1' || address === '0.0.0.0') && vacancy !== 'free',
    );
    if (!lost) return [];
    const why = lost.vacancy === 'busy' ? `is held${by(state?.holder)}` : 'is not to be had';
    const effect = 'No beat gets through, and a good ssh is restarted after each poll.';
    return [
      {
        severity: 'breaks',
        about,
        title: `port ${port}, for the heartbeat, ${why}`,
        effect,
        advice: '-M with another port, or no -M: then autossh takes a free one',
      },
    ];
  });
  if (found.length > 0) return found;
  const names = needed.length === 1 ? `port ${monitor.port}` : `ports ${needed.join(' and ')}`;
  const state = needed.length === 1 ? 'is free' : 'are free';
  return [
    {
      severity: 'fine',
      about,
      title: monitor.chosen ? `${names}, chosen for this run, ${state}` : `${names} of this machine ${state}`,
    },
  ];
};

const remotePort: Row = (facts) => {
  const {monitor} = facts.line;
  if (!monitor) return [];
  if (monitor.echoPort !== undefined) {
    const title = `whether something on port ${monitor.echoPort} of the server echoes what it gets`;
    return [
      {
        severity: 'unknown',
        about,
        title,
        advice: 'AllowTcpForwarding and PermitOpen in its sshd_config, and an echo service',
      },
    ];
  }
  const found: Finding[] = [];
  const host = valueOf(facts, 'hostname');
  if (isLoopback(host) && valueOf(facts, 'proxyjump') === '' && valueOf(facts, 'proxycommand') === '') {
    const effect = `Both ends of the heartbeat want port ${monitor.port} of the same machine: ssh is restarted once, with another for the server's end.`;
    found.push({
      severity: 'risk',
      about,
      title: 'the server is this machine',
      effect,
      advice: `-M 0 ${keepAlive.join(' ')}`,
    });
  }
  const title = `whether the server lets ssh listen on its port ${monitor.port}`;
  found.push({
    severity: 'unknown',
    about,
    title,
    advice: 'AllowTcpForwarding and PermitListen in its sshd_config; and a free port',
  });
  return found;
};

const instead: Row = (facts) => {
  if (facts.line.monitor) return [];
  const {interval, count} = serverAlive(facts);
  if (interval > 0 && count > 0) {
    return [
      {
        severity: 'fine',
        about,
        title: `-M 0: none of autossh's; ssh itself asks the server every ${duration(interval)}`,
      },
    ];
  }
  const effect = 'autossh restarts an ssh that ends. Nothing ends one whose tunnel is dead.';
  return [
    {
      severity: 'risk',
      about,
      title: '-M 0, and no ServerAliveInterval: no heartbeat at all',
      effect,
      options: keepAlive,
    },
  ];
};

/** How long a dead tunnel can go unnoticed, and why. */
export interface Unnoticed {
  /** Infinity: for ever. */
  readonly seconds: number;
  readonly because: string;
  /** What is not noticed even then. */
  readonly except?: string;
}

/** The longest time from when a tunnel is dead to when it is given up, with the options there are. */
export function longestUnnoticed(facts: Facts): Unnoticed {
  const {line} = facts;
  const {interval, count} = serverAlive(facts);
  const ways: {seconds: number; because: string}[] = [];
  if (line.monitor) {
    const poll = Math.max(line.poll, line.firstPoll) / 1_000;
    const answer = line.netTimeout / 1_000;
    ways.push({
      seconds: poll + 2 * answer,
      because: `a beat every ${duration(poll)}, then two tries of ${duration(answer)}`,
    });
  }
  if (interval > 0 && count > 0) {
    const because = `ServerAliveInterval ${interval} × ServerAliveCountMax ${count}, and up to one interval more`;
    ways.push({seconds: interval * (count + 1), because});
  }
  const [first] = ways.sort((one, other) => one.seconds - other.seconds);
  const except = 'An ssh that is itself stopped is never noticed: only -M sees that.';
  if (first) return {...first, ...(!line.monitor && {except})};
  return {...byKernel(facts), except};
}

function byKernel(facts: Facts): {seconds: number; because: string} {
  const {keepAlive: kernel} = facts.machine;
  if (valueOf(facts, 'proxycommand') !== '' || valueOf(facts, 'proxyjump') !== '') {
    return {seconds: Infinity, because: 'no heartbeat, and the keep-alive of TCP reaches the proxy alone'};
  }
  if (valueOf(facts, 'tcpkeepalive') !== 'yes')
    return {seconds: Infinity, because: 'no heartbeat, and TCPKeepAlive no'};
  if (!kernel) return {seconds: Infinity, because: 'no heartbeat; the keep-alive of TCP may end it, after hours'};
  const {time, interval, probes} = kernel;
  const because = `no heartbeat; the keep-alive of TCP: ${time} s, then ${probes} probes, ${interval} s each. It does not see a server that hangs`;
  return {seconds: time + probes * interval, because};
}

function serverAlive(facts: Facts): {interval: number; count: number} {
  return {
    interval: Number(valueOf(facts, 'serveraliveinterval')),
    count: Number(valueOf(facts, 'serveralivecountmax')),
  };
}

/** Seconds in words: `1 h 5 min`, `45 s`. */
export function duration(seconds: number): string {
  if (seconds === Infinity) return 'for ever';
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [Math.round((seconds % 60) * 10) / 10, 's'],
  ] as const;
  const words = parts.filter(([count]) => count > 0).map(([count, unit]) => `${count} ${unit}`);
  return words.slice(0, 2).join(' ') || '0 s';
}

/** What the heartbeat needs. */
export const heartbeatRows: readonly Row[] = [ports, remotePort, instead];
