import {afterFailure, afterSuccess, type Finding, type Row, sessionOf, usersForwards, valueOf} from './finding.js';

const about = 'configuration';
const alone = ['-o ControlMaster=no', '-o ControlPath=none'];

/** A path of a Unix socket, its closing zero included: unix(7). While it is made, a master's is 17 bytes longer. */
const longestPath = 108;
const masterSuffix = 17;

const name: Row = (facts) => {
  const host = valueOf(facts, 'hostname');
  switch (facts.machine.name) {
    case 'unasked':
      return [];
    case 'known':
      return [{severity: 'fine', about, title: `the name ${host} is resolved`}];
    case 'unanswered':
      return [{severity: 'unknown', about, title: `whether the name ${host} is resolved: nobody answers in time`}];
    case 'unknown': {
      const severity = facts.line.gateTime > 0 ? 'breaks' : 'risk';
      const effect = `ssh exits with 255, and ${afterFailure(facts)}.`;
      const advice = 'look at its spelling, or put it into /etc/hosts';
      return [{severity, about, title: `the name ${host} cannot be resolved`, effect, advice}];
    }
  }
};

const sharing: Row = (facts) => {
  const [master, path] = [valueOf(facts, 'controlmaster'), valueOf(facts, 'controlpath')];
  if (path === '') return [{severity: 'fine', about, title: 'ssh has a connection of its own'}];
  const title = master === 'false' ? 'ControlPath' : `ControlMaster ${master === 'true' ? 'yes' : master}`;
  const joins = master !== 'true' && master !== 'ask';
  if (Buffer.byteLength(path) + (master === 'false' ? 0 : masterSuffix) >= longestPath) {
    const effect = `ssh exits with 255, and ${afterFailure(facts)}.`;
    return [{severity: 'breaks', about, title: 'ControlPath is too long for a socket', effect, options: alone}];
  }
  if (facts.machine.master && joins) {
    const effect =
      sessionOf(facts) === 'none'
        ? `ssh leaves its forwards to the master and exits with 0 at once; ${afterSuccess(facts)}.`
        : 'ssh works through the connection of the master. When that one is dead, a new ssh gets the same dead connection.';
    return [{severity: 'breaks', about, title: `${title}, and a master is running`, effect, options: alone}];
  }
  if (valueOf(facts, 'controlpersist') !== 'no' && master !== 'false') {
    const effect =
      sessionOf(facts) === 'none'
        ? `ssh goes to the background as a master and exits with 0; ${afterSuccess(facts)}.`
        : 'The connection is in a master in the background, which autossh neither watches nor ends.';
    const options = [...alone, '-o ControlPersist=no'];
    return [{severity: 'breaks', about, title: `${title} with ControlPersist`, effect, options}];
  }
  const effect = joins
    ? 'If another ssh is the master when this one is restarted, the forwards go to that one, which autossh does not watch.'
    : 'Other ssh share this connection, and end with it at every restart.';
  return [{severity: 'risk', about, title: `${title}: a connection shared with other ssh`, effect, options: alone}];
};

const forking: Row = (facts) => {
  if (valueOf(facts, 'forkafterauthentication') !== 'yes') return [];
  const effect = `ssh goes to the background and exits with 0; ${afterSuccess(facts)}. What is left is an ssh that nobody watches.`;
  const options = ['-o ForkAfterAuthentication=no'];
  return [{severity: 'breaks', about, title: 'ForkAfterAuthentication yes', effect, options}];
};

const clearing: Row = (facts) => {
  const count = facts.configuration.forwards.length;
  if (valueOf(facts, 'clearallforwardings') !== 'yes' || count === 0) return [];
  const own = usersForwards(facts).length;
  const whose =
    own === 0 ? 'The forwards of the heartbeat are' : own === 1 ? 'The forward is' : `The ${own} forwards are`;
  const beat = facts.line.monitor ? ' No beat can come back: autossh restarts ssh after each poll.' : '';
  const effect = `${whose} not made, and ssh does not say so.${beat}`;
  const options = ['-o ClearAllForwardings=no'];
  return [{severity: 'breaks', about, title: 'ClearAllForwardings yes', effect, options}];
};

