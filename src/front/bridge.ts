import type {Socket} from 'node:net';
import type {Duplex} from 'node:stream';
import {now} from '../clock.js';
import type {Way} from './way.js';

/** How a bridged connection ended. */
export type BridgeEnd = 'finished' | 'cut' | 'client-gone';

/** A client's end: a socket, or a stream inside this process. */
export type Client = Duplex & {readonly resetAndDestroy?: () => void};

/** Ends a connection as one that failed (RST), not as one that is complete (FIN). */
export function reset(client: Client): void {
  if (client.resetAndDestroy) client.resetAndDestroy();
  else client.destroy(Object.assign(new Error('The tunnel lost this connection'), {code: 'ECONNRESET'}));
}

/**
 * Joins a client with its connection into the tunnel, until both have ended. A side that is closed halfway stays open the
 * other way, a slow side slows the other, and what was cut off on one side is cut off on the other.
 *
 * @param onSilentEnd - the tunnel's side has ended and had not said a word
 */
export async function bridge(client: Client, upstream: Socket, way: Way, onSilentEnd: () => void): Promise<BridgeEnd> {
  return new Promise((resolve) => {
    let end: BridgeEnd | undefined;
    const finish = (how: BridgeEnd): void => {
      end ??= how;
      if (client.destroyed && upstream.destroyed) resolve(end);
    };
    const cut = (): void => {
      end ??= 'cut';
      reset(client);
      upstream.destroy();
    };
    let isStuck = false;
    const release = (): void => {
      if (isStuck) way.stuck--;
      isStuck = false;
    };
    upstream.on('data', (chunk: Buffer) => {
      way.heardAt = now();
      if (!client.write(chunk)) upstream.pause();
    });
    client.on('drain', () => upstream.resume());
    upstream.once('end', () => {
      // An ssh that dies closes its sockets as if all had been said.
      if (way.isEnding()) {
        cut();
        return;
      }
      client.end();
      if (upstream.bytesRead === 0) onSilentEnd();
    });
    upstream.once('error', () => {
      // An ssh that closes what it has not read resets it.
      if (upstream.bytesRead === 0 && !way.isEnding()) onSilentEnd();
      cut();
    });
    upstream.once('close', (failed: boolean) => {
      release();
      if (failed || !upstream.readableEnded) cut();
      finish('finished');
    });
    client.on('data', (chunk: Buffer) => {
      way.given += chunk.length;
      if (upstream.write(chunk)) return;
      if (!isStuck) way.stuck++;
      isStuck = true;
      client.pause();
    });
    upstream.on('drain', () => {
      way.releases++;
      release();
      client.resume();
    });
    client.once('end', () => upstream.end());
    client.once('error', () => {
      end ??= 'client-gone';
      upstream.destroy();
    });
    client.once('close', () => {
      end ??= client.readableEnded && client.writableFinished ? 'finished' : 'client-gone';
      if (!upstream.writableEnded || end !== 'finished') upstream.destroy();
      finish(end);
    });
    upstream.resume();
    client.resume();
  });
}
