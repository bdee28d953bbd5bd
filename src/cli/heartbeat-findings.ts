import {type Facts, type Finding, isThisMachine, type Row, sessionOf, valueOf} from './finding.js';
import {by} from './forward-findings.js';
import {duration} from './status-words.js';

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
    const effect =
      port === monitor.port
        ? 'No beat gets through, and a good ssh is restarted after each poll.'
        : 'autossh itself listens there: it exits with 1 before it starts ssh.';
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
        advice:
          'AllowTcpForwarding and PermitOpen in its sshd_config, permitopen in its authorized_keys, and an echo service',
      },
    ];
  }
  const found: Finding[] = [];
  if (isThisMachine(facts)) {
    const then =
      sessionOf(facts) === 'none'
        ? "ssh is restarted once, with another for the server's end."
        : "one with a shell or a command may go on without a heartbeat; the next gets another for the server's end.";
    const effect = `Both ends of the heartbeat want port ${monitor.port} of the same machine: ${then}`;
    found.push({
      severity: 'risk',
      about,
      title: 'the server is this machine',
      effect,
      advice: `-M 0 ${keepAlive.join(' ')}`,
    });
  }
  // The beat goes out through it and comes back through it: for sshd these are two permissions.
  const title = `whether the server lets ssh listen on its port ${monitor.port}, and connect to it`;
  found.push({
    severity: 'unknown',
    about,
    title,
    advice:
      'AllowTcpForwarding, PermitListen and PermitOpen in its sshd_config, permitlisten and permitopen in its authorized_keys; and a free port',
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
        title: `-M 0: none of autossh's; ssh itself asks the server every ${duration(interval * 1_000)}`,
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
  const ways: Unnoticed[] = [];
  if (line.monitor) {
    const poll = Math.max(line.poll, line.firstPoll);
    const answer = line.netTimeout;
    const {port, echoPort} = line.monitor;
    const mayBeWithout = echoPort === undefined && sessionOf(facts) !== 'none';
    const without = `An ssh with a shell or a command, to which the server refuses its port ${port}, may go without a heartbeat.`;
    ways.push({
      seconds: (poll + 2 * answer) / 1_000,
      ...(mayBeWithout && {except: without}),
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

/** What the heartbeat needs. */
export const heartbeatRows: readonly Row[] = [ports, remotePort, instead];
