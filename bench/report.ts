import {inWords, middle, type Findings, type Sample, type Series, type Target} from './measures/measure.js';
import {quantile} from './statistics.js';

/** Findings as text: nothing is measured here, and nothing is printed. */

export interface Chapter {
  title: string;
  findings: Findings;
}

/** Where and when it was measured. */
export interface Circumstances {
  date: string;
  facts: Readonly<Record<string, string>>;
  /** How long the run took, in seconds. */
  seconds: number;
}

type Row = readonly string[];

function isMet({measured, limit, must}: Target): boolean {
  if (measured === 'never') return false;
  return must === 'at most' ? measured <= limit : measured >= limit;
}

/** One chapter for the terminal. */
export function chapterAsText({title, findings}: Chapter): string {
  const tables = seriesTables(findings.series).map(alignedTable);
  return [title, ...tables, ...(findings.targets.length === 0 ? [] : [targetsAsText(findings.targets)])].join('\n\n');
}

export function targetsAsText(targets: readonly Target[]): string {
  return alignedTable(targetTable(targets));
}

/** The whole run as a Markdown document. */
export function asMarkdown(chapters: readonly Chapter[], {date, facts, seconds}: Circumstances): string {
  const targets = chapters.flatMap(({findings}) => findings.targets);
  return [
    '# What the bench measured',
    `Written by \`npm run bench\` on ${date}, in ${Math.round(seconds)} seconds. All contenders met the same faults in ` +
      'the same run; what counts are the ratios.',
    markdownTable([['', ''], ...Object.entries(facts)]),
    '## What must be reached',
    `${targets.filter(isMet).length} of ${targets.length} are.`,
    markdownTable(targetTable(targets)),
    ...chapters.flatMap(({title, findings}) => [
      `## ${title}`,
      ...findings.notes,
      ...seriesTables(findings.series).map(markdownTable),
    ]),
    '## Every single number',
    'In the order in which they were measured.',
    ...chapters.flatMap(({title, findings}) => [`### ${title}`, rawList(findings.series)]),
  ]
    .map((part) => `${part}\n`)
    .join('\n');
}

/** Quantities down, contenders across; a table for each set of contenders that have no quantity in common with others. */
function seriesTables(series: readonly Series[]): Row[][] {
  let groups: {quantities: string[]; contenders: string[]}[] = [];
  for (const {quantity, contender} of series) {
    const touched = groups.filter((one) => one.quantities.includes(quantity) || one.contenders.includes(contender));
    groups = [
      ...groups.filter((one) => !touched.includes(one)),
      {
        quantities: [...new Set([...touched.flatMap((one) => one.quantities), quantity])],
        contenders: [...new Set([...touched.flatMap((one) => one.contenders), contender])],
      },
    ];
  }
  return groups.map(({quantities, contenders}) => [
    ['median (quartiles)', ...contenders],
    ...quantities.map((quantity) => [
      quantity,
      ...contenders.map((contender) => {
        const found = series.find((one) => one.quantity === quantity && one.contender === contender);
        return found === undefined ? '–' : cell(found);
      }),
    ]),
  ]);
}

function cell({samples, unit}: Series): string {
  const value = middle(samples);
  if (value === 'never' || samples.length < 3) return inWords(value, unit);
  const numbers = samples.map((sample) => (sample === 'never' ? Infinity : sample));
  const quartile = (q: number): string => inWords(finite(quantile(numbers, q)), unit).replace(/ .*/, '');
  return `${inWords(value, unit)} (${quartile(0.25)}–${quartile(0.75)})`;
}

function targetTable(targets: readonly Target[]): Row[] {
  return [
    ['target', 'measured', 'limit', 'reached', 'from'],
    ...targets.map((target) => [
      target.what,
      inWords(target.measured, target.unit),
      `${target.must} ${inWords(target.limit, target.unit)}`,
      isMet(target) ? 'yes' : 'NO',
      target.because,
    ]),
  ];
}

function rawList(series: readonly Series[]): string {
  return series
    .map(({quantity, contender, unit, samples}) => {
      const numbers = samples.map((sample) => inWords(sample, unit).replace(/ .*/, ''));
      return `- ${quantity}, ${contender}, ${unit}: ${numbers.join(' ')}`;
    })
    .join('\n');
}

function markdownTable([head = [], ...rows]: readonly Row[]): string {
  const line = (row: Row): string => `| ${row.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function alignedTable(rows: readonly Row[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) => `  ${row.map((text, column) => text.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd())
    .join('\n');
}

function finite(value: number): Sample {
  return Number.isFinite(value) ? value : 'never';
}
