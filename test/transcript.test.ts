import {expect, test} from 'vitest';
import {Transcript} from '../src/ssh/transcript.js';

const authenticated = 'Authenticated to 127.0.0.1 ([127.0.0.1]:22) using "publickey".';
const allocated = (port: number): string => `Allocated port ${String(port)} for remote forward to 127.0.0.1:80`;

function listen(...lines: readonly string[]): Transcript {
  const transcript = new Transcript();
  for (const line of lines) transcript.read(line);
  return transcript;
}

test('the last lines and the first notices are kept, and no more', () => {
  const lines = Array.from({length: 100}, (_, n) => allocated(n));
  const transcript = listen(...lines);
  expect(transcript.lines).toEqual(lines.slice(-32));
  expect(transcript.notices).toMatchObject(Array.from({length: 32}, (_, port) => ({kind: 'remote-allocated', port})));
  expect(transcript.allocated).toHaveLength(100);
});

test('a line that means nothing is kept as a line', () => {
  const transcript = new Transcript();
  expect(transcript.read('Welcome!')).toBeUndefined();
  expect(transcript.lines).toEqual(['Welcome!']);
  expect(transcript.notices).toEqual([]);
});

test('a port that a banner names was not chosen for a forward', () => {
  expect(listen(allocated(1), authenticated, allocated(2), allocated(3)).allocated).toEqual([2, 3]);
});

test('after the login, what was said of it is no cause of anything', () => {
  const transcript = listen('me@a: Permission denied (publickey).', authenticated, allocated(2));
  expect(transcript.notices.map(({kind}) => kind)).toEqual(['auth-failed', 'authenticated', 'remote-allocated']);
  transcript.forgetLogin();
  expect(transcript.notices.map(({kind}) => kind)).toEqual(['remote-allocated']);
});

test('ports are waited for until all are chosen', async () => {
  const {signal} = new AbortController();
  const transcript = listen(authenticated);
  let done = false;
  const all = transcript.hasAllocated(2, signal).then((has) => (done = has));
  transcript.read(allocated(1));
  await new Promise(setImmediate);
  expect(done).toBe(false);
  transcript.read(allocated(2));
  expect(await all).toBe(true);
  expect(await transcript.hasAllocated(2, signal)).toBe(true);
});

test('or until nobody is interested any more', async () => {
  const over = new AbortController();
  const transcript = listen(authenticated);
  const all = transcript.hasAllocated(1, over.signal);
  over.abort();
  expect(await all).toBe(false);
  expect(await transcript.hasAllocated(1, over.signal)).toBe(false);
});
