/** The Python interpreter that has PyTorch, the peer of several benchmarks. */
import { spawnSync } from 'node:child_process';

/** An interpreter and the version of its PyTorch. */
export interface Torch {
  python: string;
  version: string;
}

/** Looks in DEEP_HESSIAN_PYTHON, or else `python3` and Debian's own (package python3-torch). Null where none has it. */
export function findTorch(): Torch | null {
  const named = process.env.DEEP_HESSIAN_PYTHON;
  for (const python of named === undefined ? ['python3', '/usr/bin/python3'] : [named]) {
    const { status, stdout } = spawnSync(python, ['-c', 'import torch; print(torch.__version__)'], {
      encoding: 'utf8',
    });
    if (status === 0) return { python, version: stdout.trim() };
  }
  return null;
}

/** How to come by it. */
export const noTorch =
  'PyTorch is not installed (Debian: python3-torch; DEEP_HESSIAN_PYTHON names another interpreter)';
