import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {inject} from 'vitest';

/** The path of a program in `test/fixtures`: to be used as `sshPath`. */
export function fixture(name: string): string {
  return fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
}

/** The path of a program in `test/fixtures` that is written in TypeScript, compiled for Node. */
export function compiled(name: `${string}.ts`): string {
  return join(inject('programs'), name.replace(/ts$/, 'mjs'));
}
