/**
 * Gradients of the losses of single samples: columns of P numbers, without sample weights and without the L2 term.
 *
 *     g_n = d loss_n / d x,      data loss = (1/N) sum_n w_n loss_n
 */
import { kernels } from '../native/index.js';
import type { Batch, NetworkModel } from '../network/index.js';

/** A batch of one sample whose arrays are refilled: nothing is allocated per sample. */
class SingleSample implements Batch {
  readonly samples = 1;
  readonly weights = null;
  readonly inputs: Float64Array;
  readonly targets: Int32Array | null;
  readonly targetValues: Float64Array | null;

  constructor(network: NetworkModel, source: Batch) {
    this.inputs = new Float64Array(network.inputs);
    this.targets = source.targets === null ? null : new Int32Array(1);
    this.targetValues = source.targetValues === null ? null : new Float64Array(network.outputs);
  }

  fill(source: Batch, n: number): void {
    const { samples: N } = source;
    for (let i = 0; i < this.inputs.length; i++) this.inputs[i] = source.inputs[i * N + n];
    if (this.targets !== null) this.targets[0] = source.targets![n];
    if (this.targetValues !== null)
      for (let k = 0; k < this.targetValues.length; k++) this.targetValues[k] = source.targetValues![k * N + n];
  }
}

/** Makes single-sample gradients of one batch. */
export class SampleGradients {
  private readonly sample: SingleSample;
  private readonly column: Float64Array;
  private readonly penalty: Float64Array | null;

  constructor(
    private readonly network: NetworkModel,
    private readonly params: Float64Array,
    /** The batch. */
    readonly batch: Batch,
  ) {
    const P = network.parameterCount;
    this.sample = new SingleSample(network, batch);
    this.column = new Float64Array(P);
    const penalty = new Float64Array(P);
    network.addPenaltyProduct(params, penalty);
    this.penalty = penalty.some((value) => value !== 0) ? penalty : null;
  }

  /** Writes gradients of samples [first, first + count) as columns of `out` (P x count). */
  fill(first: number, count: number, out: Float64Array): void {
    const { network, params, batch, sample, column, penalty } = this;
    const P = network.parameterCount;
    for (let c = 0; c < count; c++) {
      sample.fill(batch, first + c);
      network.lossAndGradient(params, sample, column);
      if (penalty !== null) kernels.axpy(P, -1, penalty, 0, column, 0);
      out.set(column, c * P);
    }
  }
}
