/** Random problems of the kernel jacobianGram, with their answers by the definition. */
import type { Kernels, Real } from '../../ts/native/kernels.js';
import type { Random } from '../../ts/random.js';
import { Dense, type Block, type RealConstructor } from './matrices.js';

/** A random problem of jacobianGram with its matrix by the definition. */
export function gramProblem(
  samples: number,
  outputs: number,
  widths: readonly number[],
  type: RealConstructor,
  random: Random,
  innerWidths: readonly number[] | null = null,
) {
  const order = samples * outputs,
    layers = widths.length;
  const dOffsets = new Float64Array(layers),
    gramOffsets = new Float64Array(layers);
  let dLength = 1,
    gramLength = 2;
  for (let l = 0; l < layers; l++) {
    dOffsets[l] = dLength;
    gramOffsets[l] = gramLength;
    dLength += order * widths[l] + 3;
    gramLength += samples * (innerWidths?.[l] ?? samples) + 1;
  }
  const inner = innerWidths === null ? null : Int32Array.from(innerWidths);
  const fill = (length: number): Real => new type(length).map(() => random.normal());
  const d = fill(dLength),
    gram = fill(gramLength),
    scale = new Float64Array(layers).map((_, l) => (l === 1 ? 1 : 0.5 + random.uniform()));
  const shift = 0.75;
  // Summed in double precision; `magnitude` is the sum of the absolute values of all terms.
  const expected = new Dense(order, order),
    magnitude = new Dense(order, order);
  for (let col = 0; col < order; col++) {
    for (let row = col; row < order; row++) {
      let sum = row === col ? shift : 0,
        size = sum;
      for (let l = 0; l < layers; l++) {
        let product = 0,
          absolute = 0;
        for (let i = 0; i < widths[l]; i++) {
          const term = d[dOffsets[l] + row + i * order] * d[dOffsets[l] + col + i * order];
          product += term;
          absolute += Math.abs(term);
        }
        let kernel = 0,
          kernelSize = 0;
        const n = gramOffsets[l] + (row % samples),
          m = gramOffsets[l] + (col % samples);
        if (inner === null) {
          kernel = gram[n + (col % samples) * samples];
          kernelSize = Math.abs(kernel);
        } else {
          for (let i = 0; i < inner[l]; i++) {
            kernel += gram[n + i * samples] * gram[m + i * samples];
            kernelSize += Math.abs(gram[n + i * samples] * gram[m + i * samples]);
          }
        }
        sum += scale[l] * kernel * product;
        size += scale[l] * kernelSize * absolute;
      }
      expected.set(row, col, sum);
      magnitude.set(row, col, size);
    }
  }
  const run = (kernels: Kernels, c: Block): void =>
    kernels.jacobianGram(
      samples,
      outputs,
      layers,
      shift,
      scale,
      Int32Array.from(widths),
      d,
      dOffsets,
      gram,
      gramOffsets,
      c.data,
      c.offset,
      c.ld,
      inner,
    );
  return { order, expected, magnitude, run };
}
