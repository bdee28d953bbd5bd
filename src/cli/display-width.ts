/**
 * How many columns of a terminal a text takes: wide characters and pictographs two, marks that combine with what is before
 * them none (UAX #11, and wcwidth() of the C library, which terminals go by).
 */
export function displayWidth(text: string): number {
  if (plain.test(text)) return text.length;
  let width = 0;
  for (const {segment} of graphemes.segment(text)) width += widthOf(segment);
  return width;
}

/** The text, cut to so many columns; a cut one ends in `…`. No character is cut in two. */
export function cut(text: string, columns: number): string {
  if (displayWidth(text) <= columns) return text;
  if (columns <= 0) return '';
  let kept = '';
  let room = columns - 1;
  for (const {segment} of graphemes.segment(text)) {
    room -= widthOf(segment);
    if (room < 0) break;
    kept += segment;
  }
  return `${kept.trimEnd()}…`;
}

/** One column for each character of ASCII. */
const plain = /^[ -~]*$/;

const graphemes = new Intl.Segmenter('en', {granularity: 'grapheme'});

/** East Asian Width W and F, as far as JavaScript's properties do not tell. */
const wide =
  /[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Bopomofo}\p{Script=Yi}\u3000-\u303E\uFE30-\uFE6B\uFF01-\uFF60\uFFE0-\uFFE6]|\p{Emoji_Presentation}|\uFE0F/u;
const halfWidth = /^[\uFF61-\uFFDC\uFFE8-\uFFEE]/;
const nothing = /^[\p{Mn}\p{Me}\p{Cf}\p{Cc}]/u;

function widthOf(grapheme: string): number {
  if (nothing.test(grapheme)) return 0;
  return wide.test(grapheme) && !halfWidth.test(grapheme) ? 2 : 1;
}
