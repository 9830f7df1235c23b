/**
 * Every kernel of {@link Kernels} in plain TypeScript: the package works with it where no addon loads, and the kernel
 * tests take it as oracle. Each group of kernels checks its arguments and hands them to the arithmetic beside it.
 */
import { batchKernels } from './fallback/batch-kernels.js';
import { blasKernels } from './fallback/blas-kernels.js';
import { size } from './fallback/checks.js';
import { fusedKernels } from './fallback/fused-kernels.js';
import { lapackKernels } from './fallback/lapack-kernels.js';
import type { Kernels } from './kernels.js';

/** The plain TypeScript kernels. */
export const fallback: Kernels = {
  info() {
    return {
      backend: 'typescript',
      version: `plain TypeScript kernels on ${process.release.name} ${process.version}`,
      core: 'none',
      threads: 1,
      maxThreads: 1,
      simd: 'none',
      file: null,
    };
  },

  setThreads(threads) {
    size('setThreads', 'threads', threads, 1);
    return 1;
  },

  ...blasKernels,
  ...lapackKernels,
  ...batchKernels,
  ...fusedKernels,
};
