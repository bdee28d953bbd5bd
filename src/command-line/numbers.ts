import {CommandLineError} from './error.js';

/** As many seconds as fit into the `int` that autossh keeps them in: 68 years. */
const most = 2_147_483_647;

/**
 * A whole number as strtol(3) with base 0 reads it, nothing after it: decimal, `0x…` hexadecimal, `0…` octal, white space
 * before it.
 *
 * @param what - for the error
 * @throws CommandLineError if it is none
 */
export function wholeNumber(what: string, text: string, isLogged = false): number {
  const match = /^\s*([+-]?)(?:0x([0-9a-f]+)|(0[0-7]*)|([1-9]\d*))$/i.exec(text);
  if (!match) throw wrong(what, text, isLogged);
  const [, sign, hexadecimal, octal, decimal] = match;
  const size = hexadecimal ? parseInt(hexadecimal, 16) : octal ? parseInt(octal, 8) : Number(decimal);
  const value = Math.min(size, most);
  return sign === '-' ? -value : value;
}

/** That a value is wrong, in autossh's words. */
export function wrong(what: string, text: string, isLogged = false): CommandLineError {
  return new CommandLineError(`invalid ${what} "${text}"`, false, isLogged);
}
