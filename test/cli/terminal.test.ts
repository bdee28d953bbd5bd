import {execFile} from 'node:child_process';
import {copyFileSync, existsSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {promisify} from 'node:util';
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, test} from 'vitest';
import {
  PrivateSshd,
  alive,
  canListen,
  commandLine,
  expectNothingLeft,
  freePort,
  hasTmux,
  ownTemporaryFolder,
  pollUntil,
  processFacts,
  signal,
  silentServer,
  snapshot,
  temporaryFolder,
  waitForExit,
  waitForState,
} from '../support/index.js';
import {Shell, type ShellOptions} from './shell.js';

const run = promisify(execFile);
const passphrase = 'correct-horse-battery';

let restoreTemporaryFolder: () => void;
let sshd: PrivateSshd;
/** Of one test. */
let folder: string;
let before = snapshot();
/** Of sshd's log, where a test begins. */
let since = 0;

beforeAll(async () => {
  restoreTemporaryFolder = ownTemporaryFolder();
  sshd = await PrivateSshd.start();
});
afterAll(async () => {
  await sshd.stop();
  restoreTemporaryFolder();
});

beforeEach(() => {
  before = snapshot();
  since = sshd.log.length;
  folder = temporaryFolder('user-');
});
afterEach(async () => {
  await pollUntil('the end of all sessions', () => sshd.sessions().length === 0);
  copyFileSync(`${sshd.identityFile}.pub`, sshd.authorizedKeysFile);
  rmSync(folder, {recursive: true, force: true});
  await expectNothingLeft(before, {within: 3_000, resources: false});
});

/** A shell in which `$server` is what ssh needs to reach the server. */
async function open({
  lines = [],
  ...options
}: ShellOptions & {readonly lines?: readonly string[]} = {}): Promise<Shell> {
  const config = lines.length === 0 ? sshd.configFile : sshd.config({lines});
  return Shell.open({...options, env: {server: `-F ${config} tunnel`, ...options.env}});
}

/** Until the server has begun so many login shells. */
async function loginShell(shell: Shell, times = 1): Promise<void> {
  await logged(/Starting session: shell on /, times);
  await shell.type("PROMPT_COMMAND= PS1='remote> '", 'Enter');
  await remotePrompt(shell);
}

async function remotePrompt(shell: Shell): Promise<void> {
  await shell.shows(/^remote>\n*$/m);
}

async function logged(pattern: RegExp, times = 1): Promise<void> {
  const count = (): number => sshd.log.slice(since).filter((line) => pattern.test(line)).length;
  await pollUntil(`${String(pattern)}, ${String(times)} times`, () => count() >= times);
}

const logins = (times: number): Promise<void> => logged(/Accepted publickey/, times);

/** Until a command runs on the server. */
async function remoteProcess(...argv: string[]): Promise<number> {
  const find = (): number | undefined => sshd.sessions().find((pid) => commandLine(pid).join(' ') === argv.join(' '));
  await pollUntil(argv.join(' '), () => find() !== undefined);
  return find() ?? 0;
}

