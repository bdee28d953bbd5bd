/** errno(3) of what a system has too little of: it may have more of it in a moment. */
const codes: readonly (string | undefined)[] = ['EAGAIN', 'EMFILE', 'ENFILE', 'ENOMEM', 'ENOSPC', 'EDQUOT'];

/** What an error says that comes of such a shortage. */
export const shortage = {
  retryable: true,
  hint: 'This machine is out of processes, memory or file descriptors, or its disk is full; it is tried again.',
} as const;

/** Whether the system's reason for a failure was that. */
export function isShortage({code}: NodeJS.ErrnoException): boolean {
  return codes.includes(code);
}
