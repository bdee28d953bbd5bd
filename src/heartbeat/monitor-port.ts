import {type Server, type Socket, connect, createServer} from 'node:net';
import {once} from 'node:events';
import {Alarm} from '../clock.js';
import {type BeatChannel, type ChannelListener, ignore, readLines} from './channel.js';
import {Strangers} from './strangers.js';

/** ssh's forwards of autossh's `-M`, and the listener for what comes back, have this address. */
const host = '127.0.0.1';

/** A connection that was closed under a beat, or not accepted, is tried again after so many milliseconds. */
const patience = 500;

/** What autossh's loop comes back to: one listener for all lives of ssh, so that nobody else gets the port. */
export class MonitorListener {
  /** Who takes what comes. */
  onConnection: ((socket: Socket) => void) | undefined;

  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket) => {
      if (this.onConnection) this.onConnection(socket.unref());
      else socket.destroy();
    });
    server.on('error', ignore);
    server.unref();
  }

  /** @throws the system's error if it cannot listen there */
  static async open(port: number): Promise<MonitorListener> {
    const server = createServer();
    server.listen({host, port, exclusive: true});
    await once(server, 'listening');
    return new MonitorListener(server);
  }

  close(): void {
    this.onConnection = undefined;
    this.#server.close();
  }
}

/**
 * Beats over a port that ssh forwards by its own command line. Each has a connection of its own, closed when it is answered:
 * an interactive ssh would not end at the end of its shell while one is open.
 */
export class MonitorPort implements BeatChannel {
  readonly #port: number;
  readonly #loop: MonitorListener | undefined;
  readonly #listener: ChannelListener;
  readonly #patience = new Alarm();
  readonly #strangers = new Strangers();
  #out: Socket | undefined;

  /** @param loop - where the beats come back to; without one they come back as an echo */
  constructor(port: number, loop: MonitorListener | undefined, listener: ChannelListener) {
    this.#port = port;
    this.#loop = loop;
    this.#listener = listener;
    if (loop) {
      loop.onConnection = (socket) => {
        this.#strangers.add(socket);
        readLines(socket, (line) => this.#judge(line));
      };
    }
  }

  send(line: string): void {
    this.#patience.stop();
    this.#out ??= this.#open();
    this.#out.write(`${line}\n`, 'latin1');
  }

  close(): void {
    this.#closeConnections();
    if (this.#loop) this.#loop.onConnection = undefined;
  }

  #open(): Socket {
    const socket = connect({host, port: this.#port});
    socket.unref().on('error', ignore);
    socket.once('close', () => {
      if (this.#out !== socket) return;
      this.#out = undefined;
      this.#patience.set(patience, () => {
        this.#listener.onClose(false);
      });
    });
    if (this.#loop) socket.resume();
    else readLines(socket, (line) => this.#judge(line));
    return socket;
  }

  #judge(line: string): boolean {
    const isOurs = this.#listener.onLine(line);
    // It has come all the way.
    if (isOurs) this.#closeConnections();
    return isOurs;
  }

  #closeConnections(): void {
    this.#patience.stop();
    const out = this.#out;
    this.#out = undefined;
    out?.destroy();
    this.#strangers.closeAll();
  }
}
