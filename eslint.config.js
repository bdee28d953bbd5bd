import eslint from '@eslint/js';
import {defineConfig, globalIgnores} from 'eslint/config';
import {configs} from 'typescript-eslint';

export default defineConfig(
  globalIgnores(['dist', 'docs', 'coverage', 'test/fixtures/consumer']),
  eslint.configs.recommended,
  configs.strictTypeChecked,
  configs.stylisticTypeChecked,
  {
    languageOptions: {parserOptions: {projectService: true, tsconfigRootDir: import.meta.dirname}},
    linterOptions: {reportUnusedDisableDirectives: 'error', reportUnusedInlineConfigs: 'error'},
    rules: {
      eqeqeq: 'error',
      // Ports, delays and pids are put into sentences all the time, and a number prints as one expects.
      '@typescript-eslint/restrict-template-expressions': ['error', {allowNumber: true}],
      // `() => clearTimeout(timer)` is clear enough; only a void value that is really used is a mistake.
      '@typescript-eslint/no-confusing-void-expression': ['error', {ignoreArrowShorthand: true}],
      // Every member of a union is named, or there is a default: a new state cannot be forgotten anywhere.
      '@typescript-eslint/switch-exhaustiveness-check': ['error', {considerDefaultExhaustiveForUnions: true}],
      // A parameter that is only there to hold a place, or taken out so that the rest remains.
      '@typescript-eslint/no-unused-vars': ['error', {argsIgnorePattern: '^_', ignoreRestSiblings: true}],
      '@typescript-eslint/consistent-type-exports': 'error',
    },
  },
  {
    // Programs on a terminal speak to it; the library never does (test/layers.test.ts holds it to that).
    files: ['src/**'],
    ignores: ['src/cli/**'],
    rules: {'no-console': 'error'},
  },
  {
    files: ['test/**'],
    rules: {
      // A test double has to fit an asynchronous signature without having anything to wait for.
      '@typescript-eslint/require-await': 'off',
      // `expect(object.method)` does not call the method.
      '@typescript-eslint/unbound-method': 'off',
      // `expect.any(Number)` and its like are of type any, and stand in the place of values.
      '@typescript-eslint/no-unsafe-assignment': 'off',
    },
  },
);
