/**
 * Data movement, activations, the sample-space Gram matrix and the first-order steps: arguments checked, then handed to
 * fused.ts and activations.ts.
 */
import { apart, flag, kind, matrix, real, scalar, size, vector } from './checks.js';
import { failRange } from '../../checks.js';
import { activateCore } from './activations.js';
import {
  adamStepCore,
  columnSumsCore,
  hadamardCore,
  jacobianGramCore,
  scaleRowsCore,
  scaleSymmetricCore,
  sgdStepCore,
  symmetrizeCore,
  transposeCore,
} from './fused.js';
import { square } from './problems.js';
import { activationCodes, type Kernels, type Real } from '../kernels.js';

export const fusedKernels: Pick<
  Kernels,
  | 'transpose'
  | 'symmetrize'
  | 'scaleSymmetric'
  | 'scaleRows'
  | 'activate'
  | 'hadamard'
  | 'columnSums'
  | 'jacobianGram'
  | 'adamStep'
  | 'sgdStep'
> = {
  transpose(m, n, a, aOffset, lda, b, bOffset, ldb) {
    size('transpose', 'm', m);
    size('transpose', 'n', n);
    real('transpose', 'a', a);
    real('transpose', 'b', b, a);
    const input = matrix('transpose', 'a', a, aOffset, m, n, lda);
    apart('transpose', matrix('transpose', 'b', b, bOffset, n, m, ldb), input);
    transposeCore(m, n, a, aOffset, lda, b, bOffset, ldb);
  },

  symmetrize(uplo, n, a, aOffset, lda) {
    square('symmetrize', uplo, n, a, aOffset, lda);
    symmetrizeCore(uplo, n, a, aOffset, lda);
  },

  scaleSymmetric(n, a, aOffset, lda, d, dOffset, c, cOffset, b, bOffset, ldb) {
    const operation = 'scaleSymmetric';
    size(operation, 'n', n);
    real(operation, 'a', a);
    if (d !== null) real(operation, 'd', d, a);
    if (c !== null) real(operation, 'c', c, a);
    real(operation, 'b', b, a);
    const input = matrix(operation, 'a', a, aOffset, n, n, lda);
    const scale = d === null ? null : vector(operation, 'd', d, dOffset, n);
    const shift = c === null ? null : vector(operation, 'c', c, cOffset, n);
    const inPlace = a === b && aOffset === bOffset && lda === ldb;
    apart(operation, matrix(operation, 'b', b, bOffset, n, n, ldb), inPlace ? null : input, scale, shift);
    scaleSymmetricCore(n, a, aOffset, lda, d, dOffset, c, cOffset, b, bOffset, ldb);
  },

  scaleRows(side, m, n, d, dOffset, a, aOffset, lda, b, bOffset, ldb) {
    const operation = 'scaleRows';
    flag(operation, 'side', side);
    size(operation, 'm', m);
    size(operation, 'n', n);
    real(operation, 'a', a);
    real(operation, 'd', d, a);
    real(operation, 'b', b, a);
    const input = matrix(operation, 'a', a, aOffset, m, n, lda);
    const scale = vector(operation, 'd', d, dOffset, side ? n : m);
    const inPlace = a === b && aOffset === bOffset && lda === ldb;
    apart(operation, matrix(operation, 'b', b, bOffset, m, n, ldb), inPlace ? null : input, scale);
    scaleRowsCore(side, m, n, d, dOffset, a, aOffset, lda, b, bOffset, ldb);
  },

  activate(
    code,
    rows,
    cols,
    s,
    sOffset,
    bias,
    biasOffset,
    residual,
    residualOffset,
    z,
    zOffset,
    d1,
    d1Offset,
    d2,
    d2Offset,
  ) {
    const operation = 'activate';
    const last = Object.keys(activationCodes).length - 1;
    size(operation, 'code', code);
    if (code > last) failRange(operation, 'code', `an integer from 0 to ${last}`, code);
    size(operation, 'rows', rows);
    size(operation, 'cols', cols);
    const n = rows * cols;
    real(operation, 's', s);
    const block = (name: string, array: Real | null, offset: number, length: number) => {
      if (array === null) return null;
      real(operation, name, array, s);
      return vector(operation, name, array, offset, length);
    };
    const state = vector(operation, 's', s, sOffset, n);
    const inputs = [block('bias', bias, biasOffset, cols), block('residual', residual, residualOffset, n)];
    const outputs = [block('z', z, zOffset, n), block('d1', d1, d1Offset, n), block('d2', d2, d2Offset, n)];
    apart(operation, state, ...inputs);
    outputs.forEach((output, i) => {
      if (output !== null) apart(operation, output, state, ...inputs, ...outputs.slice(i + 1));
    });
    activateCore(
      code,
      rows,
      cols,
      s,
      sOffset,
      bias,
      biasOffset,
      residual,
      residualOffset,
      z,
      zOffset,
      d1,
      d1Offset,
      d2,
      d2Offset,
    );
  },

  hadamard(accumulate, n, x, xOffset, y, yOffset, out, outOffset) {
    const operation = 'hadamard';
    flag(operation, 'accumulate', accumulate);
    size(operation, 'n', n);
    real(operation, 'x', x);
    real(operation, 'y', y, x);
    real(operation, 'out', out, x);
    const left = vector(operation, 'x', x, xOffset, n);
    const right = vector(operation, 'y', y, yOffset, n);
    const output = vector(operation, 'out', out, outOffset, n);
    apart(
      operation,
      output,
      out === x && outOffset === xOffset ? null : left,
      out === y && outOffset === yOffset ? null : right,
    );
    hadamardCore(accumulate, n, x, xOffset, y, yOffset, out, outOffset);
  },

  columnSums(accumulate, rows, cols, a, aOffset, lda, out, outOffset) {
    const operation = 'columnSums';
    flag(operation, 'accumulate', accumulate);
    size(operation, 'rows', rows);
    size(operation, 'cols', cols);
    real(operation, 'a', a);
    real(operation, 'out', out, a);
    const input = matrix(operation, 'a', a, aOffset, rows, cols, lda);
    apart(operation, vector(operation, 'out', out, outOffset, cols), input);
    columnSumsCore(accumulate, rows, cols, a, aOffset, lda, out, outOffset);
  },

  jacobianGram(samples, outputs, layers, shift, scale, widths, d, dOffsets, gram, gramOffsets, c, cOffset, ldc, inner) {
    const operation = 'jacobianGram';
    size(operation, 'samples', samples);
    size(operation, 'outputs', outputs);
    size(operation, 'layers', layers);
    scalar(operation, 'shift', shift);
    kind(operation, 'scale', scale, Float64Array);
    kind(operation, 'widths', widths, Int32Array);
    kind(operation, 'dOffsets', dOffsets, Float64Array);
    kind(operation, 'gramOffsets', gramOffsets, Float64Array);
    real(operation, 'd', d);
    real(operation, 'gram', gram, d);
    real(operation, 'c', c, d);
    vector(operation, 'scale', scale, 0, layers);
    vector(operation, 'widths', widths, 0, layers);
    vector(operation, 'dOffsets', dOffsets, 0, layers);
    vector(operation, 'gramOffsets', gramOffsets, 0, layers);
    if (inner !== null) {
      kind(operation, 'inner', inner, Int32Array);
      vector(operation, 'inner', inner, 0, layers);
    }
    const rows = samples * outputs;
    const output = matrix(operation, 'c', c, cOffset, rows, rows, ldc);
    for (let l = 0; l < layers; l++) {
      size(operation, `widths[${l}]`, widths[l]);
      apart(operation, output, matrix(operation, 'd', d, dOffsets[l], rows, widths[l], Math.max(1, rows)));
      if (inner !== null) size(operation, `inner[${l}]`, inner[l]);
      const columns = inner === null ? samples : inner[l];
      apart(operation, output, matrix(operation, 'gram', gram, gramOffsets[l], samples, columns, Math.max(1, samples)));
    }
    jacobianGramCore(
      samples,
      outputs,
      layers,
      shift,
      scale,
      widths,
      d,
      dOffsets,
      gram,
      gramOffsets,
      c,
      cOffset,
      ldc,
      inner,
    );
  },

  adamStep(n, params, gradient, m, v, rate, beta1, beta2, correction1, correction2, epsilon, weightDecay) {
    const operation = 'adamStep';
    size(operation, 'n', n);
    const scalars = { rate, beta1, beta2, correction1, correction2, epsilon, weightDecay };
    for (const [name, value] of Object.entries(scalars)) scalar(operation, name, value);
    real(operation, 'params', params);
    real(operation, 'gradient', gradient, params);
    real(operation, 'm', m, params);
    real(operation, 'v', v, params);
    const g = vector(operation, 'gradient', gradient, 0, n);
    const p = vector(operation, 'params', params, 0, n);
    const first = vector(operation, 'm', m, 0, n);
    const second = vector(operation, 'v', v, 0, n);
    apart(operation, p, g, first, second);
    apart(operation, first, g, second);
    apart(operation, second, g);
    adamStepCore(n, params, gradient, m, v, rate, beta1, beta2, correction1, correction2, epsilon, weightDecay);
  },

  sgdStep(n, params, gradient, velocity, rate, momentum, nesterov, weightDecay) {
    const operation = 'sgdStep';
    size(operation, 'n', n);
    for (const [name, value] of Object.entries({ rate, momentum, weightDecay })) scalar(operation, name, value);
    flag(operation, 'nesterov', nesterov);
    real(operation, 'params', params);
    real(operation, 'gradient', gradient, params);
    real(operation, 'velocity', velocity, params);
    const g = vector(operation, 'gradient', gradient, 0, n);
    const p = vector(operation, 'params', params, 0, n);
    const v = vector(operation, 'velocity', velocity, 0, n);
    apart(operation, p, g, v);
    apart(operation, v, g);
    sgdStepCore(n, params, gradient, velocity, rate, momentum, nesterov, weightDecay);
  },
};
