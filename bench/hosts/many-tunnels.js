// @ts-check
/**
 * A plain Node process that keeps as many tunnels as it is told to on its command line, all started at once, with the ssh
 * in `AUTOSSH_PATH`. TERM ends it with them.
 */
import process from 'node:process';
import {AutoSSH} from 'node-autossh';

const tunnels = Array.from(
  {length: Number(process.argv[2])},
  () => new AutoSSH({sshArguments: ['-N', 'tunnel'], heartbeat: false}),
);
for (const tunnel of tunnels) tunnel.start().catch(() => undefined);
process.once('SIGTERM', () => {
  void Promise.allSettled(tunnels.map((tunnel) => tunnel.stop())).then(() => process.exit());
});
