import {connect, createServer, type AddressInfo, type Server, type Socket} from 'node:net';
import {patience} from './events.js';

/** Small servers to put at the far end of a forward, and a client that talks through one. */

export type Place =
  {port: number; host?: string; path?: undefined} | {path: string; host?: undefined; port?: undefined};

export interface ServerOptions {
  port?: number;
  host?: string;
  path?: string;
}

export interface SmallServer {
  /** 0 if it listens on a path. */
  readonly port: number;
  readonly host: string;
  /** Connections accepted since the start. */
  readonly accepted: number;
  /** Connections open now. */
  readonly open: number;
  close(): Promise<void>;
}

/** Sends back what it gets. */
export function echoServer(where: ServerOptions = {}): Promise<SmallServer> {
  return serve(where, (socket) => socket.pipe(socket));
}

/** A stranger on a port: answers `DECOY` to whoever comes. */
export function decoy(port = 0, host = '127.0.0.1'): Promise<SmallServer> {
  return serve({port, host}, (socket) => socket.end('DECOY'));
}

/** Accepts, reads, never says a word. */
export function silentServer(where: ServerOptions = {}): Promise<SmallServer> {
  return serve(where, (socket) => socket.resume());
}

/** Reads all it is sent, as quickly as it comes, and sends back the number of bytes at the end. */
export function sink(where: ServerOptions = {}): Promise<SmallServer> {
  return serve(where, (socket) => {
    let bytes = 0;
    socket.on('data', (chunk: Buffer) => (bytes += chunk.length));
    socket.on('end', () => socket.end(String(bytes)));
  });
}

export function serve(
  {port = 0, host = '127.0.0.1', path}: ServerOptions,
  onConnection: (socket: Socket) => void,
): Promise<SmallServer> {
  const sockets = new Set<Socket>();
  let accepted = 0;
  const server: Server = createServer({allowHalfOpen: true}, (socket) => {
    accepted++;
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    onConnection(socket);
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path === undefined ? {port, host, exclusive: true, ipv6Only: host === '::1'} : {path}, () => {
      resolve({
        port: path === undefined ? (server.address() as AddressInfo).port : 0,
        host,
        get accepted() {
          return accepted;
        },
        get open() {
          return sockets.size;
        },
        close: () =>
          new Promise<void>((closed) => {
            server.close(() => {
              closed();
            });
            for (const socket of sockets) socket.destroy();
          }),
      });
    });
  });
}

/** Opens one connection; rejects when it is refused. */
export function connectTo(place: Place): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = place.path !== undefined ? connect(place.path) : connect(place.port, place.host ?? '127.0.0.1');
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      socket.on('error', () => undefined);
      resolve(socket);
    });
  });
}

/** Sends a text on a connection and waits for as many bytes of answer; rejects if the connection ends before. */
export function exchangeOn(
  socket: Socket,
  text: string,
  {timeout = patience}: {timeout?: number} = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const timer = setTimeout(() => {
      finish(() => {
        reject(new Error(`No answer to '${text}' within ${timeout} ms`));
      });
    }, timeout);
    const onData = (chunk: Buffer): void => {
      answer += chunk.toString();
      if (answer.length >= text.length)
        finish(() => {
          resolve(answer);
        });
    };
    const onEnd = (): void => {
      finish(() => {
        reject(new Error(`The connection ended after '${answer}'`));
      });
    };
    socket.on('data', onData);
    socket.on('end', onEnd);
    socket.on('close', onEnd);
    if (socket.readableEnded || socket.destroyed) onEnd();
    else socket.write(text);

    function finish(settle: () => void): void {
      clearTimeout(timer);
      socket.off('data', onData);
      socket.off('end', onEnd);
      socket.off('close', onEnd);
      settle();
    }
  });
}

/** One connection, one text there and back. */
export async function exchange(place: Place, text = 'ping', options: {timeout?: number} = {}): Promise<string> {
  const socket = await connectTo(place);
  try {
    return await exchangeOn(socket, text, options);
  } finally {
    socket.destroy();
  }
}

/** All that a server says of its own accord until it closes. */
export async function readAll(place: Place, {timeout = patience}: {timeout?: number} = {}): Promise<string> {
  const socket = await connectTo(place);
  return new Promise((resolve, reject) => {
    let text = '';
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`Not closed within ${timeout} ms`));
    }, timeout);
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(text);
    });
    socket.on('end', () => socket.destroy());
  });
}
