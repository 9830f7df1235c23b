/**
 * The closed list of activations, applied entry by entry. Values and both derivatives come from one
 * fused kernel (`kernels.activate`); this file holds what the rest of the library must know about them.
 *
 * | name     | act(s)                  | act'(s)                            | act''(s)                                  |
 * | -------- | ----------------------- | ---------------------------------- | ----------------------------------------- |
 * | identity | s                       | 1                                  | 0                                         |
 * | tanh     | tanh s                  | 1 - tanh^2 s                       | -2 tanh s (1 - tanh^2 s)                  |
 * | sigmoid  | q = 1 / (1 + e^-s)      | q (1 - q)                          | q (1 - q) (1 - 2 q)                       |
 * | softplus | log(1 + e^s)            | q                                  | q (1 - q)                                 |
 * | gelu     | s Phi(s)  (exact, erf)  | Phi(s) + s phi(s)                  | (2 - s^2) phi(s)                          |
 * | silu     | s q                     | q (1 + s (1 - q))                  | q (1 - q) (2 + s (1 - 2 q))               |
 * | sine     | sin s                   | cos s                              | -sin s                                    |
 * | relu     | max(s, 0)               | 1 for s > 0, else 0                | 0 (its value wherever it exists; the kink |
 * |          |                         |                                    | at s = 0 carries no curvature)            |
 *
 * Phi and phi are the distribution function and the density of the standard normal law
 * (Hendrycks & Gimpel 2016 for GELU; Elfwing, Uchibe & Doya 2018 for SiLU; Sitzmann et al. 2020 for sine).
 */
import { activationCodes, type ActivationName } from '../native/kernels.js';

export type { ActivationName };

/** Every activation name, in the order of the native codes. */
export const activationNames = Object.freeze(Object.keys(activationCodes) as ActivationName[]);

/** True where act'' is zero everywhere, so that the layer adds no curvature of its own. */
export function isPiecewiseLinear(activation: ActivationName): boolean {
  return activation === 'identity' || activation === 'relu';
}
