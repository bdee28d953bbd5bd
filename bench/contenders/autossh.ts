import {accessSync, constants} from 'node:fs';
import {delimiter, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import type {Contender} from './contender.js';
import {aliveArguments, forwardArguments} from './plain-ssh.js';
import {ProgramHost} from './program.js';

/** No gate, and a look at the tunnel every second, which is the fastest it can be asked for. */
const env = {AUTOSSH_GATETIME: '0', AUTOSSH_POLL: '1', AUTOSSH_FIRST_POLL: '1'};

/** Has client and server on one machine get along with each other; see there. */
const AUTOSSH_PATH = fileURLToPath(new URL('../hosts/ssh-for-autossh', import.meta.url));

/** autossh with its monitor ports: a beat goes out through a `-L` and comes back through a `-R`. */
export const autossh: Contender = {
  key: 'autossh',
  name: 'autossh -M, poll 1 s',
  absent,
  host: (signal) =>
    ProgramHost.start(
      async (order) =>
        order.beats === 'none'
          ? {command: 'autossh', args: ['-M', '0', ...forwardArguments(order), 'tunnel'], env}
          : {
              command: 'autossh',
              args: ['-M', String(await order.ports(2)), ...forwardArguments(order), 'tunnel'],
              env: {...env, AUTOSSH_PATH},
            },
      signal,
    ),
};

/** autossh without a monitor, as its manual advises: ssh's own keep-alives end ssh, autossh starts it again. */
export const autosshAlive: Contender = {
  key: 'autossh-0',
  name: 'autossh -M 0, ServerAlive 1×1',
  absent,
  host: (signal) =>
    ProgramHost.start(
      (order) => ({
        command: 'autossh',
        args: ['-M', '0', ...aliveArguments, ...forwardArguments(order), 'tunnel'],
        env,
      }),
      signal,
    ),
};

function absent(): string | undefined {
  const found = (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, 'autossh'), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  return found ? undefined : 'autossh is not installed (Debian: apt-get install autossh)';
}
