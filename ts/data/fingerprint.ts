/**
 * A short mark of what a data set holds, to notice that it has changed: its sizes and a CRC-32 of the bytes of its arrays. Equal
 * data have equal marks; it is no protection against intent.
 */
import { crc32 } from 'node:zlib';
import type { Dataset } from './dataset.js';

/** The mark of a data set, e.g. '1353 x 5, 8c736521'. */
export function fingerprint({ samples, features, inputs, labels, values }: Dataset): string {
  let sum = 0;
  for (const array of [inputs, labels, values]) {
    if (array !== null) sum = crc32(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), sum);
  }
  return `${samples} x ${features}, ${sum.toString(16).padStart(8, '0')}`;
}
