import {canListen, freePort} from '../test/support/ports.js';
import {Relay} from '../test/support/relay.js';
import {echoServer} from '../test/support/servers.js';
import {PrivateSshd, defaultKeyExchange} from '../test/support/sshd.js';

/** What all contenders meet: the same real sshd, the same relay in front of it, the same target behind it. */
export interface Ground {
  sshd: PrivateSshd;
  relay: Relay;
  /** The port of the target, which sends back what it gets. */
  target: number;
  /** ssh's configurations; in both the server is called `tunnel`. */
  config: {direct: string; throughRelay: string};
  /** So many consecutive ports that are free, and that nobody else has been given. */
  ports: (count?: number) => Promise<number>;
  /** Aborted when the bench is interrupted. */
  signal: AbortSignal;
  /** Few repetitions: to see that it works, not to decide anything. */
  quick: boolean;
  /** Tells whoever waits what is being measured. */
  say: (what: string) => void;
}

/** Prepares the ground, lets `body` use it, and clears it away whatever comes of that. */
export async function onGround(
  wishes: Pick<Ground, 'signal' | 'quick' | 'say'>,
  body: (ground: Ground) => Promise<void>,
): Promise<void> {
  await using sshd = await PrivateSshd.start({config: ['GatewayPorts clientspecified', defaultKeyExchange]});
  await using relay = await Relay.start({port: sshd.port});
  const target = await echoServer();
  try {
    await body({
      ...wishes,
      sshd,
      relay,
      target: target.port,
      config: {direct: sshd.configFile, throughRelay: sshd.config({port: relay.port})},
      ports,
    });
  } finally {
    await target.close();
  }
}

const given = new Set<number>();

async function ports(count = 1): Promise<number> {
  for (;;) {
    const first = await freePort();
    const wanted = Array.from({length: count}, (_, index) => first + index);
    if (wanted.some((port) => given.has(port))) continue;
    const free = await Promise.all(wanted.map((port) => canListen(port)));
    if (free.includes(false)) continue;
    for (const port of wanted) given.add(port);
    return first;
  }
}
