import {getSystemErrorMap} from 'node:util';

/** What the system says of an error, as strerror(3) would: `No such file or directory`. */
export function systemMessage(error: unknown): string {
  const {errno, message} = error as NodeJS.ErrnoException;
  const [, text = message] = (errno === undefined ? undefined : getSystemErrorMap().get(errno)) ?? [];
  return text.charAt(0).toUpperCase() + text.slice(1);
}
