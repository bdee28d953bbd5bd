import {expect, test} from 'vitest';
import {hintOf} from '../../src/cli/hint.js';
import {AutoSSHError, type AutoSSHErrorCode} from '../../src/index.js';
import {describeOutcome, outcomeError} from '../../src/outcome.js';
import {readNotice} from '../../src/ssh/notice-table.js';

function hintFor(lines: readonly string[], exitCode = 255): string | undefined {
  const outcome = describeOutcome({
    cause: undefined,
    exit: {exitCode, signal: undefined},
    spawnError: undefined,
    stderr: lines,
    notices: lines.flatMap((line) => readNotice(line) ?? []),
    stage: 'up',
    isRaw: true,
    isPinned: false,
    areHopsPinned: false,
    isAnswered: false,
    doubts: [],
    uptime: 0,
    forwards: [],
    holder: undefined,
    loopPort: undefined,
    ephemeralPorts: new Set(),
  });
  return hintOf(outcomeError(outcome));
}

test.each<[AutoSSHErrorCode, RegExp]>([
  ['ERR_AUTOSSH_SPAWN', /^Install the OpenSSH client .*, or name it with --ssh-path\.$/],
  ['ERR_AUTOSSH_HOST_KEY', /^Compare .* and only then put it into known_hosts\.$/],
  ['ERR_AUTOSSH_AUTH', /^Check the user name, .* One with a passphrase has to be in an agent\.$/],
  ['ERR_AUTOSSH_CONNECT', /^Check that the ssh server runs/],
  ['ERR_AUTOSSH_HEARTBEAT', /^If the connection is healthy but slow, raise --poll\.$/],
])('%s: what to do, in words of the command', (code, hint) => {
  expect(hintOf(new AutoSSHError(code, 'what happened'))).toMatch(hint);
});

test.each<[string, number, RegExp]>([
  ['me@h: Permission denied (password).', 255, /^It takes no key: somebody has to type what it asks for\.$/],
  ['bind [127.0.0.1]:9999: Address already in use', 255, /^Choose another port/],
  ['Unable to negotiate with 10.0.0.1 port 22: no matching cipher found. Their offer: x', 255, /algorithms with -o\.$/],
  ['', 0, /^What ran at the server has ended/],
  ['', 3, /^Codes other than 255/],
])('%s, %d', (line, exitCode, hint) => {
  expect(hintFor(line === '' ? [] : [line], exitCode)).toMatch(hint);
});

test('what names an option of the class in any other way is left out', () => {
  expect(hintFor([])).toBeUndefined();
  expect(hintOf(new AutoSSHError('ERR_AUTOSSH_TIMEOUT', 'late'))).toBeUndefined();
});
