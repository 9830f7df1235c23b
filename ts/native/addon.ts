/**
 * Finds the native addon and gives it its type. Order:
 *
 * 1. `DEEP_HESSIAN_BINARY`: a path, which must load, or `none` for the TypeScript kernels without a warning;
 * 2. `build/Release/deep_hessian.node` in the package root, a local build of a checkout;
 * 3. `prebuilds/<platform>-<arch>/deep_hessian.node`, what the package ships (with `-musl` on such systems).
 */
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { DeepHessianError } from '../errors.js';
import type { Kernels } from './kernels.js';

const require = createRequire(import.meta.url);
/** This file is <root>/ts/native/addon.ts or <root>/dist/native/addon.js. */
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

/** The addon's kernels, or why there are none. */
export type AddonSearch = { kernels: Kernels; file: string } | { kernels: null; reason: string };

function open(file: string): Kernels {
  const addon = require(file) as Kernels;
  if (typeof addon.gemm !== 'function') throw new Error('not a kernel addon');
  // The addon does not know where it came from.
  return { ...addon, info: () => ({ ...addon.info(), file }) };
}

const firstLine = (error: unknown): string => String(error instanceof Error ? error.message : error).split('\n')[0];

/**
 * Loads the addon.
 *
 * @param binary - what `DEEP_HESSIAN_BINARY` says
 * @throws {@link DeepHessianError} `native-unavailable` when `binary` names a file that does not load
 */
export function findAddon(binary: string | undefined = process.env.DEEP_HESSIAN_BINARY): AddonSearch {
  if (binary === 'none') return { kernels: null, reason: 'DEEP_HESSIAN_BINARY=none' };
  if (binary) {
    const file = path.resolve(binary);
    try {
      return { kernels: open(file), file };
    } catch (error) {
      throw new DeepHessianError(
        'native-unavailable',
        `DEEP_HESSIAN_BINARY names ${file}, which does not load: ${firstLine(error)}`,
        { file },
        { cause: error },
      );
    }
  }
  const target = `${process.platform}-${process.arch}`;
  // A binary for the other C library simply fails to load, so both are tried instead of asking which one is here.
  const prebuilt = process.platform === 'linux' ? [target, `${target}-musl`] : [target];
  const files = [
    path.join(root, 'build/Release/deep_hessian.node'),
    ...prebuilt.map((name) => path.join(root, 'prebuilds', name, 'deep_hessian.node')),
  ];
  const failures: string[] = [];
  for (const file of files) {
    if (!fs.existsSync(file)) continue;
    try {
      return { kernels: open(file), file };
    } catch (error) {
      failures.push(`${path.relative(root, file)}: ${firstLine(error)}`);
    }
  }
  return {
    kernels: null,
    reason: failures.length > 0 ? failures.join('; ') : `no binary for ${target} and no local build`,
  };
}
