/** `deep-hessian solve`: (M + eps I)^-1 of the gradient, or of other right-hand sides, for a run, a network by flags or a stored case. */
import { extname } from 'node:path';
import type { Command } from 'commander';
import { linearizeSubject } from '../analysis/subject.js';
import { readGolden } from '../data/golden.js';
import { readNpy, writeNpy } from '../data/npy.js';
import type { Linearization } from '../derivatives/index.js';
import { Network } from '../derivatives/network.js';
import { deviceNames } from '../device/index.js';
import { DeepHessianError } from '../errors.js';
import { factor, methods, type Factor, type Method } from '../inverse/index.js';
import { writeWeights } from '../train/weights.js';
import { addSubjectFlags, decimal, describeSubject, oneOf, subjectOf } from './analysis-flags.js';
import { collectSettings } from './flags.js';
import { formatCount, formatNumber, type Terminal } from './terminal.js';

const name = 'solve';
const methodNames: readonly (Method | 'auto')[] = ['auto', ...methods];
const formats = ['.npy', '.safetensors'] as const;

interface SolveFlags {
  case?: string;
  matrix: string;
  eps: string;
  method: string;
  precision: string;
  tolerance: string;
  device: string;
  rhs?: string;
  out?: string;
  samples?: string;
  json?: boolean;
}

const examples = `
x has the order of the parameters, layer by layer: W [out, in] by rows, then b. With --rhs of shape (m, P) it has that shape, too; a
.safetensors file has x in the layout of the weights, as deep-hessian export writes them.

Examples:
  deep-hessian solve runs/spirals --eps 1e-3 --out x.npy
  deep-hessian solve runs/spirals --matrix gauss-newton --eps 1e-3 --rhs vectors.npy --out solutions.npy --json
  deep-hessian solve --num-layers 10 --hidden-dim 8 --eps 0.01 --out x.safetensors
  deep-hessian solve --case case05.json --matrix hessian --eps 0.1 --out x.npy --json
`;

export function addSolveCommand(program: Command, terminal: Terminal): void {
  const command = program
    .command(name)
    .description('Solve (M + eps I) x = gradient, or another right-hand side, exactly.')
    .argument('[checkpoint]', 'checkpoint file or run folder; without it, a network by flags: fresh, or --init-from');
  addSubjectFlags(command);
  command
    .option('--case <file.json>', 'network, parameters and batch of a case instead: JSON with a binary file beside it')
    .option('--rhs <file.npy>', 'right-hand sides, shape (P) or (m, P), P parameters (default: the gradient)')
    .option('--matrix <name>', 'hessian or gauss-newton', 'hessian')
    .option('--eps <number>', 'damping, > 0', '0.1')
    .option('--method <name>', 'auto, block, affine, sample-space or dense', 'auto')
    .option('--precision <name>', 'of the factor: float64, or mixed (single, refined in double)', 'float64')
    .option('--tolerance <number>', 'relative residual to reach', '1e-10')
    .option('--device <name>', 'cpu, cuda (an NVIDIA GPU, or an error) or auto (the GPU where it pays)', 'cpu')
    .option('--out <file>', 'write x here: .npy, or .safetensors in the layout of the weights')
    .option('--json', 'the result as one JSON object')
    .addHelpText('after', examples)
    .action(async (path?: string) => solve(command, path, terminal));
}

/** The point to solve at, and how it is called. */
async function pointOf(
  command: Command,
  path: string | undefined,
): Promise<{ network: Network; linearize(): Linearization; label: string }> {
  const { case: file, samples } = command.opts<SolveFlags>();
  if (file === undefined) {
    const subject = await subjectOf(command, path);
    return { network: subject.network, linearize: () => linearizeSubject(subject), label: describeSubject(subject) };
  }
  const others = [
    ...(path === undefined ? [] : [`checkpoint ${path}`]),
    ...(samples === undefined ? [] : ['--samples']),
    ...Object.keys(await collectSettings(command)).map((flag) => `--${flag}`),
  ];
  if (others.length > 0) {
    throw new RangeError(
      `${name}: expected neither a network nor settings of data beside --case, which has its own, received ${others.join(', ')}`,
    );
  }
  const golden = await readGolden(file);
  const network = new Network(golden.network);
  const { params, inputs, targets } = golden;
  return { network, linearize: () => network.linearize(params, { inputs, targets }), label: file };
}

