import { mkdtempSync, rmSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Context } from 'mocha';
import { expect } from 'chai';
import { DeepHessianError, type ErrorCode } from '../../ts/errors.js';

/** A folder of its own for a suite, removed afterwards. Call inside `describe`. */
export function temporaryFolder(): { path: (name?: string) => string } {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'deep-hessian-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  return { path: (name = '') => join(folder, name) };
}

const shared = fileURLToPath(new URL('../../../shared/', import.meta.url));

/** A path below the folder of real data and golden cases; skips the test, with a message, where it is absent. */
export function sharedPath(context: Context, name: string): string {
  const path = join(shared, name);
  if (!existsSync(path)) {
    console.log(`      skipped: ../shared/${name} is not there`);
    context.skip();
  }
  return path;
}

/** The promise is rejected with a DeepHessianError of this code whose message matches. */
export async function expectFailure(promise: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  const error = await promise.then(
    () => null,
    (e: unknown) => e,
  );
  expect(error, 'no error').to.be.instanceOf(DeepHessianError);
  expect((error as DeepHessianError).message).to.match(message);
  expect((error as DeepHessianError).code).to.equal(code);
}

/** The promise is rejected with an error of this class whose message matches. */
export async function expectMisuse(
  promise: Promise<unknown>,
  kind: typeof RangeError | typeof TypeError,
  message: RegExp,
): Promise<void> {
  const error = await promise.then(
    () => null,
    (e: unknown) => e,
  );
  expect(error).to.be.instanceOf(kind);
  expect((error as Error).message).to.match(message);
}
