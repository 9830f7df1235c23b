/**
 * mocha's "spec" reporter with one plain closing line, `N passed, M failed, K skipped`, for programs that read it.
 */
import Mocha from 'mocha';

export default class SummaryReporter extends Mocha.reporters.Spec {
  done(failures, callback) {
    const { passes, failures: failed, pending } = this.stats;
    process.stdout.write(`${passes} passed, ${failed} failed, ${pending} skipped\n`);
    callback?.(failures);
  }
}
