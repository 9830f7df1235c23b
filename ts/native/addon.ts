/**
 * Finds the native addon and gives it its type. Order:
 *
 * 1. `DEEP_HESSIAN_BINARY`: a path, which must load, or `none` for the TypeScript kernels without a warning;
 * 2. `prebuilds/<platform>-<arch>/deep_hessian.node`, what the package ships (with `-musl` on such systems);
 * 3. `build/Release/deep_hessian.node` in the package root, a local build.
 *
 * In a checkout, where sources change, a prebuilt binary that was made from other sources comes after a local build.
 */
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { DeepHessianError } from '../errors.js';
import type { Kernels } from './kernels.js';
import { madeFromPresentSources } from './sources.js';

const require = createRequire(import.meta.url);
/** This file is <root>/ts/native/addon.ts or <root>/dist/native/addon.js. */
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

/** The addon's kernels, or why there are none; `reason` says in either case how the choice came about. */
export type AddonSearch =
  { kernels: Kernels; file: string; reason: string } | { kernels: null; file: null; reason: string };

function open(file: string): Kernels {
  const addon = require(file) as Kernels;
  if (typeof addon.gemm !== 'function') throw new Error('not a kernel addon');
  // The addon does not know where it came from.
  return { ...addon, info: () => ({ ...addon.info(), file }) };
}

const firstLine = (error: unknown): string => String(error instanceof Error ? error.message : error).split('\n')[0];

interface Candidate {
  file: string;
  reason: string;
}

/** The binaries that are there, in the order in which they are tried. */
function candidates(packageRoot: string): Candidate[] {
  const target = `${process.platform}-${process.arch}`;
  // A binary for the other C library simply fails to load, so both are tried instead of asking which one is here.
  const prebuilt = (process.platform === 'linux' ? [target, `${target}-musl`] : [target])
    .map((name) => path.join(packageRoot, 'prebuilds', name, 'deep_hessian.node'))
    .filter((file) => fs.existsSync(file))
    .map((file) => ({ file, reason: 'the prebuilt binary' }));
  const local = path.join(packageRoot, 'build/Release/deep_hessian.node');
  if (!fs.existsSync(local)) return prebuilt;
  // Only a checkout has the script that makes prebuilt binaries, and only there do sources change behind them.
  const inCheckout = fs.existsSync(path.join(packageRoot, 'scripts/prebuild.mjs'));
  const [first, last]: [Candidate[], Candidate[]] = [[], []];
  for (const candidate of prebuilt) {
    if (!inCheckout || madeFromPresentSources(packageRoot, candidate.file)) first.push(candidate);
    else last.push({ ...candidate, reason: 'the prebuilt binary, made from other sources than those here' });
  }
  const why = last.length > 0 ? 'the prebuilt binary is made from other sources' : 'there is no prebuilt binary';
  return [...first, { file: local, reason: first.length > 0 ? 'the local build' : `the local build: ${why}` }, ...last];
}

/**
 * Loads the addon.
 *
 * @param binary - what `DEEP_HESSIAN_BINARY` says
 * @param packageRoot - the folder searched; default: the package's own
 * @throws {@link DeepHessianError} `native-unavailable` when `binary` names a file that does not load
 */
export function findAddon(
  binary: string | undefined = process.env.DEEP_HESSIAN_BINARY,
  packageRoot: string = root,
): AddonSearch {
  if (binary === 'none') return { kernels: null, file: null, reason: 'DEEP_HESSIAN_BINARY=none' };
  if (binary) {
    const file = path.resolve(binary);
    try {
      return { kernels: open(file), file, reason: 'DEEP_HESSIAN_BINARY names it' };
    } catch (error) {
      throw new DeepHessianError(
        'native-unavailable',
        `DEEP_HESSIAN_BINARY names ${file}, which does not load: ${firstLine(error)}`,
        { file },
        { cause: error },
      );
    }
  }
  const failures: string[] = [];
  for (const { file, reason } of candidates(packageRoot)) {
    try {
      return { kernels: open(file), file, reason: [reason, ...failures].join('; ') };
    } catch (error) {
      failures.push(`${path.relative(packageRoot, file)}: ${firstLine(error)}`);
    }
  }
  return {
    kernels: null,
    file: null,
    reason:
      failures.length > 0
        ? failures.join('; ')
        : `no binary for ${process.platform}-${process.arch} and no local build`,
  };
}
