import {defineConfig} from 'vitest/config';

export default defineConfig({
  resolve: {alias: {'node-autossh': new URL('src/index.ts', import.meta.url).pathname}},
  test: {
    include: ['test/**/*.test.ts'],
    // `npm run types` checks everything else; an error elsewhere shall not turn up here a second time.
    typecheck: {enabled: true, include: ['test/**/*.test-d.ts'], ignoreSourceErrors: true},
    // The tests start servers, kill processes and send signals: each file gets a process of its own.
    pool: 'forks',
    // Each worker has a sshd and several ssh beside it. More of them make the measured times of a small machine worse.
    maxWorkers: 2,
    // Tests wait for events, never for a time to pass. This only ends the ones whose event never comes.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ['default', './test/support/reporter.ts'],
    coverage: {include: ['src/**'], reporter: ['text', 'html']},
  },
});
