/**
 * Proof of a custom layer against finite differences, at seeded random parameters, inputs and adjoints.
 *
 *   dParams, dInput   against differences of `forward`
 *   hxx, hxz, hzz     against differences of the contracted first derivatives a^T df/dx and a^T df/dz of `jacobians`
 *
 * Fourth-order central differences (Abramowitz & Stegun 1964, 25.3.6):
 *
 *   f'(x) = [8 (f(x + h) - f(x - h)) - (f(x + 2h) - f(x - 2h))] / (12 h) + h^4 / 30 f^(5)
 *
 * With h = eps^(1/5) max(1, |x|), 7e-4 at |x| <= 1, both the truncated term and the rounding error 1.5 eps |f| / h are below
 * 1e-12 of the function's scale. The default tolerance 1e-8 leaves four digits for functions with large fifth derivatives and is
 * far below what a wrong or missing term does.
 */
import { checkInteger, checkKeys, checkObject, checkPositive, checkVector } from '../checks.js';
import { checkSmoothLayer, type SmoothLayer } from '../network/smooth-layer.js';
import { Random } from '../random.js';

/** Options of {@link checkLayer}. */
export interface CheckLayerOptions {
  /** Default 0. */
  seed?: number;
  /** Points tried, default 3. */
  points?: number;
  /** Largest accepted relative error, default 1e-8. */
  tolerance?: number;
  /** Standard deviation of the inputs, default 1. */
  inputScale?: number;
  /** Parameters to check at (length p) instead of those of `initialize` plus normal noise. */
  params?: Float64Array;
}

/** The blocks that a custom layer supplies: two Jacobians and three contractions. */
export type LayerBlockName = 'dParams' | 'dInput' | 'hxx' | 'hxz' | 'hzz';

/** One block's worst entry over all points. */
export interface BlockCheck {
  /** The block compared. */
  readonly block: LayerBlockName;
  /** max |given - difference| over max(|block|, |function|); infinite where the layer gave a number that is not finite. */
  readonly error: number;
  /** Whether `error` is within the tolerance. */
  readonly passed: boolean;
  /** Row of the worst entry, from 0. */
  readonly row: number;
  /** Column of the worst entry, from 0. */
  readonly column: number;
  /** The layer's value there. */
  readonly given: number;
  /** The finite difference there. */
  readonly difference: number;
}

/** Result of {@link checkLayer}. */
export interface LayerCheck {
  /** The layer's name. */
  readonly layer: string;
  /** Every block passed and there are no complaints. */
  readonly passed: boolean;
  /** Largest accepted relative error. */
  readonly tolerance: number;
  /** One entry a block. */
  readonly blocks: readonly BlockCheck[];
  /** Breaches of the contract besides wrong values: results that change between calls, arguments written to, asymmetry. */
  readonly complaints: readonly string[];
}

/**
 * Checks every derivative of `layer` against finite differences and reports the error of each block.
 *
 * @example
 * const report = checkLayer(layer, { seed: 1 });
 * if (!report.passed) console.log(report.blocks, report.complaints);
 */
export function checkLayer(layer: SmoothLayer, options: CheckLayerOptions = {}): LayerCheck {
  const operation = 'checkLayer';
  checkSmoothLayer(operation, 'layer', layer);
  checkObject(operation, 'options', options);
  checkKeys(operation, 'options', options, ['seed', 'points', 'tolerance', 'inputScale', 'params']);
  const { seed = 0, points = 3, tolerance = 1e-8, inputScale = 1, params } = options;
  checkInteger(operation, 'seed', seed, 0, 0xffffffff);
  checkInteger(operation, 'points', points, 1);
  checkPositive(operation, 'tolerance', tolerance);
  checkPositive(operation, 'inputScale', inputScale);
  if (params !== undefined) checkVector(operation, 'params', params, layer.parameterCount);
  const random = new Random(seed);
  const check = new Check(layer, tolerance);
  for (let i = 0; i < points; i++) {
    const x = params?.slice() ?? startingParameters(operation, layer, random);
    const z = random.normals(new Float64Array(layer.inputs)).map((value) => inputScale * value);
    check.at(x, z, random.normals(new Float64Array(layer.units)));
  }
  return check.report();
}

function startingParameters(operation: string, layer: SmoothLayer, random: Random): Float64Array {
  const noise = random.normals(new Float64Array(layer.parameterCount));
  const deviation = 1 / Math.sqrt(layer.inputs);
  const start = layer.initialize?.(random) ?? new Float64Array(layer.parameterCount);
  checkVector(operation, 'layer.initialize()', start, layer.parameterCount);
  // Initial values are often special (zeros, ones) and would hide terms: move away from them.
  return start.map((value, i) => value + deviation * noise[i]);
}

/** The columns of a derivative: rows x columns, row-major. */
interface Block {
  readonly rows: number;
  readonly columns: number;
  readonly values: Float64Array;
}

class Check {
  private readonly worst = new Map<LayerBlockName, BlockCheck>();
  private readonly complaints = new Set<string>();

  constructor(
    private readonly layer: SmoothLayer,
    private readonly tolerance: number,
  ) {}

