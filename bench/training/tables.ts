/**
 * The regression tables as files that the command line reads: the standard split of concrete, energy and yacht (Hernandez-Lobato
 * & Adams 2015; the first of their splits) as one training and one test file, airfoil as it is, a tenth held out by seed.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
