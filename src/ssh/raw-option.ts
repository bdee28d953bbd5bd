import {takesArgument} from './letters.js';

/**
 * The option of ssh_config, if it is one of these, that a raw argument sets: behind `-o`, joined to it or in a word of its own, with
 * `=` or white space before the value. Quotes may be around the name or a part of it, and end it (`strdelim` in OpenSSH's misc.c).
 */
export function readRawOption(
  word: string,
  names: readonly string[],
): readonly [name: string, value: string] | undefined {
  const text = word.replace(/"([^"]*)"/g, '$1 ');
  for (const name of names) {
    const value = new RegExp(`^(?:-\\w*o)?[\\s=]*${name}[\\s=]+(.*)$`, 'is').exec(text)?.[1];
    if (value !== undefined) return [name, value.trimEnd()];
  }
  return undefined;
}

/** What raw arguments are to ssh. */
export interface RawLetters {
  /** Each with the index of the first word that has it. */
  readonly letters: ReadonlyMap<string, number>;
  /** Where something stands that is no option, or ends them: ssh takes it for the destination, and what follows for a command. */
  readonly operand: number | undefined;
}

/** Reads raw arguments as ssh does. */
export function readRawLetters(words: readonly string[]): RawLetters {
  const letters = new Map<string, number>();
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? '';
    if (word === '--' || !/^-./s.test(word)) return {letters, operand: index};
    const at = index;
    for (let place = 1; place < word.length; place++) {
      const letter = word.charAt(place);
      if (!letters.has(letter)) letters.set(letter, at);
      if (!takesArgument(letter)) continue;
      if (place === word.length - 1) index++;
      break;
    }
  }
  return {letters, operand: undefined};
}

/** A whole command line without the one for the server: ssh takes options on both sides of the destination (`main` in ssh.c). */
export function withoutCommand(words: readonly string[]): readonly string[] {
  const {operand} = readRawLetters(words);
  if (operand === undefined || words[operand] === '--') return words.slice(0, operand);
  const {operand: command} = readRawLetters(words.slice(operand + 1));
  return words.slice(0, command === undefined ? undefined : operand + 1 + command);
}
