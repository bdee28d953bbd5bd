/**
 * Looks for the programs that the tests, the demo and the bench start, and installs what is missing where that can be
 * done without asking: as root on a system with apt-get.
 *
 *     tsx scripts/prerequisites.ts [--test | --bench]
 */
import {spawnSync} from 'node:child_process';
import {accessSync, constants, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {delimiter, isAbsolute, join} from 'node:path';

interface Program {
  /** Or, of what is no program, the path of a file. */
  name: string;
  /** The Debian package that has it. */
  from: string;
  /** What does not work without it. Programs that have no such sentence are required. */
  without?: string;
}

/**
 * Debian's start scripts and units of sshd, however they are called, start nothing while this file exists
 * (openssh-server's README.Debian). sshd itself, when it is run by hand, does not look at it.
 */
const doNotRun = '/etc/ssh/sshd_not_to_be_run';

/** Where sshd, started as root, keeps its unprivileged half. The system's own start script would make it. */
const privilegeSeparation = '/run/sshd';

const isRoot = process.getuid?.() === 0;
const wanted = programs(process.argv.slice(2));
let packageListsAreFresh = false;

// An interrupt ends apt-get; this program goes on, clears up and says what is missing.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);

install(wanted.filter((program) => program.without === undefined && !find(program.name)));
install(wanted.filter((program) => program.without !== undefined && !find(program.name)));

if (isRoot && find('sshd')) mkdirSync(privilegeSeparation, {recursive: true, mode: 0o755});

for (const {name, from, without} of wanted) {
  if (find(name)) continue;
  console.error(`${without ? 'Note' : 'Error'}: ${name} is missing${without ? `: ${without}` : ''}. ${advice(from)}`);
  if (!without) process.exitCode = 1;
}

function programs(flags: readonly string[]): Program[] {
  const bench = flags.includes('--bench');
  const list: Program[] = [
    {name: 'ssh', from: 'openssh-client'},
    {name: 'ssh-keygen', from: 'openssh-client'},
    {name: 'sshd', from: 'openssh-server'},
    {name: 'setpriv', from: 'util-linux', without: 'an ssh outlives a killed host a little longer'},
  ];
  // Network namespaces can be made by root alone, so nobody else has a use for these.
  if (isRoot && (bench || flags.includes('--test'))) {
    const without = 'the tests that break the network are skipped';
    list.push({name: 'ip', from: 'iproute2', without}, {name: 'nft', from: 'nftables', without});
    list.push({name: 'prlimit', from: 'util-linux', without: 'the tests that use up a limit are skipped'});
  }
  // Nor can anybody else tell PAM what it is to ask for.
  const modules = modulesOfPam();
  if (isRoot && flags.includes('--test') && modules !== undefined) {
    const without = 'the tests with one-time codes are skipped';
    list.push({name: join(modules, 'pam_oath.so'), from: 'libpam-oath', without});
    list.push({name: 'oathtool', from: 'oathtool', without});
  }
  // Debian's package redis-server would start one. This program, in a package without any service, is the same file and is
  // the server when it is called redis-server.
  if (flags.includes('--test')) {
    list.push({name: 'redis-check-rdb', from: 'redis-tools', without: 'the test with a Redis server is skipped'});
    list.push({name: 'autossh', from: 'autossh', without: 'the tests that compare with autossh 1.4g are skipped'});
    list.push({name: 'openssl', from: 'openssl', without: 'the tests with keys that it has made are skipped'});
    // A /bin/sh is one thing on Debian, others on Alpine and elsewhere.
    list.push({name: 'busybox', from: 'busybox', without: 'the tests of what runs in its shell are skipped'});
    list.push({name: 'socat', from: 'socat', without: 'the test with an echo service is skipped'});
    const completions = 'the tests of its completions are skipped';
    list.push({name: 'zsh', from: 'zsh', without: completions}, {name: 'fish', from: 'fish', without: completions});
    const bash = '/usr/share/bash-completion/bash_completion';
    list.push({name: bash, from: 'bash-completion', without: completions});
    list.push({name: 'script', from: 'bsdutils', without: 'the tests of bash on a terminal are skipped'});
    list.push({name: 'tmux', from: 'tmux', without: 'the tests on a terminal are skipped'});
    list.push({name: 'mandoc', from: 'mandoc', without: 'the manual page is not checked'});
    list.push({name: 'man', from: 'man-db', without: 'nobody looks how the manual page can be read'});
    const systemd = 'the tests of what is told to systemd, and of its unit, are skipped';
    for (const name of ['systemd-notify', 'systemd-analyze']) list.push({name, from: 'systemd', without: systemd});
    // Something that listens on a Unix datagram socket: Debian always has it.
    list.push({name: 'perl', from: 'perl-base', without: 'the tests of what is told to systemd are skipped'});
    list.push({name: 'tmux', from: 'tmux', without: 'the tests of what is seen on a terminal are skipped'});
  }
  if (bench) list.push({name: 'autossh', from: 'autossh', without: 'the bench compares with plain ssh only'});
  return list;
}

/** Their folder has the name of the machine's architecture in it. */
function modulesOfPam(): string | undefined {
  const folders = ['/lib', '/usr/lib']
    .filter((path) => existsSync(path))
    .flatMap((path) => readdirSync(path).map((entry) => join(path, entry, 'security')));
  return folders.find((folder) => existsSync(join(folder, 'pam_permit.so')));
}

/**
 * The sbin folders are looked at too: sshd, ip and nft live there, and a user's PATH often lacks them. Those that npm puts
 * in front are not: there an `autossh` is this package's own.
 */
function find(name: string): boolean {
  if (isAbsolute(name)) return existsSync(name);
  const path = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => !folder.includes('node_modules'));
  const folders = [...path, '/usr/local/sbin', '/usr/sbin', '/sbin'];
  return folders.some((folder) => folder !== '' && isExecutable(join(folder, name)));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function install(missing: readonly Program[]): void {
  if (missing.length === 0 || !isRoot || !find('apt-get')) return;
  const packages = [...new Set(missing.map((program) => program.from))];
  console.log(`Missing: ${missing.map((program) => program.name).join(', ')}. Installing ${packages.join(', ')}.`);

  // Installing openssh-server normally also starts a server that listens on every address, at once or after a boot.
  const withServer = packages.includes('openssh-server');
  const marked = withServer && !existsSync(doNotRun);
  if (marked) {
    mkdirSync('/etc/ssh', {recursive: true, mode: 0o755});
    writeFileSync(doNotRun, 'Made by the tests of node-autossh. Remove it to let the system run its own sshd.\n');
    console.log(`The system will not run sshd as a service while ${doNotRun} exists.`);
  }
  try {
    if (!packageListsAreFresh) aptGet('update');
    packageListsAreFresh = true;
    aptGet('install', '--yes', '--no-install-recommends', ...packages);
  } finally {
    if (marked && !find('sshd')) rmSync(doNotRun, {force: true});
  }
}

/** What came of it is seen by looking for the programs again. */
function aptGet(...args: string[]): void {
  spawnSync('apt-get', ['--quiet', '-o', 'DPkg::Lock::Timeout=120', '-o', 'Dpkg::Use-Pty=0', ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {...process.env, DEBIAN_FRONTEND: 'noninteractive'},
  });
}

function advice(debianPackage: string): string {
  const openssh = debianPackage.startsWith('openssh-');
  const fedora = debianPackage === 'openssh-client' ? 'openssh-clients' : debianPackage;
  const others = openssh ? `; Fedora: dnf install ${fedora}; Alpine: apk add openssh` : '';
  return `Install it with: apt-get install ${debianPackage}${others}`;
}
