import {existsSync, readFileSync, renameSync, statSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {hostname} from 'node:os';
import {expect, onTestFinished, test} from 'vitest';
import {commandLine, connectTo, findProgram, freePort, pollUntil, serve, temporaryFolder} from '../support/index.js';
import {Command} from './command.js';

const folder = temporaryFolder('log-');
const sleeping = ['-c', 'exec sleep 1000'];
let files = 0;

/** A shell in ssh's place: `-c` takes an argument for ssh as well. */
function shell(words: readonly string[] = sleeping): readonly string[] {
  return ['-M', '0', '--', ...words];
}

function fresh(name: string): string {
  return join(folder, `${String(files++)}-${name}`);
}

const inPlaceOfSsh = {AUTOSSH_PATH: '/bin/sh', AUTOSSH_DEBUG: undefined};

test('a line in a file has date, time, name and process id', async () => {
  const file = fresh('log');
  const command = new Command(shell(['-c', 'exit 0']), {env: {...inPlaceOfSsh, AUTOSSH_LOGFILE: file}});
  expect(await command.ended).toEqual({code: 0, signal: null});
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  expect(lines.map((line) => line.replace(/^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d autossh\[(\d+)\]: /, '$1 '))).toEqual([
    `${String(command.pid)} port set to 0, monitoring disabled`,
    `${String(command.pid)} starting ssh (count 1)`,
    expect.stringMatching(/ssh child pid is \d+$/),
    `${String(command.pid)} ssh exited with status 0; autossh exiting`,
  ]);
  expect(command.lines).toEqual([]);
});

test('a file is appended to', async () => {
  const file = fresh('log');
  for (const times of [1, 2]) {
    await new Command(shell(['-c', 'exit 0']), {env: {...inPlaceOfSsh, AUTOSSH_LOGFILE: file}}).ended;
    expect(readFileSync(file, 'utf8').match(/autossh exiting/g)).toHaveLength(times);
  }
});

test('HUP opens the file anew, so that the old one can be moved away', async () => {
  const [file, moved] = [fresh('log'), fresh('moved')];
  const command = new Command(shell(), {env: {...inPlaceOfSsh, AUTOSSH_LOGFILE: file}});
  await pollUntil('its first lines', () => existsSync(file) && readFileSync(file, 'utf8').includes('child pid'));
  renameSync(file, moved);
  command.signal('SIGHUP');
  await pollUntil('a new file', () => existsSync(file));
  command.signal('SIGTERM');
  await command.ended;
  expect(readFileSync(file, 'utf8')).toMatch(/received signal to exit \(15\)\n$/);
  expect(readFileSync(moved, 'utf8')).not.toContain('received signal');
});

test.each([
  ['is full', '/dev/full', []],
  [
    'cannot be written',
    '/proc/none/log',
    ['autossh: /proc/none/log: No such file or directory; nothing is logged until SIGHUP'],
  ],
])('a log on a disk that %s does not stop the tunnel', async (_what, file, said) => {
  const port = await freePort();
  const script = `exec "$0" -e 'require("net").createServer((socket) => socket.end("up")).listen(${String(port)}, "127.0.0.1")'`;
  const command = new Command(shell(['-c', script, process.execPath]), {env: {...inPlaceOfSsh, AUTOSSH_LOGFILE: file}});
  let isUp = false;
  while (!isUp)
    isUp = await connectTo({port}).then(
      (socket) => Boolean(socket.destroy()),
      () => false,
    );
  command.signal('SIGTERM');
  expect(await command.ended).toEqual({code: 1, signal: null});
  expect(command.lines).toEqual(said);
});

test.each([
  ['is full', '/dev/full', 'No space left on device'],
  ['cannot be written', '/proc/none/pid', 'No such file or directory'],
])('a pid file on a disk that %s does not stop the tunnel', async (_what, file, why) => {
  const command = new Command(shell(['-c', 'exit 0']), {
    env: {...inPlaceOfSsh, AUTOSSH_PIDFILE: file, AUTOSSH_LOGFILE: '/dev/null'},
  });
  expect(await command.ended).toEqual({code: 0, signal: null});
  expect(command.lines).toEqual([`autossh: cannot open pid file "${file}": ${why}`]);
  if (file === '/dev/full') expect(statSync(file).isCharacterDevice()).toBe(true);
});

test('a pid file is there while the command is, and another one is left alone', async () => {
  const file = fresh('pid');
  const command = new Command(shell(), {env: {AUTOSSH_PATH: '/bin/sh', AUTOSSH_PIDFILE: file}});
  await command.says(/ssh child pid/);
  expect(readFileSync(file, 'utf8')).toBe(`${String(command.pid)}\n`);
  command.signal('SIGTERM');
  await command.ended;
  expect(existsSync(file)).toBe(false);

  const second = new Command(shell(), {env: {AUTOSSH_PATH: '/bin/sh', AUTOSSH_PIDFILE: file}});
  await second.says(/ssh child pid/);
  writeFileSync(file, '1\n');
  second.signal('SIGTERM');
  await second.ended;
  expect(readFileSync(file, 'utf8')).toBe('1\n');
});

test('with AUTOSSH_DEBUG all is said on stderr as well', async () => {
  const command = new Command(shell(['-c', 'exit 0']), {env: {AUTOSSH_PATH: '/bin/sh'}});
  await command.ended;
  const sender = `autossh[${String(command.pid)}]: `;
  expect(command.lines).toEqual([
    `${sender}port set to 0, monitoring disabled`,
    `${sender}checking for grace period, tries = 0`,
    `${sender}starting ssh (count 1)`,
    expect.stringMatching(/ssh child pid is \d+$/),
    `${sender}ssh exited with status 0; autossh exiting`,
  ]);
});

test('a log level leaves out what is above it', async () => {
  const file = fresh('log');
  const env = {...inPlaceOfSsh, AUTOSSH_LOGFILE: file, AUTOSSH_LOGLEVEL: '3', AUTOSSH_GATETIME: '30'};
  expect(await new Command(shell(['-c', 'exit 4']), {env}).ended).toEqual({code: 1, signal: null});
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  expect(lines).toEqual([expect.stringMatching(/: ssh exited prematurely with status 4; autossh exiting$/)]);
});

test('a log in JSON has an object a line, on stderr', async () => {
  const args = ['--json-log', ...shell(['-c', 'exit 255'])];
  const command = new Command(args, {env: {...inPlaceOfSsh, AUTOSSH_MAXSTART: '2'}});
  expect(await command.ended).toEqual({code: 0, signal: null});
  const events = command.lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(events.map(({event}) => event)).toEqual([
    'note',
    'start',
    'child',
    'disconnect',
    'start',
    'child',
    'disconnect',
    'stop',
  ]);
  for (const one of events)
    expect(one).toMatchObject({pid: command.pid, level: 'info', time: expect.stringMatching(/Z$/)});
  expect(events[3]).toMatchObject({
    message: 'ssh exited with error status 255; restarting ssh',
    exitCode: 255,
    reason: 'exit',
  });
});

test('JSON goes to a log file where there is one', async () => {
  const file = fresh('log');
  const args = ['--json-log', '--log-file', file, ...shell(['-c', 'exit 0'])];
  const command = new Command(args, {env: inPlaceOfSsh});
  await command.ended;
  expect(command.lines).toEqual([]);
  const events = readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as {event: string}).event);
  expect(events).toEqual(['note', 'start', 'child', 'stop']);
});

