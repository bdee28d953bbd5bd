import {getEventListeners} from 'node:events';
import {describe, expect, test, vi} from 'vitest';
import {onAbort} from '../src/abort.js';

describe('who listens for an abort', () => {
  test('is called once, with all the others', () => {
    const controller = new AbortController();
    const [one, two] = [vi.fn(), vi.fn()];
    onAbort(controller.signal, one);
    onAbort(controller.signal, two);
    expect(one).not.toHaveBeenCalled();
    controller.abort();
    expect(one).toHaveBeenCalledOnce();
    expect(two).toHaveBeenCalledOnce();
  });

  test('is not called after it has been taken away', () => {
    const controller = new AbortController();
    const [one, two, three] = [vi.fn(), vi.fn(), vi.fn()];
    onAbort(controller.signal, one);
    const remove = onAbort(controller.signal, two);
    remove();
    remove();
    onAbort(controller.signal, three);
    controller.abort();
    expect(one).toHaveBeenCalledOnce();
    expect(two).not.toHaveBeenCalled();
    expect(three).toHaveBeenCalledOnce();
  });

  test('shares one listener of the signal, however many they are, and the last takes it along', () => {
    const {signal} = new AbortController();
    const removers = Array.from({length: 20}, () => onAbort(signal, vi.fn()));
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    for (const remove of removers.slice(1)) remove();
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    removers[0]?.();
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  test('may come again after all have gone', () => {
    const controller = new AbortController();
    const [first, second] = [vi.fn(), vi.fn()];
    const remove = onAbort(controller.signal, first);
    remove();
    onAbort(controller.signal, second);
    // The first was taken away already, and takes nobody along.
    remove();
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1);
    controller.abort();
    expect(first).not.toHaveBeenCalled();
    expect(second).toHaveBeenCalledOnce();
  });

  test('may take itself and others away when it is called', () => {
    const controller = new AbortController();
    const removers: (() => void)[] = [];
    const calls: number[] = [];
    for (let n = 0; n < 3; n++) {
      removers.push(
        onAbort(controller.signal, () => {
          calls.push(n);
          removers[n]?.();
        }),
      );
    }
    controller.abort();
    expect(calls).toEqual([0, 1, 2]);
    expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  });

  test('has to do with one signal', () => {
    const [mine, other] = [new AbortController(), new AbortController()];
    const listener = vi.fn();
    onAbort(mine.signal, listener);
    onAbort(other.signal, vi.fn());
    other.abort();
    expect(listener).not.toHaveBeenCalled();
  });
});
