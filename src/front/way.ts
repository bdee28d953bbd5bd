import {type Socket, connect} from 'node:net';

/** A ready ssh, as the connections that go through it see it. */
export interface Way {
  /** The private socket on which it listens for a forward. */
  readonly socketOf: (forward: number) => string;
  /** Whether it is alive now, proven by a beat sent after the call; `undefined` where there is no heartbeat to ask. */
  readonly probe: () => Promise<boolean | undefined>;
  /** Whether there is a heartbeat that tells when it is alive again. */
  readonly beats: () => boolean;
  /** Whether its ssh has ended or is about to: what it closes then was cut off, not finished. */
  readonly isEnding: () => boolean;
}

/**
 * Opens a connection into the tunnel. `undefined`: this way does not, or no longer, lead anywhere, and nothing has been
 * sent on it.
 *
 * ssh accepts connections while it is alone with itself, so a connect proves nothing. It does not pass on a byte before
 * the server has opened the channel, and for that time a beat goes beside it: what is sent after the beat is sent to a
 * tunnel that was alive after the connection came.
 */
export async function enter(way: Way, forward: number): Promise<Socket | undefined> {
  const alive = way.probe();
  const socket = connect({path: way.socketOf(forward), allowHalfOpen: true});
  socket.unref();
  const connected = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => {
      resolve(true);
    });
    socket.on('error', () => {
      resolve(false);
    });
  });
  if (connected && (await alive) !== false) return socket;
  socket.destroy();
  return undefined;
}
