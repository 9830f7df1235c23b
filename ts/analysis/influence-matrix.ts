/**
 * The training x test influence matrix of a trained network, written row by row while it is made, and what can be read off it:
 *
 *     I(i, j) = -g_j^T (M + eps I)^-1 g_i             row i: training sample, column j: test sample
 *     mean effect of leaving i out of training:       -(1/N) mean_j I(i, j)       (to first order, N training samples)
 *     self-influence g_i^T (M + eps I)^-1 g_i         largest where the other points contradict point i
 *
 * (Koh & Liang 2017.) One factorization serves everything; one refined solve per training sample.
 */
import { extname } from 'node:path';
import { checkInteger, checkKeys, checkNonNegative, checkOneOf, failRange } from '../checks.js';
import { influenceRows, relativeKinds, type RelativeKind } from '../curvature/index.js';
import { AtomicFile, ioError } from '../data/atomic.js';
import type { Dataset } from '../data/dataset.js';
import { NpyRowWriter } from '../data/npy.js';
import type { Network } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import type { MatrixKind } from '../inverse/index.js';
import { norm } from '../linalg/vectors.js';
import { curvatureOperator } from '../curvature/index.js';
import { lanczos } from '../linalg/lanczos.js';
import { predictClasses } from '../train/evaluation.js';
import { linearizeSubject, subjectTargets, type Subject } from './subject.js';

/** Options of {@link writeInfluence}. */
export interface InfluenceMatrixOptions {
  /** file of the matrix: .npy (float64 [train, test]) or .csv (a header, and the row's number first) */
  out: string;
  /** rows: the first so many of the training samples; the Hessian is that of all of them. Default all */
  trainLimit?: number;
  /** columns: the first so many test samples; default all */
  testLimit?: number;
  /** M: 'hessian' (default) or 'gauss-newton' */
  matrix?: MatrixKind;
  /** eps >= 0; default 0 where every layer has L2, else a thousandth of the largest |eigenvalue|, to one digit */
  damping?: number;
  /** what divides a row: 'none' (default), 'parameters' for |(M + eps I)^-1 g_i|, 'losses' for sqrt(self-influence) */
  relative?: RelativeKind;
  /** entries of the lists, default 20 */
  top?: number;
  /** training samples a block, default 64 */
  block?: number;
  /** called after every block, with the event loop free before it; false stops with DeepHessianError 'aborted' */
  onProgress?: (done: number, total: number) => boolean | void;
}

/** A training sample in a list. */
export interface RankedSample {
  /** row of the training set, from 0 */
  index: number;
  /** what the list is sorted by: self-influence, or the change of the mean test loss without the sample */
  value: number;
  /** its class and the one that the network gives, for classes */
  label?: string;
  /** class that the network gives it; absent where targets are no classes */
  predicted?: string;
}

/** Result of {@link writeInfluence}: plain JSON (Koh and Liang 2017). */
export interface InfluenceSummary {
  /** file of the matrix, as given */
  file: string;
  /** training samples in the matrix */
  rows: number;
  /** test samples in the matrix */
  columns: number;
  /** samples that the training loss averages over: N */
  samples: number;
  /** parameters of the network, P */
  parameters: number;
  /** M of the inverse (M + eps I)^-1 */
  matrix: MatrixKind;
  /** eps, as given or chosen */
  damping: number;
  /** what every row is divided by */
  relative: RelativeKind;
  /** largest relative residual of all solves */
  residual: number;
  /** whether M + eps I is positive definite, as influence functions suppose; null: rounding leaves it open */
  definite: boolean | null;
  /** |gradient| of the training loss: influence functions suppose a minimum */
  gradientNorm: number;
  /** what should be known before the numbers are believed */
  warnings: string[];
  /** self-influence of every row, in their order */
  selfInfluence: number[];
  /** rows by self-influence, largest first: mislabelled ones are among the first */
  suspicious: RankedSample[];
  /** rows whose absence would lower the mean test loss most, and by how much */
  harmful: RankedSample[];
  /** rows whose absence would raise the mean test loss most */
  helpful: RankedSample[];
  /** mean of I(i, j) over the test samples, by row */
  meanInfluence: number[];
  /** seconds of wall time in all */
  seconds: number;
}

