import {EventEmitter} from 'node:events';
import {connect, createServer, type Server, type Socket} from 'node:net';
import {freePort} from './ports.js';

interface RelayEvents {
  /** Somebody has connected. */
  connection: [];
  /** A connection has ended. */
  close: [];
  /** A new connection has come as far as `holdNewAfter` lets it. */
  held: [];
}

interface Link {
  delay: number;
  jitter: number;
  bytesPerSecond: number;
  /** All connections share the line: when it will have sent what is waiting. */
  busyUntil: number;
  passed: number;
}

type Direction = 'up' | 'down';

/**
 * A TCP relay to put between ssh and sshd: a network that does what the test says, for any user. What it cannot do is
 * lose packets: bytes that are not passed on are still acknowledged, until the kernel's buffers are full.
 */
export class Relay extends EventEmitter<RelayEvents> {
  readonly host = '127.0.0.1';
  readonly port: number;
  /** Connections accepted since the start. */
  accepted = 0;

  readonly #target: {host: string; port: number};
  readonly #connections = new Set<Connection>();
  readonly #links: Record<Direction, Link> = {up: newLink(), down: newLink()};
  #server: Server | undefined;
  #held = false;
  #holdNewAfter = Infinity;

  static async start(target: {host?: string; port: number}): Promise<Relay> {
    const relay = new Relay({host: '127.0.0.1', ...target}, await freePort());
    await relay.accept();
    return relay;
  }

  private constructor(target: {host: string; port: number}, port: number) {
    super();
    this.#target = target;
    this.port = port;
  }

