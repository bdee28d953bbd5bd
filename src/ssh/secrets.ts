import {readings} from './given-text.js';

/** Shorter ones would be found in any line, and are no secrets. */
const shortestSecret = 6;

/** And from this length on it is no chance that a longer text has it in it. */
const longSecret = 12;

/** What was given to log in with, so that it goes no further. */
export class Secrets {
  readonly #all = new Set<string>();

  /** One more, in a form that it may be met in. */
  add(secret: string): void {
    // An empty answer is none, and would be found in everything.
    if (secret !== '') this.#all.add(secret);
  }

  /** Whether there are none. */
  get isEmpty(): boolean {
    return this.#all.size === 0;
  }

  /** Whether a text is one of them, or has one in it: also where its line ends are changed or escaped, as base64, in JSON or in a URL. */
  areIn(text: string): boolean {
    if (this.isEmpty) return false;
    const forms = [text, unescaped(text)].flatMap((form) => [form, ...readings(form).map(squeezed)]);
    return [...this.#all].some((secret) =>
      [secret, squeezed(secret)].some((one) =>
        forms.some((form) => form === one || (one.length >= longSecret ? form.includes(one) : isIn(form, one))),
      ),
    );
  }

  /** The line without them. */
  conceal(line: string): string {
    let rest = line;
    for (const secret of this.#all) if (secret.length >= shortestSecret) rest = rest.replaceAll(secret, '***');
    return rest;
  }
}

/** Whether a text has a short secret where passwords stand: in a URL before its host, or as the value of a name. */
function isIn(text: string, secret: string): boolean {
  if (secret.length < shortestSecret) return false;
  for (let at = text.indexOf(secret); at !== -1; at = text.indexOf(secret, at + 1))
    if (/[:=\s"'`]/.test(text.charAt(at - 1)) && /^(?:[@\s"'`,;&]|$)/.test(text.charAt(at + secret.length)))
      return true;
  return false;
}

function squeezed(text: string): string {
  return text.replace(/\s+/g, '');
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
