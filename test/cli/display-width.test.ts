import {expect, test} from 'vitest';
import {cut, displayWidth} from '../../src/cli/display-width.js';

test.each([
  ['', 0],
  ['plain', 5],
  ['käse', 4],
  ['ka\u0308se', 4],
  ['日本語', 6],
  ['한국', 4],
  ['ｱｲｳ', 3],
  ['Ａ', 2],
  ['「」', 4],
  ['🚀', 2],
  ['👩‍💻', 2],
  ['🇨🇭', 2],
  ['❤️', 2],
  ['→ ● ▁ █ × ─', 11],
  ['a\u200Bb', 2],
])('%j takes %d columns', (text, width) => {
  expect(displayWidth(text)).toBe(width);
});

test.each([
  ['short', 5, 'short'],
  ['longer', 5, 'long…'],
  ['two words', 5, 'two…'],
  ['日本語', 6, '日本語'],
  ['日本語', 5, '日本…'],
  ['日本語', 4, '日…'],
  ['a👩‍💻b', 3, 'a…'],
  ['ka\u0308se', 3, 'ka\u0308…'],
  ['x', 0, ''],
  ['xy', 1, '…'],
])('%j in %d columns is %j', (text, columns, expected) => {
  expect(cut(text, columns)).toBe(expected);
});
