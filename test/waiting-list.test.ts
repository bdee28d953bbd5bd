import {getEventListeners} from 'node:events';
import {expect, test} from 'vitest';
import {AutoSSHError} from '../src/errors.js';
import {WaitingList} from '../src/waiting-list.js';

const error = new AutoSSHError('ERR_AUTOSSH_STOPPED', 'it is over');

function serve(list: WaitingList): void {
  for (const {resolve} of list.take()) resolve();
}

test('all who wait are called, each once', async () => {
  const list = new WaitingList();
  const both = Promise.all([list.join(), list.join(new AbortController().signal)]);
  serve(list);
  list.rejectAll(error);
  await both;
});

test('all who wait are told why it is over', async () => {
  const list = new WaitingList();
  const both = Promise.allSettled([list.join(), list.join()]);
  list.rejectAll(error);
  serve(list);
  expect(await both).toEqual([
    {status: 'rejected', reason: error},
    {status: 'rejected', reason: error},
  ]);
});

test('who comes later waits for the next', async () => {
  const list = new WaitingList();
  serve(list);
  let called = false;
  const later = list.join().then(() => (called = true));
  await Promise.resolve();
  expect(called).toBe(false);
  serve(list);
  expect(await later).toBe(true);
});

test('who leaves is told with the reason of the signal, and nobody else is', async () => {
  const list = new WaitingList();
  const controller = new AbortController();
  const leaving = list.join(controller.signal);
  const staying = list.join();
  const reason = new Error('no time');
  controller.abort(reason);
  await expect(leaving).rejects.toBe(reason);
  serve(list);
  await staying;
});

test('whose signal was aborted before does not wait at all', async () => {
  const list = new WaitingList();
  const reason = new Error('too late');
  await expect(list.join(AbortSignal.abort(reason))).rejects.toBe(reason);
});

test('no listener stays on the signal', async () => {
  const list = new WaitingList();
  const {signal} = new AbortController();
  const first = list.join(signal);
  serve(list);
  await first;
  const second = list.join(signal);
  list.rejectAll(error);
  await expect(second).rejects.toBe(error);
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});

test('one who joins again when called waits for the next call', async () => {
  const list = new WaitingList();
  let turns = 0;
  const again = async (): Promise<void> => {
    await list.join();
    turns++;
    if (turns < 3) await again();
  };
  const done = again();
  while (turns < 3) {
    serve(list);
    await new Promise(setImmediate);
  }
  await done;
  expect(turns).toBe(3);
});

test('who is given back waits on', async () => {
  const list = new WaitingList();
  const waiting = list.join();
  list.giveBack(list.take());
  serve(list);
  await waiting;
});
