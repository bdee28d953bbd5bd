/**
 * Without further settings this reads the greeting of the ssh server itself, seen from that server:
 *
 *     SSH_HOST=bastion npx vitest run --root examples/vitest-fixture
 */
import {once} from 'node:events';
import {connect} from 'node:net';
import {expect} from 'vitest';
import {test} from './tunnel.js';

test('the server behind the tunnel introduces itself', async ({tunnel}) => {
  const {listen} = tunnel.forward();
  const socket = connect(listen);
  const [greeting] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  expect(greeting.toString()).toMatch(/^SSH-2\.0-/);
});

test('the second test of the file uses the same tunnel', ({tunnel}) => {
  expect(tunnel.state).toBe('up');
  expect(tunnel.stats().starts).toBe(1);
});
