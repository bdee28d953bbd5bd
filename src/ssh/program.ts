import {accessSync, constants, realpathSync, statSync} from 'node:fs';
import {delimiter, resolve} from 'node:path';

/**
 * Finds a program as `execvp` would: by `PATH`, or where a path is given, there.
 *
 * @throws an `ENOENT` or `EACCES` error that tells which
 */
export function findProgram(name: string, environment: NodeJS.ProcessEnv, cwd?: string): string {
  const directories = name.includes('/')
    ? ['']
    : (environment['PATH'] ?? '/usr/local/bin:/usr/bin:/bin').split(delimiter);
  // Else the system would say of the program that it is not there.
  if (cwd !== undefined && !is('isDirectory', cwd)) {
    throw Object.assign(new Error(`the working directory ${cwd} is not there`), {
      code: 'ENOENT',
      hint: 'Correct `cwd`.',
    });
  }
  let denied: string | undefined;
  for (const directory of directories) {
    const path = resolve(cwd ?? '', directory, name);
    try {
      // A folder of PATH that this user may not enter is passed over, as one that is not there.
      if (!is('isFile', path)) continue;
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      denied ??= path;
    }
  }
  if (name.includes('/') && is('isDirectory', resolve(cwd ?? '', name)))
    throw Object.assign(new Error(`${name} is a directory`), {code: 'EACCES'});
  const code = denied === undefined ? 'ENOENT' : 'EACCES';
  const message =
    denied === undefined
      ? `${name} was not found${name.includes('/') ? '' : ' in PATH'}`
      : `${denied} may not be executed`;
  throw Object.assign(new Error(message), {code});
}

/** What cannot be looked at is passed over, as `execvp` does. */
function is(kind: 'isFile' | 'isDirectory', path: string): boolean {
  try {
    return statSync(path, {throwIfNoEntry: false})?.[kind]() ?? false;
  } catch {
    return false;
  }
}

/**
 * The arguments in front of a program that have the kernel end it when its parent is gone: `PR_SET_PDEATHSIG`, prctl(2),
 * by util-linux's setpriv(1), which then becomes the program and keeps its pid. Empty where there is none.
 */
export function parentDeathPrefix(environment: NodeJS.ProcessEnv): readonly string[] {
  if (process.platform !== 'linux') return [];
  try {
    const setpriv = findProgram('setpriv', environment);
    // Busybox has a setpriv too, without this option.
    return realpathSync(setpriv).endsWith('busybox') ? [] : [setpriv, '--pdeathsig', 'TERM', '--'];
  } catch {
    return [];
  }
}
