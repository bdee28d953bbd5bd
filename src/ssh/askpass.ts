import type {Duplex} from 'node:stream';
import {StringDecoder} from 'node:string_decoder';

/** What the helper says where it can ask nobody, for the notices. */
const nobodyToAsk = 'autossh: nobody can be asked for this answer';

/**
 * The program that ssh and ssh-add start for each question (ssh(1), SSH_ASKPASS), with the question as its argument. It asks this
 * process, over a socket that it has as one of its descriptors and that has no name anywhere, and prints the answer; where
 * there is none it fails. The shell's own `read` and `printf` are no processes: the answer is in no argument.
 *
 * The ssh of a hop has the protocol in place of the socket, and the socket of a host that was killed is closed. To a server ssh
 * would give an empty answer then, which counts as one: it is ended, with all of its process group.
 *
 * @param descriptor - ssh closes all but the standard ones, so it is its standard input; ssh-add reads the key from there
 */
export function askpassScript(descriptor: 0 | 3): string {
  return `#!/bin/sh
[ "$SSH_ASKPASS_PROMPT" = none ] && exit
trap '' PIPE
{ printf '%s\\000' "$1" >&${String(descriptor)} && IFS= read -r answer <&${String(descriptor)}; } 2>/dev/null || {
  case $1 in 'The authenticity of host '* | 'Enter passphrase for '* | 'Enter PIN for '*) exit 1 ;; esac
  echo '${nobodyToAsk}' >&2
  kill -s TERM 0
  exit 1
}
case $answer in
  +*) printf '%s\\n' "\${answer#+}" ;;
  *) exit 1 ;;
esac
`;
}

/** The variables that make ssh and ssh-add ask that program, and never a terminal or a person at a screen. */
export function askpassVariables(program: string): Readonly<Record<string, string>> {
  // The second is OpenSSH 8.4's; before that, and without a terminal, DISPLAY has to be there.
  return {SSH_ASKPASS: program, SSH_ASKPASS_REQUIRE: 'force', DISPLAY: 'none'};
}

/** Answers the questions that come over a socket, one after the other; `undefined`: there is no answer. */
export function answerQuestions(socket: Duplex, answer: (question: string) => Promise<string | undefined>): void {
  const decoder = new StringDecoder('utf8');
  let said = '';
  let turn = Promise.resolve();
  socket.on('error', () => {
    // Whoever asked is gone.
  });
  socket.on('data', (chunk: Buffer) => {
    const questions = (said + decoder.write(chunk)).split('\0');
    said = questions.pop() ?? '';
    for (const question of questions) {
      turn = turn.then(async () => {
        const given = await answer(question);
        if (!socket.destroyed) socket.write(given === undefined ? '-\n' : `+${given}\n`);
      });
    }
  });
}