const keys = ['out', 'trainLimit', 'testLimit', 'matrix', 'damping', 'relative', 'top', 'block', 'onProgress'];

/**
 * Writes the matrix and returns its summary. A run that fails or is stopped leaves no file.
 *
 * @param test held-out samples, of the sizes of the network
 * @throws TypeError or RangeError for wrong options; DeepHessianError of the factorization and the solves, 'io' for the file
 */
export async function writeInfluence(
  subject: Subject,
  test: Dataset,
  options: InfluenceMatrixOptions,
): Promise<InfluenceSummary> {
  const operation = 'influence';
  checkKeys(operation, 'options', options, keys);
  const { out, matrix = 'hessian', relative = 'none', top = 20, block = 64, onProgress } = options;
  checkOneOf(operation, 'matrix', matrix, ['hessian', 'gauss-newton'] as const);
  checkOneOf(operation, 'relative', relative, relativeKinds);
  if (options.trainLimit !== undefined) checkInteger(operation, 'trainLimit', options.trainLimit, 1);
  if (options.testLimit !== undefined) checkInteger(operation, 'testLimit', options.testLimit, 1);
  if (options.damping !== undefined) checkNonNegative(operation, 'damping', options.damping);
  checkInteger(operation, 'top', top, 0);
  checkInteger(operation, 'block', block, 1);
  const format = matrixFormat(operation, out);
  const began = performance.now();
  const { network, train, params } = subject;
  const point = linearizeSubject(subject);
  const N = point.samples;
  const rows = Math.min(N, options.trainLimit ?? N);
  const columns = Math.min(test.samples, options.testLimit ?? test.samples);
  let { damping } = options;
  if (damping === undefined) {
    if (network.l2.every((value) => value > 0)) damping = 0;
    else {
      const { values } = lanczos(curvatureOperator(point, matrix), {
        smallest: network.parameterCount > 1 ? 1 : 0,
        largest: 1,
        tolerance: 1e-2,
        verify: false,
      });
      damping =
        Number((1e-3 * values.reduce((most, value) => Math.max(most, Math.abs(value)), 0)).toPrecision(1)) || 1e-3;
    }
  }
  const width = test.labels === null ? test.outputs : 1;
  const targets = test.labels ?? (test.values as Float64Array);
  const part: Dataset = {
    ...test,
    samples: columns,
    inputs: test.inputs.subarray(0, columns * test.features),
    labels: test.labels === null ? null : test.labels.subarray(0, columns),
    values: test.labels === null ? (targets as Float64Array).subarray(0, columns * width) : null,
  };
  const blocks = influenceRows(
    point,
    { inputs: part.inputs, targets: subjectTargets(network, part) },
    { matrix, damping, relative, self: true, rows, block },
  );
  const selfInfluence = new Float64Array(rows);
  const meanInfluence = new Float64Array(rows);
  const writer = await openMatrix(format, out, columns);
  try {
    for (;;) {
      // A signal that came while a block was computed is seen here.
      await new Promise<void>((resolve) => setImmediate(resolve));
      const next = blocks.next();
      if (next.done === true) {
        await writer.close();
        const { residual, definite } = next.value;
        const gradientNorm = norm(point.gradient);
        const predicted = labelsOf(network, params, train);
        const list = (values: Float64Array, sign: 1 | -1, wanted: (value: number) => boolean): RankedSample[] =>
          Array.from(values, (_, i) => i)
            .sort((a, b) => sign * (values[b] - values[a]))
            .slice(0, top)
            .filter((i) => wanted(values[i]))
            .map((index) => ({ index, value: values[index], ...predicted(index) }));
        // Without sample i the mean test loss changes by this much.
        const removal = meanInfluence.map((value) => 0 - value / N);
        return {
          file: out,
          rows,
          columns,
          samples: N,
          parameters: network.parameterCount,
          matrix,
          damping,
          relative,
          residual,
          definite,
          gradientNorm,
          warnings: warningsOf(definite, gradientNorm, damping, matrix),
          selfInfluence: [...selfInfluence],
          suspicious: list(selfInfluence, 1, () => true),
          harmful: list(removal, -1, (value) => value < 0),
          helpful: list(removal, 1, (value) => value > 0),
          meanInfluence: [...meanInfluence],
          seconds: (performance.now() - began) / 1000,
        };
      }
      const { first, count, values, self, done, total } = next.value;
      for (let c = 0; c < count; c++) {
        let sum = 0;
        for (let j = 0; j < columns; j++) sum += values[c * columns + j];
        meanInfluence[first + c] = sum / columns;
        selfInfluence[first + c] = (self as Float64Array)[c];
      }
      await writer.append(first, values);
      if (onProgress?.(done, total) === false) {
        throw new DeepHessianError('aborted', `${operation}: stopped by its caller after ${done} of ${total} rows`, {
          done,
        });
      }
    }
  } finally {
    blocks.return({ residual: NaN, definite: null });
    await writer.discard();
  }
}

