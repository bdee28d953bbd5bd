/** What one tunnel is to be: a local forward to a target on the server's side. */
export interface TunnelOrder {
  /** ssh's configuration file, in which the server is called `tunnel`. */
  config: string;
  /** The local port of the forward. */
  listen: number;
  /** The port of the target, as the server sees it. */
  target: number;
  /** How the tunnel looks after itself: not at all, as it does by default, or with beats as fast as it can be asked for. */
  beats: 'none' | 'default' | 'every second' | 'fast';
  /**
   * For a contender that has no heartbeat of its own: ports for a loop of `-L` (from `listen` here to `remote` at the
   * server) and `-R` (from there to `arrival` here). It is ready when a byte sent into the loop has come out of it.
   */
  loop?: {listen: number; remote: number; arrival: number};
  /** Of the private key that the server knows, for a contender that takes its text; the configuration names it too. */
  identityFile?: string;
  /** Gives more ports to a contender that needs some. */
  ports: (count?: number) => Promise<number>;
}

/** One process that keeps tunnels, or that has started programs that do. */
export interface Host extends AsyncDisposable {
  /** Opens one more tunnel. Resolves once it is ready, with the milliseconds that took as the host saw it. */
  open(order: TunnelOrder): Promise<number>;
  /** The processes that keep the tunnels, without ssh itself. */
  keepers(): Promise<readonly number[]>;
  /** The ssh in service. */
  current(): Promise<number>;
  /** Replaces ssh because it is asked to, where there is such a thing. Resolves when the tunnel opened last has the new one. */
  restart?(): Promise<void>;
  /** How many beats have come back so far, over all tunnels; `undefined` where nobody counts them. */
  beats(): Promise<number | undefined>;
  /** Throws away garbage and tells how many kilobytes of live objects are left, where that means anything. */
  collect(): Promise<number | undefined>;
}

export interface Contender {
  /** A word to find it by. */
  readonly key: string;
  /** As in the tables' heads. */
  readonly name: string;
  /** Why it cannot take part on this machine. */
  absent(): string | undefined;
  host(signal: AbortSignal): Promise<Host>;
}
