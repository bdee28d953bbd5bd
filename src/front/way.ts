import {type Socket, connect} from 'node:net';
import {now} from '../clock.js';

/** A ready ssh, as the connections that go through it see it. */
export interface Way {
  /** The private socket on which it listens for a forward. */
  readonly socketOf: (forward: number) => string;
  /** When something last came through it from the server, on the clock of `now()`. */
  heardAt: number;
  /** Bytes that its ssh was given by those connections, taken or not. */
  given: number;
  /** Connections from which it takes nothing more at the moment. */
  stuck: number;
  /** How often it has taken something again from one that was stuck. */
  releases: number;
  /** Whether it is alive now, proven by a beat sent after the call; `undefined` where there is no heartbeat to ask. */
  readonly probe: () => Promise<boolean | undefined>;
  /** Whether it may be entered: nobody has asked its ssh to end. */
  readonly isOpen: () => boolean;
  /** Whether there is a heartbeat that tells when it is alive again. */
  readonly beats: () => boolean;
  /** Its private socket is gone: nobody will enter it again. */
  readonly lost: () => void;
  /** Whether its ssh has ended or is about to: what it closes then was cut off, not finished. */
  readonly isEnding: () => boolean;
}

/** What has been heard from within so many milliseconds needs no proof that it is alive. */
const fresh = 5;

/**
 * Opens a connection into the tunnel. `undefined`: this way does not, or no longer, lead anywhere; `'busy'`: it has no room
 * at the moment, because ssh lets no more than 128 wait to be accepted (SSH_LISTEN_BACKLOG). Nothing has been sent on it.
 *
 * ssh accepts connections while it is alone with itself, so a connect proves nothing. A tunnel that has been silent is
 * asked first, and not beside: a beat and the opening of a channel on the way at once hold each other up (ssh leaves
 * Nagle's algorithm on where there is no terminal).
 */
export async function enter(way: Way, forward: number): Promise<Socket | 'busy' | undefined> {
  if (now() - way.heardAt > fresh && (await way.probe()) === false) return undefined;
  const socket = connect({path: way.socketOf(forward), allowHalfOpen: true});
  socket.unref();
  const outcome = await new Promise<'connected' | 'busy' | undefined>((resolve) => {
    socket.once('connect', () => {
      resolve('connected');
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // Something that clears temporary files has taken it for an old one.
      if (error.code === 'ENOENT') way.lost();
      resolve(error.code === 'EAGAIN' ? 'busy' : undefined);
    });
  });
  return outcome === 'connected' ? socket : outcome;
}
