import {defineConfig} from 'vitest/config';

// For vitest-fixture inside this repository, whose own settings are for the tests of the package itself.
export default defineConfig({
  resolve: {tsconfigPaths: true},
  test: {include: ['*.test.ts']},
});
