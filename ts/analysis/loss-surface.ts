/**
 * The loss on a plane through the parameters x, spanned by two orthonormal directions u and v:
 *
 *     f(a, b) = loss(x + a u + b v)      on a grid,       and the path of a training run, seen in that plane:
 *     (a_t, b_t) = (u^T (x_t - x), v^T (x_t - x))
 *
 * A path leaves the plane: its projection says where it was in the plane, not what its loss was, so each point of the path
 * carries its own loss. `inPlane` is the share of the way |x_0 - x|^2 that the plane holds.
 */
import { checkFinite, checkInteger, checkKeys, checkVector, failRange } from '../checks.js';
import type { Linearization } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import { dot, norm } from '../linalg/vectors.js';

/** A point of a training run, seen in the plane. */
export interface PathPoint {
  /** optimizer steps taken by then; 0: the initial parameters */
  step: number;
  /** coordinate along u: u^T (x_t - x) */
  a: number;
  /** coordinate along v: v^T (x_t - x) */
  b: number;
  /** loss at x_t itself, which need not lie in the plane */
  loss: number;
}

/** Result of {@link lossSurface}. */
export interface LossSurface {
  /** coordinates along u and v, ascending */
  a: Float64Array;
  /** coordinates along v, ascending */
  b: Float64Array;
  /** losses row by row: [b index][a index] */
  losses: Float64Array;
  /** smallest loss on the grid */
  minimum: number;
  /** largest loss on the grid */
  maximum: number;
}

/** Options of {@link lossSurface}. */
export interface LossSurfaceOptions {
  /** half widths of the plane along u and v; centred on the point unless `centre` is given */
  extent: readonly [number, number];
  /** centre of the plane in its own coordinates, default [0, 0] */
  centre?: readonly [number, number];
  /** grid points a side, default 33 */
  grid?: number;
  /** called after every row; returning false stops with DeepHessianError 'aborted' */
  onProgress?: (done: number, total: number) => boolean | void;
}

/**
 * Losses on a grid in the plane of two directions.
 *
 * @param u unit vector, length P
 * @param v unit vector orthogonal to u
 * @throws RangeError for vectors that are not orthonormal (to 1e-6)
 */
export function lossSurface(
  point: Linearization,
  u: Float64Array,
  v: Float64Array,
  options: LossSurfaceOptions,
): LossSurface {
  const operation = 'lossSurface';
  const { network, params, batch } = point;
  const P = network.parameterCount;
  checkKeys(operation, 'options', options, ['extent', 'centre', 'grid', 'onProgress']);
  const { extent, centre = [0, 0], grid = 33, onProgress } = options;
  checkInteger(operation, 'grid', grid, 2, 1000);
  checkVector(operation, 'u', u, P);
  checkVector(operation, 'v', v, P);
  for (const [i, value] of [...extent, ...centre].entries()) checkFinite(operation, i < 2 ? 'extent' : 'centre', value);
  const skew = Math.max(Math.abs(norm(u) - 1), Math.abs(norm(v) - 1), Math.abs(dot(u, v)));
  if (skew > 1e-6) failRange(operation, 'u and v', 'orthonormal vectors', skew);
  const axis = (which: 0 | 1): Float64Array =>
    Float64Array.from({ length: grid }, (_, i) => centre[which] + extent[which] * ((2 * i) / (grid - 1) - 1));
  const [a, b] = [axis(0), axis(1)];
  const losses = new Float64Array(grid * grid);
  const trial = new Float64Array(P);
  let minimum = Infinity;
  let maximum = -Infinity;
  for (let j = 0; j < grid; j++) {
    for (let i = 0; i < grid; i++) {
      for (let k = 0; k < P; k++) trial[k] = params[k] + a[i] * u[k] + b[j] * v[k];
      const { loss } = network.evaluate(trial, batch);
      losses[j * grid + i] = loss;
      minimum = Math.min(minimum, loss);
      maximum = Math.max(maximum, loss);
    }
    if (onProgress?.(j + 1, grid) === false)
      throw new DeepHessianError('aborted', `${operation}: stopped by its caller`, { rows: j + 1 });
  }
  return { a, b, losses, minimum, maximum };
}

/** Sees parameters in the plane of u and v through the point. */
export function planeCoordinates(
  point: Linearization,
  u: Float64Array,
  v: Float64Array,
): (params: Float64Array) => { a: number; b: number; distance: number } {
  const difference = new Float64Array(u.length);
  return (params) => {
    for (let i = 0; i < difference.length; i++) difference[i] = params[i] - point.params[i];
    return { a: dot(u, difference), b: dot(v, difference), distance: norm(difference) };
  };
}

/**
 * Centre and half widths of a plane that shows the point and most of a path. Along an eigenvector of eigenvalue lambda the loss
 * changes by its own size at sqrt(2 loss / |lambda|); the plane is at least that large, and holds the path with some room.
 *
 * @param curvatures eigenvalues along u and v
 */
export function planeExtent(
  loss: number,
  curvatures: readonly [number, number],
  path: readonly PathPoint[],
): { extent: [number, number]; centre: [number, number] } {
  const extent: [number, number] = [0, 0];
  const centre: [number, number] = [0, 0];
  for (const which of [0, 1] as const) {
    const curvature = Math.abs(curvatures[which]);
    const natural = Math.min(2, Math.max(1e-3, Math.sqrt((2 * Math.abs(loss)) / (curvature || 1))));
    const values = path.map((p) => (which === 0 ? p.a : p.b));
    const low = Math.min(-natural, ...values);
    const high = Math.max(natural, ...values);
    centre[which] = 0.5 * (low + high);
    extent[which] = 0.55 * (high - low);
  }
  return { extent, centre };
}
