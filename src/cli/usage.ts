import {longOptions, type LongOption} from '../index.js';

/** Of every line: what fits on a terminal as it was always wide. */
const columns = 80;
/** Where the second column begins, of options and of variables. */
const column = {options: 34, variables: 24};

/** The letters of autossh's and what they take; all others are ssh's. */
const letters = '[-V] [-M monitor_port[:echo_port]] [-f] [SSH_OPTIONS]';

/** The variables that no long option stands for by its name. */
const otherVariables: readonly (readonly [name: string, help: string])[] = [
  ['AUTOSSH_PORT', 'as -M, which wins'],
  ['AUTOSSH_NTSERVICE', 'not looked at: it is for Cygwin'],
];

/** What `--help` prints. */
export function usage(program: string): string {
  return [
    firstLine(program),
    '',
    ...wrap('Starts ssh, and starts it again when it dies or no longer passes anything on.'),
    ...wrap('What is not named here goes to ssh as it is, and so does all that follows the first "--".'),
    ...wrap('Long options stand before the destination; "--name value" and "--name=value" are the same.'),
    '',
    ...longOptions.flatMap((option) => row(optionLabel(option), option.help, column.options)),
    '',
    'Variables; an option wins over the one that stands for the same:',
    '',
    ...variables().flatMap(([name, help]) => row(`  ${name}`, help, column.variables)),
    '',
  ].join('\n');
}

/** What follows the error message about a wrong command line. */
export function usageShort(program: string): string {
  return `${firstLine(program)}\nTry "${program} --help".\n`;
}

/** As autossh's, by which scripts may know it. */
function firstLine(program: string): string {
  return `usage: ${program} ${letters}`;
}

function optionLabel({name, argument, letter}: LongOption): string {
  return `  ${letter ? `-${letter},` : '   '} --${name}${argument ? ` ${argument}` : ''}`;
}

function variables(): (readonly [name: string, help: string])[] {
  const named = longOptions.flatMap((option) =>
    option.variable === undefined ? [] : [[option.variable, variableHelp(option)] as const],
  );
  return [...named, ...otherVariables];
}

function variableHelp({name, argument}: LongOption): string {
  if (name === 'no-agent') return 'as --no-agent if it is no';
  return argument ? `as --${name}` : `as --${name} if it is set`;
}

function row(label: string, help: string, width: number): string[] {
  const indent = ' '.repeat(width);
  return wrap(help, columns - width).map((line, index) => (index === 0 ? label.padEnd(width) : indent) + line);
}

function wrap(text: string, width = columns): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
