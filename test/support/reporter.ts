import type {Reporter, SerializedError, TestModule} from 'vitest/node';

/** The totals as one plain line for machines, the last one. What failed outside of a test counts as failed too. */
export default class Totals implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const all = modules.flatMap((module) => [...module.children.allTests()]);
    const count = (state: string) => all.filter((test) => test.result().state === state).length;
    const groups = modules.flatMap((module) => [module, ...module.children.allSuites()]);
    const broken = groups.filter((group) => group.errors().length > 0).length + unhandled.length;
    const [passed, failed] = [count('passed'), count('failed') + broken];
    process.on('exit', () => console.log(`Tests: ${passed} passed, ${failed} failed, ${count('skipped')} skipped`));
    if (passed + failed === 0) process.exitCode = 1;
  }
}
