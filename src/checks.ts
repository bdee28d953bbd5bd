import {inspect} from 'node:util';

/** A `TypeError` that names the option and the value it has: "Expected `port` to be …, got `'x'` (string)". */
export function unexpected(option: string, wanted: string, value: unknown): TypeError {
  return mismatch(`\`${option}\``, wanted, value);
}

/** The same where only a part of the option's value is meant: "Expected the port of `forwards[0]` to be …". */
export function mismatch(subject: string, wanted: string, value: unknown): TypeError {
  return new TypeError(`Expected ${subject} to be ${wanted}, got ${inWords(value)}`);
}

/** The same for what must not be seen: of the value only its kind is told. */
export function concealed(option: string, wanted: string, value: unknown): TypeError {
  return new TypeError(`Expected \`${option}\` to be ${wanted}, got ${kind(value)}`);
}

/** What a value is, without what it says. */
export function kind(value: unknown): string {
  if (value === null || value === undefined) return `\`${String(value)}\``;
  if (value === '') return 'an empty string';
  return Array.isArray(value) ? 'an array' : `${/^[aeiou]/.test(typeof value) ? 'an' : 'a'} ${typeof value}`;
}

/** What a private key begins with in PEM, in base64 of that, and in OpenSSH's form without its first line. */
const privateKey = /PRIVATE KEY|LS0tLS1CRUdJTi|b3BlbnNzaC1rZXktdjE/;

function inWords(value: unknown): string {
  if (value === undefined || value === null) return `\`${String(value)}\``;
  const shown = inspect(value, {
    depth: 1,
    maxStringLength: 80,
    maxArrayLength: 5,
    breakLength: Infinity,
    customInspect: false,
  });
  // Of the first line or two of a short key everything could be known that is secret about it.
  if (privateKey.test(shown)) return `${kind(value)} with a private key in it`;
  // An error comes with its stack, and a message is one line.
  const line = shown.replace(/\s*\n\s*(?:at .*)?/g, ' ').trimEnd();
  return `\`${line}\` (${Array.isArray(value) ? 'array' : typeof value})`;
}

/** Whether it is an object with fields of its own. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A misspelt field must not be ignored. */
export function refuseUnknown(option: string, value: object, known: readonly string[]): void {
  for (const name of Object.keys(value)) {
    if (known.includes(name)) continue;
    const path = option ? `${option}.${name}` : name;
    throw new TypeError(`Unknown option \`${path}\`; known are ${known.map((one) => `\`${one}\``).join(', ')}`);
  }
}

/** An object all of whose fields are known. */
export function record(option: string, value: unknown, known: readonly string[]): Readonly<Record<string, unknown>> {
  // All of them together may be a list, secrets and all.
  if (!isRecord(value))
    throw option === '' ? concealed('options', 'an object', value) : unexpected(option, 'an object', value);
  refuseUnknown(option, value, known);
  return value;
}

/** A number within bounds. `false` stands for 0, as everywhere where 0 switches something off. */
export function number(
  option: string,
  value: unknown,
  {
    min = 0,
    max = Infinity,
    integer = false,
    off = false,
  }: {min?: number; max?: number; integer?: boolean; off?: boolean} = {},
): number {
  const given = off && value === false ? 0 : value;
  if (
    typeof given === 'number' &&
    given >= min &&
    given <= max &&
    (!integer || given === Infinity || Number.isInteger(given))
  ) {
    return given;
  }
  const what = integer ? 'an integer' : 'a number';
  const bounds = max === Infinity ? `of at least ${String(min)}` : `from ${String(min)} to ${String(max)}`;
  throw unexpected(option, `${what} ${bounds}${off ? ', or false' : ''}`, value);
}

/**
 * A string that can stand alone as an argument of ssh: not empty, and no NUL (it would end the argument) or newline
 * (it could end a configuration line).
 */
export function text(option: string, value: unknown, wanted = 'a non-empty string'): string {
  if (typeof value !== 'string' || value === '') throw unexpected(option, wanted, value);
  // Everybody on this machine can read arguments.
  if (privateKey.test(value))
    throw unexpected(option, `${wanted}, not a private key (\`privateKey\` takes that)`, value);
  if (/[\0\r\n]/.test(value)) throw unexpected(option, `${wanted} without NUL or line breaks`, value);
  return value;
}

/** A string that ssh could not take for an option. */
export function operand(option: string, value: unknown): string {
  const given = text(option, value);
  if (given.startsWith('-'))
    throw unexpected(option, 'a string that does not start with "-" (ssh would read an option)', value);
  // What ssh itself refuses in a user and a host from 9.6 on; before, it hands them to the shell that runs a ProxyCommand.
  if (/[\s\p{Cc}'"`;&<>|(){}]/u.test(given))
    throw unexpected(option, 'a string without white space, quotes or shell characters', value);
  return given;
}

/** An `AbortSignal`. */
export function abortSignal(option: string, value: unknown): AbortSignal {
  if (value instanceof AbortSignal) return value;
  throw unexpected(option, 'an AbortSignal', value);
}

/** One of a few words. */
export function oneOf<Word extends string>(option: string, value: unknown, words: readonly Word[]): Word {
  if ((words as readonly unknown[]).includes(value)) return value as Word;
  throw unexpected(option, words.map((word) => `'${word}'`).join(' or '), value);
}

/** Strings, one or several. */
export function texts(option: string, value: unknown): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  return Object.freeze(
    list.map((one, index) => text(Array.isArray(value) ? `${option}[${String(index)}]` : option, one)),
  );
}

/** The fields that there are; the compiler sees that none is missing and none is made up. */
export function fields<Options>(known: Record<keyof Options, true>): readonly string[] {
  return Object.keys(known);
}

/** A field that is there but `undefined` counts as absent, as everywhere in JavaScript. */
export function defined(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** A check for a field that may be absent. */
export function optional<Value>(value: unknown, check: (value: unknown) => Value): Value | undefined {
  return value === undefined ? undefined : check(value);
}
