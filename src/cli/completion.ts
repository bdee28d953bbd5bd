import {readFileSync} from 'node:fs';

/** The shells that there are completions for. */
export type Shell = 'bash' | 'zsh' | 'fish';

/** As each shell wants such files to be called. */
const files: Record<Shell, string> = {bash: 'autossh.bash', zsh: '_autossh', fish: 'autossh.fish'};

/** The completions of a shell, as they are in the package: two folders up from here, compiled or not. */
export function completion(shell: Shell): string {
  return readFileSync(new URL(`../../completions/${files[shell]}`, import.meta.url), 'utf8');
}
