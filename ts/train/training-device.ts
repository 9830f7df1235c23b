/** Where a training run does its work: what `--device` comes to for an optimizer on this machine. */
import { chooseDevice, type DeviceName } from '../device/index.js';
import { DeepHessianError } from '../errors.js';
import { optimizerEntries, optimizerEntry } from '../optimize/registry.js';
import type { Settings } from './config.js';

export interface TrainingDevice {
  /** what the optimizer is given; 'auto' decides by the size of the batch */
  device: DeviceName;
  /** why, in words; null where nothing but the CPU was asked for */
  reason: string | null;
}

/**
 * Checks the device of a run before anything is read or written.
 *
 * @throws DeepHessianError 'device-unavailable' for 'cuda' without a usable card, 'unsupported' for an optimizer without it
 */
export function trainingDevice(settings: Settings): TrainingDevice {
  const wanted = (settings.device ?? 'cpu') as DeviceName;
  if (wanted === 'cpu') return { device: 'cpu', reason: null };
  const name = settings.optimizer as string;
  if (optimizerEntry(name).onDevice !== true) {
    const others = optimizerEntries.filter(({ onDevice }) => onDevice === true).map((entry) => entry.name);
    const reason = `optimizer '${name}' runs on the CPU only (on a GPU: ${others.join(', ')})`;
    if (wanted === 'cuda')
      throw new DeepHessianError('unsupported', `train: ${reason}`, { device: wanted, optimizer: name });
    return { device: 'cpu', reason };
  }
  const { device, reason } = chooseDevice('train', wanted);
  return device === null ? { device: 'cpu', reason } : { device: wanted, reason: device.name };
}
