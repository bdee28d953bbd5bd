import type {AutoSSHError} from '../index.js';

/** What the library says of options that the command has by another name, or has not. */
const translations: readonly (readonly [words: string, replacement: string])[] = [
  [', or set `sshPath` to it', ', or name it with --ssh-path'],
  [', or into `hostKey`', ''],
  [', or in `privateKey` and `passphrase`: nothing is asked for on a terminal', ''],
  [' in `sshOptions`', ' with -o'],
  [', or give `identityFile`', ', or name a key with -i'],
  ['give `password`, or `keyboardInteractive` for what else it asks', 'somebody has to type what it asks for'],
  ['raise `heartbeat.timeout` or `heartbeat.maxMisses`', 'raise --poll'],
];

/** What to do about an error, for whoever has typed a command; `undefined`: what there is to say is for programs alone. */
export function hintOf({hint}: AutoSSHError): string | undefined {
  const translated = translations.reduce((text, [words, replacement]) => text.replace(words, replacement), hint);
  return translated.includes('`') ? undefined : translated;
}
