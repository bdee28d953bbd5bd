import {takesArgument} from '../ssh/letters.js';
import {CommandLineError} from './error.js';
import {type LongOption, longOptions} from './long-options.js';

/** A command line, its tokens sorted by whose they are. */
export interface Sorted {
  /** ssh's options with their arguments, in order. */
  readonly options: readonly string[];
  /** The destination and the remote command. */
  readonly operands: readonly string[];
  /** The letters of ssh's options that take no argument. */
  readonly flags: ReadonlySet<string>;
  /** The last argument of `-M`. */
  readonly monitor: string | undefined;
  /** `-f` was there. */
  readonly background: boolean;
  /** `-V` was there. */
  readonly version: boolean;
  /** The long options, each with its argument or, if it has none, `''`. */
  readonly long: ReadonlyMap<string, string>;
}

const byName = new Map(longOptions.map((option) => [option.name, option]));

/**
 * Sorts the tokens of a command line as getopt(3) of GNU does for autossh: options are taken from wherever they stand
 * before the first `--`, unless `posixly` stops that at the first operand; that `--` is eaten, also behind an operand.
 *
 * @throws CommandLineError for an option that neither ssh nor autossh has, or one whose argument is missing
 */
export function sortTokens(tokens: readonly string[], posixly: boolean): Sorted {
  const options: string[] = [];
  const operands: string[] = [];
  const flags = new Set<string>();
  const long = new Map<string, string>();
  let [monitor, background, version]: [string | undefined, boolean, boolean] = [undefined, false, false];
  const rest = [...tokens];
  for (let token = rest.shift(); token !== undefined && !version; token = rest.shift()) {
    if (token === '--' || (posixly && operands.length > 0)) {
      const left = [token, ...rest];
      const end = left.indexOf('--');
      operands.push(...left.filter((_, index) => index !== end));
      break;
    }
    if (token.startsWith('--')) {
      if (operands.length > 0) throw new CommandLineError(`${token}: long options stand before the destination`, true);
      const {option, value} = readLong(token, rest);
      if (option.letter === 'M') monitor = value;
      else if (option.letter === 'f') background = true;
      else if (option.letter === 'V') version = true;
      else long.set(option.name, value);
    } else if (token.startsWith('-') && token !== '-') {
      const cluster = readCluster(token.slice(1), rest);
      background ||= cluster.background;
      version ||= cluster.version;
      monitor = cluster.monitor ?? monitor;
      options.push(...cluster.kept);
      for (const letter of cluster.flags) flags.add(letter);
    } else {
      operands.push(token);
    }
  }
  return {options, operands, flags, monitor, background, version, long};
}

function readLong(token: string, rest: string[]): {option: LongOption; value: string} {
  const [name, joined] = splitOnce(token.slice(2));
  const option = byName.get(name);
  if (!option) throw new CommandLineError(`unknown option --${name}`, true);
  if (option.argument === undefined) {
    if (joined !== undefined) throw new CommandLineError(`option --${name} takes no argument`, true);
    return {option, value: ''};
  }
  const value = joined ?? rest.shift();
  if (value === undefined) throw new CommandLineError(`option --${name} requires an argument`, true);
  return {option, value};
}

function splitOnce(text: string): [string, string | undefined] {
  const at = text.indexOf('=');
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

interface Cluster {
  readonly kept: readonly string[];
  readonly flags: string;
  readonly monitor: string | undefined;
  readonly background: boolean;
  readonly version: boolean;
}

/** Letters that share a hyphen; the last of them may have an argument, in the same token or the next. */
function readCluster(letters: string, rest: string[]): Cluster {
  let kept = '';
  let background = false;
  for (let index = 0; index < letters.length; index++) {
    const letter = letters.charAt(index);
    const takes = letter === 'M' || takesArgument(letter);
    if (takes === undefined) throw new CommandLineError(`invalid option -- '${letter}'`, true);
    if (letter === 'V') return {kept: [], flags: '', monitor: undefined, background, version: true};
    if (takes) {
      const joined = letters.slice(index + 1);
      const value = joined === '' ? rest.shift() : joined;
      if (value === undefined) throw new CommandLineError(`option requires an argument -- '${letter}'`, true);
      if (letter === 'M') return {kept: hyphened(kept), flags: kept, monitor: value, background, version: false};
      const tokens = joined === '' ? [`-${kept}${letter}`, value] : [`-${kept}${letter}${joined}`];
      return {kept: tokens, flags: kept, monitor: undefined, background, version: false};
    }
    if (letter === 'f') background = true;
    else kept += letter;
  }
  return {kept: hyphened(kept), flags: kept, monitor: undefined, background, version: false};
}

function hyphened(letters: string): readonly string[] {
  return letters === '' ? [] : [`-${letters}`];
}

/**
 * Whether an ssh with these arguments opens no session (`-N`): nothing runs at the server that would run twice if it were
 * started again.
 */
export function opensNoSession(sshArguments: readonly string[]): boolean {
  return hold(sshArguments, ({flags}) => flags.has('N'));
}

/** Whether it has no remote command: nothing but a login shell runs at the server. */
export function runsNoCommand(sshArguments: readonly string[]): boolean {
  return hold(sshArguments, ({operands}) => operands.length === 1);
}

function hold(sshArguments: readonly string[], fact: (sorted: Sorted) => boolean): boolean {
  try {
    return fact(sortTokens(sshArguments, false));
  } catch {
    return false;
  }
}
