/**
 * Rows of R^T J, backpropagated to the pre-activations of every layer: what the curvature of a layer is made of.
 *
 * With Q_n = R_n R_n^T the output Hessian of sample n (1/N and weights in it), the Gauss-Newton (= Fisher) block of layer l is
 *
 *     sum_n sum_k  (z~_n z~_n^T) (x) (d_nk d_nk^T),     d_nk = the k-th column of R_n backpropagated to s_l
 *
 * 'exact'    all K' columns of R_n: K' = K, or K - 1 for softmax, whose factor R is known in closed form (Tanabe & Sagae 1992)
 * 'sampled'  one vector per sample: the output gradient for a label drawn from the model's own prediction, E[u u^T] = Q_n
 *            (Martens & Grosse 2015, section 5); K' times cheaper, noisy
 *
 * Rows of a chunk of samples are handed out layer by layer, last layer first: rows (k, n) at k count + n, column-major.
 */
import type { AffinePoint, Linearization } from '../derivatives/index.js';
import { DeepHessianError } from '../errors.js';
import { outputRows } from '../inverse/output-rows.js';
import { kernels, No, Yes } from '../native/index.js';
import type { NetworkModel } from '../network/index.js';
import type { Random } from '../random.js';

export const fisherRows = ['exact', 'sampled'] as const;
export type FisherRows = (typeof fisherRows)[number];

/** Doubles of one chunk of rows: bounds memory, and keeps a chunk in cache for narrow layers. */
const chunkDoubles = 2 ** 21;

/** @param d rows x units of the layer, column-major; row k * count + n belongs to sample start + n */
export type RowVisitor = (layer: AffinePoint, d: Float64Array, rows: number, start: number, count: number) => void;

/** Refuses networks with custom layers. */
export function checkAffine(operation: string, network: NetworkModel): void {
  for (const layer of network.layers) {
    if (layer.kind !== 'affine') {
      throw new DeepHessianError(
        'unsupported',
        `${operation}: layer ${layer.index} is a custom layer, and Kronecker factors need affine layers; use gauss-newton, newton or hessian-free`,
        { layer: layer.index },
      );
    }
  }
}

export class BackpropagatedRows {
  private readonly widest: number;
  private first = new Float64Array(0);
  private second = new Float64Array(0);

  /** @param memory doubles of one chunk of rows */
  constructor(
    private readonly network: NetworkModel,
    private readonly memory = chunkDoubles,
  ) {
    checkAffine('BackpropagatedRows', network);
    this.widest = network.layers.reduce(
      (most, layer) => Math.max(most, layer.units, layer.index > 0 ? layer.inputs : 0),
      0,
    );
  }

  /** Rows per sample. */
  perSample(kind: FisherRows): number {
    const { outputs, loss } = this.network;
    if (kind === 'sampled') return 1;
    return loss === 'cross-entropy' ? outputs - 1 : outputs;
  }

  /** @param random draws the labels of 'sampled' rows, sample by sample */
  run(point: Linearization, kind: FisherRows, random: Random | null, visit: RowVisitor): void {
    const { samples: N } = point;
    const per = this.perSample(kind);
    const chunk = Math.max(1, Math.min(N, Math.floor(this.memory / (per * this.widest))));
    if (this.first.length < chunk * per * this.widest) {
      this.first = new Float64Array(chunk * per * this.widest);
      this.second = new Float64Array(chunk * per * this.widest);
    }
    for (let start = 0; start < N; start += chunk) {
      const count = Math.min(chunk, N - start);
      if (kind === 'exact') outputRows(this.network, point, this.first, 0, start, count);
      else this.sampledScores(point, start, count, random!);
      this.backward(point, start, count, per, visit);
    }
  }

  private backward(point: Linearization, start: number, count: number, per: number, visit: RowVisitor): void {
    const rows = count * per;
    const { samples: N, layers } = point;
    for (let l = layers.length - 1; l >= 0; l--) {
      const layer = layers[l] as AffinePoint;
      const { units: h, inputs: a, residual, weightOffset } = layer.layer;
      const { first: d, second: below } = this;
      const keep = residual && l > 0;
      if (keep) copyInto(d, below, rows * h);
      if (!layer.linear) {
        for (let i = 0, o = 0; i < h; i++) {
          const from = i * N + start;
          for (let k = 0; k < per; k++) for (let n = 0; n < count; n++, o++) d[o] *= layer.slope[from + n];
        }
      }
      visit(layer, d, rows, start, count);
      if (l === 0) break;
      kernels.gemm(No, Yes, rows, a, h, 1, d, 0, rows, point.params, weightOffset, a, keep ? 1 : 0, below, 0, rows);
      this.first = below;
      this.second = d;
    }
  }

  /** One score per sample, scaled so that its second moment is Q_n. */
  private sampledScores(point: Linearization, start: number, count: number, random: Random): void {
    const { first: d } = this;
    const { samples: N, outputHessian: q, batch } = point;
    const { outputs: K, loss } = this.network;
    const { output } = point.layers[point.layers.length - 1];
    for (let n = 0; n < count; n++) {
      const at = start + n;
      if (q.kind === 'softmax') {
        const scale = Math.sqrt(q.scale[at]);
        let rest = random.uniform();
        let label = 0;
        while (label < K - 1 && rest >= q.p[label * N + at]) rest -= q.p[label++ * N + at];
        for (let k = 0; k < K; k++) d[k * count + n] = scale * (q.p[k * N + at] - (k === label ? 1 : 0));
      } else if (loss === 'mse') {
        for (let k = 0; k < K; k++) d[k * count + n] = Math.sqrt(q.q[k * N + at]) * random.normal();
      } else {
        const scale = Math.sqrt((batch.weights === null ? 1 : batch.weights[at]) / (N * K));
        for (let k = 0; k < K; k++) {
          const p = 1 / (1 + Math.exp(-output[k * N + at]));
          d[k * count + n] = scale * (p - (random.uniform() < p ? 1 : 0));
        }
      }
    }
  }
}

function copyInto(from: Float64Array, to: Float64Array, count: number): void {
  if (count < 2000) for (let i = 0; i < count; i++) to[i] = from[i];
  else to.set(from.subarray(0, count));
}
