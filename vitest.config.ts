import {defineConfig} from 'vitest/config';
import {BaseSequencer, type TestSpecification} from 'vitest/node';

/** Short files whose tests take long, in an order that has no two beside each other that need the processor most. */
const first = [
  'test/steady/suspicion.test.ts',
  'test/demo.test.ts',
  'test/cli/differential-lifetimes.test.ts',
  'test/autossh.test.ts',
  'test/cli/differential.test.ts',
];

/**
 * Without the durations of an earlier run, as in a fresh clone, vitest begins with the largest files: one that is short
 * and takes long would be the last, with one worker idle beside it.
 */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const begin = first.flatMap((name) => sorted.filter(({moduleId}) => moduleId.endsWith(`/${name}`)));
    return [...begin, ...sorted.filter((file) => !begin.includes(file))];
  }
}

/**
 * A Node that is given certificates reads all of them before anything else, which takes more of the processor than the rest of
 * its start; the tests start some thousand. npm may need them.
 */
const {NODE_EXTRA_CA_CERTS: certificates = ''} = process.env;

export default defineConfig({
  resolve: {alias: {'node-autossh': new URL('src/index.ts', import.meta.url).pathname}},
  test: {
    include: ['test/**/*.test.ts'],
    // `npm run types` checks everything else; an error elsewhere shall not turn up here a second time.
    typecheck: {enabled: true, include: ['test/**/*.test-d.ts'], ignoreSourceErrors: true},
    // The tests start servers, kill processes and send signals: each file gets a process of its own.
    pool: 'forks',
    env: {NODE_EXTRA_CA_CERTS: ''},
    provide: {certificates},
    globalSetup: './test/support/compile-fixtures.ts',
    sequence: {sequencer: LongestFirst},
    // Each worker has a sshd and several ssh beside it. More of them make the measured times of a small machine worse.
    maxWorkers: 2,
    // Tests wait for events, never for a time to pass. This only ends the ones whose event never comes.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    reporters: ['default', './test/support/reporter.ts'],
    coverage: {include: ['src/**'], reporter: ['text', 'html']},
  },
});
