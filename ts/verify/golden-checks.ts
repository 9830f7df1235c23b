/**
 * The cases that the package carries: outputs, loss, gradient, Hessian products, spectra and solves of small networks as
 * an independent program found them by automatic differentiation in float64, against this machine.
 */
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readGolden, type GoldenCase } from '../data/golden.js';
import type { Linearization } from '../derivatives/linearization.js';
import { Network } from '../derivatives/network.js';
import { factor, methods, type MatrixKind } from '../inverse/index.js';
import { relativeError, type Check } from './verdict.js';

/** <root>/share/golden, seen from ts/verify and from dist/verify. */
export const goldenFolder = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'share', 'golden');

interface Loaded {
  golden: GoldenCase;
  point: Linearization;
}

const names = { hessian: 'hessian', 'gauss-newton': 'gauss_newton' } as const;

function solveChecks({ golden, point }: Loaded, matrix: MatrixKind): Check[] {
  const key = names[matrix];
  const expected = golden.expected[`${key}_solve_g`]?.data;
  const eigenvalues = golden.expected[`${key}_eigenvalues`]?.data;
  if (expected === undefined || eigenvalues === undefined) return [];
  const P = golden.parameterCount;
  return golden.eps.flatMap((damping, row) => {
    const right = expected.subarray(row * P, (row + 1) * P);
    const shifted = eigenvalues.map((value) => Math.abs(value + damping));
    const condition = shifted.reduce((a, b) => Math.max(a, b)) / shifted.reduce((a, b) => Math.min(a, b));
    const solves = methods
      // The chain's inner states meet every condition in between; the methods that serve this network are tried.
      .filter((method) => method !== 'sample-space' || matrix === 'gauss-newton')
      .map((method): Check => ({
        group: 'golden',
        name: `${golden.name} ${matrix} solve eps=${damping} ${method}`,
        // Both solutions are known to their residuals (1e-12 here, rounding there) times the condition number.
        bound: Math.max(1e-10, 1e-11 * condition),
        unit: 'relative',
        measure: () => {
          const f = factor(point, { matrix, damping, method, tolerance: 1e-12, onFailure: 'return' });
          try {
            return relativeError(f.solve(point.gradient).x, right);
          } finally {
            f.dispose();
          }
        },
      }));
    const inertia: Check = {
      group: 'golden',
      name: `${golden.name} ${matrix} inertia and log-determinant eps=${damping}`,
      bound: 1e-8,
      unit: 'relative',
      measure: () => {
        const f = factor(point, { matrix, damping });
        try {
          const negative = eigenvalues.filter((value) => value + damping < 0).length;
          if (f.inertia.negative !== negative)
            throw new Error(`${f.inertia.negative} negative eigenvalues, expected ${negative}`);
          const logDeterminant = shifted.reduce((sum, value) => sum + Math.log(value), 0);
          return Math.abs(f.logAbsDet - logDeterminant) / Math.max(1, Math.abs(logDeterminant));
        } finally {
          f.dispose();
        }
      },
    };
    return [...solves, inertia];
  });
}

function caseChecks(loaded: Loaded): Check[] {
  const { golden, point } = loaded;
  const compare = (key: string, measure: (expected: Float64Array) => number): Check[] => {
    const expected = golden.expected[key]?.data;
    if (expected === undefined) return [];
    // A few hundred roundings on either side.
    return [
      {
        group: 'golden',
        name: `${golden.name} ${key}`,
        bound: 1e-11,
        unit: 'relative',
        measure: () => measure(expected),
      },
    ];
  };
  return [
    ...compare('outputs', (expected) => relativeError(point.outputs, expected)),
    ...compare('loss', ([expected]) => Math.abs(point.loss - expected) / Math.abs(expected)),
    ...compare('grad', (expected) => relativeError(point.gradient, expected)),
    ...compare('hvp_v', (expected) => relativeError(point.hessianProduct(golden.expected.v.data), expected)),
    ...solveChecks(loaded, 'hessian'),
    ...solveChecks(loaded, 'gauss-newton'),
  ];
}

/** The checks of all cases in `folder`; a case that does not load is a check that fails. */
export async function goldenChecks(folder = goldenFolder): Promise<Check[]> {
  const broken = (name: string, error: Error): Check => ({
    group: 'golden',
    name,
    bound: 0,
    unit: 'count',
    measure: () => Promise.reject(error),
  });
  if (!existsSync(folder)) return [broken('cases', new Error(`${folder} is not there`))];
  const checks: Check[] = [];
  for (const file of readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .sort()) {
    try {
      const golden = await readGolden(join(folder, file));
      const network = new Network(golden.network);
      const point = network.linearize(golden.params, { inputs: golden.inputs, targets: golden.targets });
      checks.push(...caseChecks({ golden, point }));
    } catch (error) {
      checks.push(broken(file, error as Error));
    }
  }
  return checks;
}
