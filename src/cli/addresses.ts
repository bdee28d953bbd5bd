import {isIP} from 'node:net';

/** The numeric addresses on which ssh listens for a forward: channel_fwd_bind_addr() of channels.c. */
export function bindAddresses(
  host: string | undefined,
  {gatewayPorts, family}: {gatewayPorts: boolean; family: string},
): readonly string[] {
  const both = (four: string, six: string): string[] =>
    family === 'inet' ? [four] : family === 'inet6' ? [six] : [four, six];
  if (host === '*' || host === '' || (host === undefined && gatewayPorts)) return both('0.0.0.0', '::');
  if (host === undefined || host === 'localhost') return both('127.0.0.1', '::1');
  // A name is for ssh to look up.
  return isIP(host) ? [host] : [];
}

/** Whether a host is this machine by its name. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}
