import {hostname, userInfo} from 'node:os';

/** What `ssh -G` printed of a keyword. */
export type Lookup = (keyword: string) => string | undefined;

/**
 * Does with a path what `-G` leaves to be done (ssh_config(5), TOKENS; `load_public_identity_files` in ssh.c). `undefined`:
 * it is not known what ssh would make of it, such as of `%C`, whose making has changed over the versions.
 */
export function expand(path: string, lookup: Lookup, env: NodeJS.ProcessEnv): string | undefined {
  // As ssh does: not HOME, but what the system's table of users says.
  const {homedir: home, username, uid} = userInfo();
  const all: Readonly<Record<string, string | undefined>> = {
    '%': '%',
    d: home,
    h: lookup('hostname'),
    i: String(uid),
    k: lookup('hostkeyalias') ?? lookup('host'),
    l: hostname(),
    L: hostname().split('.', 1)[0],
    n: lookup('host'),
    p: lookup('port'),
    r: lookup('user'),
    u: username,
  };
  if (/^~[^/]/.test(path)) return undefined;
  const unknown: string[] = [];
  const expanded = path
    .replace(/^~\/*/, () => `${home.replace(/\/$/, '')}/`)
    .replace(/%(.)|\$\{(\w+)\}/g, (part, token: string | undefined, name: string | undefined) => {
      const value = token === undefined ? env[name ?? ''] : all[token];
      if (value === undefined) unknown.push(part);
      return value ?? '';
    });
  return unknown.length === 0 ? expanded : undefined;
}
