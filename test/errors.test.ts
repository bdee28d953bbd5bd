import {expect, test} from 'vitest';
import {AutoSSHError, type AutoSSHErrorCode} from '../src/index.js';

/** Whether a new ssh could mend it, when nothing more is known. */
const codes: Record<AutoSSHErrorCode, boolean> = {
  ERR_AUTOSSH_SPAWN: false,
  ERR_AUTOSSH_USAGE: false,
  ERR_AUTOSSH_HOST_KEY: false,
  ERR_AUTOSSH_AUTH: true,
  ERR_AUTOSSH_KEY: false,
  ERR_AUTOSSH_RESOLVE: true,
  ERR_AUTOSSH_CONNECT: true,
  ERR_AUTOSSH_FORWARD: true,
  ERR_AUTOSSH_TIMEOUT: true,
  ERR_AUTOSSH_HEARTBEAT: true,
  ERR_AUTOSSH_EXIT: true,
  ERR_AUTOSSH_GATE: false,
  ERR_AUTOSSH_GAVE_UP: false,
  ERR_AUTOSSH_STOPPED: false,
  ERR_AUTOSSH_ABORTED: false,
};

test.each(Object.entries(codes) as [AutoSSHErrorCode, boolean][])(
  '%s: retryable %s, and what to do',
  (code, retryable) => {
    const error = new AutoSSHError(code, 'what happened');
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({name: 'AutoSSHError', code, message: 'what happened', retryable, stderr: []});
    expect(error.hint.length).toBeGreaterThan(15);
    expect(error.exitCode).toBeUndefined();
    expect(error.signal).toBeUndefined();
    expect(error).not.toHaveProperty('cause');
    expect(String(error)).toBe('AutoSSHError: what happened');
  },
);

test('the facts that are known stand in place of the general ones', () => {
  const stderr = ['a line'];
  const cause = new Error('deeper');
  const error = new AutoSSHError('ERR_AUTOSSH_EXIT', 'it ended', {
    hint: 'Do this.',
    retryable: false,
    exitCode: 255,
    signal: 'SIGKILL',
    stderr,
    cause,
  });
  stderr.push('another');
  expect(error).toMatchObject({
    hint: 'Do this.',
    retryable: false,
    exitCode: 255,
    signal: 'SIGKILL',
    stderr: ['a line'],
    cause,
  });
  expect(Object.isFrozen(error.stderr)).toBe(true);
});

test('a fact that is undefined is not known', () => {
  const error = new AutoSSHError('ERR_AUTOSSH_EXIT', 'it ended', {
    hint: undefined,
    retryable: undefined,
    cause: undefined,
  });
  expect(error.hint).toContain('stderr');
  expect(error.retryable).toBe(true);
  expect(error).not.toHaveProperty('cause');
});
