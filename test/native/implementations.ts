/** The kernel implementations that one suite runs over: the addon when there is one, and the TypeScript fallback. */
import { findAddon } from '../../ts/native/addon.js';
import { fallback } from '../../ts/native/fallback.js';
import type { Kernels } from '../../ts/native/kernels.js';
import type { RealConstructor } from './matrices.js';

const found = findAddon('');

/** The addon, or null with the reason. */
export const addon: Kernels | null = found.kernels;
export const reason = found.kernels === null ? found.reason : '';

export const implementations: readonly { name: string; kernels: Kernels }[] = [
  ...(addon === null ? [] : [{ name: 'addon', kernels: addon }]),
  { name: 'fallback', kernels: fallback },
];

/** Unit roundoff times two: the spacing of numbers near one. */
export const epsilonOf = (type: RealConstructor): number => (type === Float64Array ? 2 ** -52 : 2 ** -23);

/** Runs `suite` once for every implementation and element type. */
export function forEachKernelSet(
  title: string,
  suite: (kernels: Kernels, type: RealConstructor, epsilon: number) => void,
): void {
  describe(title, () => {
    if (addon === null) {
      it('addon', function () {
        console.log(`      not tested: ${reason}`);
        this.skip();
      });
    }
    for (const { name, kernels } of implementations) {
      for (const type of [Float64Array, Float32Array] as const) {
        describe(`${name}, ${type.name}`, () => suite(kernels, type, epsilonOf(type)));
      }
    }
  });
}
