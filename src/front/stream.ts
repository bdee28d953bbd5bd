import {type Duplex, duplexPair} from 'node:stream';
import {Alarm} from '../clock.js';

/** A stream into the tunnel, with what clients of sockets call on them. There is no socket, so some of it does nothing. */
export interface TunnelStream extends Duplex {
  /** Emits `'connect'`, as a socket does; where to was said before. */
  connect(...address: unknown[]): this;
  /** Does nothing: there is no TCP here. */
  setNoDelay(noDelay?: boolean): this;
  /** Does nothing: the heartbeat watches the tunnel. */
  setKeepAlive(enable?: boolean, initialDelay?: number): this;
  /** Emits `'timeout'` when nothing was read or written for so long; 0: never. */
  setTimeout(milliseconds: number, callback?: () => void): this;
  /** Does nothing: the tunnel's own `ref()` decides. */
  ref(): this;
  /** Does nothing: the tunnel's own `unref()` decides. */
  unref(): this;
}

/** Two ends of one stream: the host's, and the one that is joined with the tunnel. */
export function makeStream(): {readonly host: TunnelStream; readonly far: Duplex} {
  const [near, far] = duplexPair({allowHalfOpen: true});
  // A pair passes on what is said and that it is over, but not that it has failed: from Node 24 on its end looks clean.
  near._destroy = far._destroy = (error, done): void => {
    done(error);
  };
  near.once('close', () => far.destroy());
  far.once('close', () => {
    near.destroy(far.errored ?? undefined);
  });
  const [push, write] = [near.push.bind(near), near._write.bind(near)];
  const silence = new Alarm();
  let patience = Infinity;
  const touch = (): void => {
    if (patience !== Infinity) silence.set(patience, () => near.emit('timeout'));
  };
  near.once('close', () => {
    silence.stop();
  });
  const host: TunnelStream = Object.assign(near, {
    push(chunk: unknown, encoding?: BufferEncoding): boolean {
      touch();
      return push(chunk, encoding);
    },
    _write(chunk: unknown, encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
      touch();
      write(chunk, encoding, callback);
    },
    connect(): TunnelStream {
      process.nextTick(() => host.emit('connect'));
      return host;
    },
    setNoDelay: (): TunnelStream => host,
    setKeepAlive: (): TunnelStream => host,
    setTimeout(milliseconds: number, callback?: () => void): TunnelStream {
      silence.stop();
      patience = milliseconds || Infinity;
      if (callback) {
        if (patience === Infinity) host.off('timeout', callback);
        else host.once('timeout', callback);
      }
      touch();
      return host;
    },
    ref: (): TunnelStream => host,
    unref: (): TunnelStream => host,
  });
  return {host, far};
}
