import {describe, expect, test} from 'vitest';
import {bindAddresses, isLoopback} from '../../src/cli/addresses.js';
import {findings} from '../../src/cli/doctor-findings.js';
import {type AskedForward, parseConfiguration, parseForward} from '../../src/cli/effective-configuration.js';
import {type Facts, printed} from '../../src/cli/finding.js';
import {longestUnnoticed} from '../../src/cli/heartbeat-findings.js';
import type {Machine} from '../../src/cli/machine.js';

/** What `ssh -G` prints of a sound configuration, as far as it matters. */
const sound = `user me
hostname server
port 22
addressfamily any
batchmode no
controlmaster false
clearallforwardings no
exitonforwardfailure yes
gatewayports no
gssapiauthentication no
hostbasedauthentication no
identitiesonly no
kbdinteractiveauthentication yes
passwordauthentication yes
pubkeyauthentication true
requesttty false
sessiontype none
forkafterauthentication no
streamlocalbindunlink no
stricthostkeychecking ask
tcpkeepalive yes
tunnel false
serveralivecountmax 3
serveraliveinterval 15
loglevel INFO
addkeystoagent false
connecttimeout 15
controlpersist no`;

interface Changes {
  /** Lines that `ssh -G` prints, in place of those above or as well. */
  says?: readonly string[];
  forwards?: readonly AskedForward[];
  command?: boolean;
  machine?: Partial<Machine>;
  line?: Partial<Facts['line']>;
  terminal?: boolean;
}

const forward: AskedForward = {
  kind: 'L',
  listen: {host: '127.0.0.1', port: 5432},
  target: '[db]:5432',
  origin: 'command line',
};

function factsOf({
  says = [],
  forwards = [forward],
  command = false,
  machine,
  line,
  terminal = false,
}: Changes = {}): Facts {
  return {
    line: {
      ...({
        action: 'doctor',
        sshPath: 'ssh',
        sshArguments: [],
        destination: '',
        remoteCommand: [],
        background: false,
        poll: 600_000,
      } as const),
      ...{firstPoll: 600_000, netTimeout: 15_000, gateTime: 30_000, maxStart: -1, maxLifetime: 0, message: ''},
      ...{logLevel: 6, debug: false, jsonLog: false, agent: true, notes: []},
      ...line,
    },
    configuration: {
      values: new Map([...parseConfiguration(sound), ...parseConfiguration(says.join('\n'))]),
      forwards,
      command,
      warnings: [],
    },
    machine: {
      ports: new Map([[5432, {listening: [{address: '127.0.0.1', vacancy: 'free'}]}]]),
      pathsTaken: [],
      master: false,
      keys: [{path: '/key', state: 'open'}],
      agent: {running: false, keys: 0},
      hostKey: 'known',
      name: 'known',
      keepAlive: {time: 7_200, interval: 75, probes: 9},
      askpass: false,
      ...machine,
    },
    terminal,
  };
}

/** Those that need something done, as `severity title`. */
function complaints(changes: Changes): string[] {
  return findings(factsOf(changes))
    .filter(({severity}) => severity === 'breaks' || severity === 'risk')
    .map(({severity, title}) => `${severity} ${title}`);
}

const monitor = {port: 20_000, chosen: false};
const free = [{address: '127.0.0.1', vacancy: 'free'}] as const;
const bothFree = [...free, {address: '::1', vacancy: 'free'}] as const;
const monitorPorts = new Map([
  [20_000, {listening: bothFree}],
  [20_001, {listening: free}],
  [5_432, {listening: free}],
]);

test('of a sound command line there is nothing to complain', () => {
  expect(complaints({})).toEqual([]);
  expect(complaints({line: {monitor}, machine: {ports: monitorPorts}})).toEqual([]);
});

