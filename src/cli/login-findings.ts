import {afterFailure, type Facts, type Finding, type Row, valueOf} from './finding.js';

const about = 'configuration';

/** Whether ssh can log in again with nobody there. */
const login: Row = (facts) => {
  const {keys, agent, askpass} = facts.machine;
  const {background} = facts.line;
  const asksNobody = valueOf(facts, 'batchmode') === 'yes';
  const nobody = asksNobody || (background && !askpass);
  const found: Finding[] = [];
  const withKeys = allows(facts, 'publickey') && !['no', 'false'].includes(valueOf(facts, 'pubkeyauthentication'));
  const usable = withKeys ? keys.filter(({state}) => state === 'open' || state === 'agent') : [];
  const held = withKeys && agent.keys > 0 && valueOf(facts, 'identitiesonly') !== 'yes';
  if (usable[0]) {
    const how = usable[0].state === 'open' ? 'needs no passphrase' : 'is in the agent';
    return [{severity: 'fine', about, title: `the key ${usable[0].path} ${how}`}];
  }
  if (held)
    return [{severity: 'fine', about, title: `the agent has ${agent.keys === 1 ? 'a key' : `${agent.keys} keys`}`}];
  for (const {path} of keys.filter(({state}) => state === 'unprotected')) {
    const effect = 'Others may read it, so ssh does not use it.';
    found.push({severity: 'risk', about, title: `the key ${path} is not private`, effect, advice: `chmod 600 ${path}`});
  }
  const others = ['hostbasedauthentication', 'gssapiauthentication'].some((key) => valueOf(facts, key) === 'yes');
  if (
    others ||
    valueOf(facts, 'pkcs11provider') !== '' ||
    agent.unknown ||
    keys.some(({state}) => state === 'unknown')
  ) {
    return [...found, {severity: 'unknown', about, title: 'whether a login needs somebody there'}];
  }
  const reason = asksNobody ? 'BatchMode yes' : 'in the background (-f)';
  const refused = `the login fails, ssh exits with 255, and ${afterFailure(facts)}.`;
  const locked = withKeys ? keys.find(({state}) => state === 'passphrase') : undefined;
  if (locked) return [...found, ...passphrase(facts, locked.path, {nobody, reason, refused})];
  const touched = withKeys ? keys.find(({state}) => state === 'touch') : undefined;
  if (touched) {
    const effect = 'Somebody has to touch it at every restart.';
    return [
      ...found,
      {
        severity: 'risk',
        about,
        title: `the key ${touched.path} is in a token`,
        effect,
        advice: 'another key for this tunnel',
      },
    ];
  }
  const typed = ['passwordauthentication', 'kbdinteractiveauthentication'].some((key) => valueOf(facts, key) === 'yes');
  const advice = 'ssh-keygen, then ssh-copy-id: a key for this tunnel';
  if (nobody || !typed) {
    const why = typed ? `Nobody can type a password (${reason}):` : 'Passwords are not allowed either:';
    return [...found, {severity: 'breaks', about, title: 'no key to log in with', effect: `${why} ${refused}`, advice}];
  }
  const effect = 'A password is asked for at every restart. Until somebody types it, there is no tunnel.';
  return [...found, {severity: 'risk', about, title: 'no key to log in with', effect, advice}];
};

function passphrase(
  facts: Facts,
  path: string,
  {nobody, reason, refused}: {nobody: boolean; reason: string; refused: string},
): readonly Finding[] {
  if (isAskedAtStart(facts)) {
    return [{severity: 'fine', about, title: `the passphrase of ${path} is asked for once, at the start`}];
  }
  const running = facts.machine.agent.running;
  const title = `the key ${path} has a passphrase`;
  const add = running ? `ssh-add ${path}` : `eval "$(ssh-agent)" && ssh-add ${path}`;
  if (nobody) {
    return [{severity: 'breaks', about, title, effect: `Nobody can type it (${reason}): ${refused}`, advice: add}];
  }
  const agent = running || hasOwnAgent(facts);
  const [adding = '', lifetime] = valueOf(facts, 'addkeystoagent').split(' ');
  const options = ['-o AddKeysToAgent=yes'];
  if (!agent) {
    const effect = 'It is asked for at every restart. Until somebody types it, there is no tunnel.';
    return [{severity: 'risk', about, title, effect, advice: add}];
  }
  if (adding === 'true' || adding === 'yes') {
    return [{severity: 'fine', about, title: `the passphrase of ${path} is asked for once`}];
  }
  if (adding === 'false' || adding === 'no' || adding === '') {
    const effect = 'It is asked for at every restart. Until somebody types it, there is no tunnel.';
    return [{severity: 'risk', about, title, effect, options}];
  }
  const seconds = lifetime ?? adding;
  const asking = adding === 'ask' || adding === 'confirm';
  const effect = asking
    ? 'The agent asks before each use of the key, so at every restart.'
    : `The agent forgets it after ${seconds} s. At a restart after that it is asked for again.`;
  return [{severity: 'risk', about, title: `AddKeysToAgent ${asking ? adding : seconds}`, effect, options}];
}

/** Whether autossh starts an agent, and ssh asks that one. */
function hasOwnAgent(facts: Facts): boolean {
  const asked = ['', 'SSH_AUTH_SOCK', '$SSH_AUTH_SOCK'].includes(valueOf(facts, 'identityagent'));
  return facts.line.agent && !facts.machine.agent.running && asked;
}

/** Whether autossh has the key added to its own agent before it starts ssh, or goes to the background. */
function isAskedAtStart(facts: Facts): boolean {
  // Else it leaves the asking to ssh.
  const adds = ['', 'no', 'false'].includes(valueOf(facts, 'addkeystoagent'));
  return facts.terminal && adds && valueOf(facts, 'batchmode') !== 'yes' && hasOwnAgent(facts);
}

function allows(facts: Facts, method: string): boolean {
  const preferred = valueOf(facts, 'preferredauthentications');
  return preferred === '' || preferred.split(',').includes(method);
}

const hostKey: Row = (facts) => {
  const checking = valueOf(facts, 'stricthostkeychecking');
  const host = valueOf(facts, 'hostkeyalias') || valueOf(facts, 'hostname');
  if (facts.machine.hostKey === 'known') return [{severity: 'fine', about, title: `the key of ${host} is known`}];
  if (checking !== 'ask' && checking !== 'true' && checking !== 'yes') return [];
  if (facts.machine.hostKey === 'unknowable') {
    return [{severity: 'unknown', about, title: `whether the key of ${host} is known`}];
  }
  const title = `the key of ${host} is not in known_hosts`;
  const nobody = valueOf(facts, 'batchmode') === 'yes' || (facts.line.background && !facts.machine.askpass);
  const advice = 'connect once by hand: ssh, and compare the fingerprint';
  if (checking !== 'ask') {
    const effect = `StrictHostKeyChecking yes: ssh refuses the server and exits with 255; ${afterFailure(facts)}.`;
    return [
      {severity: 'breaks', about, title, effect, advice: 'put its key into known_hosts (from its administrator)'},
    ];
  }
  if (nobody) {
    const effect = `ssh asks whether to trust it, and nobody can answer: it exits with 255; ${afterFailure(facts)}.`;
    return [{severity: 'breaks', about, title, effect, advice}];
  }
  const effect = 'ssh asks whether to trust it. Until somebody answers, there is no tunnel.';
  return [{severity: 'risk', about, title, effect, advice}];
};

/** Whether the server and ssh will trust each other with nobody there. */
export const loginRows: readonly Row[] = [login, hostKey];
