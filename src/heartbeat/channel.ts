import {type Socket, connect} from 'node:net';
import {BeatReader} from './beat.js';

/** What happens on a way through the tunnel. */
export interface ChannelListener {
  /** A whole line came back; `false`: it is no beat of ours, and its connection is to be closed. */
  readonly onLine: (line: string) => boolean;
  /** The connection that the beats go out on has closed; `absent`: nothing listens at this end of the tunnel. */
  readonly onClose: (absent: boolean) => void;
}

/** A way through the tunnel and back. */
export interface BeatChannel {
  /** Sends one line, over a new connection if there is none. */
  send(line: string): void;
  /** Closes all it has opened. */
  close(): void;
}

/** The connection that beats go out on: opened with the first, and kept. */
export class KeptConnection {
  #socket: Socket | undefined;
  readonly #path: string;
  readonly #onOpen: (socket: Socket) => void;
  readonly #onClose: (absent: boolean) => void;

  constructor(path: string, onOpen: (socket: Socket) => void, onClose: (absent: boolean) => void) {
    this.#path = path;
    this.#onOpen = onOpen;
    this.#onClose = onClose;
  }

  send(line: string): void {
    this.#socket ??= this.#open();
    this.#socket.write(`${line}\n`, 'latin1');
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #open(): Socket {
    const socket = connect({path: this.#path});
    socket.unref();
    let absent = false;
    socket.on('error', (error: NodeJS.ErrnoException) => {
      absent = error.code === 'ECONNREFUSED' || error.code === 'ENOENT';
    });
    socket.once('close', () => {
      if (this.#socket !== socket) return;
      this.#socket = undefined;
      this.#onClose(absent);
    });
    this.#onOpen(socket);
    return socket;
  }
}

/** Hands each line that a connection brings to a judge, and closes it at the first that is no beat. */
export function readLines(socket: Socket, judge: (line: string) => boolean): void {
  const reader = new BeatReader();
  socket.on('data', (chunk) => {
    const lines = reader.feed(chunk);
    if (!lines?.every(judge)) socket.destroy();
  });
}

/** What goes wrong with a connection is told by its `close`. */
export function ignore(): void {
  // See above.
}
