import {readdirSync, readFileSync} from 'node:fs';

/** What /proc tells of a process's costs. One that has ended meanwhile costs nothing. */

/**
 * Processor time a process has used, in milliseconds. From `schedstat`, which counts nanoseconds: utime and stime in
 * `stat` go in steps of 10 ms, too coarse for an ssh that uses some 20 ms in the whole time it is watched.
 */
export function processorTime(pid: number): number {
  return tasks(pid).reduce((total, task) => {
    const [ran] = read(`/proc/${pid}/task/${task}/schedstat`).split(' ');
    return total + Number(ran) / 1e6;
  }, 0);
}

/**
 * Memory in kilobytes, counting its share only of what a process has in common with others (proportional set size), of
 * what is not a file's. A process's part of the pages of its program grows and shrinks by megabytes as other processes
 * of the same program come and go on the machine, and has nothing to do with what it does.
 */
export function proportionalSetSize(pid: number): number {
  const sizes = read(`/proc/${pid}/smaps_rollup`);
  const size = /^Pss_Anon:\s+(\d+) kB$/m.exec(sizes) ?? /^Pss:\s+(\d+) kB$/m.exec(sizes);
  return Number(size?.[1] ?? 0);
}

/** The same of several processes, with their share of the pages of programs and libraries: all that is not free because of them. */
export function proportionalSetSizeOfAll(pids: readonly number[]): number {
  return pids.reduce((total, pid) => total + kilobytes(read(`/proc/${pid}/smaps_rollup`), 'Pss'), 0);
}

/** Memory in kilobytes that a process has in use, counting what it shares in full. */
export function residentSetSize(pid: number): number {
  return kilobytes(read(`/proc/${pid}/status`), 'VmRSS');
}

function kilobytes(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0);
}

function tasks(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
