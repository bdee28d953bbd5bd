import {existsSync} from 'node:fs';
import {dirname} from 'node:path';
import {fileURLToPath} from 'node:url';

/** A program in whose place another one can be put on a command line. */
export interface Program {
  /** As in the tables' heads. */
  readonly name: string;
  readonly command: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

/*
 * What these two have Node do at its start (to read all certificates of a system takes as long as the rest of it) is neither
 * the command's doing nor usual.
 */
const {SSH_AUTH_SOCK: _, NODE_OPTIONS: _options, NODE_EXTRA_CA_CERTS: _certificates, ...environment} = process.env;

/** The same on all sides; the Node that the command finds is the one that runs the bench. */
const env: NodeJS.ProcessEnv = {
  ...environment,
  PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`,
  AUTOSSH_GATETIME: '0',
  AUTOSSH_LOGFILE: '/dev/null',
};

/** As npm installs it: the file itself, whose first line has Node found. */
const command = [fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))];

export const ours: Program = {name: 'our autossh', command, env: {...env, AUTOSSH_AGENT: 'no'}};

/** There is none yet, and so one is started for the session. */
export const withAgent: Program = {name: 'our autossh, with its ssh-agent', command, env};

/** Without the shell script before it that looks for a free port. */
const original = '/usr/lib/autossh/autossh';

export const theirs: Program = {name: "Debian's autossh", command: [original], env};

/** What Node itself takes. */
export const nodeAlone: Program = {
  name: 'Node that starts ssh',
  command: [process.execPath, fileURLToPath(new URL('../../hosts/start-ssh.js', import.meta.url))],
  env,
};

/** One process for all tunnels. */
export function oneProcess(tunnels: number): Program {
  const host = fileURLToPath(new URL('../../hosts/many-tunnels.js', import.meta.url));
  return {name: 'node-autossh, one process', command: [process.execPath, host, String(tunnels)], env};
}

/** Those that can take part on this machine. */
export function present(field: readonly Program[]): Program[] {
  return field.filter((one) => one !== theirs || existsSync(original));
}
