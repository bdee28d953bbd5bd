import {type BeatChannel, type ChannelListener, KeptConnection, readLines} from './channel.js';

/** Beats go out through a local forward to an echo service, and come back on the same connection. */
export class EchoPort implements BeatChannel {
  readonly #out: KeptConnection;

  constructor(wayOut: string, {onLine, onClose}: ChannelListener) {
    this.#out = new KeptConnection(
      wayOut,
      (socket) => {
        readLines(socket, onLine);
      },
      onClose,
    );
  }

  send(line: string): void {
    this.#out.send(line);
  }

  close(): void {
    this.#out.close();
  }
}