  at(x: Float64Array, z: Float64Array, adjoint: Float64Array): void {
    const { inputs: a, units: h, parameterCount: p } = this.layer;
    const value = this.forward(x, z);
    if (this.forward(x, z).some((entry, i) => !Object.is(entry, value[i]))) {
      this.complaints.add('forward gives different results for the same arguments');
    }
    const { dx, dz } = this.jacobians(x, z);
    this.compare(
      'dParams',
      block(h, p, dx),
      differences(x, h, (point) => this.forward(point, z)),
      value,
    );
    this.compare(
      'dInput',
      block(h, a, dz),
      differences(z, h, (point) => this.forward(x, point)),
      value,
    );

    const contracted = (px: Float64Array, pz: Float64Array): { x: Float64Array; z: Float64Array } => {
      const first = this.jacobians(px, pz);
      return { x: transposedTimes(first.dx, adjoint, p), z: transposedTimes(first.dz, adjoint, a) };
    };
    const [hxx, hxz, hzz] = this.contractions(x, z, adjoint);
    const here = contracted(x, z);
    this.compare(
      'hxx',
      block(p, p, hxx),
      differences(x, p, (point) => contracted(point, z).x),
      here.x,
    );
    this.compare(
      'hxz',
      block(p, a, hxz),
      differences(z, p, (point) => contracted(x, point).x),
      here.x,
    );
    this.compare(
      'hzz',
      block(a, a, hzz),
      differences(z, a, (point) => contracted(x, point).z),
      here.z,
    );
    this.symmetric('hxx', hxx, p);
    this.symmetric('hzz', hzz, a);
  }

  report(): LayerCheck {
    const blocks = [...this.worst.values()];
    const complaints = [...this.complaints];
    const passed = complaints.length === 0 && blocks.every((entry) => entry.passed);
    return { layer: this.layer.name, passed, tolerance: this.tolerance, blocks, complaints };
  }

  private forward(x: Float64Array, z: Float64Array): Float64Array {
    const output = new Float64Array(this.layer.units);
    this.guarded('forward', [x, z], (px, pz) => this.layer.forward(px, pz, output));
    return output;
  }

  private jacobians(x: Float64Array, z: Float64Array): { dx: Float64Array; dz: Float64Array } {
    const { inputs, units, parameterCount } = this.layer;
    const dx = new Float64Array(units * parameterCount);
    const dz = new Float64Array(units * inputs);
    this.guarded('jacobians', [x, z], (px, pz) => this.layer.jacobians(px, pz, dx, dz));
    return { dx, dz };
  }

  private contractions(
    x: Float64Array,
    z: Float64Array,
    adjoint: Float64Array,
  ): [Float64Array, Float64Array, Float64Array] {
    const { inputs: a, parameterCount: p } = this.layer;
    const hxx = new Float64Array(p * p);
    const hxz = new Float64Array(p * a);
    const hzz = new Float64Array(a * a);
    this.guarded('contractions', [x, z, adjoint], (px, pz, pa) => {
      this.layer.contractions(px, pz, pa, hxx, hxz, hzz);
    });
    return [hxx, hxz, hzz];
  }

  /** Calls with copies and complains when one of them was written to. */
  private guarded(method: string, values: Float64Array[], call: (...copies: Float64Array[]) => void): void {
    const copies = values.map((value) => value.slice());
    call(...copies);
    if (copies.some((copy, i) => copy.some((entry, j) => !Object.is(entry, values[i][j])))) {
      this.complaints.add(`${method} writes to its arguments`);
    }
  }

  private symmetric(name: string, values: Float64Array, n: number): void {
    let size = 0;
    let difference = 0;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        size = Math.max(size, Math.abs(values[i * n + j]));
        difference = Math.max(difference, Math.abs(values[i * n + j] - values[j * n + i]));
      }
    }
    if (difference > this.tolerance * size) this.complaints.add(`${name} is not symmetric`);
  }

  private compare(name: LayerBlockName, given: Block, expected: Float64Array, base: Float64Array): void {
    const { columns, values } = given;
    const scale = Math.max(largest(expected), largest(base)) || 1;
    let worst: BlockCheck = this.worst.get(name) ?? {
      block: name,
      error: 0,
      passed: true,
      row: 0,
      column: 0,
      given: 0,
      difference: 0,
    };
    for (let i = 0; i < values.length; i++) {
      const distance = Math.abs(values[i] - expected[i]) / scale;
      const error = Number.isNaN(distance) ? Infinity : distance;
      if (error > worst.error) {
        const row = Math.floor(i / columns);
        const column = i % columns;
        worst = {
          block: name,
          error,
          passed: error <= this.tolerance,
          row,
          column,
          given: values[i],
          difference: expected[i],
        };
      }
    }
    this.worst.set(name, worst);
  }
}

function block(rows: number, columns: number, values: Float64Array): Block {
  return { rows, columns, values };
}

function largest(values: Float64Array): number {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

/** rows^T adjoint for `rows` of units x columns, row-major. */
function transposedTimes(rows: Float64Array, adjoint: Float64Array, columns: number): Float64Array {
  const sum = new Float64Array(columns);
  for (let u = 0; u < adjoint.length; u++)
    for (let j = 0; j < columns; j++) sum[j] += adjoint[u] * rows[u * columns + j];
  return sum;
}

/** Fourth-order central differences of a function with `rows` values: rows x at.length, row-major. */
function differences(at: Float64Array, rows: number, evaluate: (point: Float64Array) => Float64Array): Float64Array {
  const columns = at.length;
  const result = new Float64Array(rows * columns);
  const point = at.slice();
  const moved = (j: number, by: number): Float64Array => {
    point[j] = at[j] + by;
    const value = evaluate(point);
    point[j] = at[j];
    return value;
  };
  for (let j = 0; j < columns; j++) {
    const h = Number.EPSILON ** 0.2 * Math.max(1, Math.abs(at[j]));
    const near = [moved(j, h), moved(j, -h)];
    const far = [moved(j, 2 * h), moved(j, -2 * h)];
    for (let i = 0; i < rows; i++) {
      result[i * columns + j] = (8 * (near[0][i] - near[1][i]) - (far[0][i] - far[1][i])) / (12 * h);
    }
  }
  return result;
}
