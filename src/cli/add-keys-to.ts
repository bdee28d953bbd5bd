import type {CommandLine} from '../index.js';
import type {Signal, Signals} from './signals.js';

/**
 * Adds the keys that ssh would use, and that need a passphrase, to an agent of ours, asking on this terminal. Ctrl-C ends
 * the asking alone; other signals end it, and then mean what they always mean.
 */
export async function addKeysTo(socket: string, line: CommandLine, signals: Signals): Promise<void> {
  const {addKeys} = await import('./agent.js');
  const asking = new AbortController();
  const later: Signal[] = [];
  signals.handle((signal) => {
    if (signal === 'SIGINT') return;
    later.push(signal);
    asking.abort();
  });
  const {sshPath, sshArguments} = line;
  await addKeys({socket, env: process.env, sshPath, arguments: sshArguments, signal: asking.signal}, (text) => {
    process.stderr.write(`autossh: ${text}\n`);
  });
  signals.hold(later);
}
