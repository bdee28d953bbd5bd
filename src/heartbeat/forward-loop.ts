import {type Server, type Socket, createServer} from 'node:net';
import {type BeatChannel, type ChannelListener, KeptConnection, ignore, readLines} from './channel.js';
import {Strangers} from './strangers.js';

/**
 * Beats go out through a local forward and come back through a remote one. Both ends on this side are Unix sockets in
 * a private folder; the port between them, at the server, is open to the users of the server, so what comes is
 * believed only by its nonce.
 */
export class ForwardLoop implements BeatChannel {
  readonly #out: KeptConnection;
  readonly #server: Server;
  readonly #strangers = new Strangers();

  /** Listens on `wayBack` at once, so that ssh finds it. */
  constructor(wayOut: string, wayBack: string, {onLine, onClose}: ChannelListener) {
    this.#out = new KeptConnection(wayOut, (socket) => socket.resume(), onClose);
    this.#server = createServer((socket) => {
      this.#accept(socket, onLine);
    });
    this.#server.on('error', ignore);
    // Exclusive: in a cluster's worker it is this process that listens, not the primary.
    this.#server.listen({path: wayBack, exclusive: true});
    this.#server.unref();
  }

  send(line: string): void {
    this.#out.send(line);
  }

  close(): void {
    this.#out.close();
    this.#server.close();
    this.#strangers.closeAll();
  }

  #accept(socket: Socket, onLine: (line: string) => boolean): void {
    this.#strangers.add(socket);
    readLines(socket, (line) => {
      const ours = onLine(line);
      if (ours) this.#strangers.prove(socket);
      return ours;
    });
  }
}
