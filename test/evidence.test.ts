import {describe, expect, test} from 'vitest';
import {Evidence, type Sight} from '../src/heartbeat/evidence.js';

const sight = {read: 1_000, given: 500, stuck: 0, releases: 0, written: 10_000, queued: 0};

/** What a late beat is judged by when ssh looks like this, half a time-out before and now. */
async function judge(before: Partial<Sight>, after: Partial<Sight> | undefined): Promise<boolean> {
  const sights = [{...sight, ...before}, after && {...sight, ...before, ...after}];
  const evidence = new Evidence(async () => Promise.resolve(sights.shift()));
  await evidence.look();
  return evidence.isMoving();
}

describe('a late beat waits in a queue that moves', () => {
  test.each<[why: string, before: Partial<Sight>, after: Partial<Sight>]>([
    ['ssh has read more than it was given', {}, {read: 1_036}],
    ['more than it was given meanwhile', {}, {read: 1_236, given: 700}],
    ['a client that was stuck is so no more', {stuck: 1}, {stuck: 0, releases: 1}],
    ['or was released and is stuck again', {stuck: 1}, {releases: 3}],
    ['the peer has acknowledged a part of what waits', {queued: 5_000}, {queued: 4_000}],
    ['and there is more behind it', {queued: 5_000}, {written: 12_000, queued: 6_000}],
    ['what its clients gave is not known, but the queue is', {given: undefined, queued: 5_000}, {queued: 1}],
  ])('%s', async (_why, before, after) => {
    expect(await judge(before, after)).toBe(true);
  });
});

describe('it does not', () => {
  test.each<[why: string, before: Partial<Sight>, after: Partial<Sight> | undefined]>([
    ['nothing has changed', {}, {}],
    ['nothing is acknowledged', {queued: 5_000}, {}],
    ['less is', {queued: 5_000}, {written: 12_000, queued: 7_000}],
    ['all that was there is acknowledged: the peer has the beat', {queued: 5_000}, {queued: 0}],
    ['and what waits now came later', {queued: 5_000}, {written: 12_000, queued: 1_500}],
    ['clients go on giving, and ssh reads that', {}, {read: 1_200, given: 700}],
    ['it reads less than that', {}, {read: 1_100, given: 700}],
    ['it reads, but what its clients gave is not known', {given: undefined}, {read: 5_000}],
    ['clients get rid of something that never were stuck', {}, {releases: 2}],
    ['a client is stuck and stays so', {stuck: 1}, {}],
    ['ssh is gone', {queued: 5_000, stuck: 1}, undefined],
  ])('%s', async (_why, before, after) => {
    expect(await judge(before, after)).toBe(false);
  });

  test('nothing was looked at before', async () => {
    expect(await new Evidence(async () => Promise.resolve(sight)).isMoving()).toBe(false);
  });

  test('what moved once has to move again', async () => {
    const sights = [sight, {...sight, read: 2_000}, {...sight, read: 2_000}];
    const evidence = new Evidence(async () => Promise.resolve(sights.shift()));
    await evidence.look();
    expect(await evidence.isMoving()).toBe(true);
    expect(await evidence.isMoving()).toBe(false);
  });
});

test('where nothing waited nobody looks for a queue', async () => {
  const asked: boolean[] = [];
  const evidence = new Evidence(async (withQueue) => {
    asked.push(withQueue);
    return Promise.resolve(sight);
  });
  await evidence.look();
  await evidence.isMoving();
  expect(asked).toEqual([true, false]);
});