/** The gradient above which the point is called no minimum: influences are then off by about gradient / curvature. */
const largeGradient = 1e-3;

function warningsOf(definite: boolean | null, gradientNorm: number, damping: number, matrix: MatrixKind): string[] {
  const warnings: string[] = [];
  if (definite === false) {
    warnings.push(
      `the ${matrix === 'hessian' ? 'Hessian' : 'Gauss-Newton matrix'} + ${damping} I is not positive definite: the parameters are no minimum of the training loss; ` +
        'a larger --eps, --matrix gauss-newton, or longer training makes the influences mean what they should',
    );
  }
  if (definite === null)
    warnings.push(`rounding leaves open whether the matrix + ${damping} I is positive definite; a larger --eps tells`);
  if (gradientNorm > largeGradient)
    warnings.push(`the gradient of the training loss is ${gradientNorm.toPrecision(2)}: influences suppose a minimum`);
  return warnings;
}

/** Class and predicted class of a training sample, by name. */
function labelsOf(
  network: Network,
  params: Float64Array,
  train: Dataset,
): (index: number) => { label?: string; predicted?: string } {
  const { labels, classes } = train;
  if (labels === null) return () => ({});
  const predicted = predictClasses(network.forward(params, train.inputs), network.outputs);
  const name = (k: number): string => classes?.[k] ?? String(k);
  return (index) => ({ label: name(labels[index]), predicted: name(predicted[index]) });
}

/** Format by the extension. */
export function matrixFormat(operation: string, path: string): 'npy' | 'csv' {
  const extension = extname(path).toLowerCase();
  if (extension === '.npy') return 'npy';
  if (extension === '.csv') return 'csv';
  return failRange(operation, '--out', 'a file name ending in .npy or .csv', path);
}

interface MatrixWriter {
  append(first: number, rows: Float64Array): Promise<void>;
  close(): Promise<void>;
  /** harmless after close */
  discard(): Promise<void>;
}

async function openMatrix(format: 'npy' | 'csv', path: string, columns: number): Promise<MatrixWriter> {
  try {
    if (format === 'npy') {
      const writer = await NpyRowWriter.create(path, columns);
      return {
        append: async (_, rows) => writer.append(rows),
        close: async () => writer.close(),
        discard: async () => writer.discard(),
      };
    }
    const file = await AtomicFile.create(path);
    await file.write(`train,${Array.from({ length: columns }, (_, j) => j).join(',')}\n`);
    const append = async (first: number, rows: Float64Array): Promise<void> => {
      let text = '';
      for (let c = 0; c * columns < rows.length; c++)
        text += `${first + c},${rows.subarray(c * columns, (c + 1) * columns).join(',')}\n`;
      await file.write(text);
    };
    return { append, close: async () => file.commit(), discard: async () => file.discard() };
  } catch (error) {
    if (error instanceof DeepHessianError) throw error;
    throw ioError('writing', path, error);
  }
}
