import {fileURLToPath} from 'node:url';

/** The path of a program in `test/fixtures`: to be used as `sshPath`. */
export function fixture(name: string): string {
  return fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
}
