import {type Address, type Forward, formatAddress} from '../ssh/forward.js';

/** Ports of schemes that are usually written without one. */
const schemePorts: Readonly<Record<string, number>> = {
  amqp: 5672,
  amqps: 5671,
  http: 80,
  https: 443,
  mariadb: 3306,
  mongodb: 27_017,
  mysql: 3306,
  postgres: 5432,
  postgresql: 5432,
  redis: 6379,
  rediss: 6379,
};

/**
 * The same URL, with each host and port that a forward leads to replaced by where that forward listens. Everything else,
 * a password too, stays as it is, letter for letter.
 *
 * @throws TypeError if it is no URL with a host, RangeError if no forward leads to a host of it
 */
export function throughTunnel(url: string, forwards: readonly Forward[]): string {
  const match = /^([a-z][a-z0-9+.-]*)(:\/\/(?:[^/?#]*@)?)([^/?#@]+)((?:[/?#].*)?)$/is.exec(url);
  if (!match)
    throw new TypeError('Expected the URL to have a scheme and a host, as in postgres://db.internal:5432/app');
  const [, scheme = '', front = '', hosts = '', rest = ''] = match;
  const replaced = hosts.split(',').map((host) => formatAddress(listenFor(host, scheme.toLowerCase(), forwards)));
  return `${scheme}${front}${replaced.join(',')}${rest}`;
}

function listenFor(authority: string, scheme: string, forwards: readonly Forward[]): Address {
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d*))?$/.exec(authority);
  const host = (match?.[1] ?? match?.[2] ?? '').toLowerCase();
  const port = match?.[3] ? Number(match[3]) : schemePorts[scheme];
  const found = forwards.find(
    ({type, listen, target}) =>
      type === 'local' &&
      listen.port !== undefined &&
      target?.port !== undefined &&
      target.host.toLowerCase() === host &&
      target.port === port,
  );
  if (found) return found.listen;
  const targets = forwards.flatMap(({type, target}) => (type === 'local' && target ? [formatAddress(target)] : []));
  throw new RangeError(
    `No local forward leads to ${host}:${String(port ?? '(no port)')}; there are: ${targets.join(', ') || 'none (they are known once the tunnel is ready)'}`,
  );
}
