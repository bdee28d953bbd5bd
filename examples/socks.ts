/**
 * A SOCKS proxy whose connections leave from the server (ssh -D), and a request through it.
 *
 *     SSH_HOST=bastion npx tsx examples/socks.ts http://intranet.example/
 *
 * The name in the URL is looked up on the server.
 */
import {once} from 'node:events';
import {get, type IncomingMessage} from 'node:http';
import {connect, type Socket} from 'node:net';
import {AutoSSH} from 'node-autossh';

const {SSH_HOST = 'localhost', SSH_CONFIG} = process.env;
const url = new URL(process.argv[2] ?? 'http://example.com/');
if (url.protocol !== 'http:') throw new TypeError(`Expected an http: URL, got ${url.href}`);

await using tunnel = await AutoSSH.open({
  host: SSH_HOST,
  ...(SSH_CONFIG && {configFile: SSH_CONFIG}),
  forwards: [{type: 'dynamic'}],
});
const {listen} = tunnel.forward();
if (listen.port === undefined) throw new Error('unreachable: this forward listens on a port');
console.log(`SOCKS proxy on ${listen.host}:${listen.port}`);

const socket = await connectThrough(listen, url.hostname, Number(url.port || 80));
const request = get(url, {createConnection: () => socket, agent: false});
const [response] = (await once(request, 'response')) as [IncomingMessage];
console.log(`${url.href} answered ${response.statusCode ?? 0} ${response.statusMessage ?? ''}`);
for await (const chunk of response) process.stdout.write(chunk as Buffer);

/** The part of RFC 1928 that it takes: no authentication, CONNECT, the target by name. */
async function connectThrough(proxy: {host: string; port: number}, host: string, port: number): Promise<Socket> {
  const socket = connect(proxy);
  const name = Buffer.from(host.replace(/^\[|\]$/g, ''));
  socket.write(Buffer.from([5, 1, 0]));
  const greeting = await read(socket, 2);
  if (greeting?.[1] !== 0) throw new Error('The proxy is none, or wants authentication');
  socket.write(Buffer.concat([Buffer.from([5, 1, 0, 3, name.length]), name, Buffer.from([port >> 8, port & 255])]));
  // OpenSSH replies with an IPv4 address, 10 bytes in all; where its server cannot connect it closes without a word.
  const reply = await read(socket, 10);
  if (reply?.[1] !== 0) throw new Error(`The server cannot connect to ${host}:${port}`);
  return socket;
}

/** So many bytes, or nothing if the connection is closed before. */
async function read(socket: Socket, length: number): Promise<Buffer | undefined> {
  for (;;) {
    const data = socket.read(length) as Buffer | null;
    if (data?.length === length) return data;
    if (data !== null || socket.readableEnded) return undefined;
    await Promise.race([once(socket, 'readable'), once(socket, 'end')]);
  }
}
