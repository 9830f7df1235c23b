/**
 * One custom layer forward and backward, sample by sample, between the unit-major blocks of the network and the row vectors
 * that a {@link SmoothLayer} sees. The scratch arrays live as long as the workspace that owns them.
 */
import type { CustomLayer } from './layers.js';

/** Scratch of one custom layer: one sample's vectors and Jacobians. */
export class CustomScratch {
  readonly params: Float64Array;
  readonly input: Float64Array;
  readonly output: Float64Array;
  readonly adjoint: Float64Array;
  readonly dParams: Float64Array;
  readonly dInput: Float64Array;

  constructor(readonly resolved: CustomLayer) {
    const { inputs, units, parameterCount } = resolved;
    this.params = new Float64Array(parameterCount);
    this.input = new Float64Array(inputs);
    this.output = new Float64Array(units);
    this.adjoint = new Float64Array(units);
    this.dParams = new Float64Array(units * parameterCount);
    this.dInput = new Float64Array(units * inputs);
  }

  /** Copies the layer's own parameters, so that the user's code can neither see nor change any others. */
  loadParameters(params: Float64Array): void {
    const { parameterOffset, parameterCount } = this.resolved;
    for (let i = 0; i < parameterCount; i++) this.params[i] = params[parameterOffset + i];
  }

  /** Row n of an N x inputs block. */
  loadInput(z: Float64Array, zo: number, ldz: number, n: number): void {
    const { input } = this;
    for (let i = 0; i < input.length; i++) input[i] = z[zo + i * ldz + n];
  }

  /** Row n of an N x units adjoint. */
  loadAdjoint(lambda: Float64Array, ld: number, n: number): void {
    const { adjoint } = this;
    for (let u = 0; u < adjoint.length; u++) adjoint[u] = lambda[u * ld + n];
  }

  /** Both Jacobians at the loaded parameters and input. */
  jacobians(): void {
    this.dParams.fill(0);
    this.dInput.fill(0);
    this.resolved.layer.jacobians(this.params, this.input, this.dParams, this.dInput);
  }
}

/** Z_out (N x units) from Z (N x inputs at offset zo, leading dimension ldz). */
export function customForward(
  scratch: CustomScratch,
  samples: number,
  params: Float64Array,
  z: Float64Array,
  zo: number,
  ldz: number,
  out: Float64Array,
): void {
  const { output, resolved } = scratch;
  scratch.loadParameters(params);
  for (let n = 0; n < samples; n++) {
    scratch.loadInput(z, zo, ldz, n);
    output.fill(0);
    resolved.layer.forward(scratch.params, scratch.input, output);
    for (let u = 0; u < output.length; u++) out[u * samples + n] = output[u];
  }
}

/**
 * Adds the layer's gradient to `gradient` (after clearing it when beta is 0) and, where `target` is given, writes
 * dLoss/dZ (N x inputs) there. Lambda is N x units.
 */
export function customBackward(
  scratch: CustomScratch,
  samples: number,
  params: Float64Array,
  z: Float64Array,
  zo: number,
  ldz: number,
  lambda: Float64Array,
  beta: 0 | 1,
  gradient: Float64Array,
  target: Float64Array | null,
): void {
  const { adjoint, dParams, dInput, resolved } = scratch;
  const { inputs, units, parameterCount, parameterOffset } = resolved;
  if (beta === 0) gradient.fill(0, parameterOffset, parameterOffset + parameterCount);
  scratch.loadParameters(params);
  for (let n = 0; n < samples; n++) {
    scratch.loadInput(z, zo, ldz, n);
    scratch.loadAdjoint(lambda, samples, n);
    scratch.jacobians();
    for (let u = 0; u < units; u++) {
      const a = adjoint[u];
      for (let q = 0; q < parameterCount; q++) gradient[parameterOffset + q] += a * dParams[u * parameterCount + q];
    }
    if (target === null) continue;
    for (let i = 0; i < inputs; i++) {
      let sum = 0;
      for (let u = 0; u < units; u++) sum += adjoint[u] * dInput[u * inputs + i];
      target[i * samples + n] = sum;
    }
  }
}
