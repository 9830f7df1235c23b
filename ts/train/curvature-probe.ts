/**
 * The spectrum along training: at evaluations the ends of the Hessian's spectrum and its inertia, within a share of the run's time.
 *
 * The Hessian is that of the training loss over as many samples as a probe of a fraction of a second allows, an even choice, the
 * same at every probe: the index of a deep network's full Hessian costs more than most runs may spend. The counts come from
 * factorizations of H -+ tau I and are given only where their certificate holds. The ends are Lanczos estimates, within what the
 * counts allow: near a fit a few negative eigenvalues lie close to many at zero, and Lanczos stops above them.
 */
import { firstNonFinite } from '../checks.js';
import { SpectrumSlicer } from '../curvature/spectrum-slicer.js';
import { evenChoice, type Dataset } from '../data/dataset.js';
import type { Network } from '../derivatives/network.js';
import { DeepHessianError } from '../errors.js';
import { estimateCosts } from '../inverse/index.js';
import type { Batch } from '../network/batch.js';
import { networkTargets } from './evaluation.js';

/** Ends and inertia of the Hessian at one moment of a run. */
export interface CurvatureFigures {
  /** training samples that the Hessian is of */
  samples: number;
  /**
   * Smallest eigenvalue: a Lanczos estimate, from above and good to about a per cent of the largest modulus. Where it contradicts the
   * counts below, the value nearest to it that they allow: -tolerance says no more than that there are negative eigenvalues.
   */
  smallest: number;
  /** largest eigenvalue, likewise from below */
  largest: number;
  /** eigenvalues of at most this modulus count as zero: 1e-6 of the largest modulus */
  tolerance: number;
  /** eigenvalues below -tolerance, the index; absent, as the next two, where rounding leaves it uncertain */
  negative?: number;
  /** eigenvalues within the tolerance */
  zero?: number;
  /** eigenvalues above the tolerance */
  positive?: number;
}

/** Modelled seconds of one probe, and its bytes, which decide on the samples. */
const probeSeconds = 0.1;
const probeBytes = 64e6;
/** Each probe comes at least so many times later in the run than the one before: a long run takes a hundred, not thousands. */
const spacing = 1.1;
/** Milliseconds of probes beyond the share: most changes in the first steps. */
const allowance = 500;
/** Lanczos steps to the ends of the spectrum, and flops of a product with the Hessian a sample and parameter. */
const lanczosSteps = 25;
const productFlops = 12;
/** GFLOP/s of those products: they are bound by memory. */
const productRate = 6e9;
const relativeTolerance = 1e-6;

/** Samples that a probe takes of `samples`, 0 where not even one is affordable, and what it holds while it works. */
export function probeSize(network: Network, samples: number): { samples: number; bytes: number } {
  let fit = { samples: 0, bytes: 0 };
  for (let n = samples; n >= 1; n = n === 1 ? 0 : Math.ceil(n / 2)) {
    const usable = estimateCosts(network, n, 'hessian').filter(({ unavailable }) => unavailable === null);
    const { seconds, bytes } = usable.reduce((a, b) => (b.seconds < a.seconds ? b : a));
    const products = (lanczosSteps * productFlops * n * network.parameterCount) / productRate;
    if (2 * seconds + products <= probeSeconds && bytes <= probeBytes) {
      fit = { samples: n, bytes };
      break;
    }
  }
  return fit;
}

/** Takes the spectrum along a run. */
export class CurvatureProbe {
  private readonly batch: Batch;
  private readonly began = performance.now();
  private spent = 0;
  private last: { at: number; cost: number } | null = null;

  private constructor(
    private readonly network: Network,
    train: Dataset,
    private readonly samples: number,
    private readonly share: number,
  ) {
    const { inputs, targets } = evenChoice(train, samples);
    this.batch = network.batch({ inputs, targets: networkTargets(network, targets) });
  }

  /**
   * A probe of the Hessian of the loss on `train`, or null where the share is 0 or the network too large.
   *
   * @param share of the run's wall time that probes may take, beyond a first half second
   */
  static make(network: Network, train: Dataset, share: number): CurvatureProbe | null {
    const { samples } = probeSize(network, train.samples);
    return share > 0 && samples > 0 ? new CurvatureProbe(network, train, samples, share) : null;
  }

  /** The figures at the parameters; null while the share is used up (never with `final`), and for parameters that are not finite. */
  take(params: Float64Array, final: boolean): CurvatureFigures | null {
    const start = performance.now();
    if (!final && !this.isDue(start - this.began)) return null;
    if (firstNonFinite(params) >= 0) return null;
    const slicer = new SpectrumSlicer(this.network.linearize(params, this.batch), { memoryLimit: probeBytes });
    try {
      return this.figures(slicer);
    } finally {
      slicer.dispose();
      const cost = performance.now() - start;
      this.spent += cost;
      // The first one is cold: the cheapest so far says what the next will take.
      this.last = { at: start - this.began, cost: Math.min(cost, this.last?.cost ?? Infinity) };
    }
  }

  private isDue(elapsed: number): boolean {
    if (this.last === null) return true;
    const { at, cost } = this.last;
    return elapsed >= spacing * at && this.spent + cost <= allowance + this.share * elapsed;
  }

  private figures(slicer: SpectrumSlicer): CurvatureFigures {
    const { lowest: smallest, highest: largest, norm } = slicer.ends();
    const tolerance = relativeTolerance * norm;
    const figures = { samples: this.samples, smallest, largest, tolerance };
    if (norm === 0) return figures;
    try {
      const below = slicer.count(-tolerance);
      const above = below.trusted ? slicer.count(tolerance) : below;
      if (!above.trusted) return figures;
      const [negative, positive] = [below.below, slicer.size - above.below];
      const zero = slicer.size - negative - positive;
      return {
        ...figures,
        smallest: endWithin(smallest, tolerance, negative, zero),
        largest: -endWithin(-largest, tolerance, positive, zero),
        negative,
        zero,
        positive,
      };
    } catch (error) {
      // A point that cannot be factored has no counts; the run goes on.
      if (error instanceof DeepHessianError) return figures;
      throw error;
    }
  }
}

/** The value nearest to `estimate` that the smallest of some eigenvalues can have of which `negative` are below -tolerance, `zero` within it. */
function endWithin(estimate: number, tolerance: number, negative: number, zero: number): number {
  if (negative > 0) return Math.min(estimate, -tolerance);
  return zero > 0 ? Math.min(Math.max(estimate, -tolerance), tolerance) : Math.max(estimate, tolerance);
}