  /** Open ones, forgotten ones too. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Bytes passed on so far. */
  get passed(): {up: number; down: number} {
    return {up: this.#links.up.passed, down: this.#links.down.passed};
  }

  /** Each way, `ms` give or take `jitter`; bytes stay in order. */
  delay(ms: number, jitter = 0): void {
    for (const link of Object.values(this.#links)) Object.assign(link, {delay: ms, jitter});
  }

  /** Of the line in each direction, shared by all connections, with some 256 KB waiting in front of it. */
  rate(bytesPerSecond: number, directions: readonly Direction[] = ['up', 'down']): void {
    for (const direction of directions) this.#links[direction].bytesPerSecond = bytesPerSecond;
  }

  /** Nothing is read or passed on any more, in old connections and new ones; all stay open. */
  stopPassing(): void {
    this.#held = true;
    for (const connection of this.#connections) connection.hold();
  }

  /** What was held back goes on. Forgotten connections stay forgotten. */
  resume(): void {
    this.#held = false;
    this.#holdNewAfter = Infinity;
    for (const connection of this.#connections) connection.release();
  }

  /** Nothing passes any more in the connections that are open now, for ever; new ones work. As when a NAT forgets. */
  forgetOld(): void {
    for (const connection of this.#connections) connection.forget();
  }

  /** The same for the one that was opened first. */
  forgetOldest(): void {
    const [oldest] = this.#connections;
    oldest?.forget();
  }

  /** New connections hang when the server has sent so many bytes, in the middle of a login, say; until `resume()`. */
  holdNewAfter(bytesFromServer: number): void {
    this.#holdNewAfter = bytesFromServer;
  }

  /** Resets every connection, on both sides. */
  cut(): void {
    for (const connection of this.#connections) connection.reset();
  }

  /** New connections are refused from now on; old ones go on. */
  async refuse(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    // The callback of close() waits for the connections as well, the port is free at once.
    server?.close();
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Undoes `refuse()`. */
  accept(): Promise<void> {
    if (this.#server !== undefined) return Promise.resolve();
    const server = createServer({allowHalfOpen: true, pauseOnConnect: true}, (socket) => {
      this.#onConnection(socket);
    });
    this.#server = server;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.port, this.host, resolve);
    });
  }

  async close(): Promise<void> {
    await this.refuse();
    this.cut();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #onConnection(client: Socket): void {
    this.accepted++;
    const server = connect({...this.#target, allowHalfOpen: true, noDelay: true});
    client.setNoDelay(true);
    const limit = this.#holdNewAfter;
    const connection = new Connection(client, server, this.#links, {
      onBytes: (total) => {
        if (total < limit || this.#holdNewAfter === Infinity) return;
        connection.hold();
        this.emit('held');
      },
      onClose: () => {
        this.#connections.delete(connection);
        this.emit('close');
      },
    });
    this.#connections.add(connection);
    if (this.#held) connection.hold();
    this.emit('connection');
  }
}

class Connection {
  readonly #pipes: Pipe[];
  readonly #sockets: Socket[];
  #forgotten = false;

  constructor(
    client: Socket,
    server: Socket,
    links: Record<Direction, Link>,
    {onBytes, onClose}: {onBytes: (fromServer: number) => void; onClose: () => void},
  ) {
    this.#sockets = [client, server];
    this.#pipes = [new Pipe(client, server, links.up), new Pipe(server, client, links.down, onBytes)];
    let open = 2;
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      // A reset on one side becomes a reset on the other, unless nothing is to pass.
      socket.on('error', () => {
        if (!this.#pipes.some((pipe) => pipe.held)) reset(other);
      });
      socket.on('close', () => {
        if (--open > 0) return;
        for (const pipe of this.#pipes) pipe.hold();
        onClose();
      });
    }
  }

  hold(): void {
    for (const pipe of this.#pipes) pipe.hold();
  }

  release(): void {
    if (this.#forgotten) return;
    for (const pipe of this.#pipes) pipe.release();
  }

  forget(): void {
    this.#forgotten = true;
    this.hold();
  }

  reset(): void {
    for (const socket of this.#sockets) reset(socket);
  }
}

/** One direction of one connection: reads, lets bytes age as the link says, writes. */
class Pipe {
  held = false;
  readonly #source: Socket;
  readonly #sink: Socket;
  readonly #link: Link;
  readonly #queue: {due: number; chunk: Buffer | null}[] = [];
  #waiting = 0;
  #lastDue = 0;
  #total = 0;
  #timer: NodeJS.Timeout | undefined;
  #blocked = false;

  constructor(source: Socket, sink: Socket, link: Link, onBytes: (total: number) => void = () => undefined) {
    this.#source = source;
    this.#sink = sink;
    this.#link = link;
    source.on('data', (chunk: Buffer) => {
      this.#total += chunk.length;
      this.#push(chunk);
      onBytes(this.#total);
    });
    source.on('end', () => {
      this.#enqueue(null, 0);
      this.#flush();
    });
    sink.on('drain', () => {
      this.#blocked = false;
      this.#flush();
    });
    source.resume();
  }

  hold(): void {
    this.held = true;
    clearTimeout(this.#timer);
    this.#source.pause();
  }

  release(): void {
    this.held = false;
    this.#source.resume();
    this.#flush();
  }

  #push(chunk: Buffer): void {
    // A slow line delivers little by little, not in lumps of 64 KB.
    const rate = this.#link.bytesPerSecond;
    const size = rate === Infinity ? chunk.length : Math.max(1, Math.ceil(rate / 50));
    for (let start = 0; start < chunk.length; start += size) {
      const slice = chunk.subarray(start, start + size);
      this.#enqueue(slice, slice.length);
    }
    this.#flush();
    if (this.#waiting > 256 * 1024) this.#source.pause();
  }

  #enqueue(chunk: Buffer | null, bytes: number): void {
    const link = this.#link;
    const sent = Math.max(performance.now(), link.busyUntil) + (bytes / link.bytesPerSecond) * 1000;
    link.busyUntil = sent;
    const due = sent + link.delay + (Math.random() * 2 - 1) * link.jitter;
    this.#lastDue = Math.max(due, this.#lastDue);
    this.#waiting += bytes;
    this.#queue.push({due: this.#lastDue, chunk});
  }

  #flush(): void {
    clearTimeout(this.#timer);
    while (!this.held && !this.#blocked) {
      const next = this.#queue[0];
      if (next === undefined) break;
      const wait = next.due - performance.now();
      if (wait > 0.5) {
        this.#timer = setTimeout(() => {
          this.#flush();
        }, wait);
        break;
      }
      this.#queue.shift();
      if (next.chunk === null) {
        this.#sink.end();
        continue;
      }
      this.#waiting -= next.chunk.length;
      this.#link.passed += next.chunk.length;
      this.#blocked = !this.#sink.write(next.chunk);
    }
    if (!this.held && this.#waiting <= 256 * 1024 && this.#source.isPaused()) this.#source.resume();
  }
}

/** libuv refuses to reset a socket that is being shut down, and Node then never closes it: such a one keeps the process alive. */
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

function newLink(): Link {
  return {delay: 0, jitter: 0, bytesPerSecond: Infinity, busyUntil: 0, passed: 0};
}
