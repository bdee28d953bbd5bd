import type {Contender, TunnelOrder} from './contender.js';
import {ProgramHost} from './program.js';

/** What every ssh here is started with, whoever starts it. */
export function forwardArguments({config, listen, target}: TunnelOrder): string[] {
  const forward = `127.0.0.1:${listen}:127.0.0.1:${target}`;
  return ['-F', config, '-o', 'ExitOnForwardFailure=yes', '-N', '-L', forward];
}

/** `-L` and `-R` end to end. */
function loopArguments(loop: TunnelOrder['loop']): string[] {
  if (loop === undefined) return [];
  const {listen, remote, arrival} = loop;
  return ['-L', `127.0.0.1:${listen}:127.0.0.1:${remote}`, '-R', `127.0.0.1:${remote}:127.0.0.1:${arrival}`];
}

/** One `ssh -N -L …`: no supervision at all. */
export const plainSsh: Contender = {
  key: 'ssh',
  name: 'ssh -N',
  absent: () => undefined,
  host: (signal) =>
    ProgramHost.start(
      (order) => ({command: 'ssh', args: [...forwardArguments(order), ...loopArguments(order.loop), 'tunnel']}),
      signal,
    ),
};

/** What people write when they have no supervisor: ssh in a loop of the shell, with ssh's own keep-alives. */
export const shellLoop: Contender = {
  key: 'shell',
  name: 'shell loop, ServerAlive 1×1',
  absent: () => undefined,
  host: (signal) =>
    ProgramHost.start(
      (order) => ({
        command: 'sh',
        args: ['-c', 'while :; do ssh "$@"; done', 'sh', ...aliveArguments, ...forwardArguments(order), 'tunnel'],
      }),
      signal,
    ),
};

/** ssh's own keep-alives at their fastest. */
export const aliveArguments = ['-o', 'ServerAliveInterval=1', '-o', 'ServerAliveCountMax=1'];
