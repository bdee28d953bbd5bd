/** The letters of ssh's options that something follows: `getopt()` in OpenSSH's ssh.c. */
const withArgument = 'BDEFIJLOPQRSWbceilmopw';

/** Those that nothing follows. */
const alone = '1246ACGKNTVXYZafgknqstvxy';

/** What is known of a letter: whether its option takes an argument; `undefined`: ssh has no such option. */
export function takesArgument(letter: string): boolean | undefined {
  if (withArgument.includes(letter)) return true;
  return alone.includes(letter) ? false : undefined;
}
