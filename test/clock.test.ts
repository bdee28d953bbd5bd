import {afterEach, beforeEach, describe, expect, test, vi} from 'vitest';
import {Alarm, now, sleep} from '../src/clock.js';

const longestTimer = 2 ** 31 - 1;

describe('an alarm', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test('rings once, when its time is over', () => {
    const ring = vi.fn();
    new Alarm().set(100, ring);
    vi.advanceTimersByTime(99);
    expect(ring).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(ring).toHaveBeenCalledOnce();
    vi.advanceTimersByTime(1_000);
    expect(ring).toHaveBeenCalledOnce();
  });

  test('does not ring when it is stopped, twice if you like', () => {
    const ring = vi.fn();
    const alarm = new Alarm();
    alarm.stop();
    alarm.set(100, ring);
    alarm.stop();
    alarm.stop();
    expect(vi.getTimerCount()).toBe(0);
    vi.advanceTimersByTime(1_000);
    expect(ring).not.toHaveBeenCalled();
  });

  test('rings only for the last time it was set to', () => {
    const [first, second] = [vi.fn(), vi.fn()];
    const alarm = new Alarm();
    alarm.set(100, first);
    vi.advanceTimersByTime(50);
    alarm.set(100, second);
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(99);
    expect(second).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(second).toHaveBeenCalledOnce();
    expect(first).not.toHaveBeenCalled();
  });

  test('may be set again while it rings', () => {
    const alarm = new Alarm();
    let rings = 0;
    const ring = (): void => {
      if (++rings < 3) alarm.set(10, ring);
    };
    alarm.set(10, ring);
    vi.advanceTimersByTime(1_000);
    expect(rings).toBe(3);
  });

  test('never rings after an infinite time, and has no timer for it', () => {
    const ring = vi.fn();
    const alarm = new Alarm();
    alarm.set(100, ring);
    alarm.set(Infinity, ring);
    expect(vi.getTimerCount()).toBe(0);
    vi.advanceTimersByTime(longestTimer);
    expect(ring).not.toHaveBeenCalled();
  });

  test('is on time after more than Node’s longest timer, which Node turns into 1 ms', () => {
    const ring = vi.fn();
    const alarm = new Alarm();
    alarm.set(2 * longestTimer + 5, ring);
    vi.advanceTimersByTime(2 * longestTimer + 4);
    expect(ring).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(ring).toHaveBeenCalledOnce();
    alarm.set(longestTimer + 5, ring);
    vi.advanceTimersByTime(longestTimer);
    alarm.stop();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('keeps no process alive', () => {
    const timers = vi.spyOn(globalThis, 'setTimeout');
    new Alarm().set(100, vi.fn());
    expect(timers.mock.results.map(({value}) => (value as NodeJS.Timeout).hasRef())).toEqual([false]);
    timers.mockRestore();
  });
});

describe('a sleep', () => {
  test('lasts as long as it should', async () => {
    const begun = now();
    expect(await sleep(30, new AbortController().signal)).toBe(true);
    // Node rounds a timer down to a whole millisecond of its loop's clock.
    expect(now() - begun).toBeGreaterThanOrEqual(29);
  });

  test('is cut short by the signal, and says so', async () => {
    const controller = new AbortController();
    const slept = sleep(1e9, controller.signal);
    controller.abort();
    expect(await slept).toBe(false);
  });

  test('does not begin when the signal was aborted before', async () => {
    expect(await sleep(1e9, AbortSignal.abort())).toBe(false);
  });

  test('longer than Node’s longest timer is not over at once', async () => {
    const controller = new AbortController();
    const long = sleep(longestTimer + 1, controller.signal).then(() => 'long');
    const short = sleep(20, controller.signal).then(() => 'short');
    expect(await Promise.race([long, short])).toBe('short');
    controller.abort();
    await long;
  });

  test('leaves no listener on the signal', async () => {
    const controller = new AbortController();
    const add = vi.spyOn(controller.signal, 'addEventListener');
    const remove = vi.spyOn(controller.signal, 'removeEventListener');
    await sleep(1, controller.signal);
    expect(remove.mock.calls.length).toBe(add.mock.calls.length);
  });
});
