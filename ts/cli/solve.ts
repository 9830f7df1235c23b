/** `deep-hessian solve`: one damped solve on a stored case. */
import type { Command } from 'commander';
import { checkPositive } from '../checks.js';
import { readGolden } from '../data/golden.js';
import { writeNpy } from '../data/npy.js';
import { Network } from '../derivatives/network.js';
import type { DeviceName } from '../device/index.js';
import { factor, type Method } from '../inverse/index.js';
import { formatCount, formatNumber, type Terminal } from './terminal.js';

interface SolveFlags {
  case: string;
  matrix: string;
  eps: string;
  method: string;
  precision: string;
  tolerance?: string;
  device: string;
  out?: string;
  json?: boolean;
}

export function addSolveCommand(program: Command, terminal: Terminal): void {
  const command = program
    .command('solve')
    .description('Solve (M + eps I) x = gradient for the network, parameters and batch of a case file.')
    .requiredOption('--case <file.json>', 'the case: a JSON file with a binary file beside it')
    .option('--matrix <name>', 'hessian or gauss-newton', 'hessian')
    .option('--eps <number>', 'damping, > 0', '0.1')
    .option('--method <name>', 'auto, block, affine, sample-space or dense', 'auto')
    .option('--precision <name>', 'of the factor: float64, or mixed (single, refined in double)', 'float64')
    .option('--tolerance <number>', 'relative residual to reach', '1e-10')
    .option('--device <name>', 'cpu, cuda (an NVIDIA GPU, or an error) or auto (the GPU where it pays)', 'cpu')
    .option('--out <file.npy>', 'write x here')
    .option('--json', 'the result as one JSON object')
    .addHelpText(
      'after',
      '\nExample:\n  deep-hessian solve --case case05.json --matrix hessian --eps 0.1 --out x.npy --json\n',
    )
    .action(async () => solve(command.opts<SolveFlags>(), terminal));
}

function positive(flag: string, text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (Number.isNaN(value)) throw new RangeError(`solve: expected a finite number > 0 for ${flag}, received "${text}"`);
  checkPositive('solve', flag, value);
  return value;
}

async function solve(flags: SolveFlags, terminal: Terminal): Promise<void> {
  const damping = positive('--eps', flags.eps);
  const tolerance = positive('--tolerance', flags.tolerance ?? '1e-10');
  const golden = await readGolden(flags.case);
  const network = new Network(golden.network);
  const start = performance.now();
  const point = network.linearize(golden.params, { inputs: golden.inputs, targets: golden.targets });
  const f = factor(point, {
    matrix: flags.matrix as 'hessian' | 'gauss-newton',
    damping,
    method: flags.method as Method | 'auto',
    precision: flags.precision as 'float64' | 'mixed',
    tolerance,
    device: flags.device as DeviceName,
  });
  try {
    const { x, residual, status } = f.solve(point.gradient);
    const seconds = (performance.now() - start) / 1000;
    const { inertia, logAbsDet, method } = f;
    // The file first: whoever reads the result may count on it.
    if (flags.out !== undefined) await writeNpy(flags.out, x);
    if (flags.json === true) {
      terminal.out(
        `${JSON.stringify({ residual, status, method, device: f.device, precision: f.precision, inertia, logAbsDet, seconds })}\n`,
      );
      return;
    }
    const rows: [string, string][] = [
      ['parameters', formatCount(network.parameterCount)],
      ['method', `${method} (${f.reason})`],
      ['precision', f.precision],
      ['status', status],
      ['residual', formatNumber(residual)],
      ['inertia', `${inertia.positive} positive, ${inertia.negative} negative, ${inertia.zero} zero`],
      ['log|det|', String(logAbsDet)],
      ['seconds', formatNumber(seconds)],
      ...(flags.out === undefined ? [] : [['written to', flags.out] as [string, string]]),
    ];
    terminal.out(`${rows.map(([name, value]) => `${name.padEnd(11)} ${value}`).join('\n')}\n`);
  } finally {
    f.dispose();
  }
}
