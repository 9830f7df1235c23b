/**
 * The dense kernels of this process: the C++ addon when it loads, else the plain TypeScript ones, with one warning.
 */
import { findAddon } from './addon.js';
import { fallback } from './fallback.js';
import type { Kernels } from './kernels.js';

export * from './kernels.js';

const found = findAddon();

function choose(): Kernels {
  if (found.kernels !== null) return found.kernels;
  if (process.env.DEEP_HESSIAN_BINARY !== 'none') {
    process.emitWarning(
      `the native core could not be loaded (${found.reason}); the TypeScript kernels are used, which are many times slower`,
      { type: 'DeepHessianWarning', code: 'DEEP_HESSIAN_FALLBACK' },
    );
  }
  return fallback;
}

/** What every other module calls. See {@link Kernels}. */
export const kernels: Kernels = choose();
/** Why these kernels and no others: 'the prebuilt binary', or what failed to load. */
export const kernelsReason: string = found.reason;
