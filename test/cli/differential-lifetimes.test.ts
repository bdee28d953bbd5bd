import {describe, expect, test, vi} from 'vitest';
import {canUseNamespaces, findProgram} from '../support/index.js';
import {beside, needless} from './differential/comparison.js';
import type {Lifetime} from './differential/lifetime.js';
import {lifetimes} from './differential/lifetimes.js';
import {monitoredLifetimes} from './differential/monitored-lifetimes.js';
import {isInstalled, original, ours} from './differential/programs.js';
import {live} from './differential/worlds.js';

const all = [...lifetimes, ...monitoredLifetimes];

// Most of them wait for a second to pass.
vi.setConfig({maxConcurrency: 12});

/*
 * The same lifetimes with Debian's autossh and with ours: how often ssh is started and with what, what is logged, and the
 * exit code. Where ours is meant to be different, its row says so and why.
 */
describe.skipIf(!isInstalled(original))('beside autossh 1.4g (skipped: needs the Debian package autossh)', () => {
  test('there is something to compare', () => {
    expect(isInstalled(ours), 'npm run build makes it').toBe(true);
    expect(all.length).toBeGreaterThanOrEqual(40);
    expect(new Set(all.map(({name}) => name)).size, 'no life is there twice').toBe(all.length);
    expect(all.flatMap(({deviates}) => (deviates ? needless(deviates) : []))).toEqual([]);
  });

  for (const {deviates, ...lifetime} of all) {
    const lacks = missing(lifetime);
    const name = lacks === undefined ? lifetime.name : `${lifetime.name} (skipped: ${lacks})`;
    (lacks === undefined ? test.concurrent : test.skip)(name, async () => {
      await beside(
        () => live(original, lifetime),
        () => live(ours, lifetime),
        deviates,
      );
    });
  }
});

function missing({beside = []}: Lifetime): string | undefined {
  if (beside.includes('sshd') && !canUseNamespaces()) return 'network namespaces need root';
  if (beside.includes('echo') && findProgram('socat') === undefined) return 'needs socat';
  return undefined;
}