/** Right-hand sides of a file: m rows of P numbers. */
async function readRightHandSides(path: string, P: number): Promise<{ data: Float64Array; shape: number[] }> {
  const { data, shape } = await readNpy(path);
  if (shape.length < 1 || shape.length > 2 || shape[shape.length - 1] !== P || data.length === 0) {
    throw new RangeError(
      `${name}: expected an array of shape (${P}) or (m, ${P}), one number for each parameter, in --rhs ${path}, received shape ` +
        `(${shape.join(', ')})`,
    );
  }
  return { data, shape };
}

/** Inertia and log-determinant, null with the reason where rounding leaves them open. */
function determinant(f: Factor): { inertia: Factor['inertia'] | null; logAbsDet: number | null; doubt: string | null } {
  try {
    return { inertia: f.inertia, logAbsDet: f.logAbsDet, doubt: null };
  } catch (error) {
    if (!(error instanceof DeepHessianError) || error.code !== 'inertia-untrusted') throw error;
    return { inertia: null, logAbsDet: null, doubt: error.message };
  }
}

async function solve(command: Command, path: string | undefined, terminal: Terminal): Promise<void> {
  const flags = command.opts<SolveFlags>();
  const { out } = flags;
  const options = {
    matrix: oneOf(name, '--matrix', flags.matrix, ['hessian', 'gauss-newton'] as const),
    damping: decimal(name, '--eps', flags.eps, { above: 0 }),
    method: oneOf(name, '--method', flags.method, methodNames),
    precision: oneOf(name, '--precision', flags.precision, ['float64', 'mixed'] as const),
    tolerance: decimal(name, '--tolerance', flags.tolerance, { above: 0 }),
    device: oneOf(name, '--device', flags.device, deviceNames),
  };
  const format = out === undefined ? '.npy' : oneOf(name, 'the ending of --out', extname(out), formats);
  const { network, linearize, label } = await pointOf(command, path);
  const P = network.parameterCount;
  const given = flags.rhs === undefined ? null : await readRightHandSides(flags.rhs, P);
  const columns = given === null ? 1 : given.data.length / P;
  if (format === '.safetensors' && columns > 1) {
    throw new RangeError(`${name}: expected a .npy file for --out, as --rhs has ${columns} rows, received "${out}"`);
  }
  const start = performance.now();
  const point = linearize();
  const f = factor(point, options);
  try {
    const { x, residual, status } = f.solveMany(given?.data ?? point.gradient, columns);
    const seconds = (performance.now() - start) / 1000;
    const { inertia, logAbsDet, doubt } = determinant(f);
    // The file first: whoever reads the result may count on it.
    if (out !== undefined && format === '.npy') await writeNpy(out, x, given?.shape ?? [P]);
    else if (out !== undefined) await writeWeights(out, network, x);
    if (doubt !== null) terminal.err(`warning: ${doubt}\n`);
    const { method, device, precision } = f;
    if (flags.json === true) {
      const { matrix, damping } = options;
      const result = {
        point: label,
        parameters: P,
        rightHandSides: columns,
        matrix,
        damping,
        residual,
        status,
        method,
      };
      terminal.out(`${JSON.stringify({ ...result, device, precision, inertia, logAbsDet, seconds })}\n`);
      return;
    }
    const signs = inertia && `${inertia.positive} positive, ${inertia.negative} negative, ${inertia.zero} zero`;
    const rows: [string, string][] = [
      ['point', label],
      ['parameters', formatCount(P)],
      ...(columns === 1 ? [] : [['solutions', formatCount(columns)] as [string, string]]),
      ['method', `${method} (${f.reason})`],
      ['precision', precision],
      ['status', status],
      ['residual', formatNumber(residual)],
      ['inertia', signs ?? 'not certain'],
      ['log|det|', String(logAbsDet ?? 'not certain')],
      ['seconds', formatNumber(seconds)],
      ...(out === undefined ? [] : [['written to', out] as [string, string]]),
    ];
    terminal.out(`${rows.map(([row, value]) => `${row.padEnd(11)} ${value}`).join('\n')}\n`);
  } finally {
    f.dispose();
  }
}
