/**
 * The benchmarks of the engine, with machine facts: `npm run bench`, or some of it: `npm run bench -- depth gradient`.
 *
 * Sections: golden, wide, depth, inputs, gradient, gauss-newton, methods, selected-inversion, training. `--seeds N` and `--scale X` (of time budgets) shorten training.
 */
import { parseArgs } from 'node:util';
import { fixedBatch, spirals } from './fixed-batch.js';
import { goldenBenchmark } from './golden.js';
import { gaussNewton } from './gauss-newton.js';
import { gradient } from './gradient.js';
import { printMachine, summarizeVerdicts } from './harness.js';
import { methodsBenchmark } from './methods.js';
import { selectedInversion } from './selected-inversion.js';
import { depth, inputs, wideSolve } from './solve.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seeds: { type: 'string', default: '5' }, scale: { type: 'string', default: '1' } },
});
const seeds = Number(values.seeds);
const scale = Number(values.scale);
const sections: Record<string, () => void | Promise<void>> = {
  golden: goldenBenchmark,
  wide: wideSolve,
  depth,
  inputs,
  gradient,
  'gauss-newton': gaussNewton,
  methods: methodsBenchmark,
  'selected-inversion': selectedInversion,
  training: async () => {
    await fixedBatch(seeds, scale);
    await spirals(seeds, scale);
  },
};
for (const name of positionals) {
  if (!(name in sections)) {
    console.error(`bench: unknown section '${name}'; there are: ${Object.keys(sections).join(', ')}`);
    process.exit(2);
  }
}
printMachine();
for (const [name, section] of Object.entries(sections)) {
  if (positionals.length === 0 || positionals.includes(name)) await section();
}
summarizeVerdicts();
