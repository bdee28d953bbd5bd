/** What a backoff counts with. */
export interface BackoffSettings {
  readonly factor: number;
  readonly minTimeout: number;
  readonly maxTimeout: number;
  readonly randomize: boolean;
}

/**
 * The wait before a retry, in milliseconds: `minTimeout` times `factor` for each retry before it, at most `maxTimeout`,
 * and then from that the jitter, so that a cap reached by many is no meeting point.
 *
 * @param retry - from 0
 * @param random - from 0 to 1
 */
export function backoff(retry: number, settings: BackoffSettings, random: number): number {
  const {factor, minTimeout, maxTimeout, randomize} = settings;
  // The power becomes infinite, and nothing times that is no number.
  const full = minTimeout === 0 ? 0 : Math.min(minTimeout * factor ** retry, maxTimeout);
  return Math.round(randomize ? full * (0.5 + random / 2) : full);
}
