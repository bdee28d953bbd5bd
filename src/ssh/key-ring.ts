import {join} from 'node:path';
import {kind} from '../checks.js';
import {AutoSSHError} from '../errors.js';
import {SSHAgent, agentLives, missingHint} from './agent.js';
import {asked, unlessAborted} from './asked.js';
import {askpassScript, askpassVariables} from './askpass.js';
import {certificateExpiry, certifies, mendCertificate} from './certificate.js';
import type {KeySettings, Secret} from './credential-options.js';
import {toAgentKey, withoutPassphrase} from './key-conversion.js';
import {mendPrivateKey} from './key-text.js';
import {keyFiles} from './login.js';
import {writePrivateFile} from './private-folder.js';
import {findProgram} from './program.js';
import {type AgentKeys, addKey, listKeys, removeKeys} from './ssh-add.js';
import type {Doubt} from './verdict.js';

/** Whose key it is, for the names of files, and what stands in front of the names of its options. */
export interface KeyOwner {
  readonly name: string;
  readonly path: string;
  readonly key: KeySettings;
}

/** A key as its functions gave it. */
interface FetchedKey {
  readonly owner: KeyOwner;
  readonly privateKey: string | undefined;
  readonly certificate: string | undefined;
}

/** What a private key is kept in, and a public one made from. */
export interface KeyRingOptions {
  readonly owners: readonly KeyOwner[];
  /** Whether there is an agent also without a key. */
  readonly always: boolean;
  readonly killTimeout: number;
  /** Is told every secret, as it was given and as it was understood. */
  readonly onSecret: (secret: string) => void;
}

/** For the agent to answer, in milliseconds: it is on this machine. */
const patience = 1_000;

/** The ssh-agent of one tunnel, and the keys in it. */
export class KeyRing {
  readonly #options: KeyRingOptions;
  #agent: SSHAgent | undefined;
  /** The texts of the private keys that the agent holds, each with its public half. */
  #held = new Map<string, string>();
  /** Whether it may hold others: what was begun with it may have failed halfway. */
  #isFresh = true;

  constructor(options: KeyRingOptions) {
    this.#options = options;
  }

  /** Of the agent; `undefined`: there is none. */
  get socket(): string | undefined {
    return this.#agent?.socket;
  }