describe.skipIf(!hasTmux)(`on a terminal${hasTmux ? '' : ' (skipped: tmux is missing)'}`, () => {
  describe('autossh with a destination alone is a login shell', () => {
    test('on a terminal of the same kind and size, with colours', async () => {
      await using shell = await open({columns: 101, rows: 33});
      const kind = await shell.run('echo "kind=$TERM"');
      expect(kind).toBe(0);
      const [, term = ''] = await shell.shows(/^kind=(.+)$/m);
      const ended = await shell.start('autossh -M 0 $server');
      await loginShell(shell);
      await shell.type('echo "[$0] [$TERM] [$(stty size)] [$(tty)]"', 'Enter');
      await shell.shows(new RegExp(String.raw`^\[-\w+\] \[${term}\] \[33 101\] \[/dev/(pts/|tty)\w+\]$`, 'm'));
      await shell.type(String.raw`printf '\033[31mred\033[0m \033[1;44mblue\033[0m\n'`, 'Enter');
      await shell.shows(/^red blue$/m);
      const colours = (await shell.terminal.colours()).replaceAll('\u001B', '^');
      expect(colours).toMatch(/\^\[31mred\^\[.*m .*\^\[1m\^\[44mblue/);
      await shell.type('exit', 'Enter');
      expect(await ended()).toBe(0);
    });

    test('whose window changes its size there too', async () => {
      await using shell = await open({columns: 120, rows: 40});
      const ended = await shell.start('autossh -M 0 $server');
      await loginShell(shell);
      await shell.type(`sh -c 'trap "stty size; exit" WINCH; echo waits; while sleep 0.05; do :; done'`, 'Enter');
      await shell.shows(/^waits$/m);
      await shell.terminal.resize(90, 30);
      await shell.shows(/^30 90$/m);
      await shell.type('exit', 'Enter');
      expect(await ended()).toBe(0);
    });

    test('in which Ctrl-C ends the command that runs there, and nothing here', async () => {
      await using shell = await open();
      const ended = await shell.start('autossh -M 0 $server');
      await loginShell(shell);
      const {autossh, ssh} = shell;
      await shell.type('sleep 1000', 'Enter');
      const sleeping = await remoteProcess('sleep', '1000');
      await shell.type('C-c');
      await waitForExit(sleeping);
      await shell.type('echo "code $?"', 'Enter');
      await shell.shows(/^code 130$/m);
      expect(shell).toMatchObject({autossh, ssh});
      await shell.type('exit', 'Enter');
      expect(await ended()).toBe(0);
    });

    test('in which Ctrl-Z stops the job there, and nothing here', async () => {
      await using shell = await open();
      const ended = await shell.start('autossh -M 0 $server');
      await loginShell(shell);
      await shell.type('sleep 1000', 'Enter');
      const sleeping = await remoteProcess('sleep', '1000');
      await shell.type('C-z');
      await waitForState(sleeping, 'T');
      await remotePrompt(shell);
      for (const pid of [shell.autossh, shell.ssh]) expect(processFacts(pid)?.state).not.toBe('T');
      await shell.type('fg', 'Enter');
      await waitForState(sleeping, 'S');
      await shell.type('C-c');
      await waitForExit(sleeping);
      await shell.type('exit 0', 'Enter');
      expect(await ended()).toBe(0);
    });

    test.each([
      ['exit', '0', 0],
      ['exit 3', '0', 1],
      ['exit', '30', 1],
      ['exit 3', '30', 1],
    ])(
      'that ends with `%s`, with a gate of %s s: exit code %i, and the terminal as before',
      async (word, gate, code) => {
        await using shell = await open({env: {AUTOSSH_GATETIME: gate}});
        const settings = await shell.settings();
        const ended = await shell.start('autossh -M 0 $server');
        await loginShell(shell);
        expect(await shell.settings()).toContain(' -icanon ');
        await shell.type(word, 'Enter');
        expect(await ended()).toBe(code);
        expect(await shell.settings()).toBe(settings);
      },
    );

    test("that ssh's escape leaves, for good inside the gate", async () => {
      await using shell = await open({env: {AUTOSSH_GATETIME: '30'}});
      const settings = await shell.settings();
      const ended = await shell.start('autossh -M 0 $server');
      await loginShell(shell);
      await shell.type('Enter', '~', '.');
      expect(await ended()).toBe(1);
      await shell.shows(
        /^autossh: ssh exited prematurely with status 255; autossh exiting \(--gate-time 0 allows it\)$/m,
      );
      expect(await shell.settings()).toBe(settings);
    });

    test("that ssh's escape leaves for another one outside the gate", async () => {
      await using shell = await open();
      const ended = await shell.start('autossh -M 0 $server');
      await loginShell(shell);
      await shell.type('Enter', '~', '.');
      await loginShell(shell, 2);
      await shell.type('exit', 'Enter');
      expect(await ended()).toBe(0);
    });

    test('with the heartbeat over -M, whose connections do not hold up its end', async () => {
      const port = await monitorPort();
      await using shell = await open({
        env: {AUTOSSH_POLL: '1', AUTOSSH_LOGFILE: join(folder, 'log'), AUTOSSH_LOGLEVEL: '7'},
      });
      const ended = await shell.start(`autossh -M ${port} $server`);
      await loginShell(shell);
      // Server and client are one machine, which has the port already: the next ssh gets another one for the server.
      await logShows(/could not be listened on/g, 1);
      signal(shell.autossh, 'SIGUSR1');
      await loginShell(shell, 2);
      await logShows(/connection ok/g, 3);
      await shell.type('exit', 'Enter');
      expect(await ended()).toBe(0);
    });
  });

  describe('the terminal is as it was', () => {
    test.each(['SIGKILL', 'SIGTERM', 'SIGSEGV'] as const)(
      'after %s for ssh, when it was the last one',
      async (name) => {
        await using shell = await open({env: {AUTOSSH_MAXSTART: '1'}});
        const settings = await shell.settings();
        const ended = await shell.start('autossh -M 0 $server');
        await loginShell(shell);
        expect(await shell.settings()).toContain(' -icanon ');
        signal(shell.ssh, name);
        expect(await ended()).toBe(0);
        expect(await shell.settings()).toBe(settings);
      },
    );

    test.each(['SIGTERM', 'SIGINT', 'SIGQUIT'] as const)('after %s for autossh', async (name) => {
      await using shell = await open();
      const settings = await shell.settings();
      const ended = await shell.start('autossh -M 0 $server');
      await loginShell(shell);
      signal(shell.autossh, name);
      expect(await ended()).toBe(1);
      expect(await shell.settings()).toBe(settings);
    });

    test('for the next ssh too, after KILL for one that had it raw', async () => {
      await using shell = await open({lines: [await lockedKey()]});
      const ended = await shell.start('autossh -M 0 $server');
      await shell.shows(/Enter passphrase for key/);
      await shell.type(passphrase, 'Enter');
      await loginShell(shell);
      expect(await shell.settings()).toContain(' -icanon ');
      signal(shell.ssh, 'SIGKILL');
      await shell.shows(/Enter passphrase for key '.*\/locked': *\n*$/);
      const settings = await shell.settings();
      expect(settings).toContain(' icanon ');
      expect(settings).not.toContain('-opost');
      await shell.type('C-c');
      expect(await ended()).toBe(1);
    });

    test('after KILL for autossh', async () => {
      await using shell = await open();
      const settings = await shell.settings();
      const ended = await shell.start('autossh -M 0 $server');
      await loginShell(shell);
      const {autossh, ssh} = shell;
      signal(autossh, 'SIGKILL');
      expect(await ended()).toBe(137);
      await waitForExit(ssh);
      expect(await shell.settings()).toBe(settings);
    });

    test('after a second signal to autossh, for an ssh that does not end', async () => {
      const stubborn = join(folder, 'stubborn');
      const script = "#!/bin/sh\ntrap '' TERM INT\nstty raw -echo\necho ready\nexec sleep 1000\n";
      writeFileSync(stubborn, script, {mode: 0o755});
      await using shell = await open({env: {AUTOSSH_PATH: stubborn, AUTOSSH_DEBUG: '1'}});
      const settings = await shell.settings();
      const ended = await shell.start('autossh -M 0 host');
      await shell.shows(/^ready$/m);
      const {autossh} = shell;
      expect(await shell.settings()).toContain(' -icanon ');
      signal(autossh, 'SIGTERM');
      await shell.shows(/received signal to exit \(15\)$/m);
      signal(autossh, 'SIGINT');
      expect(await ended()).toBe(1);
      expect(await shell.settings()).toBe(settings);
    });

    test('after ssh was killed while it asked for a passphrase', async () => {
      await using shell = await open({lines: [await lockedKey()], env: {AUTOSSH_MAXSTART: '1'}});
      const settings = await shell.settings();
      const ended = await shell.start('autossh -M 0 $server');
      await shell.shows(/Enter passphrase for key/);
      expect(await shell.settings()).toContain(' -echo ');
      signal(await shell.nextSSH(), 'SIGKILL');
      expect(await ended()).toBe(0);
      expect(await shell.settings()).toBe(settings);
    });
  });

  test('after TERM for ssh there is another one with a shell, and the log tells on the terminal', async () => {
    const port = await monitorPort();
    await using shell = await open();
    const ended = await shell.start(`AUTOSSH_PORT=${port} AUTOSSH_DEBUG=1 autossh $server`);
    await loginShell(shell);
    await shell.shows(/^(?:remote> )?autossh\[\d+\]: starting ssh \(count 1\)$/m);
    const {ssh} = shell;
    signal(ssh, 'SIGTERM');
    await loginShell(shell, 2);
    await shell.shows(/^(?:remote> )?autossh\[\d+\]: ssh exited with error status 255; restarting ssh$/m);
    await shell.shows(/^(?:remote> )?autossh\[\d+\]: starting ssh \(count 2\)$/m);
    expect(shell.ssh).not.toBe(ssh);
    await shell.type('echo "still $((40 + 2))"', 'Enter');
    await shell.shows(/^still 42$/m);
    await shell.type('exit', 'Enter');
    expect(await ended()).toBe(0);
  });

  describe('the job control of the shell', () => {
    test('Ctrl-Z stops autossh and ssh, and fg lets them go on', async () => {
      await using shell = await open();
      const ended = await shell.start('autossh -M 0 -N $server');
      await logins(1);
      const {autossh, ssh} = shell;
      await shell.type('C-z');
      await waitForState(autossh, 'T');
      await waitForState(ssh, 'T');
      // As bash says it: 128 and SIGTSTP.
      expect(await ended()).toBe(148);
      const again = await shell.start('fg');
      for (const pid of [autossh, ssh]) await pollUntil('it goes on', () => processFacts(pid)?.state === 'S');
      expect(shell).toMatchObject({autossh, ssh});
      await shell.type('C-c');
      expect(await again()).toBe(1);
      for (const pid of [autossh, ssh]) expect(alive(pid)).toBe(false);
    });

    test('Ctrl-C ends both, with 1', async () => {
      await using shell = await open();
      const settings = await shell.settings();
      const ended = await shell.start('autossh -M 0 -N $server');
      await logins(1);
      const {autossh, ssh} = shell;
      await shell.type('C-c');
      expect(await ended()).toBe(1);
      for (const pid of [autossh, ssh]) expect(alive(pid)).toBe(false);
      expect(await shell.settings()).toBe(settings);
    });

    test('in the background nothing stops them, a restart neither', async () => {
      await using shell = await open();
      await shell.type('autossh -M 0 -N $server &', 'Enter');
      await logins(1);
      const {autossh, ssh} = shell;
      signal(ssh, 'SIGKILL');
      await logins(2);
      expect(await shell.run('jobs')).toBe(0);
      await shell.shows(/^\[1\]\+ +Running +autossh -M 0 -N \$server &$/m);
      signal(autossh, 'SIGTERM');
      await waitForExit(autossh);
    });

    test('from the background nobody takes the terminal away from who has it', async () => {
      await using shell = await open();
      await shell.type('autossh -M 0 -N $server &', 'Enter');
      await logins(1);
      const {autossh} = shell;
      // As an editor would have it.
      await shell.type('stty raw -echo; echo ready; cat', 'Enter');
      await shell.shows(/^ *ready$/m);
      const raw = await shell.settings();
      expect(raw).toContain(' -icanon ');
      signal(shell.ssh, 'SIGKILL');
      await logins(2);
      expect(await shell.settings()).toBe(raw);
      signal(autossh, 'SIGTERM');
      await waitForExit(autossh);
      expect(await shell.settings()).toBe(raw);
    });
  });

  test('a tunnel outlives its terminal', async () => {
    const shell = await open();
    await shell.start('autossh -M 0 -N -v $server');
    await logins(1);
    const {autossh, ssh} = shell;
    await shell.terminal[Symbol.asyncDispose]();
    // It has had its own hangup, and says so where nobody is left.
    await waitForExit(ssh);
    await logins(2);
    expect(shell.autossh).toBe(autossh);
    signal(autossh, 'SIGTERM');
    await waitForExit(autossh);
    expect(shell.autossh).toBe(0);
  });

  test('an ssh that has much to say does not wait for a terminal that is gone', async () => {
    const [talkative, gone, said] = ['talkative', 'gone', 'said'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const script = `#!/bin/sh
trap '' HUP
echo ready
until test -e ${gone}; do sleep 0.05; done
head -c 500000 /dev/zero | tr '\\0' 'x' >&2
touch ${said}
exec sleep 1000
`;
    writeFileSync(talkative, script, {mode: 0o755});
    const shell = await open({env: {AUTOSSH_PATH: talkative}});
    await shell.start('autossh -M 0 host');
    await shell.shows(/^ready$/m);
    const {autossh} = shell;
    await shell.terminal[Symbol.asyncDispose]();
    writeFileSync(gone, '');
    await pollUntil('all is said', () => existsSync(said));
    signal(autossh, 'SIGTERM');
    await waitForExit(autossh);
  });

  describe('what ssh asks is answered on the terminal', () => {
    test('whether a host key is the right one, once', async () => {
      const knownHosts = join(folder, 'known_hosts');
      await using shell = await open({lines: ['StrictHostKeyChecking ask', `UserKnownHostsFile ${knownHosts}`]});
      const ended = await shell.start('autossh -M 0 $server');
      await shell.shows(/Are you sure you want to continue connecting .*\?$/m);
      await shell.type('yes', 'Enter');
      await loginShell(shell);
      expect(readFileSync(knownHosts, 'utf8')).toContain(' ssh-ed25519 ');
      signal(shell.ssh, 'SIGKILL');
      await loginShell(shell, 2);
      expect(await shell.count(/Are you sure/)).toBe(1);
      await shell.type('exit', 'Enter');
      expect(await ended()).toBe(0);
    });

    test('a passphrase, by each ssh without an agent', async () => {
      await using shell = await open({lines: [await lockedKey()]});
      const ended = await shell.start('autossh -M 0 -N $server');
      for (const times of [1, 2]) {
        await shell.shows(new RegExp(`(Enter passphrase for key '.*/locked': *\\s*){${times}}$`));
        await shell.type(passphrase, 'Enter');
        await logins(times);
        if (times === 1) signal(shell.ssh, 'SIGKILL');
      }
      await shell.type('C-c');
      expect(await ended()).toBe(1);
      expect(await shell.terminal.screen()).not.toContain(passphrase);
    });
  });

  describe('with an agent of the session a passphrase is asked for once', () => {
    const withAgent = async (): Promise<Shell> => {
      const lines = ['IdentityAgent SSH_AUTH_SOCK', await lockedKey()];
      return open({lines, env: {AUTOSSH_AGENT: 'yes'}});
    };

    test('and not again for the next ssh', async () => {
      await using shell = await withAgent();
      const settings = await shell.settings();
      const ended = await shell.start('autossh -M 0 $server');
      await shell.shows(/^Enter passphrase for \S+\/locked:$/m);
      await shell.type(passphrase, 'Enter');
      await loginShell(shell);
      signal(shell.ssh, 'SIGKILL');
      await loginShell(shell, 2);
      expect(await shell.count(/passphrase/)).toBe(1);
      await shell.type('exit', 'Enter');
      expect(await ended()).toBe(0);
      expect(await shell.settings()).toBe(settings);
    });

    test('before -f leaves the terminal, and each ssh in the background logs in with the key', async () => {
      await using shell = await withAgent();
      const ended = await shell.start('autossh -M 0 -f -N $server');
      await shell.shows(/^Enter passphrase for \S+\/locked:$/m);
      await shell.type(passphrase, 'Enter');
      expect(await ended()).toBe(0);
      await logins(1);
      const {autossh, ssh} = shell;
      expect(commandLine(autossh).slice(2)).toEqual(expect.arrayContaining(['-M', '0', '-f', '-N']));
      signal(ssh, 'SIGKILL');
      await logins(2);
      expect(await shell.count(/passphrase/)).toBe(1);
      signal(autossh, 'SIGTERM');
      await waitForExit(autossh);
      expect(shell.autossh).toBe(0);
    });
  });

  describe('what is only printed', () => {
    test('--status shows the tunnel, r replaces ssh, and q ends it', async () => {
      await using shell = await open();
      const settings = await shell.settings();
      const ended = await shell.start('autossh --status -M 0 -N $server');
      const [, first = ''] = await shell.shows(/ ● started .* ssh pid (\d+)/);
      expect(first).toBe(String(shell.ssh));
      await shell.type('r');
      const [, second] = await shell.shows(new RegExp(` ● started .* ssh pid (?!${first}\\b)(\\d+)`));
      expect(second).toBe(String(shell.ssh));
      await shell.type('q');
      expect(await ended()).toBe(1);
      expect(await shell.terminal.ask('alternate_on')).toBe('0');
      expect(await shell.settings()).toBe(settings);
    });

    test('--status of a server that takes connections and says nothing: ssh has started, and is not up', async () => {
      const silent = await silentServer();
      try {
        await using shell = await open();
        const port = String(await monitorPort());
        const ended = await shell.start(`autossh --status -F none -M ${port} -N -p ${String(silent.port)} 127.0.0.1`);
        await shell.shows(/ ◐ started .* ssh pid \d+\n\n ssh runs for +00:00:0[1-9] {2}no beat yet$/m);
        expect(await shell.count(/● (?:up|running)/)).toBe(0);
        await shell.type('q');
        expect(await ended()).toBe(1);
      } finally {
        await silent.close();
      }
    });

    test('--help and --version, with 0', async () => {
      await using shell = await open({rows: 90});
      expect(await shell.run('autossh --version')).toBe(0);
      await shell.shows(/^autossh \d+\.\d+\.\d+ \(node-autossh, does what autossh 1\.4g does\)$/m);
      expect(await shell.run('autossh --help')).toBe(0);
      await shell.shows(/^usage: autossh \[-V\] \[-M monitor_port\[:echo_port\]\] \[-f\] \[SSH_OPTIONS\]$/m);
      await shell.shows(/^ {2}AUTOSSH_NTSERVICE /m);
    });

    test('--completion bash completes its options', async () => {
      await using shell = await open();
      expect(await shell.run('autossh --completion bash >$HOME/completion'.replace('$HOME', folder))).toBe(0);
      expect(await shell.run(`source ${folder}/completion; complete -p autossh`)).toBe(0);
      await shell.shows(/^complete .* autossh$/m);
    });

    test('the short usage, with 1 for an option that there is not', async () => {
      await using shell = await open();
      expect(await shell.run('autossh --nonsense $server')).toBe(1);
      await shell.shows(/^autossh: .*--nonsense.*\nusage: autossh \[-V\].*\nTry "autossh --help"\.$/m);
    });

    test('--doctor finds nothing that will break, with 0', async () => {
      await using shell = await open({rows: 90});
      const ended = await shell.start('autossh --doctor -M 0 -N $server');
      expect(await ended()).toBe(0);
      await shell.shows(new RegExp(`${sshd.user}@127.0.0.1, port ${sshd.port}`));
    });
  });
});

/** A key with a passphrase, and no other, is what the server takes; as a line for ssh's configuration. */
async function lockedKey(): Promise<string> {
  const path = join(folder, 'locked');
  await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', passphrase, '-C', 'locked', '-f', path]);
  copyFileSync(`${path}.pub`, sshd.authorizedKeysFile);
  return `IdentityFile ${path}`;
}

/** Two ports in a row that nobody has. */
async function monitorPort(): Promise<number> {
  for (;;) {
    const port = await freePort();
    if (await canListen(port + 1)) return port;
  }
}

async function logShows(pattern: RegExp, times: number): Promise<void> {
  const path = join(folder, 'log');
  const count = (): number => (existsSync(path) ? [...readFileSync(path, 'utf8').matchAll(pattern)].length : 0);
  await pollUntil(`${String(pattern)} in the log`, () => count() >= times);
}