const silence: Row = (facts) => {
  const level = valueOf(facts, 'loglevel');
  if (!['QUIET', 'SILENT', 'FATAL'].includes(level)) return [];
  const title = `LogLevel ${level === 'SILENT' ? 'QUIET' : level}`;
  const effect = 'ssh says nothing: when it ends, nobody can tell why.';
  return [{severity: 'risk', about, title, effect, options: ['-o LogLevel=INFO']}];
};

const session: Row = (facts) => {
  const kind = sessionOf(facts);
  const [remote, tty] = [valueOf(facts, 'remotecommand'), valueOf(facts, 'requesttty')];
  const found: Finding[] = [];
  if (kind === 'none') {
    // RequestTTY is overruled by -N, and not even printed.
    if (remote !== '') found.push({severity: 'fine', about, title: 'RemoteCommand: no matter with -N'});
    return found;
  }
  if (kind === 'shell' && facts.line.background) {
    const effect = `In the background the shell on the server has no input and ends at once: ssh exits with 0, and ${afterSuccess(facts)}.`;
    found.push({severity: 'breaks', about, title: '-f without -N', effect, options: ['-N']});
  }
  if (remote !== '') {
    const effect = `ssh runs \`${remote}\` on the server. When that ends, ssh ends, and autossh with it.`;
    found.push({severity: 'risk', about, title: 'RemoteCommand', effect, advice: '-N, or -o RemoteCommand=none'});
  }
  if (kind === 'command' && ['force', 'true', 'yes'].includes(tty)) {
    const effect = 'The command gets a terminal: what it writes is changed (CR LF), and it ends with the terminal.';
    found.push({
      severity: 'risk',
      about,
      title: `RequestTTY ${tty === 'true' ? 'yes' : tty}`,
      effect,
      options: ['-o RequestTTY=no'],
    });
  }
  if (kind === 'shell' && tty === 'false' && usersForwards(facts).length === 0 && !facts.line.background) {
    const effect = 'The shell on the server has no terminal: no prompt, no colours, no editing.';
    found.push({severity: 'risk', about, title: 'RequestTTY no', effect, options: ['-o RequestTTY=auto']});
  }
  return found;
};

/** What bounds a login: ConnectTimeout the connection and the banner, ServerAlive what comes after. */
const deadlines: Row = (facts) => {
  const interval = Number(valueOf(facts, 'serveraliveinterval'));
  const count = Number(valueOf(facts, 'serveralivecountmax'));
  const connect = valueOf(facts, 'connecttimeout');
  const found: Finding[] = [];
  if (interval > 0 && count > 0 && interval * count < shortestPatience) {
    const effect = `ssh gives up after ${interval * count} s of silence, while it logs in too: a slow but good login is cut off, again and again.`;
    const options = ['-o ServerAliveInterval=15', '-o ServerAliveCountMax=3'];
    found.push({
      severity: 'risk',
      about,
      title: `ServerAliveInterval ${interval} × ServerAliveCountMax ${count}`,
      effect,
      options,
    });
  }
  if (interval > 0 && count === 0) {
    const effect = 'ssh asks the server for signs of life, and never draws a conclusion.';
    found.push({
      severity: 'risk',
      about,
      title: 'ServerAliveCountMax 0',
      effect,
      options: ['-o ServerAliveCountMax=3'],
    });
  }
  if (facts.line.monitor) return found;
  if (connect === 'none') {
    const effect = 'A server that accepts the connection and says nothing holds ssh for ever.';
    found.push({severity: 'risk', about, title: 'no ConnectTimeout', effect, options: ['-o ConnectTimeout=15']});
  } else if (interval === 0 || count === 0) {
    const effect = `It ends with the greeting of the server. Looking up its name and logging in have no limit: a login that hangs, hangs for ever.`;
    found.push({
      severity: 'risk',
      about,
      title: `ConnectTimeout ${connect} does not cover the login`,
      effect,
      options: ['-o ServerAliveInterval=15'],
    });
  }
  return found;
};

/** In seconds: logins of a busy server take that long. */
const shortestPatience = 10;

const warnings: Row = ({configuration}) =>
  configuration.warnings
    .filter((line) => line.startsWith('Warning: '))
    .map((line) => ({severity: 'risk', about, title: line.slice('Warning: '.length)}) as const);

/** What the configuration does to the connection and the life of ssh. */
export const connectionRows: readonly Row[] = [name, sharing, forking, clearing, silence, session, deadlines, warnings];
