/**
 * The regression tables as files that the command line reads: the standard split of concrete, energy and yacht (Hernandez-Lobato
 * & Adams 2015; the first of their splits) as one training and one test file, airfoil as it is, a tenth held out by seed.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Dataset } from '../../ts/data/dataset.js';
import { readIndices } from '../../ts/data/indices.js';
import { dataFolder, readText } from '../harness.js';

export const tableNames = ['airfoil', 'concrete', 'energy', 'yacht'] as const;
export type TableName = (typeof tableNames)[number];

/** Settings of the run that name a table, or null where the data are absent. */
export type TableSettings = Record<string, unknown>;

/** Writes the files of the tables into a folder of their own; `remove` deletes it. */
export async function prepareTables(): Promise<{ settings: Map<TableName, TableSettings>; remove: () => void }> {
  const folder = mkdtempSync(join(tmpdir(), 'deep-hessian-tables-'));
  const settings = new Map<TableName, TableSettings>();
  for (const name of tableNames) {
    const source = dataFolder(`uci_${name}`);
    if (source === null) {
      console.log(`no uci_${name} found (set DEEP_HESSIAN_DATA to the folder that holds it): left out`);
      continue;
    }
    if (name === 'airfoil') {
      settings.set(name, { data: 'csv', file: join(source, 'data.csv.gz'), validation: 0.1 });
      continue;
    }
    const lines = readText(join(source, 'data.txt'))
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
    const write = async (part: 'train' | 'test'): Promise<string> => {
      const rows = await readIndices(join(source, `index_${part}_0.txt`), lines.length);
      const path = join(folder, `${name}-${part}.txt`);
      writeFileSync(path, `${[...rows].map((row) => lines[row].split(/\s+/).join(' ')).join('\n')}\n`);
      return path;
    };
    settings.set(name, { data: 'csv', file: await write('train'), 'test-file': await write('test') });
  }
  return { settings, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/**
 * The least mean squared error that any function of the inputs has on a table: rows with equal inputs and different values. Concrete
 * has some, so no network gets below this however it is trained.
 */
export function irreducibleError({ samples, features, outputs, inputs, values }: Dataset): number {
  const groups = new Map<string, number[]>();
  for (let n = 0; n < samples; n++) {
    const key = inputs.subarray(n * features, (n + 1) * features).join(' ');
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [n]);
    else group.push(n);
  }
  let sum = 0;
  for (const rows of groups.values()) {
    for (let k = 0; k < outputs; k++) {
      const own = rows.map((n) => (values as Float64Array)[n * outputs + k]);
      const mean = own.reduce((a, b) => a + b) / own.length;
      for (const value of own) sum += (value - mean) ** 2;
    }
  }
  return sum / (samples * outputs);
}
