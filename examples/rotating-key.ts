/**
 * A tunnel whose key comes from a secret store that mounts files (Kubernetes, Docker, systemd's LoadCredential), or from an environment
 * variable, and that knows its server by a pinned host key. Nothing of it is in ~/.ssh.
 *
 *     SSH_HOST=me@bastion SSH_HOST_KEY='ssh-ed25519 AAAA…' SSH_KEY_FILE=/run/secrets/ssh-key TARGET=db.internal:5432 \
 *       npx tsx examples/rotating-key.ts
 *
 * SSH_KEY, the key itself, may be there instead of SSH_KEY_FILE; SSH_KEY_PASSPHRASE for either. SSH_HOST_KEY is what
 * `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on the server, or that file's own line.
 *
 * SIGHUP, as secret stores send it after a rotation, replaces ssh by one with the key that is there then: the new one logs in
 * beside the old, so that no connection is lost, and if the new key is not let in, the old ssh stays.
 */
import {readFile} from 'node:fs/promises';
import {AutoSSH} from 'node-autossh';

const {SSH_HOST = 'localhost', SSH_CONFIG, SSH_KEY, SSH_KEY_FILE, SSH_KEY_PASSPHRASE, SSH_HOST_KEY} = process.env;
const {TARGET = '127.0.0.1:5432'} = process.env;

if (!SSH_HOST_KEY || !(SSH_KEY_FILE || SSH_KEY)) {
  console.error('SSH_HOST_KEY and SSH_KEY_FILE, or SSH_KEY, have to be set');
  process.exit(1);
}

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());

const tunnel = new AutoSSH({
  host: SSH_HOST,
  ...(SSH_CONFIG && {configFile: SSH_CONFIG}),
  hostKey: SSH_HOST_KEY,
  // Called for every ssh: what the file has then is the key.
  privateKey: async ({signal}) => (SSH_KEY_FILE ? readFile(SSH_KEY_FILE, {signal}) : (SSH_KEY ?? '')),
  ...(SSH_KEY_PASSPHRASE && {passphrase: SSH_KEY_PASSPHRASE}),
  forwards: [{type: 'local', target: TARGET}],
  signal: interrupted.signal,
});

process.on('SIGHUP', () => {
  tunnel.restart('the key was rotated').then(
    () => console.log('replaced'),
    (error: unknown) => console.error(`not replaced: ${error instanceof Error ? error.message : String(error)}`),
  );
});

tunnel.on('connect', () => {
  const {host = '', port = 0} = tunnel.forward().listen;
  console.log(`${TARGET} is at ${host}:${port}`);
});
tunnel.on('warning', ({message}) => console.warn(message));
tunnel.on('stop', ({error}) => {
  process.removeAllListeners('SIGHUP');
  if (!error) return;
  console.error(`${error.message}\n${error.hint}`);
  process.exitCode = 1;
});
// How it went is said by the events.
await tunnel.start().catch(() => undefined);
