/**
 * Row numbers from a text file, as published splits of a data set come: integers from 0, apart by blanks or lines
 * (also written as floating-point numbers: `1.2e+01`).
 */
import { badFile } from './bytes.js';
import { parseNumber } from './csv-records.js';
import { readRegular } from './regular-file.js';

const largest = 64 * 2 ** 20;

/**
 * Reads row numbers, to be used with `subset`.
 *
 * @param samples rows of the data set: every number must be below it
 * @throws DeepHessianError 'bad-file' naming the entry that is no row number, or occurs twice
 */
export async function readIndices(path: string, samples: number): Promise<Int32Array> {
  const bytes = await readRegular(path, (size) => {
    if (size > largest) throw badFile(path, `at most ${largest} bytes of row numbers`, 'more');
  });
  const text = bytes.toString('utf8');
  const words = text.split(/[\s,]+/).filter((word) => word !== '');
  if (words.length === 0) throw badFile(path, 'row numbers', 'none');
  const seen = new Set<number>();
  return Int32Array.from(words, (word, i) => {
    const value = parseNumber(word);
    if (value === null || !Number.isInteger(value) || value < 0 || value >= samples) {
      throw badFile(path, `a row number from 0 to ${samples - 1} as entry ${i}`, `"${word.slice(0, 40)}"`);
    }
    if (seen.has(value)) throw badFile(path, 'different row numbers', `${value} twice`);
    seen.add(value);
    return value;
  });
}
