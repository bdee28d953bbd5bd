/**
 * What a line of ssh's stderr says.
 *
 * A server can print whatever it likes there: its login banner goes out as it is (`input_userauth_banner` in OpenSSH's sshconnect2.c),
 * and the texts of its disconnects and refusals may hold line breaks. Both come only after its host key was accepted, and there is no
 * telling such a line from ssh's own. So a notice explains an ssh that has ended, and is never in itself a reason to end one, nor a
 * proof that something works. What a server can win by a lie is that its own tunnel is not restarted.
 */
export type Notice =
  /** The address a TCP connection is tried to; with LogLevel DEBUG. */
  | {readonly kind: 'connecting'; readonly host: string; readonly address: string; readonly port: number}
  /** The TCP connection is there; with LogLevel DEBUG. */
  | {readonly kind: 'connected'}
  /** Logged in; without an address and port where a ProxyCommand or jump host is between. With LogLevel VERBOSE. */
  | {
      readonly kind: 'authenticated';
      readonly host: string;
      readonly address: string | undefined;
      readonly port: number | undefined;
      readonly method: string | undefined;
    }
  /** The server takes none of what there is to log in with; `methods` are those it would have gone on with. */
  | {
      readonly kind: 'auth-failed';
      readonly reason: string;
      readonly methods: readonly string[];
      /** As `user@host`, where ssh says it. */
      readonly login?: string;
    }
  /** A private key or certificate that cannot be used. */
  | {readonly kind: 'key-unreadable'; readonly path: string | undefined; readonly reason: string}
  /** A private key that other users could read: ssh leaves it out. */
  | {readonly kind: 'key-permissions'; readonly path: string | undefined; readonly mode: string | undefined}
  | {readonly kind: 'agent-problem'; readonly reason: string}
  /** The program that answers ssh's questions cannot be run. */
  | {readonly kind: 'askpass-failed'; readonly path: string; readonly reason: string}
  /** A question that does not come to this process: one of a hop's. */
  | {readonly kind: 'nobody-to-ask'}
  /** Also the general refusal, with neither host nor type: alone it means that ssh would have had to ask. */
  | {readonly kind: 'host-key-unknown'; readonly host: string | undefined; readonly keyType: string | undefined}
  /** Several lines tell it together; `file` and `line` are where the key that was expected stands. */
  | {
      readonly kind: 'host-key-changed';
      readonly host: string | undefined;
      readonly keyType: string | undefined;
      readonly file: string | undefined;
      readonly line: number | undefined;
    }
  | {readonly kind: 'host-key-revoked'; readonly keyType: string | undefined; readonly file: string | undefined}
  /** The key that the server has shown; of a pin by fingerprints told by ourselves. */
  | {readonly kind: 'host-key-offered'; readonly keyType: string | undefined; readonly fingerprint: string}
  /** The key of a server not seen before was written down, with `StrictHostKeyChecking=accept-new` or `no`. */
  | {readonly kind: 'host-key-added'; readonly host: string; readonly keyType: string}
  /** The same, but the file could not be written. */
  | {readonly kind: 'host-key-not-kept'; readonly file: string}
  /** `temporary`: the name service did not answer, rather than that there is no such name. */
  | {readonly kind: 'resolve-failed'; readonly host: string; readonly reason: string; readonly temporary: boolean}
  | {
      readonly kind: 'connect-refused' | 'connect-timeout' | 'unreachable' | 'connect-failed';
      readonly host: string;
      readonly port: number;
      readonly reason: string;
    }
  /** Something accepted the connection and then said nothing within ConnectTimeout. */
  | {readonly kind: 'banner-timeout'; readonly host: string | undefined; readonly port: number | undefined}
  /**
   * Closed before login, for a cause only the server knows. `beforeBanner`: before it had named its version, as at overload (MaxStartups),
   * for a penalty, or where there is no sshd behind a proxy.
   */
  | {readonly kind: 'closed-early'; readonly reason: string; readonly beforeBanner: boolean}
  /** The server says that there are too many connections; seen only with LogLevel DEBUG, else `closed-early`. */
  | {readonly kind: 'throttled'; readonly reason: string}
  /** Client and server have no algorithm in common. */
  | {readonly kind: 'negotiation-failed'; readonly what: string; readonly offer: string}
  /** What answered does not speak SSH, or not well. */
  | {readonly kind: 'protocol-error'; readonly reason: string}
  /** An option that ssh refuses, from the command line or, with `file` and where known `line`, from a configuration file. */
  | {
      readonly kind: 'bad-option';
      readonly option: string | undefined;
      readonly file: string | undefined;
      readonly line: number | undefined;
      readonly reason: string;
    }
  /** An option this build of ssh knows but cannot do, or a KnownHostsCommand that is not there: said, and left out. */
  | {
      readonly kind: 'ignored-option';
      readonly option: string;
      readonly file: string | undefined;
      readonly line: number | undefined;
    }
  | {readonly kind: 'bad-forward'; readonly type: 'local' | 'remote' | 'dynamic'; readonly specification: string}
  /** Several lines tell it together, the first of them with the most. */
  | {
      readonly kind: 'local-bind-failed';
      readonly host: string | undefined;
      readonly port: number | undefined;
      readonly path: string | undefined;
      readonly reason: string;
    }
  /** `fatal`: ssh ends for it (ExitOnForwardFailure). Port `0` was one for the server to choose. */
  | {
      readonly kind: 'remote-bind-failed';
      readonly port: number | undefined;
      readonly path: string | undefined;
      readonly fatal: boolean;
    }
  /** The answers come in the order of the `-R` arguments with port 0. A `target` of `undefined` is SOCKS. */
  | {readonly kind: 'remote-allocated'; readonly port: number; readonly target: ChannelTarget | undefined}
  /** The server could not, or would not, connect to the target of one connection; the tunnel itself is well. */
  | {
      readonly kind: 'channel-open-failed';
      readonly channel: number;
      readonly reason:
        | 'administratively-prohibited'
        | 'connect-failed'
        | 'unknown-channel-type'
        | 'resource-shortage'
        | 'unknown-reason';
      readonly detail: string;
    }
  /** This side could not connect to the target of a remote forward; the tunnel itself is well. */
  | {readonly kind: 'target-failed'; readonly target: ChannelTarget; readonly reason: string}
  /** The server sent a connection for a remote forward that was not asked for. */
  | {readonly kind: 'unknown-forward'; readonly listen: string}
  | {readonly kind: 'server-alive-timeout'}
  | {readonly kind: 'lost-connection'; readonly reason: string}
  /** The server said goodbye; `code` is that of RFC 4253, section 11.1. */
  | {readonly kind: 'disconnected'; readonly code: number | undefined; readonly reason: string}
  /** HUP and INT; at TERM ssh says nothing and exits with 0. */
  | {readonly kind: 'killed'; readonly signal: number}
  /** The connection was ended in order, at TERM too. With LogLevel VERBOSE. */
  | {readonly kind: 'transferred'; readonly sent: number; readonly received: number; readonly seconds: number}
  /** Another ssh is or was to carry the forwards (ControlMaster, ControlPath). */
  | {readonly kind: 'control-master'; readonly reason: string}
  /** The ProxyCommand, or the jump host on the way. */
  | {readonly kind: 'proxy-failed'; readonly reason: string}
  /** The user id has no entry in the user database, as in many containers; ssh does nothing without one. */
  | {readonly kind: 'no-user'; readonly uid: number}
  /** Out of file descriptors, processes or memory. */
  | {readonly kind: 'out-of-resources'; readonly reason: string};

/** Where a connection through the tunnel leads to; without a port where ssh does not say it. */
export type ChannelTarget = {readonly host: string; readonly port: number | undefined} | {readonly path: string};
