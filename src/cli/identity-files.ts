import {execFile} from 'node:child_process';
import {expand} from './expand.js';

/** An ssh that is to be asked, and for whom. */
export interface SSHCommand {
  readonly sshPath: string;
  /** What it gets when it is really started. */
  readonly arguments: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

/** What ssh's configuration says about the keys for a destination. */
export interface Identities {
  /** The files that it would try, the defaults too, in its order. */
  readonly files: readonly string[];
  /** The agent that it asks in place of the one of `SSH_AUTH_SOCK`, if there is one: a path, or `none`. */
  readonly agent: string | undefined;
  /** Whether it logs in with keys and may ask for a passphrase. */
  readonly asks: boolean;
  /** Whether it gives a key to the agent by itself, once it has asked for its passphrase. */
  readonly adds: boolean;
}

/** Its configuration may run commands (`Match exec`) and ask the name service (`CanonicalizeHostname`). */
const patience = 5_000;

/**
 * Asks ssh itself (`-G`), with all the arguments it will get: the files of configuration that are read, and their `Host`
 * and `Match` blocks, depend on them. `undefined`: it could not say, and will tell why when it is started.
 */
export async function readIdentities({sshPath, arguments: argv, env}: SSHCommand): Promise<Identities | undefined> {
  const output = await new Promise<string | undefined>((resolve) => {
    const child = execFile(
      sshPath,
      ['-G', ...argv],
      {env, timeout: patience, killSignal: 'SIGKILL'},
      (error, stdout) => {
        resolve(error ? undefined : stdout);
      },
    );
    // What a `Match exec` reads is not for it.
    child.stdin?.end();
  }).catch(() => undefined);
  return output === undefined ? undefined : parseIdentities(output, env);
}

/** Reads what `ssh -G` prints. */
export function parseIdentities(output: string, env: NodeJS.ProcessEnv): Identities {
  const values = new Map<string, string[]>();
  for (const line of output.split('\n')) {
    const end = line.indexOf(' ');
    if (end === -1) continue;
    const keyword = line.slice(0, end);
    values.set(keyword, [...(values.get(keyword) ?? []), line.slice(end + 1)]);
  }
  const first = (keyword: string): string | undefined => values.get(keyword)?.[0];
  const files = (values.get('identityfile') ?? [])
    .filter((file) => file.toLowerCase() !== 'none')
    .map((file) => expand(file, first, env))
    .filter((file) => file !== undefined);
  return {
    files: [...new Set(files)],
    agent: first('identityagent'),
    asks: !isNo(first('pubkeyauthentication') ?? 'yes') && isNo(first('batchmode') ?? 'no'),
    adds: !isNo(first('addkeystoagent') ?? 'no'),
  };
}

/** Some versions print the one, others the other. */
function isNo(value: string): boolean {
  return value === 'no' || value === 'false';
}
