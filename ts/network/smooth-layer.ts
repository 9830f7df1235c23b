/**
 * A user's own smooth layer: z = f(z_in; x), sample by sample, with its first derivatives and its second
 * derivatives contracted with an adjoint. It takes part in every product and, through its dense blocks, in
 * every solve. `checkLayer` proves an implementation against finite differences.
 *
 * Shapes: p parameters, `inputs` features in, `units` features out. Every output array is handed over filled
 * with zeros, so a sparse block may set only the entries that are not zero.
 */
import type { Random } from '../random.js';
import { failRange, failType } from '../checks.js';

/** A user's own layer, twice differentiable, called sample by sample. Check it with {@link checkLayer}. */
export interface SmoothLayer {
  /** Name for messages, and the key under which {@link registerLayer} finds it again in JSON. */
  readonly name: string;
  /** Features in. */
  readonly inputs: number;
  /** Features out. */
  readonly units: number;
  /** Parameters p, at least 0. */
  readonly parameterCount: number;
  /** Initial parameters (length p). Without it they are normal with standard deviation 1 / sqrt(inputs). */
  initialize?(random: Random): Float64Array;
  /** output[units] := f(input; params) */
  forward(params: Float64Array, input: Float64Array, output: Float64Array): void;
  /** dParams (units x p, row-major) := df/dx, dInput (units x inputs, row-major) := df/dz. */
  jacobians(params: Float64Array, input: Float64Array, dParams: Float64Array, dInput: Float64Array): void;
  /**
   * Second derivatives contracted with the adjoint: sum_u adjoint[u] d2 f_u, as hxx (p x p), hxz (p x inputs, row-major,
   * parameter first) and hzz (inputs x inputs). hxx and hzz are symmetric and stored in full.
   */
  contractions(
    params: Float64Array,
    input: Float64Array,
    adjoint: Float64Array,
    hxx: Float64Array,
    hxz: Float64Array,
    hzz: Float64Array,
  ): void;
  /** Plain data from which the registered factory rebuilds the layer; needed only for `toJSON` of a network. */
  toJSON?(): unknown;
}

/** Builds a layer again from what its `toJSON` returned (null for a layer without `toJSON`). */
export type LayerFactory = (data: unknown) => SmoothLayer;

const factories = new Map<string, LayerFactory>();

/**
 * Makes custom layers called `name` storable: `network.toJSON()` writes the name with `layer.toJSON()`, and
 * `Network.fromJSON` calls the factory with that data. Registering a name again replaces its factory.
 *
 * @throws TypeError when `name` is not a string or `factory` not a function; RangeError for an empty name.
 */
export function registerLayer(name: string, factory: LayerFactory): void {
  if (typeof name !== 'string') failType('registerLayer', 'name', 'a string', name);
  if (name === '') failRange('registerLayer', 'name', 'a string that is not empty', name);
  if (typeof factory !== 'function') failType('registerLayer', 'factory', 'a function', factory);
  factories.set(name, factory);
}

/** The factory of `name`, or undefined. */
export function registeredLayer(name: string): LayerFactory | undefined {
  return factories.get(name);
}

/** Refuses an object that does not have the members of a {@link SmoothLayer}. */
export function checkSmoothLayer(operation: string, argument: string, layer: unknown): asserts layer is SmoothLayer {
  if (typeof layer !== 'object' || layer === null) failType(operation, argument, 'a SmoothLayer', layer);
  const members = layer as Record<string, unknown>;
  if (typeof members.name !== 'string') failType(operation, `${argument}.name`, 'a string', members.name);
  for (const [count, least] of [
    ['inputs', 1],
    ['units', 1],
    ['parameterCount', 0],
  ] as const) {
    const value = members[count];
    const expected = `an integer >= ${least}`;
    if (typeof value !== 'number') failType(operation, `${argument}.${count}`, expected, value);
    if (!Number.isInteger(value) || value < least) failRange(operation, `${argument}.${count}`, expected, value);
  }
  for (const method of ['forward', 'jacobians', 'contractions']) {
    if (typeof members[method] !== 'function')
      failType(operation, `${argument}.${method}`, 'a function', members[method]);
  }
  if (members.initialize !== undefined && typeof members.initialize !== 'function') {
    failType(operation, `${argument}.initialize`, 'a function', members.initialize);
  }
}
