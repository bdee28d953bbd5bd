import {once} from 'node:events';
import {type AddressInfo, type Server, type Socket, createServer} from 'node:net';
import type {Address} from '../ssh/forward.js';

/** Connections that the kernel keeps for us while this process is busy; Linux caps it by net.core.somaxconn. */
const backlog = 4_096;

/** A listener that is the library's own: held from the start of the tunnel to its end, whatever ssh does. */
export class FrontListener {
  readonly #server: Server;
  readonly #listen: Address;

  constructor(listen: Address, onConnection: (socket: Socket) => void) {
    this.#listen = listen;
    // Half-closed connections stay open, and nothing is read before there is somewhere to put it.
    this.#server = createServer({allowHalfOpen: true, pauseOnConnect: true, noDelay: true}, onConnection);
    this.#server.unref();
  }

  /**
   * Begins to listen.
   *
   * @returns the address, an ephemeral port filled in by the kernel
   * @throws the system's error if it cannot
   */
  async open(): Promise<Address> {
    // Exclusive: in a cluster's worker it is this process that listens, not the primary.
    this.#server.listen({...this.#listen, backlog, exclusive: true});
    await once(this.#server, 'listening');
    if (this.#listen.path !== undefined) return this.#listen;
    const {port} = this.#server.address() as AddressInfo;
    return Object.freeze({host: this.#listen.host, port});
  }

  /** Stops listening; connections that it accepted are not its matter. */
  close(): void {
    this.#server.close();
  }
}
