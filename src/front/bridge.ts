import type {Socket} from 'node:net';
import {now} from '../clock.js';
import {type Connection, reset} from './connection.js';
import type {Way} from './way.js';

/**
 * How a bridged connection ended; `'unread'`: ssh ended and had read nothing of it, so its client, who knows nothing of
 * that, can be led elsewhere.
 */
export type BridgeEnd = 'finished' | 'cut' | 'client-gone' | 'unread';

/**
 * Joins a client with its connection into the tunnel, until both have ended. A side that is closed halfway stays open the
 * other way, a slow side slows the other, and what was cut off on one side is cut off on the other.
 *
 * @param onSilentEnd - the tunnel's side has ended and had not said a word
 */
export async function bridge(
  connection: Connection,
  upstream: Socket,
  way: Way,
  onSilentEnd: () => void,
): Promise<BridgeEnd> {
  const {client} = connection;
  return new Promise((resolve) => {
    let end: BridgeEnd | undefined;
    let isStuck = false;
    const release = (): void => {
      if (isStuck) way.stuck--;
      isStuck = false;
    };
    const give = (chunk: Buffer): void => {
      way.given += chunk.length;
      connection.keep(chunk);
      if (upstream.write(chunk) || isStuck) return;
      isStuck = true;
      way.stuck++;
      client.pause();
    };
    const finish = (how: BridgeEnd): void => {
      end ??= how;
      if (client.destroyed && upstream.destroyed) resolve(end);
    };
    const cut = (): void => {
      end ??= 'cut';
      reset(client);
      upstream.destroy();
    };
    const onDrained = (): void => {
      upstream.resume();
    };
    const onClientEnd = (): void => {
      upstream.end();
    };
    const onClientError = (): void => {
      end ??= 'client-gone';
      upstream.destroy();
    };
    const onClientClose = (): void => {
      end ??= client.readableEnded && client.writableFinished ? 'finished' : 'client-gone';
      if (!upstream.writableEnded || end !== 'finished') upstream.destroy();
      finish(end);
    };
    /** Lets go of the client as it was before. */
    const giveBack = (): void => {
      end = 'unread';
      release();
      upstream.destroy();
      client.pause();
      client.off('data', give).off('drain', onDrained).off('end', onClientEnd);
      client.off('error', onClientError).off('close', onClientClose);
      resolve('unread');
    };

    upstream.on('data', (chunk: Buffer) => {
      way.heardAt = now();
      connection.forget();
      if (!client.write(chunk)) upstream.pause();
    });
    upstream.on('drain', () => {
      way.releases++;
      release();
      client.resume();
    });
    upstream.once('end', () => {
      if (end !== undefined) return;
      // An ssh that dies closes its sockets as if all had been said.
      if (!way.isEnding()) {
        client.end();
        if (upstream.bytesRead === 0) onSilentEnd();
      } else if (connection.isUnsaid) {
        giveBack();
      } else {
        cut();
      }
    });
    upstream.once('error', (error: NodeJS.ErrnoException) => {
      if (end !== undefined) return;
      const isEnding = way.isEnding();
      // Of what the other side has left unread the kernel says so: unix(7), and unix_release_sock() in Linux's af_unix.c.
      const isUnread = error.code === 'ECONNRESET' || error.code === 'EPIPE';
      if (isEnding && isUnread && connection.isRepeatable) {
        giveBack();
        return;
      }
      if (upstream.bytesRead === 0 && !isEnding) onSilentEnd();
      cut();
    });
    upstream.once('close', (failed: boolean) => {
      release();
      if (end === 'unread') return;
      if (failed || !upstream.readableEnded) cut();
      finish('finished');
    });
    // Before anybody listens: what is read is also emitted.
    const said = connection.takeSaid();
    client.on('data', give).on('drain', onDrained).once('end', onClientEnd);
    client.once('error', onClientError).once('close', onClientClose);
    upstream.resume();
    client.resume();
    if (said) give(said);
    if (client.readableEnded) onClientEnd();
  });
}
