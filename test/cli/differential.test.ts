import {describe, expect, test} from 'vitest';
import {commandLines} from './differential/command-lines.js';
import {beside, compare, needless} from './differential/comparison.js';
import {environments} from './differential/environments.js';
import {isInstalled, observe, original, ours, type Observed} from './differential/programs.js';

const rows = [...commandLines, ...environments];

/*
 * The same command lines and environments with Debian's autossh and with ours: what ssh is given, what is logged and said,
 * and the exit code. Where ours is meant to be different, its row says so and why.
 */
describe.skipIf(!isInstalled(original))('beside autossh 1.4g (skipped: needs the Debian package autossh)', () => {
  test('there is something to compare', () => {
    expect(isInstalled(ours), 'npm run build makes it').toBe(true);
    expect(rows.length).toBeGreaterThanOrEqual(150);
    expect(new Set(rows.map(({name}) => name)).size, 'no row is there twice').toBe(rows.length);
    expect(rows.flatMap(({deviates}) => (deviates ? needless(deviates) : []))).toEqual([]);
  });

  test('one word, one code, one line more or less is seen', async () => {
    const args = ['-M', '0', '-N', 'host'];
    const plain = await observe(original, {args, play: ['3']});
    const others: [keyof Observed, Observed][] = [
      ['starts', await observe(original, {args: [...args, 'ls'], play: ['3']})],
      ['log', await observe(original, {args, env: {AUTOSSH_LOGLEVEL: '3'}, play: ['3']})],
      ['exit', {...plain, exit: 0}],
      ['stderr', {...plain, stderr: 'something'}],
    ];
    expect(() => compare(plain, plain)).not.toThrow();
    for (const [name, other] of others) {
      expect(() => compare(plain, other), name).toThrow('ours, compared with the original');
      const named = {why: 'it is', original: {[name]: plain[name]}, ours: {[name]: other[name]}};
      expect(() => compare(plain, other, named), name).not.toThrow();
      // What is named has to be so, on either side.
      expect(() => compare(plain, plain, named), name).toThrow('ours, where it deviates');
      expect(() => compare(other, other, named), name).toThrow('the original, where it deviates');
    }
  });

  for (const {name, deviates, ...scenario} of rows) {
    test.concurrent(name, async () => {
      await beside(
        () => observe(original, scenario),
        () => observe(ours, scenario),
        deviates,
      );
    });
  }
});
