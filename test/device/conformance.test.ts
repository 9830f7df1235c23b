/** The device interface on the CPU reference, through the counting wrapper, and on a card where there is one. */
import { conformance } from './conformance.js';
import { createHostDevice, instrument, openCudaDevice } from '../../ts/device/index.js';
import { fallback } from '../../ts/native/fallback.js';
import { card, sayWithoutCard } from '../helpers/devices.js';

conformance('CPU', () => createHostDevice());
conformance('plain TypeScript kernels', () => createHostDevice({ kernels: fallback }));
conformance('instrumented CPU', () => instrument(createHostDevice()).device);

if (card.available) conformance('CUDA', () => openCudaDevice());
else describe('device: CUDA', () => sayWithoutCard('runs the same suite'));
