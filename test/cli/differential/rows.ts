import type {Deviation} from './comparison.js';
import type {Observed, Scenario} from './programs.js';

/** One command line in one environment. */
export interface CommandLine extends Scenario {
  readonly name: string;
  readonly deviates?: Deviation<Observed>;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Words are separated by a blank; `''` is one that is empty, and `_` in a word a blank. Without a gate, so that an ssh
 * that exits with 0 at once is a good end.
 */
export function line(words: string, env: Environment = {}, deviates?: Deviation<Observed>): CommandLine {
  const args = words.split(' ').filter((word) => word !== '');
  const settings = Object.entries(env).map(([name, value]) =>
    value === undefined ? `-u ${name}` : `${name}='${visible(value)}'`,
  );
  return {
    name: [...settings, 'autossh', words].join(' '),
    args: args.map((word) => (word === "''" ? '' : word.replaceAll('_', ' '))),
    env: {AUTOSSH_GATETIME: '0', ...env},
    ...(deviates && {deviates}),
  };
}

/** With its control characters as they are written in a string. */
function visible(text: string): string {
  return text.replace(/\p{Cc}/gu, (one) => JSON.stringify(one).slice(1, -1));
}

/** The same in an environment of no interest. */
export function deviating(words: string, deviates: Deviation<Observed>, env: Environment = {}): CommandLine {
  return line(words, env, deviates);
}

const started = ['starting ssh (count 1)', 'ssh child pid is N', 'ssh exited with status 0; autossh exiting'];

/** No usage: an ssh that is given this. */
export function accepted(...args: readonly string[]): Partial<Observed> {
  const isMonitored = args[1]?.includes(':127.0.0.1:') === true;
  return {
    starts: [args],
    exit: 0,
    log: isMonitored ? started : ['port set to 0, monitoring disabled', ...started],
    stderr: 'nothing',
  };
}

/** No ssh: the usage. */
export const refused: Partial<Observed> = {starts: [], exit: 1, log: [], stderr: 'usage'};

/** No ssh: a sentence on stderr. */
export const complained: Partial<Observed> = {starts: [], exit: 1, log: [], stderr: 'something'};
