import {kind} from '../checks.js';
import {AutoSSHError} from '../errors.js';
import {asked, unlessAborted} from './asked.js';
import {type LoginSettings, passwordFrom, passwordInWords} from './credential-options.js';

/**
 * What one ssh's questions are answered with. ssh tells its own from those of the server by their words alone: `…@…'s password: `
 * is the method `password` (`userauth_passwd` in sshconnect2.c), and the server's come behind `(user@host) ` from 8.6 on.
 */
export class Answers {
  readonly #login: LoginSettings;
  readonly #signal: AbortSignal;
  readonly #conceal: (secret: string) => void;
  readonly #passwords: string[] = [];
  #given = 0;

  /** @param conceal - is told each answer, before ssh is */
  constructor(login: LoginSettings, signal: AbortSignal, conceal: (secret: string) => void) {
    this.#login = login;
    this.#signal = signal;
    this.#conceal = conceal;
  }

  /** Whether the server has been told something that it then may have refused. */
  get given(): boolean {
    return this.#given > 0;
  }

  /**
   * The answer to a question; `undefined`: ssh is to do without.
   *
   * @throws AutoSSHError where ssh cannot do without
   */
  async to(question: string): Promise<string | undefined> {
    if (/^Enter .*'s old password: $|^Enter .*'s new password: $|^Retype /.test(question)) {
      throw refused('The server wants the password changed before it lets anybody in', 'Change it by hand, with ssh.');
    }
    if (question.endsWith("'s password: ") && !/^\([^)]*@[^)]*\) /.test(question)) return this.#password();
    if (ownQuestions.test(question)) return undefined;
    const prompt = question.replace(/^\([^)]*@[^)]*\) /, '');
    return this.#login.keyboardInteractive ? this.#ask(prompt) : this.#passwordFor(prompt);
  }

  async #passwordFor(prompt: string): Promise<string | undefined> {
    // What PAM has to tell stands in the lines before the question itself.
    const question = prompt.trimEnd().split('\n').at(-1) ?? '';
    if (this.#login.password !== undefined && /pass/i.test(question) && !momentary.test(question))
      return this.#password();
    throw refused(
      `The server asks ${JSON.stringify(question.trim())}, and there is nobody to answer`,
      'Give `keyboardInteractive`, a function that answers such questions.',
    );
  }

  async #password(): Promise<string | undefined> {
    const {password} = this.#login;
    if (password === undefined) return undefined;
    const again = 'The server refused the password';
    // Asked twice in vain, or nobody who could know better: what would come now is the same once more.
    if (this.#passwords.length > 1 || (this.#passwords.length > 0 && typeof password !== 'function'))
      throw refused(again);
    const given: unknown =
      typeof password === 'function'
        ? await this.#fetch('password', async () => password({signal: this.#signal}))
        : password;
    const value = passwordFrom(given);
    if (value === undefined)
      throw refused(`\`password\` gave ${kind(given)}, not ${passwordInWords}`, 'Correct that function.');
    if (this.#passwords.includes(value)) throw refused(again);
    this.#passwords.push(value);
    return this.#give(value);
  }

  async #ask(prompt: string): Promise<string> {
    const {keyboardInteractive} = this.#login;
    const answers: unknown = await this.#fetch('keyboardInteractive', async () =>
      keyboardInteractive?.([prompt], {signal: this.#signal}),
    );
    const answer: unknown = Array.isArray(answers) && answers.length === 1 ? answers[0] : undefined;
    // An answer may be empty: some prompts are there to be gone past.
    const line = answer === '' ? answer : passwordFrom(answer);
    if (line !== undefined) return this.#give(line);
    throw refused(
      `\`keyboardInteractive\` gave ${kind(answers)} for one prompt, not an array of one answer, a line of at most 1023 bytes`,
      'Correct that function.',
    );
  }

  async #fetch<Value>(option: string, fetch: () => Promise<Value>): Promise<Value> {
    return unlessAborted(this.#signal, asked(option, fetch));
  }

  #give(answer: string): string {
    this.#given++;
    this.#conceal(answer);
    return answer;
  }
}

/** Unknown and changed host keys, passphrases of ssh's own files, PINs and touches of tokens. A server may ask for a `(yes/no)` too. */
const ownQuestions =
  /^(?:The authenticity of host |Please type 'yes'|Accept updated hostkeys\?|Enter (?:passphrase|PIN) for |Confirm user presence)/;

/** What a prompt says that wants something else than the password, though it may call it so. */
const momentary = /one.?time|\b[ht]?otp\b|code|token|verif|authenticator|\bnew\b/i;

function refused(
  message: string,
  hint = 'Correct the password. It is not tried again: servers lock accounts.',
): AutoSSHError {
  return new AutoSSHError('ERR_AUTOSSH_AUTH', message, {retryable: false, hint});
}
