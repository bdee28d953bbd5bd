/**
 * `ioredis` through a tunnel whose ssh is killed.
 *
 *     SSH_HOST=bastion REDIS_HOST=cache.internal npx tsx examples/redis.ts
 *
 * REDIS_HOST and REDIS_PORT are the server as seen from SSH_HOST; REDIS_USERNAME and REDIS_PASSWORD, if it wants them.
 */
import {Redis} from 'ioredis';
import {AutoSSH} from 'node-autossh';

const {SSH_HOST = 'localhost', SSH_CONFIG, REDIS_HOST = '127.0.0.1', REDIS_PORT = '6379'} = process.env;
const {REDIS_USERNAME, REDIS_PASSWORD} = process.env;

await using tunnel = await AutoSSH.open({
  host: SSH_HOST,
  ...(SSH_CONFIG && {configFile: SSH_CONFIG}),
  forwards: [{type: 'local', target: {host: REDIS_HOST, port: Number(REDIS_PORT)}}],
});
tunnel.on('disconnect', ({outcome}) => {
  if (outcome.reason !== 'requested') console.log(`ssh is lost: ${outcome.message}`);
});

const redis = new Redis(tunnel.url(`redis://${REDIS_HOST}:${REDIS_PORT}`), {
  ...(REDIS_USERNAME && {username: REDIS_USERNAME}),
  ...(REDIS_PASSWORD && {password: REDIS_PASSWORD}),
  // Its connection is cut off with its ssh. The port is still there, so it may come back soon: the tunnel makes it wait.
  retryStrategy: (attempt) => Math.min(attempt * 50, 2000),
  // A command whose answer is lost with its connection is sent again, as is ioredis' default: all of these may be done twice.
  // `false` makes it fail instead, for what must not, an INCR for one.
  autoResendUnfulfilledCommands: true,
});
redis.on('close', () => console.log('the connection is closed'));
redis.on('ready', () => console.log('connected'));
// Told before each new attempt; unheard, ioredis prints it.
redis.on('error', (error) => console.log(`the connection broke: ${error.message}`));

try {
  const key = `node-autossh:${process.pid}`;
  await redis.set(key, 'written before', 'EX', 60);
  if (tunnel.pid !== undefined) process.kill(tunnel.pid, 'SIGKILL');
  const began = performance.now();
  console.log(`read after ssh was killed: ${(await redis.get(key)) ?? 'nothing'}`);
  console.log(`the answer took ${Math.round(performance.now() - began)} ms`);
  await redis.del(key);
} finally {
  redis.disconnect();
}
