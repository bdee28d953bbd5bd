#!/usr/bin/env node
import {writeFileSync} from 'node:fs';
import {isatty} from 'node:tty';
import {Signals} from './signals.js';

// First of all, before the library is loaded: a signal may come at any time.
const signals = new Signals();
const {CommandLineError, parseCommandLine} = await import('../index.js');

// A terminal or a pipe that is gone is no reason to end a tunnel.
process.stderr.on('error', () => undefined);

nameProcess();
const exitCode = await main();
// What a slow reader has still to take; one that is gone does not hold it up.
await new Promise((resolve) => process.stderr.write('', resolve));
process.exit(exitCode);

/** By the name of a process `pidof`, `pgrep` and `killall` find it, as scripts do; its command line stays. */
function nameProcess(): void {
  try {
    if (process.platform === 'linux') writeFileSync('/proc/self/comm', 'autossh');
  } catch {
    // It is called node then.
  }
}

async function main(): Promise<number> {
  try {
    const argv = process.argv.slice(2);
    const broken = argv.find((argument) => argument.includes('\uFFFD'));
    if (broken !== undefined) {
      const {refuseOtherThanUTF8} = await import('./encoding.js');
      refuseOtherThanUTF8(broken);
    }
    const line = parseCommandLine(argv, process.env);
    switch (line.action) {
      case 'version': {
        const {version} = await import('./version.js');
        return await print(version());
      }
      case 'help': {
        const {usage} = await import('./usage.js');
        return await print(usage('autossh'));
      }
      case 'completion': {
        const {completion} = await import('./completion.js');
        return await print(completion(line.shell ?? 'bash'));
      }
      case 'doctor': {
        const {doctor} = await import('./doctor.js');
        const output = process.stdout.on('error', () => undefined);
        const code = await doctor(line, process.env, output, {isTTY: isatty(0)});
        await print('');
        return code;
      }
      case 'run':
      case 'status': {
        const {run} = await import('./run.js');
        return await run(line, signals);
      }
    }
  } catch (error) {
    if (!(error instanceof CommandLineError)) throw error;
    await complain(error);
    return 1;
  }
}

/** To standard output, which is ssh's alone where there is one: Node would set it not to block, for both. */
async function print(text: string): Promise<number> {
  process.stdout.on('error', () => undefined);
  await new Promise((resolve) => process.stdout.write(text, resolve));
  return 0;
}

async function complain(error: InstanceType<typeof CommandLineError>): Promise<void> {
  process.stderr.write(`autossh: ${error.message}\n`);
  if (error.showUsage) {
    const {usageShort} = await import('./usage.js');
    process.stderr.write(usageShort('autossh'));
  } else {
    const {logMistake} = await import('./log.js');
    await logMistake(error.message, error.isLogged ? process.env : {});
  }
}
