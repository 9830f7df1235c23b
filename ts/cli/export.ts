/** `deep-hessian export`: the parameters of a run as a safetensors file. */
import { Option, type Command } from 'commander';
import { checkInteger } from '../checks.js';
import { Network } from '../derivatives/network.js';
import { findCheckpoint } from '../train/run-folder.js';
import { writeWeights } from '../train/weights.js';
import { formatCount, type Terminal } from './terminal.js';

interface ExportFlags {
  out: string;
  dtype: 'F64' | 'F32';
  prefix: string;
  step: string;
}

const examples = `
The way back: deep-hessian train ... --init-from weights.safetensors

Examples:
  deep-hessian export runs/spirals-gauss-newton --out weights.safetensors
  deep-hessian export runs/digits --out torch.safetensors --dtype F32 --prefix "" --step 2
    (what load_state_dict of nn.Sequential(Linear, Tanh, Linear, Tanh, ..) takes)
`;

export function addExportCommand(program: Command, terminal: Terminal): void {
  const command = program
    .command('export')
    .description("Write a run's parameters as safetensors, in PyTorch's layout.")
    .argument('<run>', 'run folder or checkpoint file')
    .requiredOption('--out <file.safetensors>', 'the file to write')
    .addOption(new Option('--dtype <type>', 'F64: exact; F32: rounded').choices(['F64', 'F32']).default('F64'))
    .option('--prefix <text>', 'before the number of a layer', 'layers.')
    .option('--step <integer>', 'between the numbers of two layers', '1')
    .addHelpText('after', examples)
    .action(async (run: string) => {
      const { out, dtype, prefix, step } = command.opts<ExportFlags>();
      const spacing = step.trim() === '' ? Number.NaN : Number(step);
      checkInteger('export', '--step', spacing, 1);
      const { checkpoint } = findCheckpoint(run);
      const network = Network.fromJSON(checkpoint.network);
      const { params, counters } = checkpoint.state;
      const tensors = await writeWeights(out, network, params, { dtype, prefix, step: spacing });
      terminal.out(
        `${out}: ${formatCount(tensors.size)} tensors, ${formatCount(params.length)} parameters (${dtype}) of step ${formatCount(counters.step)}\n`,
      );
    });
}
