/**
 * The damped Gauss-Newton solves (G + eps I)^-1 v at one point, for several eps: in sample space, or by a factor of the layers where
 * some are custom.
 *
 * Mixed precision in sample space: the Gram matrix and its Cholesky factor are in float32, half the time, and each solve is refined
 * on the exact product to a relative residual of 1e-8. Where float32 does not do, because it makes the matrix indefinite or
 * refinement stalls, float64 serves this damping and those below from then on: G shrinks with the loss, but so does eps, and
 * every trial that fails has cost its time.
 */
import { deviceLinearizationBytes, type Linearization, type Network } from '../derivatives/index.js';
import { chooseDevice, hasRoom, type DeviceKernels, type DeviceName } from '../device/index.js';
import { DeepHessianError } from '../errors.js';
import {
  availableMemory,
  DeviceSampleSpaceFactor,
  factor,
  formatBytes,
  formatSeconds,
  SampleSpaceFactor,
  sampleSpaceSide,
  sampleSpaceWork,
  type Factor,
} from '../inverse/index.js';
import { kernels } from '../native/index.js';
import type { Batch } from '../network/index.js';
import { nextPoint } from './next-point.js';

/** (G + eps I)^-1 at one point. */
export interface DampedSolver {
  /** @returns false where G + eps I is not positive definite in float64: eps is below what it resolves */
  factor(eps: number): boolean;
  /** x := (G + eps I)^-1 grad */
  solve(x: Float64Array): void;
  /** v := (G + eps I)^-1 v */
  solveAny(v: Float64Array): void;
  /** Lets go of what belongs to the point. */
  dispose(): void;
}

/** Momentum in the damped solve at `point`: x += mu (phi - (G + eps I)^-1 G phi). */
export function carry(
  solver: DampedSolver,
  point: Linearization,
  phi: Float64Array,
  mu: number,
  x: Float64Array,
): void {
  const back = point.gaussNewtonProduct(phi);
  solver.solveAny(back);
  for (let i = 0; i < x.length; i++) x[i] += mu * (phi[i] - back[i]);
}

/** Where and how the solves are done. */
export interface DampedSolverOptions {
  precision: 'float64' | 'mixed';
  device: DeviceName | DeviceKernels;
  /** a batch whose solve is modelled to take longer is refused */
  maxStepSeconds: number;
}

type Space = SampleSpaceFactor | DeviceSampleSpaceFactor;

/** Relative residual of a refined solve. */
const tolerance = 1e-8;
/** Most refinements of a solve; one that needs more is better done in float64. */
const mostRefinements = 5;

/** Memory of the sample-space solves, kept from point to point while the batch has the same size. */
export class SampleSpaces {
  /** float32 does not do at this damping and below; state of the optimizer */
  floor = 0;
  private single: Space | null = null;
  private double: Space | null = null;
  /** where batches of the size of the last one are computed */
  private placed: { samples: number; device: DeviceKernels | null } | null = null;
  /** scratch of the solves, P each */
  readonly residual: Float64Array;
  readonly correction: Float64Array;

  constructor(
    private readonly network: Network,
    readonly options: DampedSolverOptions,
  ) {
    this.residual = new Float64Array(network.parameterCount);
    this.correction = new Float64Array(network.parameterCount);
  }

  /**
   * The point of a step, on the device that does its solves where there is one.
   *
   * @param previous the point before, whose memory serves again
   */
  linearize(params: Float64Array, batch: Batch, previous: Linearization | null): Linearization {
    const { samples } = batch;
    if (this.placed?.samples !== samples) {
      // What the device holds for another size goes before its free memory is looked at.
      previous?.dispose();
      previous = null;
      this.dispose();
      this.placed = { samples, device: this.place(samples) };
    }
    return nextPoint(this.network, params, batch, previous, this.placed.device ?? 'cpu');
  }

  /** The solver at a point of {@link linearize}. */
  at(point: Linearization): DampedSolver {
    return new SampleSpaceSolver(point, this);
  }

  /** The space of one precision at a point. */
  assemble(point: Linearization, single: boolean): Space {
    const { samples } = point;
    const held = single ? this.single : this.double;
    const space = held ?? this.onDevice(samples, single) ?? this.onHost(samples, single);
    if (single) this.single = space;
    else this.double = space;
    space.assemble(point);
    return space;
  }

  /** The device for batches of a size, null where the CPU does it. */
  private place(samples: number): DeviceKernels | null {
    const { network, options } = this;
    if (options.device === 'cpu') return null;
    const work = sampleSpaceWork(network, samples, true);
    const { device } = chooseDevice('gauss-newton', options.device, work, sampleSpaceSide(network, samples).seconds);
    if (device === null) return null;
    const space = DeviceSampleSpaceFactor.estimateBytes(network, samples, options.precision === 'mixed');
    return this.fits(device, samples, space + deviceLinearizationBytes(network, samples)) ? device : null;
  }