const socat = findProgram('socat');
const canMount = process.getuid?.() === 0 && socat !== undefined && findProgram('unshare') && findProgram('logger');

/** In a mount namespace of its own: a `/dev` where whoever sends to syslog reaches a file. */
const privateDevices = `
set -e
mkdir "$1/dev"
mount -t tmpfs tmpfs "$1/dev"
for name in null zero full random urandom tty; do touch "$1/dev/$name"; mount --bind "/dev/$name" "$1/dev/$name"; done
ln -s /proc/self/fd "$1/dev/fd"
mount --rbind "$1/dev" /dev
socat -u UNIX-RECV:/dev/log "OPEN:$1/syslog,creat,append" &
syslog=$!
while ! [ -S /dev/log ]; do sleep 0.01; done
shift
set +e
"$@"
code=$?
sleep 0.2
kill $syslog
exit $code
`;

test.skipIf(!canMount)(
  'syslog gets its lines, facility user (skipped: needs root, socat, unshare and logger)',
  async () => {
    const place = temporaryFolder('syslog-');
    const wrapper = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', privateDevices, 'sh', place];
    const command = new Command(shell(['-c', 'exit 4']), {
      wrapper,
      env: {...inPlaceOfSsh, AUTOSSH_GATETIME: '30'},
    });
    expect(await command.ended).toEqual({code: 1, signal: null});
    const sent = readFileSync(join(place, 'syslog'), 'latin1').split(/(?=<\d+>)/);
    // 8 is the facility user; 6 is info, 3 is err.
    expect(
      sent.map((line) =>
        line.replace(/^(<\d+>).* (autossh\[)\d+(\]: .*)\n?$/s, '$1$2N$3').replace(/pid is \d+/, 'pid is N'),
      ),
    ).toEqual([
      '<14>autossh[N]: port set to 0, monitoring disabled',
      '<14>autossh[N]: starting ssh (count 1)',
      '<14>autossh[N]: ssh child pid is N',
      '<11>autossh[N]: ssh exited prematurely with status 4; autossh exiting',
    ]);
  },
);

