import {describe, expect, test} from 'vitest';
import {type SmallServer, pollUntil, serve, signal, waitForState} from '../support/index.js';
import {once, setScene, starts, type Subject} from '../faults/scene.js';
import {client, open, traffic} from './client.js';

const scene = setScene();

/** A target that keeps what each of its connections has said, and answers `answer`, if anything, to a word. */
async function listener(answer?: string): Promise<{target: SmallServer; heard: string[]}> {
  const heard: string[] = [];
  const target = scene.use(
    await serve({}, (socket) => {
      const place = heard.push('') - 1;
      socket.on('data', (chunk: Buffer) => {
        heard[place] = (heard[place] ?? '') + chunk.toString();
        if (answer !== undefined) socket.write(answer);
      });
      socket.on('end', () => socket.end());
    }),
  );
  return {target, heard};
}

/** Without a heartbeat nothing is asked before it is entered: so a connection is sure to be in what is killed then. */
async function tunnelTo(target: SmallServer): Promise<Subject> {
  const subject = scene.tunnel({heartbeat: false, forwards: [`-L 0:127.0.0.1:${String(target.port)}`]});
  await subject.tunnel.start();
  return subject;
}

async function killed({tunnel}: Subject): Promise<void> {
  const again = once(tunnel, 'connect', {unless: ['stop']});
  signal(tunnel.pid ?? 0, 'SIGKILL');
  await again;
}

describe('a connection whose ssh ends before it has read a word of it is served by the next', () => {
  test('ssh was frozen', async () => {
    const {target, heard} = await listener('yes');
    const subject = await tunnelTo(target);
    const {tunnel, events} = subject;
    signal(tunnel.pid ?? 0, 'SIGSTOP');
    await waitForState(tunnel.pid ?? 0, 'T');
    const [one, half, silent] = [await client(tunnel), await client(tunnel), await client(tunnel)];
    one.socket.write('one');
    half.socket.end('half');
    await open(tunnel, 3);
    await killed(subject);
    await one.until('yes');
    expect(await half.ending).toEqual({text: 'yes', ended: true, error: undefined});
    silent.socket.write('late');
    await silent.until('yes');
    expect([...heard].sort()).toEqual(['half', 'late', 'one']);
    one.socket.end();
    silent.socket.end();
    await open(tunnel, 0);
    expect(traffic(tunnel)).toMatchObject({total: 3, failed: 0, refused: 0, bytesSent: 11, bytesReceived: 9});
    expect(events.of('connection').map(({id}) => id)).toEqual([1, 2, 3]);
    expect(events.of('connection-end').map(({end}) => end)).toEqual(['finished', 'finished', 'finished']);
    expect(starts(subject)).toBe(2);
  });

  test('its server was frozen', async () => {
    const {target, heard} = await listener('yes');
    const subject = await tunnelTo(target);
    await scene.sshd.freezeSessions();
    const one = await client(subject.tunnel);
    one.socket.write('one');
    await open(subject.tunnel, 1);
    await killed(subject);
    await one.until('yes');
    expect(heard).toEqual(['one']);
    one.socket.destroy();
  });
});

test('one that was held once, and has said nothing since, is led on like any other', async () => {
  const {target} = await listener('yes');
  const subject = scene.tunnel({
    heartbeat: false,
    holdTimeout: 1_500,
    forwards: [`-L 0:127.0.0.1:${String(target.port)}`],
  });
  const {tunnel} = subject;
  await tunnel.start();
  const lost = once(tunnel, 'disconnect');
  const again = once(tunnel, 'connect', {unless: ['stop']});
  signal(tunnel.pid ?? 0, 'SIGKILL');
  await lost;
  const one = await client(tunnel);
  await again;
  await open(tunnel, 1);
  await new Promise((resolve) => setTimeout(resolve, 1_600));
  await killed(subject);
  one.socket.write('late');
  await one.until('yes');
  one.socket.destroy();
});

describe('nothing is said twice: it is cut off', () => {
  test('what ssh has read', async () => {
    const {target, heard} = await listener();
    const subject = await tunnelTo(target);
    const one = await client(subject.tunnel);
    one.socket.write('one');
    await pollUntil('it is heard', () => heard[0] === 'one');
    await killed(subject);
    expect(await one.ending).toMatchObject({ended: false, error: 'ECONNRESET'});
    expect(heard).toEqual(['one']);
    expect(traffic(subject.tunnel)).toMatchObject({failed: 1});
  });

  test('what was answered', async () => {
    const greeter = scene.use(await serve({}, (socket) => socket.write('hello')));
    const subject = await tunnelTo(greeter);
    const one = await client(subject.tunnel);
    await one.until('hello');
    await killed(subject);
    expect(await one.ending).toMatchObject({text: 'hello', ended: false, error: 'ECONNRESET'});
  });

  test.each([
    ['more than is kept', [Buffer.alloc(20_000)]],
    ['more than one piece', [Buffer.from('one'), Buffer.from('two')]],
  ])('%s', async (_, pieces) => {
    const {target, heard} = await listener('yes');
    const subject = await tunnelTo(target);
    signal(subject.tunnel.pid ?? 0, 'SIGSTOP');
    const one = await client(subject.tunnel);
    await open(subject.tunnel, 1);
    let said = 0;
    for (const piece of pieces) {
      one.socket.write(piece);
      said += piece.length;
      await pollUntil('it is given', () => traffic(subject.tunnel).bytesSent === said);
    }
    await killed(subject);
    expect(await one.ending).toMatchObject({ended: false, error: 'ECONNRESET'});
    expect(heard).toEqual([]);
  });
});
