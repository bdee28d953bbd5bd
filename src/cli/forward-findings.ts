import {bindAddresses, isLoopback} from './addresses.js';
import type {AskedForward} from './effective-configuration.js';
import {
  afterFailure,
  type Facts,
  type Finding,
  isThisMachine,
  printed,
  type Row,
  sessionOf,
  usersForwards,
  valueOf,
} from './finding.js';
import type {Holder} from './listening.js';

const about = 'configuration';

/** Every port of this machine that a forward of the user's wants, and who has it. */
const busy: Row = (facts) => {
  const wanted = usersForwards(facts).filter(({kind}) => kind !== 'R');
  const found = wanted.flatMap((forward) => taken(facts, forward));
  if (found.length > 0 || wanted.length === 0) return found;
  const ports = wanted.flatMap(({listen}) => ('port' in listen ? [listen.port] : []));
  if (ports.length === 0) return [];
  const title = ports.length === 1 ? `port ${String(ports[0])} is free` : `ports ${ports.join(', ')} are free`;
  return [{severity: 'fine', about, title}];
};

function taken(facts: Facts, forward: AskedForward): readonly Finding[] {
  const {listen} = forward;
  if (!('port' in listen)) return [];
  const state = facts.machine.ports.get(listen.port);
  const addresses = addressesOf(facts, forward);
  const own = (state?.listening ?? []).filter(({address}) => addresses.includes(address));
  const left = own.filter(({vacancy}) => vacancy === 'free').map(({address}) => address);
  const lost = own.filter(({vacancy}) => vacancy === 'busy').map(({address}) => address);
  const title = `${printed(forward)}: `;
  if (own.some(({vacancy}) => vacancy === 'denied')) {
    const effect = `Ports below 1024 are for root. ${failed(facts)}`;
    return [
      {
        severity: 'breaks',
        about,
        title: `${title}port ${listen.port} is not allowed`,
        effect,
        advice: 'a port above 1023',
      },
    ];
  }
  if (own.length > 0 && own.every(({vacancy}) => vacancy === 'absent')) {
    const effect = failed(facts);
    return [
      {
        severity: 'breaks',
        about,
        title: `${title}this machine has no such address`,
        effect,
        advice: 'an address that it has',
      },
    ];
  }
  if (lost.length === 0) return [];
  const holder = `port ${listen.port} is held${by(state?.holder)}`;
  if (left.length === 0) {
    const configured = forward.origin === 'configuration';
    const effect = configured ? `The line is from your ssh configuration. ${failed(facts)}` : failed(facts);
    const advice = configured ? 'a Host of its own for this tunnel, without this line' : 'another port';
    return [{severity: 'breaks', about, title: title + holder, effect, advice}];
  }
  const effect = `ssh listens on ${left.join(', ')} alone and stays up. Who connects to ${lost.join(', ')} reaches the other program.`;
  return [
    {
      severity: 'breaks',
      about,
      title: title + holder,
      effect,
      advice: printed(forward, preferred(facts)).replace(`:${listen.port}`, ':PORT'),
    },
  ];
}

/** What a forward that cannot listen does to ssh. */
function failed(facts: Facts): string {
  return valueOf(facts, 'exitonforwardfailure') === 'yes'
    ? `ssh exits with 255, and ${afterFailure(facts)}.`
    : 'ssh stays up without this forward.';
}

/** Forwards that nobody asked for on this command line: every other ssh to this host wants the same ports. */
const inherited: Row = (facts) => {
  const lines = usersForwards(facts).filter((one) => one.origin === 'configuration' && taken(facts, one).length === 0);
  if (lines.length === 0 || valueOf(facts, 'clearallforwardings') === 'yes') return [];
  const title = `${lines.map((one) => printed(one)).join(', ')}, from your ssh configuration`;
  const effect = `ssh makes ${lines.length === 1 ? 'it' : 'them'} too. If another ssh to this host has the port when this one is restarted: ${failed(facts)}`;
  return [{severity: 'risk', about, title, effect, advice: 'a Host of its own for this tunnel'}];
};

/** One port of this machine, or of the server, for two. */
const twice: Row = (facts) => {
  const {monitor} = facts.line;
  const seen = new Map<string, string>();
  if (monitor && monitor.echoPort === undefined) seen.set(`127.0.0.1 ${monitor.port + 1}`, heartbeat);
  return facts.configuration.forwards.flatMap((forward): Finding[] => {
    const {listen, kind, origin} = forward;
    if (!('port' in listen)) return [];
    const isRemote = kind === 'R';
    const places = isRemote ? serverPlaces(listen) : addressesOf(facts, forward);
    const keys = places.map((place) => `${place} ${listen.port}`);
    const other = keys.map((key) => seen.get(key)).find((one) => one !== undefined);
    for (const key of keys) seen.set(key, origin === 'monitor' ? heartbeat : printed(forward));
    if (other === undefined || origin === 'monitor') return [];
    const title = `${printed(forward)} and ${other} want the same port${isRemote ? ' of the server' : ''}`;
    const advice = 'another port for one of them';
    if (isRemote && other === heartbeat && givesWay(facts)) {
      const effect = 'The first ssh gets it for one of them alone; the next has another for the heartbeat.';
      return [{severity: 'risk', about, title, effect, advice}];
    }
    return [{severity: 'breaks', about, title, effect: failed(facts), advice}];
  });
};

const heartbeat = 'the heartbeat';

