/** The point of an optimizer's next step, in the memory of the last one. */
import type { Linearization, Network } from '../derivatives/index.js';
import type { DeviceKernels, DeviceName } from '../device/index.js';
import type { Batch } from '../network/index.js';

/**
 * Linearizes at (params, batch). The arrays of `previous` are taken over where they have the size; else its memory on a device is
 * given back first.
 */
export function nextPoint(
  network: Network,
  params: Float64Array,
  batch: Batch,
  previous: Linearization | null,
  device: DeviceName | DeviceKernels = 'cpu',
): Linearization {
  if (previous !== null && previous.samples !== batch.samples) {
    previous.dispose();
    previous = null;
  }
  return network.linearize(params, batch, previous === null ? { device } : { device, reuse: previous });
}
