/**
 * The benchmarks of training, with machine facts: `npm run bench:training`, or some of it: `npm run bench:training -- precision saddle`.
 *
 * Sections: fixed-batch, regression, splits, streaming, shallow, precision, saddle. `--seeds N` (default 5), `--scale X` (of time
 * budgets, default 1) shorten a trial run; `--only TEXT` takes the jobs whose name holds the text (`--only 'airfoil, 20 x 10'`);
 * `--no-torch` leaves PyTorch out. The whole takes some nine hours; sections may run side by side, each pinned to a core and with a
 * record of its own: `--record FILE` keeps every finished run, and a later call with the same file repeats none of them.
 */
import { parseArgs } from 'node:util';
import { printMachine, summarizeVerdicts } from './harness.js';
import { fixedBatchSection } from './training/fixed-batch.js';
import { precisionSection } from './training/precision.js';
import { regressionSection } from './training/regression.js';
import { RunRecord } from './training/record.js';
import type { BenchOptions } from './training/runs.js';
import { saddleSection } from './training/saddle.js';
import { splitsSection } from './training/splits.js';
import { shallowSection, streamingSection } from './training/streaming.js';
import { TorchPeer } from './training/torch.js';

const sections: Record<string, (options: BenchOptions) => Promise<void>> = {
  'fixed-batch': fixedBatchSection,
  regression: regressionSection,
  splits: splitsSection,
  streaming: streamingSection,
  shallow: shallowSection,
  precision: precisionSection,
  saddle: saddleSection,
};
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '5' },
    scale: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    record: { type: 'string' },
    'no-torch': { type: 'boolean', default: false },
  },
});
const seeds = Number(values.seeds);
const scale = Number(values.scale);
if (!Number.isInteger(seeds) || seeds < 1 || !(scale > 0)) {
  console.error(
    `bench:training: expected a whole number of seeds and a scale > 0, received ${values.seeds} and ${values.scale}`,
  );
  process.exit(2);
}
for (const name of positionals) {
  if (!(name in sections)) {
    console.error(`bench:training: unknown section '${name}'; there are: ${Object.keys(sections).join(', ')}`);
    process.exit(2);
  }
}
printMachine();
const options: BenchOptions = {
  seeds,
  scale,
  torch: values['no-torch'] ? null : TorchPeer.find(),
  only: values.only,
  record: values.record === undefined ? null : new RunRecord(values.record),
};
for (const [name, section] of Object.entries(sections)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  const start = performance.now();
  await section(options);
  console.log(`\n  (${name}: ${((performance.now() - start) / 60000).toFixed(1)} min)`);
}
summarizeVerdicts();
