import type {Finding} from './finding.js';
import type {Unnoticed} from './heartbeat-findings.js';
import {duration, oneLine} from './status-words.js';

/** What the parts of a report look like. */
export type Tone = 'bad' | 'doubtful' | 'good' | 'strong' | 'quiet';

/** How a text is shown: with colours, or as it is. */
export type Paint = (tone: Tone, text: string) => string;

interface Report {
  /** Whom this is about. */
  readonly destination: string;
  readonly found: readonly Finding[];
  readonly unnoticed: Unnoticed;
}

const marks = {breaks: '✖', risk: '!', fine: '✔', unknown: '?'} as const;
const tones = {breaks: 'bad', risk: 'doubtful', fine: 'good', unknown: 'quiet'} as const;

/** A report for people, line by line. */
export function report({destination, found, unnoticed}: Report, paint: Paint, width: number): readonly string[] {
  const of = (severity: Finding['severity'], about?: Finding['about']): readonly Finding[] =>
    found.filter((one) => one.severity === severity && (about === undefined || one.about === about));
  const [broken, risky] = [of('breaks'), of('risk')];
  const show = (findings: readonly Finding[]): string[] => findings.flatMap((one) => shown(one, paint, width));
  const beat = [...of('fine', 'heartbeat'), ...of('unknown', 'heartbeat')];
  const well = [...of('fine', 'configuration'), ...of('unknown', 'configuration')];
  const long = unnoticed.seconds > tooLong;
  const time = unnoticed.seconds === Infinity ? 'for ever' : `at most ${duration(unnoticed.seconds * 1_000)}`;
  const sections: readonly (readonly [string, readonly string[]])[] = [
    ['What breaks', show(broken)],
    ['What is risky', show(risky)],
    ['Heartbeat', show(beat)],
    [
      'A dead tunnel goes unnoticed',
      [
        `  ${paint(long ? 'doubtful' : 'good', long ? '!' : '✔')} ${paint('strong', time)}`,
        ...wrapped(`${unnoticed.because}.`, width, '    ').map((one) => paint('quiet', one)),
        ...(unnoticed.except === undefined ? [] : wrapped(unnoticed.except, width, '    ')).map((one) =>
          paint('quiet', one),
        ),
      ],
    ],
    ['What is well', show(well)],
  ];
  return [
    ...wrapped(`autossh doctor: ${destination}`, width, '').map((line) => paint('strong', line)),
    ...sections.flatMap(([title, lines]) => (lines.length === 0 ? [] : ['', paint('strong', title), ...lines])),
    '',
    ...verdict(broken, risky, paint, width),
  ];
}

/** In seconds: what takes longer is worth a mark. */
const tooLong = 3_600;

function shown({severity, title, effect, options, advice}: Finding, paint: Paint, width: number): string[] {
  const tone = tones[severity];
  const [first = '', ...rest] = wrapped(title, width, '    ');
  const head = [`  ${paint(tone, marks[severity])} ${first.trimStart()}`, ...rest];
  const remedy = [...(options ? [options.join(' ')] : []), ...(advice === undefined ? [] : [advice])];
  const arrow = (text: string): string[] =>
    wrapped(text, width, '      ').map((line, index) =>
      index === 0 ? `    → ${paint('strong', line.trimStart())}` : `      ${paint('strong', line.trimStart())}`,
    );
  return [...head, ...(effect === undefined ? [] : wrapped(effect, width, '    ')), ...remedy.flatMap(arrow)];
}

/** The last words: what the exit code says, and one line to copy. */
function verdict(broken: readonly Finding[], risky: readonly Finding[], paint: Paint, width: number): string[] {
  const options = [...new Set([...broken, ...risky].flatMap((one) => one.options ?? []))];
  const copy =
    options.length === 0 ? [] : ['Add in front of the command line:', ...wrapped(options.join(' '), width, '  '), ''];
  const things = (count: number): string => `${count} ${count === 1 ? 'thing' : 'things'}`;
  const risks = `${things(risky.length)} may go wrong`;
  const say = (tone: Tone, text: string): string[] => wrapped(text, width, '').map((line) => paint(tone, line));
  if (broken.length > 0) {
    const also = risky.length > 0 ? `, ${risks}` : '';
    return [...copy, ...say('bad', `✖ This tunnel will break: ${things(broken.length)} to mend${also}.`)];
  }
  if (risky.length > 0) return [...copy, ...say('doubtful', `! Nothing breaks this tunnel, but ${risks}.`)];
  return say('good', '✔ Nothing stands in the way of this tunnel.');
}

/**
 * Breaks a text into lines between words; an option and its value are one word. A terminal obeys none of them, from wherever
 * they come.
 */
function wrapped(text: string, width: number, indent: string): string[] {
  const lines: string[] = [];
  for (const word of oneLine(text).match(/-[a-zA-Z] (?=\S)\S+|\S+/g) ?? []) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) {
      lines[lines.length - 1] = `${last} ${word}`;
    } else lines.push(`${indent}${word}`);
  }
  return lines;
}
