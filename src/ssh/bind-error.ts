import {AutoSSHError} from '../errors.js';
import {type Forward, formatAddress} from './forward.js';

/** That a local port or socket of a forward is not to be had; no restart mends that. */
export function cannotListen({name, listen}: Forward, why: string, cause?: unknown): AutoSSHError {
  return new AutoSSHError(
    'ERR_AUTOSSH_FORWARD',
    `The forward ${name} cannot listen on ${formatAddress(listen)}: ${why}`,
    {cause, retryable: false},
  );
}