  /**
   * Fetches the keys and certificates, has the agent hold the keys, and writes into the folder what is public of them.
   *
   * @param environment - gives that of ssh-agent and ssh-add, once the keys are known, which it must not have in it
   * @returns what may be why nobody is let in
   * @throws AutoSSHError `ERR_AUTOSSH_KEY`: which one cannot be read, and why; `ERR_AUTOSSH_AUTH`: whose function failed
   */
  async load(folder: string, environment: () => NodeJS.ProcessEnv, signal: AbortSignal): Promise<readonly Doubt[]> {
    const {owners, always} = this.#options;
    if (owners.length === 0 && !always) return [];
    const fetched = await Promise.all(owners.map(async (owner) => this.#fetch(owner, signal)));
    const wanted = fetched.filter(({privateKey}) => privateKey !== undefined);
    const env = bare(environment());
    if (always || wanted.length > 0) await this.#keepAgent(env, signal);
    const keys = {env: {...env, SSH_AUTH_SOCK: this.socket}, signal};
    const texts = new Set(wanted.map(({privateKey = ''}) => privateKey));
    const isNew = texts.size !== this.#held.size || [...texts].some((one) => !this.#held.has(one));
    if (isNew || !(await this.#isWhole(keys))) await this.#exchange(wanted, folder, keys);
    return fetched.flatMap((one) => this.#publish(one, folder));
  }

  /** Ends the agent, and with it what it holds. */
  async close(): Promise<void> {
    await this.#agent?.close();
  }

  async #fetch(owner: KeyOwner, signal: AbortSignal): Promise<FetchedKey> {
    const {path, key} = owner;
    const [privateKey, certificate] = await Promise.all([
      this.#text(`${path}privateKey`, key.privateKey, signal),
      this.#text(`${path}certificate`, key.certificate, signal),
    ]);
    if (privateKey !== undefined) this.#options.onSecret(privateKey);
    const mended = privateKey === undefined ? undefined : mendPrivateKey(privateKey, `${path}privateKey`);
    if (mended !== undefined) this.#options.onSecret(mended);
    return {
      owner,
      privateKey: mended,
      certificate: certificate === undefined ? undefined : mendCertificate(certificate, `${path}certificate`),
    };
  }

  async #text(
    option: string,
    secret: Secret<string | Uint8Array> | undefined,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    if (secret === undefined) return undefined;
    const value: unknown =
      typeof secret === 'function'
        ? await unlessAborted(
            signal,
            asked(option, async () => secret({signal})),
          )
        : secret;
    if (typeof value === 'string') return value;
    if (value instanceof Uint8Array) return Buffer.from(value).toString('utf8');
    throw new AutoSSHError(
      'ERR_AUTOSSH_KEY',
      `The function \`${option}\` gave ${kind(value)}, not a string or a Buffer`,
      {
        hint: 'Correct that function.',
      },
    );
  }

  /** Something that clears temporary files, or processes, may have ended it. */
  async #keepAgent(env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<void> {
    if (this.#agent && (await agentLives(this.#agent.socket, patience))) return;
    await this.#agent?.close();
    this.#held.clear();
    this.#isFresh = true;
    signal.throwIfAborted();
    try {
      this.#agent = await SSHAgent.open({env, killTimeout: this.#options.killTimeout, signal});
    } catch (error) {
      // What became of one that nobody waits for any more says nothing.
      signal.throwIfAborted();
      throw error;
    }
  }

  /** Whoever can use the agent can take keys out of it: with ForwardAgent the server, too. */
  async #isWhole(keys: Omit<AgentKeys, 'program'>): Promise<boolean> {
    if (this.#held.size === 0) return true;
    const all = await listKeys({...keys, program: sshAdd(keys.env)});
    return [...this.#held.values()].every((one) => all.includes(one));
  }

  /** Has the agent hold these and no others. */
  async #exchange(
    wanted: readonly FetchedKey[],
    folder: string,
    {env, signal}: Omit<AgentKeys, 'program'>,
  ): Promise<void> {
    const askpass = 'ask-passphrase.sh';
    writePrivateFile(folder, askpass, askpassScript(3), 0o700);
    const keys: AgentKeys = {
      program: sshAdd(env),
      env: {...env, ...askpassVariables(join(folder, askpass))},
      signal,
    };
    // A login that is under way with the old one may fail for that, and is repeated.
    if (!this.#isFresh) await removeKeys(keys);
    this.#isFresh = false;
    this.#held.clear();
    for (const {owner, privateKey = ''} of wanted) {
      if (this.#held.has(privateKey)) continue;
      await this.#add(owner, privateKey, keys);
      const all = await listKeys(keys);
      const known = [...this.#held.values()];
      this.#held.set(privateKey, all.find((one) => !known.includes(one)) ?? all.at(-1) ?? '');
    }
  }

  async #add({path, key}: KeyOwner, privateKey: string, keys: AgentKeys): Promise<void> {
    const option = `${path}privateKey`;
    let given: string | undefined;
    const passphrase = async (): Promise<string | undefined> => {
      // ssh-add asks again until it gets nothing.
      if (given !== undefined) return undefined;
      given = (await this.#text(`${path}passphrase`, key.passphrase, keys.signal))?.replace(/\r?\n$/, '');
      if (given !== undefined) this.#options.onSecret(given);
      return given;
    };
    const {text, isEncrypted} = await toAgentKey(privateKey, passphrase, option);
    const complaints = await addKey(keys, text, passphrase);
    if (!complaints) return;
    if (!isEncrypted) {
      const said = complaints.map((line) => line.replace(/^Error loading key "\(stdin\)": /, ''));
      // Damage looks to it like a wrong passphrase, of which it says nothing (private2_decrypt in sshkey.c).
      const why = said.join('; ') || 'it is damaged';
      throw new AutoSSHError('ERR_AUTOSSH_KEY', `\`${option}\` could not be read by ssh-add: ${why}`, {
        stderr: complaints,
      });
    }
    if (given === undefined) throw key.passphrase === undefined ? withoutPassphrase(option) : unasked(complaints);
    throw new AutoSSHError('ERR_AUTOSSH_KEY', `\`${path}passphrase\` is not the one of \`${option}\``, {
      hint: 'Correct the passphrase.',
      stderr: complaints,
    });
  }

  /** ssh finds out by the public half which of the agent's keys is meant. */
  #publish({owner: {name, path}, privateKey, certificate}: FetchedKey, folder: string): readonly Doubt[] {
    const files = keyFiles(name);
    const publicKey = privateKey === undefined ? undefined : this.#held.get(privateKey);
    if (publicKey !== undefined) writePrivateFile(folder, files.identity, `${publicKey}\n`);
    if (certificate === undefined) return [];
    if (publicKey !== undefined && !certifies(certificate, publicKey))
      throw new AutoSSHError('ERR_AUTOSSH_KEY', `\`${path}certificate\` is not for the key in \`${path}privateKey\``, {
        hint: 'Give the two that belong together.',
      });
    writePrivateFile(folder, files.certificate, certificate);
    const until = certificateExpiry(certificate);
    // The server's clock decides; ours may be wrong.
    if (until === undefined || until > Date.now()) return [];
    return [
      {
        what: `\`${path}certificate\` was valid until ${new Date(until).toISOString()}`,
        hint: 'Have a new one made; as a function, `certificate` gives the newest one to every ssh.',
      },
    ];
  }
}

/** The passphrase is there, and ssh-add has not asked for it. */
function unasked(complaints: readonly string[]): AutoSSHError {
  const last = complaints.at(-1);
  return new AutoSSHError(
    'ERR_AUTOSSH_SPAWN',
    `ssh-add could not ask for the passphrase${last === undefined ? '' : `: ${last}`}`,
    {
      stderr: complaints,
      hint: 'If programs cannot be run in the folder for temporary files (noexec), set TMPDIR to another.',
    },
  );
}

/** What programs go by that have nothing to do with what they are for. */
const common =
  /^(?:PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|TZ|LANG|LANGUAGE|LC_\w+|LD_\w+|DYLD_\w+|NSS_WRAPPER_\w+|SSH_SK_PROVIDER|SSH_SK_HELPER|SSH_PKCS11_HELPER)$/;

/** The agent lives as long as the tunnel, and what a function will give is not known when it starts: a variable may have it. */
function bare(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => common.test(name)));
}

function sshAdd(env: NodeJS.ProcessEnv): string {
  try {
    return findProgram('ssh-add', env);
  } catch (error) {
    throw new AutoSSHError('ERR_AUTOSSH_SPAWN', `ssh-add could not be started: ${(error as Error).message}`, {
      cause: error,
      hint: missingHint,
    });
  }
}
