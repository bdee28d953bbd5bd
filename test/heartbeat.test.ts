import fc from 'fast-check';
import {afterEach, beforeEach, describe, expect, test, vi} from 'vitest';
import {BeatReader, autosshBeatLine, beatLine} from '../src/heartbeat/beat.js';
import type {BeatChannel, ChannelListener} from '../src/heartbeat/channel.js';
import {Heartbeat} from '../src/heartbeat/heartbeat.js';
import {type HeartbeatOptions, resolveHeartbeat} from '../src/heartbeat/options.js';

describe('a beat', () => {
  const nonce = Buffer.from('00112233445566778899aabbccddeeff', 'hex');

  test('is a nonce, and the message after it', () => {
    expect(beatLine(nonce, '')).toBe('00112233445566778899aabbccddeeff');
    expect(beatLine(nonce, 'from a')).toBe('00112233445566778899aabbccddeeff from a');
  });

  test('with the longest message is still read', () => {
    const greatest = Buffer.alloc(16, 0xff);
    const line = autosshBeatLine(greatest, 'h'.repeat(80), 4_194_304_000, 'x'.repeat(64));
    expect(line).toBe(
      `${'h'.repeat(64)} autossh 4194304000 340282366920938463463374607431768211455 ${'x'.repeat(64)}\r`,
    );
    expect(new BeatReader().feed(Buffer.from(`${line}\n`))).toEqual([line]);
    expect(new BeatReader().feed(Buffer.from(`${line}x\n`))).toBeUndefined();
    expect(new BeatReader().feed(Buffer.from(line))).toEqual([]);
    expect(new BeatReader().feed(Buffer.from(`${line}x`))).toBeUndefined();
  });
});

describe('the reader of beats', () => {
  const short = fc
    .uint8Array({maxLength: 189})
    .map((bytes) => Buffer.from(bytes.map((one) => (one === 10 ? 11 : one))));
  const garbage = fc.uint8Array({maxLength: 400}).map((bytes) => Buffer.from(bytes));

  function cut(whole: Buffer, at: readonly number[]): Buffer[] {
    const edges = [0, ...at.map((one) => one % (whole.length + 1)).sort((a, b) => a - b), whole.length];
    return edges.slice(1).map((edge, index) => whole.subarray(edges[index], edge));
  }

  test('puts lines together, wherever they were cut', () => {
    fc.assert(
      fc.property(fc.array(short, {maxLength: 6}), short, fc.array(fc.nat(), {maxLength: 12}), (lines, rest, at) => {
        const reader = new BeatReader();
        const whole = Buffer.concat([...lines.flatMap((line) => [line, Buffer.from('\n')]), rest]);
        const found = cut(whole, at).flatMap((piece) => reader.feed(piece) ?? ['too long']);
        expect(found.map((line) => Buffer.from(line, 'latin1'))).toEqual(lines);
      }),
    );
  });

  test('refuses whatever is longer than a beat, wherever it was cut, and as soon as that is sure', () => {
    fc.assert(
      fc.property(garbage, fc.array(fc.nat(), {maxLength: 12}), (whole, at) => {
        const reader = new BeatReader();
        const pieces = cut(whole, at);
        let read = 0;
        let refused = false;
        for (const piece of pieces) {
          read += piece.length;
          if (reader.feed(piece) !== undefined) continue;
          refused = true;
          break;
        }
        const longest = Math.max(
          ...whole
            .subarray(0, read)
            .toString('latin1')
            .split('\n')
            .map((line) => line.length),
        );
        expect(refused).toBe(longest >= 190);
      }),
    );
  });

  test('keeps no more of a stream without an end than a beat is long', () => {
    const reader = new BeatReader();
    let taken = 0;
    while (reader.feed(Buffer.from('x')) !== undefined) taken++;
    expect(taken).toBe(189);
  });
});

/** A way through a tunnel in which the test decides what comes back. */
class FakeChannel implements BeatChannel {
  readonly sent: string[] = [];
  closed = false;
  readonly #listener: ChannelListener;

  constructor(listener: ChannelListener) {
    this.#listener = listener;
  }

  send(line: string): void {
    if (this.closed) throw new Error('Sent after the close');
    this.sent.push(line);
  }

  close(): void {
    this.closed = true;
  }

  /** The beat of this number comes back. `false`: it was not taken. */
  answer(index = -1): boolean {
    return this.bring(this.sent.at(index) ?? '');
  }

