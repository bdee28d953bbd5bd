import {readFileSync} from 'node:fs';

/** What `-V` prints. */
export function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const manifest = JSON.parse(text) as {readonly name: string; readonly version: string};
  return `autossh ${manifest.version} (${manifest.name}, does what autossh 1.4g does)\n`;
}