/** Where the server listens for a `-R`, as far as that is the client's choice; one that it chooses itself is nobody else's. */
function serverPlaces({host, port}: {readonly host?: string; readonly port: number}): readonly string[] {
  if (port === 0) return [];
  if (host === undefined || isLoopback(host)) return ['server'];
  return ['', '*', '0.0.0.0', '::'].includes(host) ? ['server', 'server, everywhere'] : [`server, ${host}`];
}

/** Whether autossh replaces an ssh at once to which the server has refused the heartbeat's port, and the next does better. */
function givesWay(facts: Facts): boolean {
  const isReplaced = sessionOf(facts) === 'none' || valueOf(facts, 'exitonforwardfailure') === 'yes';
  // Where this machine is the server, it is the `-L` of the heartbeat that has the port.
  return isReplaced && !isThisMachine(facts);
}

/** Forwards that leave it to ssh on which addresses they listen. */
const bare: Row = (facts) => {
  const open = valueOf(facts, 'gatewayports') === 'yes';
  const all = facts.configuration.forwards.filter(
    ({kind, listen}) => kind !== 'R' && 'port' in listen && listen.host === undefined,
  );
  const users = all.filter(({origin}) => origin !== 'monitor');
  if (open && all.length > 0) {
    const monitors = all.length > users.length ? [`port ${String(facts.line.monitor?.port)} of the heartbeat`] : [];
    const names = [...users.map((one) => printed(one)), ...monitors].join(', ');
    const effect = `Everybody who reaches this machine can connect: ${names}.`;
    return [{severity: 'risk', about, title: 'GatewayPorts yes', effect, options: ['-o GatewayPorts=no']}];
  }
  const [four, six] = bindAddresses(undefined, settingsOf(facts));
  if (users.length === 0 || four === undefined || six === undefined) return [];
  const sixIsThere = users.some(({listen}) => {
    const states = 'port' in listen ? facts.machine.ports.get(listen.port)?.listening : [];
    return states?.some(({address, vacancy}) => address === six && vacancy !== 'absent');
  });
  // One that is busy now has a finding of its own.
  const sound = users.filter((one) => taken(facts, one).length === 0);
  if (!sixIsThere || sound.length === 0) return [];
  const title = `${sound.map((one) => printed(one)).join(', ')}: no address to listen on`;
  const effect = `If another program has the port on ${four} when ssh is restarted, ssh listens on [${six}] alone and stays up; clients reach the other program.`;
  return [{severity: 'risk', about, title, effect, advice: sound.map((one) => printed(one, four)).join(', ')}];
};

const loose: Row = (facts) => {
  if (usersForwards(facts).length === 0 || valueOf(facts, 'exitonforwardfailure') === 'yes') return [];
  const effect =
    'A forward that cannot be made is only a warning: ssh stays up without it, and autossh does not see it.';
  return [
    {severity: 'risk', about, title: 'ExitOnForwardFailure no', effect, options: ['-o ExitOnForwardFailure=yes']},
  ];
};

const sockets: Row = (facts) => {
  const paths = usersForwards(facts).filter(({listen}) => 'path' in listen);
  const found: Finding[] = [];
  const local = paths.filter(({kind}) => kind !== 'R');
  if (local.length > 0 && valueOf(facts, 'streamlocalbindunlink') !== 'yes') {
    const there = local.filter(({listen}) => 'path' in listen && facts.machine.pathsTaken.includes(listen.path));
    const what =
      there.length > 0 ? 'It is there already' : 'ssh leaves the socket behind when it ends, so every restart finds it';
    const effect = `${what}, and cannot listen: ${failed(facts)}`;
    const title = `${local.map((one) => printed(one)).join(', ')}: a socket in the way`;
    found.push({severity: 'breaks', about, title, effect, options: ['-o StreamLocalBindUnlink=yes']});
  }
  const remote = paths.filter(({kind}) => kind === 'R');
  if (remote.length > 0) {
    const title = `${remote.map((one) => printed(one)).join(', ')}: whether the server removes old sockets`;
    const advice = 'StreamLocalBindUnlink yes, in its sshd_config';
    found.push({severity: 'unknown', about, title, advice});
  }
  return found;
};

const none: Row = (facts) => {
  if (sessionOf(facts) !== 'none' || usersForwards(facts).length > 0) return [];
  // `-W` is a forward that ssh does not print; it clears the others.
  if (valueOf(facts, 'tunnel') !== 'false' || valueOf(facts, 'clearallforwardings') === 'yes') return [];
  const effect = 'ssh has nothing to do but to stay connected.';
  return [{severity: 'risk', about, title: '-N without a forward', effect, advice: '-L, -R or -D'}];
};

/** An address that only one program can have. */
function preferred(facts: Facts): string {
  return valueOf(facts, 'addressfamily') === 'inet6' ? '::1' : '127.0.0.1';
}

function addressesOf(facts: Facts, {listen}: AskedForward): readonly string[] {
  return 'port' in listen ? bindAddresses(listen.host, settingsOf(facts)) : [];
}

function settingsOf(facts: Facts): {gatewayPorts: boolean; family: string} {
  return {gatewayPorts: valueOf(facts, 'gatewayports') === 'yes', family: valueOf(facts, 'addressfamily')};
}

/** Who holds a port, where that is known. */
export function by(holder: Holder | undefined): string {
  return holder ? ` by ${holder.name} (pid ${holder.pid})` : '';
}

/** What becomes of the forwards of the user. */
export const forwardRows: readonly Row[] = [busy, inherited, twice, bare, loose, sockets, none];
