import fc from 'fast-check';
import {describe, expect, test} from 'vitest';
import {LineSplitter} from '../src/ssh/lines.js';

describe('lines', () => {
  const split = (...chunks: (Uint8Array | string)[]) => {
    const lines = new LineSplitter(16);
    return [...chunks.flatMap((chunk) => lines.feed(chunk)), ...lines.end()];
  };

  test.each<[what: string, chunks: (Uint8Array | string)[], lines: string[]]>([
    ['end at a line feed, with or without a carriage return', ['a\r\nb\nc\r\n'], ['a', 'b', 'c']],
    ['are put together from pieces', ['a', 'b\r', '\nc', 'd'], ['ab', 'cd']],
    ['are left out when they are empty', ['\n\r\n \n\na\n\n'], ['a']],
    ['end with the stream', ['a'], ['a']],
    [
      'may have characters that are cut in two',
      [Buffer.from('é€😀').subarray(0, 4), Buffer.from('é€😀').subarray(4), '\n'],
      ['é€😀'],
    ],
    ['may be no text at all', [Buffer.from([0x61, 0xff, 0x00, 0x62, 0x0a, 0xc3])], ['a\ufffdb', '\ufffd']],
    ['lose colours and cursor movements', ['\u001b[31mred\u001b[m\n', '\u001b[2J\u001b[1;1Hx\n'], ['red', 'x']],
    ['lose titles and links', ['\u001b]0;t\u0007a\u001b]8;;\u001b\\b\n'], ['ab']],
    ['lose escapes of two characters', ['\u001b(Ba\u001b7b\u001bc\n'], ['ab']],
    ['lose control characters and keep the space of a tab', ['a\tb\bc\u009bd\u007f\n'], ['a bcd']],
    ['cannot begin anew behind a carriage return', ['x\rHost\n'], ['xHost']],
    ['lose marks that turn text around', ['a\u202eb\u2066c\n'], ['abc']],
    ['keep their first part when they are too long', ['0123456789abcdefghi\nb\n'], ['0123456789abcdef…', 'b']],
    ['are too long in pieces, too', ['0123456789', 'abcdef', 'g', 'h', '\nb'], ['0123456789abcdef…', 'b']],
    [
      'of exactly the limit are whole',
      ['0123456789abcdef\r\n', '0123456789abcdef', '\r\n'],
      ['0123456789abcdef', '0123456789abcdef'],
    ],
    ['are not cut through a character', ['0123456789abcde😀\n'], ['0123456789abcde…']],
  ])('%s', (_what, chunks, lines) => {
    expect(split(...chunks)).toEqual(lines);
  });

  test('come out the same however the text is cut', () => {
    const text = fc.string({
      unit: fc.constantFrom('a', '\n', '\r\n', '\r', 'é', '😀', '\u001b[31m', '\u0000'),
      maxLength: 60,
    });
    fc.assert(
      fc.property(text, fc.array(fc.nat(100), {maxLength: 6}), (whole, cuts) => {
        const bytes = Buffer.from(whole);
        const edges = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
        const pieces = edges.slice(1).map((edge, index) => bytes.subarray(edges[index], edge));
        expect(split(...pieces)).toEqual(split(bytes));
      }),
    );
  });

  test('are harmless and bounded whatever comes in', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({maxLength: 100})), (chunks) => {
        for (const line of split(...chunks)) {
          expect(line).not.toMatch(/\p{Cc}|\p{Cs}/u);
          expect(line.length).toBeLessThanOrEqual(17);
        }
      }),
    );
  });
});