test.each<[Changes, string[]]>([
  [
    {says: ['controlmaster auto', 'controlpath /c'], machine: {master: true}},
    ['breaks ControlMaster auto, and a master is running'],
  ],
  [{says: ['controlpath /c'], machine: {master: true}}, ['breaks ControlPath, and a master is running']],
  // It says that the socket is there already, and goes on by itself.
  [
    {says: ['controlmaster true', 'controlpath /c'], machine: {master: true}},
    ['risk ControlMaster yes: a connection shared with other ssh'],
  ],
  [
    {says: ['controlmaster auto', 'controlpath /c', 'controlpersist yes']},
    ['breaks ControlMaster auto with ControlPersist'],
  ],
  [{says: ['controlmaster auto', 'controlpersist yes']}, []],
  [{says: ['controlmaster auto', `controlpath /${'c'.repeat(91)}`]}, ['breaks ControlPath is too long for a socket']],
  [
    {says: ['controlmaster auto', `controlpath /${'c'.repeat(89)}`]},
    ['risk ControlMaster auto: a connection shared with other ssh'],
  ],
  [{says: ['forkafterauthentication yes']}, ['breaks ForkAfterAuthentication yes']],
  [{says: ['clearallforwardings yes']}, ['breaks ClearAllForwardings yes']],
  [{says: ['clearallforwardings yes'], forwards: []}, []],
  [{says: ['loglevel SILENT']}, ['risk LogLevel QUIET']],
  [{says: ['loglevel ERROR']}, []],
  [{says: ['gatewayports yes']}, []],
  [{says: ['gatewayports yes'], forwards: [{...forward, listen: {port: 5432}}]}, ['risk GatewayPorts yes']],
  [{says: ['remotecommand top']}, []],
  [{says: ['remotecommand top', 'sessiontype default']}, ['risk RemoteCommand']],
  [{says: ['requesttty force', 'sessiontype default'], command: true}, ['risk RequestTTY force']],
  [{says: ['requesttty force', 'sessiontype default']}, []],
  [{says: ['sessiontype default'], line: {background: true}}, ['breaks -f without -N']],
  [{says: ['sessiontype default'], command: true, line: {background: true}}, []],
  [{says: ['exitonforwardfailure no']}, ['risk ExitOnForwardFailure no']],
  [{forwards: []}, ['risk -N without a forward']],
  [{forwards: [], says: ['sessiontype default', 'requesttty auto']}, []],
  [{forwards: [], says: ['sessiontype default']}, ['risk RequestTTY no']],
  [{says: ['serveraliveinterval 3', 'serveralivecountmax 3']}, ['risk ServerAliveInterval 3 × ServerAliveCountMax 3']],
  [
    {says: ['serveraliveinterval 0']},
    ['risk ConnectTimeout 15 does not cover the login', 'risk -M 0, and no ServerAliveInterval: no heartbeat at all'],
  ],
  [{says: ['serveraliveinterval 0'], line: {monitor}, machine: {ports: monitorPorts}}, []],
  [{says: ['connecttimeout none']}, ['risk no ConnectTimeout']],
  [{machine: {hostKey: 'unknown'}}, ['risk the key of server is not in known_hosts']],
  [{machine: {hostKey: 'unknown'}, says: ['hostkeyalias other']}, ['risk the key of other is not in known_hosts']],
  [{machine: {hostKey: 'unknown'}, line: {background: true}}, ['breaks the key of server is not in known_hosts']],
  [{machine: {hostKey: 'unknown'}, says: ['stricthostkeychecking false']}, []],
  [{machine: {keys: [{path: '/key', state: 'touch'}]}}, ['risk the key /key is in a token']],
  [{machine: {keys: [{path: '/key', state: 'passphrase'}], agent: {running: true, keys: 1}}}, []],
  [
    {
      machine: {keys: [{path: '/key', state: 'passphrase'}], agent: {running: true, keys: 1}},
      says: ['identitiesonly yes'],
    },
    ['risk the key /key has a passphrase'],
  ],
  [{machine: {keys: [{path: '/key', state: 'passphrase'}]}, says: ['addkeystoagent true']}, []],
  [
    {machine: {keys: [{path: '/key', state: 'passphrase'}]}, says: ['addkeystoagent true'], line: {agent: false}},
    ['risk the key /key has a passphrase'],
  ],
  [
    {machine: {keys: [{path: '/key', state: 'passphrase'}]}, line: {background: true}},
    ['breaks the key /key has a passphrase'],
  ],
  [
    {machine: {keys: [{path: '/key', state: 'passphrase'}], askpass: true}, line: {background: true}},
    ['risk the key /key has a passphrase'],
  ],
  [{machine: {keys: []}}, ['risk no key to log in with']],
  [{machine: {keys: []}, says: ['batchmode yes']}, ['breaks no key to log in with']],
  [{machine: {keys: []}, says: ['gssapiauthentication yes']}, []],
  [{says: ['preferredauthentications password']}, ['risk no key to log in with']],
  [{says: ['pubkeyauthentication false']}, ['risk no key to log in with']],
])('%j', (changes, expected) => {
  expect(complaints(changes)).toEqual(expected);
});