  /** A space on the device of the batch size, null where the CPU does it. */
  private onDevice(samples: number, single: boolean): DeviceSampleSpaceFactor | null {
    const { network } = this;
    const device = this.placed?.device ?? null;
    if (device === null) return null;
    const bytes = DeviceSampleSpaceFactor.estimateBytes(network, samples, single);
    return this.fits(device, samples, bytes) ? new DeviceSampleSpaceFactor(device, network, samples, single) : null;
  }

  /** Whether the device has the memory; an error where it must. */
  private fits(device: DeviceKernels, samples: number, bytes: number): boolean {
    return hasRoom(device, bytes, `gauss-newton: a batch of ${samples} samples`, this.options.device === 'auto');
  }

  private onHost(samples: number, single: boolean): SampleSpaceFactor {
    const { network, options } = this;
    const bytes = SampleSpaceFactor.estimateBytes(network, samples, single);
    const available = availableMemory();
    if (bytes > available) {
      throw new DeepHessianError(
        'out-of-memory',
        `gauss-newton: a batch of ${samples} samples needs ${formatBytes(bytes)} but ${formatBytes(available)} is available; ` +
          'use smaller batches, kfac or hessian-free',
        { bytes, available },
      );
    }
    const { seconds } = sampleSpaceSide(network, samples);
    if (seconds > options.maxStepSeconds) {
      // A step cannot be interrupted: one of many minutes would look like a hang.
      throw new DeepHessianError(
        'unsupported',
        `gauss-newton: one step on a batch of ${samples} samples is modelled at ${formatSeconds(seconds)}, above maxStepSeconds = ` +
          `${options.maxStepSeconds}; use smaller batches, kfac or hessian-free, or raise maxStepSeconds`,
        { seconds, samples },
      );
    }
    return new SampleSpaceFactor(network, samples, undefined, single);
  }

  dispose(): void {
    this.single?.dispose();
    this.double?.dispose();
    this.single = this.double = null;
    this.placed = null;
  }
}

class SampleSpaceSolver implements DampedSolver {
  private single: Space | null = null;
  private double: Space | null = null;
  /** the one factored last */
  private space!: Space;
  private eps = 0;

  constructor(
    private readonly point: Linearization,
    private readonly spaces: SampleSpaces,
  ) {}

  factor(eps: number): boolean {
    this.eps = eps;
    const { spaces, point } = this;
    if (spaces.options.precision === 'mixed' && eps > spaces.floor) {
      this.space = this.single ??= spaces.assemble(point, true);
      if (this.space.factor(eps)) return true;
      spaces.floor = eps;
    }
    return this.factorInDouble();
  }

  private factorInDouble(): boolean {
    this.space = this.double ??= this.spaces.assemble(this.point, false);
    return this.space.factor(this.eps);
  }

  solve(x: Float64Array): void {
    this.space.step(x);
    if (!this.refine(this.point.gradient, x)) this.space.step(x);
  }

  solveAny(v: Float64Array): void {
    const { correction } = this.spaces;
    const g = v.slice();
    this.space.solve(g, correction, 1);
    v.set(correction);
    if (!this.refine(g, v)) this.space.solve(g, v, 1);
  }

  /** Improves x until the residual meets the tolerance. @returns false where that takes float64, which is then factored */
  private refine(g: Float64Array, x: Float64Array): boolean {
    const { point, spaces, eps, space } = this;
    if (space !== this.single) return true;
    const { residual: r, correction } = spaces;
    const P = g.length;
    const norm = kernels.nrm2(P, g, 0);
    let last = Infinity;
    for (let k = 0; k <= mostRefinements; k++) {
      point.gaussNewtonProduct(x, r);
      for (let i = 0; i < P; i++) r[i] = g[i] - r[i] - eps * x[i];
      const rest = kernels.nrm2(P, r, 0);
      if (rest <= tolerance * norm) return true;
      if (!(rest < 0.25 * last)) break;
      last = rest;
      // At unit size, so that residuals do not leave the range of float32.
      for (let i = 0; i < P; i++) r[i] /= rest;
      space.solve(r, correction, 1);
      kernels.axpy(P, rest, correction, 0, x, 0);
    }
    spaces.floor = eps;
    // Definite a moment ago in float32, so definite.
    this.factorInDouble();
    return false;
  }

  dispose(): void {
    // The spaces serve the next point, too.
  }
}

/** By {@link factor}: for custom layers. */
export class FactorSolver implements DampedSolver {
  private held: Factor | null = null;

  constructor(
    private readonly point: Linearization,
    private readonly options: Pick<DampedSolverOptions, 'precision' | 'device'>,
  ) {}

  factor(eps: number): boolean {
    const { precision, device } = this.options;
    if (this.held === null) {
      this.held = factor(this.point, {
        matrix: 'gauss-newton',
        damping: eps,
        precision,
        device,
        onFailure: 'return',
        tolerance,
      });
    } else this.held.refactor(eps);
    return this.held.isRegular;
  }

  solve(x: Float64Array): void {
    x.set(this.held!.solve(this.point.gradient).x);
  }

  solveAny(v: Float64Array): void {
    v.set(this.held!.solve(v).x);
  }

  dispose(): void {
    this.held?.dispose();
    this.held = null;
  }
}
