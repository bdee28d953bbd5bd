import {AutoSSHError} from '../errors.js';

/** One of the two lines that a private key in PEM has, or what is left of it. */
export const privateKeyMarks = /-----(?:BEGIN|END) (?:[A-Z0-9]+ )*PRIVATE KEY(?! BLOCK)/;

/** What an option can be for. */
type Wanted = 'private key' | 'certificate of OpenSSH';

/**
 * The text that was meant, after its way through environment variables, configuration files and secret stores: without
 * the quotes, the byte order mark and the white space around it, with line feeds where its lines ended in something else
 * or in a written out `\n`, and decoded where all of it was base64.
 *
 * @param marks - what it is known by, such as its first line
 * @returns `undefined`: it is something else
 */
export function meantText(given: string, marks: RegExp): string | undefined {
  return readings(given).find((text) => marks.test(text));
}

/** An error that says what the text is instead. It repeats nothing of it: that may be a secret, whatever it is. */
export function otherText(given: string, option: string, wanted: Wanted): AutoSSHError {
  const kind = readings(given).flatMap((text) => kinds.filter(({marks}) => marks.test(text)))[0];
  const hint = (kind?.hints ?? otherwise)[wanted]?.replace(/`(privateKey|certificate)`/, (_, name: string) =>
    beside(option, name),
  );
  if (kind === undefined) return unfit(option, `no ${wanted}`, hint);
  return unfit(option, kind.is === 'empty' ? kind.is : `${kind.is}, not a ${wanted}`, hint);
}

/** An error of an option that is a key or belongs to one. */
export function unfit(option: string, what: string, hint?: string): AutoSSHError {
  return new AutoSSHError('ERR_AUTOSSH_KEY', `\`${option}\` is ${what}`, {hint});
}

/** Another option of the same object, for a sentence: for `jump[0].privateKey`, `jump[0].passphrase`. */
export function beside(option: string, name: string): string {
  return `\`${option.replace(/[^.]*$/, name)}\``;
}

/** What a text may mean: it as it is, and decoded from base64; only once, and not if that is no text. */
export function readings(given: string): string[] {
  const text = tidy(given);
  const compact = text.replace(/\s+/g, '');
  if (!/^[\w+/-]+={0,2}$/.test(compact)) return [text];
  const decoded = Buffer.from(compact, 'base64').toString();
  return /[^\P{Cc}\s]|\uFFFD/u.test(decoded) ? [text] : [text, tidy(decoded)];
}

// Each run begins only where nothing like it is in front: or a long one would be looked at from each of its places.
function tidy(given: string): string {
  return given
    .replace(escaped, (_, name: keyof typeof escapes) => escapes[name])
    .replace(/\r\n?/g, '\n')
    .replace(/^[\s'"`\\]+/, '')
    .replace(/(?<![\s'"`\\])[\s'"`\\]+$/, '');
}

/** A JSON string may have been put into another one, and each doubles the backslashes. */
const escaped = /(?<!\\)\\+([nrt/])/g;

const escapes = {n: '\n', r: '\n', t: ' ', '/': '/'} as const;

interface Kind {
  readonly is: string;
  readonly marks: RegExp;
  /** What to do, by what was wanted. An option in it is one of the same object. */
  readonly hints: Partial<Record<Wanted, string>>;
}

const notSet = 'See that the variable or the secret that it is read from is set.';
const asPrivateKey = 'Give it as `privateKey`.';
const signed =
  'Give what ssh-keygen -s has made of the public key; its file is called like the key, with -cert.pub at the end.';

/** The first that fits counts. */
const kinds: readonly Kind[] = [
  {is: 'empty', marks: /^$/, hints: {'private key': notSet, 'certificate of OpenSSH': notSet}},
  {
    is: 'a key of another program',
    marks: /---- ?BEGIN (?:SSH2 ENCRYPTED PRIVATE KEY|PGP )/,
    hints: {'private key': 'Give a key in the form of OpenSSH; ssh-keygen -i converts some others.'},
  },
  {is: 'a private key', marks: privateKeyMarks, hints: {'certificate of OpenSSH': asPrivateKey}},
  {
    is: 'a PuTTY key',
    marks: /^PuTTY-User-Key-File/m,
    hints: {
      'private key': 'Convert it: puttygen key.ppk -O private-openssh -o key, and give the text of that.',
      'certificate of OpenSSH': asPrivateKey,
    },
  },
  {
    is: 'an X.509 certificate',
    marks: /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----/,
    hints: {'private key': 'Give the private key that belongs to it.', 'certificate of OpenSSH': signed},
  },
  {
    is: 'a certificate',
    marks: /^\S+-cert-v01@openssh\.com\s+AAAA/m,
    hints: {'private key': 'Give it as `certificate`, and here the private key that it is for.'},
  },
  {
    is: 'a public key',
    marks: /^(?:ssh-|ecdsa-|sk-)\S+\s+AAAA|-----BEGIN (?:[A-Z0-9]+ )*PUBLIC KEY-----|---- BEGIN SSH2 PUBLIC KEY/m,
    hints: {
      'private key': 'Give the other half of the pair: the text that begins with -----BEGIN, in a file without .pub.',
      'certificate of OpenSSH': signed,
    },
  },
  {
    is: 'a JWK',
    marks: /^\{[^]*"kty/,
    hints: {
      'private key':
        "Convert it with Node's crypto: createPrivateKey({key, format: 'jwk'}).export({type: 'pkcs8', format: 'pem'}).",
    },
  },
  {
    is: 'a path',
    marks: /^(?:(?:file:|~[\w-]*|\.{1,2}|\.ssh)?\/.*|\S*(?:id_[a-z0-9]+|\.pem|\.key|\.ppk|\.pub))$/,
    hints: {
      'private key': 'Set `identityFile` to it, or read the file and give its text.',
      'certificate of OpenSSH': 'Read the file, and give its text.',
    },
  },
  {
    is: 'base64 without its first and last line',
    marks: /^(?:b3BlbnNzaC1rZXktdjE|M[A-P])[A-Za-z0-9+/]{24}[A-Za-z0-9+/\s]*={0,2}$/,
    hints: {'private key': 'Keep the lines with BEGIN and END: they say what it is.'},
  },
];

/** Of what none of them is. */
const otherwise: Kind['hints'] = {'certificate of OpenSSH': signed};