describe('a key with a passphrase, no agent, and a terminal', () => {
  const locked = {keys: [{path: '/key', state: 'passphrase'}]} as const;
  const alone = {running: false, keys: 0};

  test.each<Changes>([
    {},
    {line: {background: true}},
    {says: ['identityagent SSH_AUTH_SOCK']},
    {says: ['identitiesonly yes']},
  ])('%j: autossh asks for it, into an agent of its own', (changes) => {
    const facts = factsOf({...changes, machine: {...locked, agent: alone}, terminal: true});
    expect(findings(facts)).toContainEqual(
      expect.objectContaining({severity: 'fine', title: 'the passphrase of /key is asked for once, at the start'}),
    );
    expect(complaints({...changes, machine: {...locked, agent: alone}, terminal: true})).toEqual([]);
  });

  test.each<[Changes, 'risk' | 'breaks']>([
    [{terminal: false}, 'risk'],
    [{terminal: false, line: {background: true}}, 'breaks'],
    [{line: {agent: false}}, 'risk'],
    [{line: {agent: false, background: true}}, 'breaks'],
    [{says: ['batchmode yes']}, 'breaks'],
    [{says: ['identityagent none']}, 'risk'],
    [{says: ['identityagent none'], line: {background: true}}, 'breaks'],
    // ssh asks another agent than the one that has the key.
    [{says: ['identityagent /dead']}, 'risk'],
    // autossh starts none then, and puts nothing into it.
    [{machine: {agent: {running: true, keys: 0}}}, 'risk'],
    // It leaves the asking to ssh, which in the background has no terminal.
    [{says: ['addkeystoagent true'], line: {background: true}}, 'breaks'],
  ])('%j: nobody does', (changes, severity) => {
    const machine = {...locked, agent: alone, ...changes.machine};
    expect(complaints({terminal: true, ...changes, machine})).toEqual([`${severity} the key /key has a passphrase`]);
  });
});

describe('a name of a server', () => {
  test('that is not known ends ssh, and autossh unless there is no gate', () => {
    const machine = {name: 'unknown'} as const;
    expect(complaints({machine})).toEqual(['breaks the name server cannot be resolved']);
    expect(complaints({machine, line: {gateTime: 0}})).toEqual(['risk the name server cannot be resolved']);
  });

  test.each(['unanswered', 'unasked'] as const)('%s is nothing to complain of', (name) => {
    expect(complaints({machine: {name}})).toEqual([]);
  });
});

describe('a port that is taken', () => {
  const holder = {pid: 7, name: 'postgres'};
  const held = new Map([[5432, {listening: [{address: '127.0.0.1', vacancy: 'busy'}], holder}]] as const);

  test('ends ssh, or leaves it without the forward', () => {
    const [strict] = findings(factsOf({machine: {ports: held}})).filter(({severity}) => severity === 'breaks');
    expect(strict?.title).toBe('-L 127.0.0.1:5432:db:5432: port 5432 is held by postgres (pid 7)');
    expect(strict?.effect).toBe('ssh exits with 255, and autossh gives up at the first start.');
    const [later] = findings(factsOf({machine: {ports: held}, line: {gateTime: 0}}));
    expect(later).toBeDefined();
    const [loose] = findings(factsOf({machine: {ports: held}, says: ['exitonforwardfailure no']})).filter(
      ({severity}) => severity === 'breaks',
    );
    expect(loose?.effect).toBe('ssh stays up without this forward.');
  });

  test.each([
    ['denied', 'port 5432 is not allowed'],
    ['absent', 'this machine has no such address'],
  ] as const)('or %s', (vacancy, says) => {
    const ports = new Map([[5432, {listening: [{address: '127.0.0.1', vacancy}]}]]);
    expect(complaints({machine: {ports}})).toEqual([`breaks -L 127.0.0.1:5432:db:5432: ${says}`]);
  });
});

describe('a port of the server for two', () => {
  const at = (port: number, host?: string): AskedForward => ({
    kind: 'R',
    listen: {...(host !== undefined && {host}), port},
    target: '[localhost]:22',
    origin: 'command line',
  });
  const beat: AskedForward = {kind: 'R', listen: {port: 20_000}, target: '[127.0.0.1]:20001', origin: 'monitor'};
  const watched = {line: {monitor}, machine: {ports: monitorPorts}};
  const session = ['sessiontype default', 'requesttty auto'];

  test.each<[Changes, string[]]>([
    [
      {...watched, forwards: [beat, at(20_000)]},
      ['risk -R 20000:localhost:22 and the heartbeat want the same port of the server'],
    ],
    [
      {...watched, forwards: [beat, at(20_000, '*')], says: session},
      ['risk -R *:20000:localhost:22 and the heartbeat want the same port of the server'],
    ],
    // ssh stays, and has a session that is not ended for the heartbeat alone.
    [
      {...watched, forwards: [beat, at(20_000, 'localhost')], says: [...session, 'exitonforwardfailure no']},
      [
        'breaks -R localhost:20000:localhost:22 and the heartbeat want the same port of the server',
        'risk ExitOnForwardFailure no',
      ],
    ],
    [{...watched, forwards: [beat, at(20_000, '10.0.0.1')]}, []],
    [{...watched, forwards: [beat, at(20_001)]}, []],
    [
      {forwards: [at(80), at(80, '127.0.0.1')]},
      ['breaks -R 127.0.0.1:80:localhost:22 and -R 80:localhost:22 want the same port of the server'],
    ],
    [{forwards: [at(0), at(0)]}, []],
  ])('%j', (changes, expected) => {
    expect(complaints(changes)).toEqual(expected);
  });

  test('is none for the -L of the same number, here', () => {
    expect(
      complaints({...watched, forwards: [{...forward, listen: {host: '127.0.0.1', port: 8080}}, at(8080)]}),
    ).toEqual([]);
  });
});

