import {spawnSync} from 'node:child_process';
import {createRequire} from 'node:module';
import {cpus, release, totalmem} from 'node:os';
import {autossh} from './contenders/index.js';

/** What the numbers depend on. */
export function circumstances(): Record<string, string> {
  const processors = cpus();
  return {
    processors: `${processors.length} × ${processors[0]?.model ?? 'unknown'}`,
    memory: `${(totalmem() / 2 ** 30).toFixed(0)} GiB`,
    kernel: `${process.platform} ${release()}`,
    Node: process.version,
    OpenSSH: firstLine('ssh', '-V'),
    autossh: autossh.absent() ?? firstLine('autossh', '-V'),
    'tunnel-ssh': version('tunnel-ssh'),
  };
}

function firstLine(command: string, argument: string): string {
  const {stdout, stderr} = spawnSync(command, [argument], {encoding: 'utf8'});
  return `${stdout}${stderr}`.trim().split('\n')[0] ?? '';
}

function version(name: string): string {
  return (createRequire(import.meta.url)(`${name}/package.json`) as {version: string}).version;
}