  bring(line: string): boolean {
    return this.#listener.onLine(line);
  }

  drop({absent = false} = {}): void {
    this.#listener.onClose(absent);
  }
}

/** What a heartbeat has told, in order, each with its time. */
type Told = [at: number, what: 'send' | 'beat' | 'miss' | 'dead', ...details: unknown[]];

describe('the heartbeat', () => {
  let skew = 0;
  let begun = 0;

  beforeEach(() => {
    // Not setImmediate: what has arrived is really read before it.
    vi.useFakeTimers({toFake: ['setTimeout', 'clearTimeout', 'performance']});
    skew = 0;
    const {performance} = globalThis;
    const fake = performance.now.bind(performance);
    vi.spyOn(performance, 'now').mockImplementation(() => fake() + skew);
    begun = performance.now();
  });
  afterEach(() => {
    vi.restoreAllMocks();
    vi.useRealTimers();
  });

  function make(options: HeartbeatOptions = {}, more: {onMiss?: () => void; onDead?: () => void} = {}) {
    const settings = resolveHeartbeat({interval: 100, timeout: 50, ...options}, [], false);
    if (!settings) throw new Error('Expected a heartbeat');
    const told: Told[] = [];
    const at = (): number => Math.round(performance.now() - begun);
    let channel: FakeChannel | undefined;
    const heartbeat = new Heartbeat(
      settings,
      (listener) => (channel = new FakeChannel(listener)),
      {
        onSend: () => told.push([at(), 'send']),
        onBeat: (rtt) => told.push([at(), 'beat', rtt]),
        onMiss: ({misses, waited, reason}) => {
          told.push([at(), 'miss', misses, waited, reason]);
          more.onMiss?.();
        },
        onDead: (misses) => {
          told.push([at(), 'dead', misses]);
          more.onDead?.();
        },
      },
      (nonce) => beatLine(nonce, settings.message),
    );
    if (!channel) throw new Error('Expected the channel to be opened');
    return {heartbeat, channel, told};
  }

  /** Proven ready at time 0, and beating. */
  async function beating(...parameters: Parameters<typeof make>) {
    const made = make(...parameters);
    const proven = made.heartbeat.prove();
    made.channel.answer();
    expect(await proven).toBe(true);
    made.told.length = 0;
    made.channel.sent.length = 0;
    made.heartbeat.start();
    return made;
  }

  async function pass(milliseconds: number): Promise<void> {
    await vi.advanceTimersByTimeAsync(milliseconds);
  }

  describe('the first beat', () => {
    test('proves the way when it comes back', async () => {
      const {heartbeat, channel, told} = make();
      const proven = heartbeat.prove();
      await pass(7);
      expect(channel.answer()).toBe(true);
      expect(await proven).toBe(true);
      expect(told).toEqual([
        [0, 'send'],
        [7, 'beat', 7],
      ]);
      expect(vi.getTimerCount()).toBe(0);
    });

    test('is waited for without an end: that is for the one who asked', async () => {
      const {heartbeat, channel, told} = make();
      const proven = heartbeat.prove();
      await pass(1e6);
      expect(told).toEqual([[0, 'send']]);
      channel.answer();
      expect(await proven).toBe(true);
    });

    test('has a nonce of its own each time', () => {
      const {heartbeat, channel} = make({message: 'here'});
      void heartbeat.prove();
      const other = make({message: 'here'});
      void other.heartbeat.prove();
      expect(channel.sent[0]).toMatch(/^[0-9a-f]{32} here$/);
      expect(other.channel.sent[0]).toMatch(/^[0-9a-f]{32} here$/);
      expect(other.channel.sent[0]).not.toBe(channel.sent[0]);
    });

    test('with a message in UTF-8 is known again, byte for byte', async () => {
      const {heartbeat, channel} = make({message: 'hé €'});
      const proven = heartbeat.prove();
      const bytes = Buffer.from(channel.sent[0] ?? '', 'latin1');
      expect(bytes.toString('utf8').slice(33)).toBe('hé €');
      expect(channel.bring(bytes.toString('latin1'))).toBe(true);
      expect(await proven).toBe(true);
    });

    test('is proven by nothing else, and only once', async () => {
      const {heartbeat, channel, told} = make({message: 'm'});
      const proven = heartbeat.prove();
      const [line = ''] = channel.sent;
      for (const wrong of ['', 'm', line.slice(1), `${line} `, line.toUpperCase().replace('M', 'm'), '0'.repeat(32)]) {
        if (wrong !== line) expect(channel.bring(wrong)).toBe(false);
      }
      expect(told).toHaveLength(1);
      expect(channel.bring(line)).toBe(true);
      // A replay.
      expect(channel.bring(line)).toBe(false);
      expect(await proven).toBe(true);
      expect(told).toHaveLength(2);
    });

    test('is sent again when its connection is closed, and given up at the third time', async () => {
      const {heartbeat, channel, told} = make();
      const proven = heartbeat.prove();
      for (const times of [2, 3]) {
        channel.drop();
        await pass(49);
        expect(channel.sent).toHaveLength(times - 1);
        await pass(1);
        expect(channel.sent).toHaveLength(times);
      }
      channel.drop();
      expect(await proven).toBe(false);
      expect(new Set(channel.sent).size).toBe(1);
      expect(told).toEqual([[0, 'send']]);
      await pass(1_000);
      expect(channel.sent).toHaveLength(3);
      expect(vi.getTimerCount()).toBe(0);
    });

    test('is sent again and again, quickly, while nobody listens at this end yet', async () => {
      const {heartbeat, channel} = make();
      const proven = heartbeat.prove();
      for (let times = 2; times < 100; times++) {
        channel.drop({absent: true});
        await pass(2);
        expect(channel.sent).toHaveLength(times);
      }
      channel.answer();
      expect(await proven).toBe(true);
    });

    test('is no longer waited for after close()', async () => {
      const {heartbeat, channel, told} = make();
      const proven = heartbeat.prove();
      channel.drop();
      heartbeat.close();
      expect(await proven).toBe(false);
      expect(channel.closed).toBe(true);
      expect(vi.getTimerCount()).toBe(0);
      expect(channel.answer()).toBe(false);
      channel.drop();
      await pass(1_000);
      expect(told).toHaveLength(1);
    });
  });

  describe('in regular beats', () => {
    test('beats an interval after each beat, however long the answer takes', async () => {
      const {channel, told} = await beating();
      await pass(100);
      await pass(30);
      channel.answer();
      await pass(70);
      expect(told).toEqual([
        [100, 'send'],
        [130, 'beat', 30],
        [200, 'send'],
      ]);
    });

    test('beats at once after an answer that took longer than the interval', async () => {
      const {channel, told} = await beating({timeout: 500});
      await pass(100 + 250);
      channel.answer();
      await pass(0);
      expect(told).toEqual([
        [100, 'send'],
        [350, 'beat', 250],
        [350, 'send'],
      ]);
    });

    test('begins after firstInterval', async () => {
      const {told} = await beating({firstInterval: 10});
      await pass(10);
      expect(told).toEqual([[10, 'send']]);
      const second = await beating({firstInterval: 0});
      await pass(0);
      expect(second.told).toEqual([[10, 'send']]);
    });

    test('sends a fresh nonce each time', async () => {
      const {channel} = await beating();
      for (let n = 0; n < 20; n++) {
        await pass(100);
        channel.answer();
      }
      expect(new Set(channel.sent).size).toBe(20);
    });

    test('waits for one answer at a time', async () => {
      const {told} = await beating({interval: 10, timeout: 1_000});
      await pass(900);
      expect(told).toEqual([[10, 'send']]);
    });
  });

  describe('misses', () => {
    test('are told, followed by a beat at once, and end in death', async () => {
      const {told} = await beating({maxMisses: 3});
      await pass(1_000);
      expect(told).toEqual([
        [100, 'send'],
        [150, 'miss', 1, 50, 'timeout'],
        [150, 'send'],
        [200, 'miss', 2, 50, 'timeout'],
        [200, 'send'],
        [250, 'miss', 3, 50, 'timeout'],
        [250, 'dead', 3],
      ]);
      expect(vi.getTimerCount()).toBe(0);
    });

    test('have to be in a row', async () => {
      const {channel, told} = await beating({maxMisses: 2});
      for (let n = 0; n < 5; n++) {
        // One is missed; the beat that follows at once is answered.
        await pass(n === 0 ? 150 : 140);
        await pass(10);
        channel.answer();
      }
      expect(told.filter(([, what]) => what === 'miss')).toHaveLength(5);
      expect(told.filter(([, what, misses]) => what === 'miss' && misses !== 1)).toEqual([]);
      expect(told.filter(([, what]) => what === 'dead')).toEqual([]);
    });

    test('are enough at maxMisses 1', async () => {
      const {told} = await beating({maxMisses: 1});
      await pass(150);
      expect(told).toEqual([
        [100, 'send'],
        [150, 'miss', 1, 50, 'timeout'],
        [150, 'dead', 1],
      ]);
    });

    test('are only told with maxMisses 0', async () => {
      const {told} = await beating({maxMisses: 0});
      await pass(100 + 50 * 50);
      expect(told.filter(([, what]) => what === 'dead')).toEqual([]);
      expect(told.filter(([, what]) => what === 'miss').at(-1)).toEqual([2_600, 'miss', 50, 50, 'timeout']);
      expect(told.filter(([, what]) => what === 'send')).toHaveLength(51);
    });

    test('are none with timeout 0', async () => {
      const {channel, told} = await beating({timeout: 0});
      await pass(1e9);
      expect(told).toEqual([[100, 'send']]);
      channel.answer();
      await pass(0);
      expect(told.map(([, what]) => what)).toEqual(['send', 'beat', 'send']);
    });

    test('are undone by a late answer: it proves life as well', async () => {
      const {channel, told} = await beating({maxMisses: 2});
      await pass(150);
      // The second beat is on its way when the first one comes back.
      await pass(30);
      expect(channel.answer(0)).toBe(true);
      await pass(20);
      expect(told).toEqual([
        [100, 'send'],
        [150, 'miss', 1, 50, 'timeout'],
        [150, 'send'],
        [180, 'beat', 80],
        // An interval after the one that was answered.
        [200, 'send'],
      ]);
      // The answer to the second is still known, and late as well.
      expect(channel.answer(1)).toBe(true);
      await pass(49);
      expect(told.filter(([, what]) => what === 'miss')).toHaveLength(1);
    });

    test('are undone by one of the last sixteen only', async () => {
      const {channel} = await beating({maxMisses: 0});
      await pass(100 + 50 * 19);
      expect(channel.sent).toHaveLength(20);
      expect(channel.answer(3)).toBe(false);
      expect(channel.answer(4)).toBe(true);
      expect(channel.answer(19)).toBe(true);
    });

    test('are none where the answer has arrived, and only this process was busy', async () => {
      const {channel, told} = await beating();
      await pass(149);
      // The timer rings, and what has arrived meanwhile is read after it.
      vi.advanceTimersByTime(1);
      channel.answer();
      await pass(0);
      expect(told.map(([, what]) => what)).toEqual(['send', 'beat']);
    });

    test('are none where nobody looked: after a suspension it is asked first', async () => {
      const {told} = await beating({maxMisses: 1});
      await pass(120);
      skew = 3_600_000;
      await pass(30);
      expect(told.map(([, what]) => what)).toEqual(['send', 'send']);
      await pass(49);
      expect(told.map(([, what]) => what)).toEqual(['send', 'send']);
      await pass(1);
      expect(told.slice(2).map(([, ...what]) => what)).toEqual([
        ['miss', 1, 50, 'timeout'],
        ['dead', 1],
      ]);
    });

    test.each([
      [1_000, ['send', 'miss', 'dead']],
      [1_001, ['send', 'send']],
    ])('after a delay of %d ms: %j', async (late, wanted) => {
      const {told} = await beating({maxMisses: 1});
      await pass(120);
      skew = late;
      await pass(30);
      expect(told.map(([, what]) => what)).toEqual(wanted);
    });
  });

  describe('a connection that is closed', () => {
    test('is opened again while a beat is on its way, with the same beat', async () => {
      const {channel, told} = await beating();
      await pass(100);
      channel.drop();
      await pass(49);
      expect(channel.sent).toHaveLength(1);
      channel.answer();
      expect(told.map(([, what]) => what)).toEqual(['send', 'beat']);
      await pass(20);
      // Answered in the meantime: nothing is left to be sent again.
      expect(channel.sent).toHaveLength(1);

      await pass(31);
      channel.drop();
      await pass(30);
      channel.drop({absent: true});
      await pass(1);
      expect(channel.sent).toHaveLength(2);
      await pass(1);
      expect(channel.sent.slice(1)).toEqual([channel.sent[1], channel.sent[1]]);
      await pass(10);
      channel.answer();
      expect(told.slice(2)).toEqual([
        [200, 'send'],
        [242, 'beat', 42],
      ]);
    });

    test('is told as the reason of a miss', async () => {
      const {channel, told} = await beating({maxMisses: 1, timeout: 200});
      await pass(100);
      for (let n = 0; n < 3; n++) {
        channel.drop();
        await pass(50);
      }
      await pass(50);
      expect(told).toEqual([
        [100, 'send'],
        [300, 'miss', 1, 200, 'closed'],
        [300, 'dead', 1],
      ]);
      expect(channel.sent).toHaveLength(4);
    });

    test('is no matter between two beats: the next one opens it', async () => {
      const {channel, told} = await beating();
      await pass(100);
      channel.answer();
      channel.drop();
      await pass(99);
      expect(channel.sent).toHaveLength(1);
      await pass(1);
      expect(channel.sent).toHaveLength(2);
      expect(told.map(([, what]) => what)).toEqual(['send', 'beat', 'send']);
    });

    test('does not bring back a beat after which another was sent', async () => {
      const {channel} = await beating({maxMisses: 0});
      await pass(140);
      channel.drop();
      await pass(60);
      // The miss at 150 sent a second beat, which the closed connection concerns no more.
      expect(new Set(channel.sent).size).toBe(channel.sent.length);
    });
  });

  describe('after close()', () => {
    test('there is no timer, no beat and no answer', async () => {
      const {heartbeat, channel, told} = await beating();
      await pass(100);
      channel.drop();
      heartbeat.close();
      heartbeat.close();
      expect(channel.closed).toBe(true);
      expect(vi.getTimerCount()).toBe(0);
      expect(channel.answer()).toBe(false);
      channel.drop();
      await pass(1e6);
      expect(told).toEqual([[100, 'send']]);
    });

    test('between two beats there is no timer either', async () => {
      const {heartbeat, told} = await beating();
      heartbeat.close();
      expect(vi.getTimerCount()).toBe(0);
      await pass(1_000);
      expect(told).toEqual([]);
    });

    test('by the listener of a miss there is no death', async () => {
      const {heartbeat, told} = await beating(
        {maxMisses: 1},
        {
          onMiss: () => {
            heartbeat.close();
          },
        },
      );
      await pass(1_000);
      expect(told).toEqual([
        [100, 'send'],
        [150, 'miss', 1, 50, 'timeout'],
      ]);
      expect(vi.getTimerCount()).toBe(0);
    });
  });

  describe('asked whether it is alive now', () => {
    test('a beat goes out at once, and its answer is the answer', async () => {
      const {heartbeat, channel, told} = await beating();
      await pass(30);
      const asked = heartbeat.probe();
      await pass(3);
      channel.answer();
      expect(await asked).toBe(true);
      expect(told).toEqual([
        [30, 'send'],
        [33, 'beat', 3],
      ]);
      // The regular beats go on from there.
      await pass(97);
      expect(told.at(-1)).toEqual([130, 'send']);
    });

    test('the next regular beat gives that one no more time', async () => {
      const {heartbeat, told} = await beating({maxMisses: 1});
      await pass(70);
      const asked = heartbeat.probe();
      await pass(50);
      expect(await asked).toBe(false);
      expect(told).toEqual([
        [70, 'send'],
        [120, 'miss', 1, 50, 'timeout'],
        [120, 'dead', 1],
      ]);
    });

    test('by many at once: one beat; who asks while it is out is told by the next', async () => {
      const {heartbeat, channel, told} = await beating();
      const first = [heartbeat.probe(), heartbeat.probe()];
      await pass(1);
      const later = heartbeat.probe();
      // The second of them asked when a beat was out already.
      channel.answer();
      expect(await first[0]).toBe(true);
      await pass(0);
      expect(channel.sent).toHaveLength(2);
      channel.answer();
      expect(await Promise.all([...first, later])).toEqual([true, true, true]);
      expect(told.filter(([, what]) => what === 'send')).toHaveLength(2);
    });

    test('after close(): no', async () => {
      const {heartbeat} = await beating();
      const asked = heartbeat.probe();
      heartbeat.close();
      expect(await asked).toBe(false);
      expect(await heartbeat.probe()).toBe(false);
    });
  });
});