describe('the longest time a dead tunnel goes unnoticed', () => {
  test.each<[Changes, number]>([
    [{line: {monitor}, says: ['serveraliveinterval 0']}, 600 + 2 * 15],
    [{line: {monitor, firstPoll: 900_000}, says: ['serveraliveinterval 0']}, 900 + 2 * 15],
    [{line: {monitor, poll: 10_000, firstPoll: 10_000, netTimeout: 5_000}, says: ['serveraliveinterval 0']}, 20],
    [{}, 60],
    [{line: {monitor}}, 60],
    [{line: {monitor, poll: 10_000, firstPoll: 10_000, netTimeout: 5_000}}, 20],
    [{says: ['serveraliveinterval 0']}, 7_200 + 9 * 75],
    [{says: ['serveraliveinterval 15', 'serveralivecountmax 0']}, 7_200 + 9 * 75],
    [{says: ['serveraliveinterval 0', 'tcpkeepalive no']}, Infinity],
    [{says: ['serveraliveinterval 0', 'proxyjump gate']}, Infinity],
  ])('%j: %d s', (changes, seconds) => {
    expect(longestUnnoticed(factsOf(changes)).seconds).toBe(seconds);
  });

  test('a stopped ssh is noticed by -M alone', () => {
    expect(longestUnnoticed(factsOf()).except).toMatch(/only -M/);
    expect(longestUnnoticed(factsOf({line: {monitor}})).except).toBeUndefined();
  });

  test('an ssh with a session may have to do without the loop, and then nothing notices', () => {
    const says = ['sessiontype default', 'serveraliveinterval 0'];
    expect(longestUnnoticed(factsOf({line: {monitor}, says})).except).toMatch(/port 20000, may go without a heartbeat/);
    expect(longestUnnoticed(factsOf({line: {monitor: {...monitor, echoPort: 7}}, says})).except).toBeUndefined();
    expect(longestUnnoticed(factsOf({line: {monitor}, says: ['sessiontype default']})).except).toBeUndefined();
  });
});

test.each([
  ['localforward 20000 [127.0.0.1]:20000', '-L 20000:127.0.0.1:20000'],
  ['localforward [::1]:3 [fe80::1]:4', '-L [::1]:3:[fe80::1]:4'],
  ['localforward []:18 [h]:9', '-L :18:h:9'],
  ['localforward /a b.sock [db]:5', '-L /a b.sock:db:5'],
  ['remoteforward [1.2.3.4]:55 /tmp/x', '-R 1.2.3.4:55:/tmp/x'],
  ['remoteforward 7777 [socks]:0', '-R 7777'],
  ['dynamicforward [localhost]:99', '-D localhost:99'],
])('%s is %s', (line, written) => {
  const parsed = parseForward(line);
  expect(parsed && printed({...parsed, origin: 'command line'})).toBe(written);
});

test('what is no forward is none', () => {
  expect(parseForward('forwardagent yes')).toBeUndefined();
  expect(parseForward('localforward nonsense')).toBeUndefined();
});

test.each([
  [undefined, false, 'any', ['127.0.0.1', '::1']],
  [undefined, true, 'any', ['0.0.0.0', '::']],
  [undefined, false, 'inet', ['127.0.0.1']],
  ['localhost', true, 'inet6', ['::1']],
  ['*', false, 'any', ['0.0.0.0', '::']],
  ['', false, 'inet', ['0.0.0.0']],
  ['10.0.0.1', true, 'any', ['10.0.0.1']],
  ['some.name', false, 'any', []],
] as const)(
  'a forward of %s, GatewayPorts %s, AddressFamily %s listens on %j',
  (host, gatewayPorts, family, addresses) => {
    expect(bindAddresses(host, {gatewayPorts, family})).toEqual(addresses);
  },
);

test('this machine by its names', () => {
  expect(['localhost', '127.0.0.2', '::1', '10.0.0.1', 'db'].filter(isLoopback)).toEqual([
    'localhost',
    '127.0.0.2',
    '::1',
  ]);
});