test.each(['from me', 'from\tme\u0001\u0085\r'])('a beat looks like one of autossh: %j', async (message) => {
  const beats: string[] = [];
  const echo = await serve({}, (socket) => {
    socket.on('data', (data) => {
      beats.push(data.toString());
      socket.write(data);
    });
  });
  onTestFinished(() => echo.close());
  const {port} = echo;
  const command = new Command(['-M', `${String(port)}:7`, '--', ...sleeping], {
    env: {
      // What ssh would forward, the test does.
      AUTOSSH_PATH: join(import.meta.dirname, '../fixtures/sleeping-ssh'),
      AUTOSSH_POLL: '1',
      AUTOSSH_MESSAGE: message,
    },
  });
  await command.says(/connection ok/, {times: 2});
  const [first = '', second = ''] = beats;
  const pattern = new RegExp(`^${hostname()} autossh ${String(command.pid)} \\d{20,39} ${message}\\r\\n$`);
  expect(first).toMatch(pattern);
  expect(second).toMatch(pattern);
  expect(second).not.toBe(first);
});

test('whoever reads its stderr may go: the tunnel stays, and ssh is not held up', async () => {
  const [file, done] = [fresh('log'), fresh('done')];
  // More than fits into a pipe, and then a sign that all of it was taken.
  const script = `while ! [ -e "$0.go" ]; do sleep 0.05; done; head -c 1000000 /dev/zero >&2; : > "$0"; exec sleep 1000`;
  const command = new Command(shell(['-c', script, done]), {env: {...inPlaceOfSsh, AUTOSSH_LOGFILE: file}});
  await pollUntil('ssh', () => existsSync(file) && readFileSync(file, 'utf8').includes('child pid'));
  command.closeStderr();
  writeFileSync(`${done}.go`, '');
  await pollUntil('the end of the flood', () => existsSync(done));
  command.signal('SIGTERM');
  expect(await command.ended).toEqual({code: 1, signal: null});
  expect(readFileSync(file, 'utf8')).toMatch(/received signal to exit/);
});

test('it is called autossh, by its name and by its command line', async () => {
  const command = new Command(shell(), {env: {AUTOSSH_PATH: '/bin/sh'}});
  await command.says(/ssh child pid/);
  expect(readFileSync(`/proc/${String(command.pid)}/comm`, 'utf8')).toBe('autossh\n');
  expect(commandLine(command.pid).slice(-5)).toEqual(shell());
});
