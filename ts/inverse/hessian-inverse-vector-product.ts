import { checkVector } from '../checks.js';
import type { Linearization } from '../derivatives/index.js';
import { checkLinearized, factor, type FactorOptions } from './factor.js';
import type { Solution } from './status.js';

/** Options of {@link hessianInverseVectorProduct}: those of `factor`, with a default for the damping. */
export type InverseVectorProductOptions = Partial<FactorOptions>;

/**
 * (H + eps I)^-1 g for a deep network, in four steps of the augmented system (Rahimi 2026, section 5.1).
 *
 * With the tangent activations y = M^-1 D_x x and their adjoints Lambda as extra unknowns, (H + eps I) x = g is
 *
 *     [ Hxx + eps I   Hxz P        D_x^T ] [ x      ]   [ g ]
 *     [ P^T Hzx       P^T Hzz P   -M^T   ] [ y      ] = [ 0 ]
 *     [ D_x          -M            0     ] [ Lambda ]   [ 0 ]
 *
 * which is block tridiagonal when ordered layer by layer. The four steps:
 *
 * 1. auxiliary right-hand side: g enters the parameter rows, zeros the state and adjoint rows;
 * 2. blocks: the six mixed partials of each layer, contracted with the adjoints (`point.layerBlocks`), or for affine
 *    layers their closed forms, from which the parameter count drops out;
 * 3. factorization: block LDL^T from the last layer to the first (stage.ts), one symmetric pivot block a layer;
 * 4. back-substitution through the layers, first to last, then refinement on the exact Hessian product.
 *
 * An earlier printed form of the same section writes H^-1 with A = M^ Q^-1 M^^T + [[Dx Dx^T, Dx], [Dx^T, I]]. It cannot
 * be evaluated as printed: no layer reads the last activation, so the last block rows of Q_11 and Q_12 are zero, and Q
 * and its Schur complement are singular for every network. The augmented form above has no such block.
 *
 * @param point from `network.linearize(params, batch)`
 * @param g P finite numbers, for instance `point.gradient`
 * @param options `damping` defaults to 0.1 because H alone is singular in general; the others as in {@link factor}
 * @returns x with its true relative residual and status
 * @throws TypeError or RangeError for wrong arguments, before anything is factored; DeepHessianError as {@link factor} and its `solve`
 *
 * @example
 * const { x, residual } = hessianInverseVectorProduct(point, point.gradient, { damping: 0.1 });
 */
export function hessianInverseVectorProduct(
  point: Linearization,
  g: Float64Array,
  options: InverseVectorProductOptions = {},
): Solution {
  // Before the work: the factorization is by far the longer part.
  const operation = 'hessianInverseVectorProduct';
  checkLinearized(operation, point);
  checkVector(operation, 'g', g, point.network.parameterCount);
  const f = factor(point, { matrix: 'hessian', damping: 0.1, ...options });
  try {
    return f.solve(g);
  } finally {
    f.dispose();
  }
}
