/** `deep-hessian approximate`: the exact inverse product against its approximations, on any network and batch. */
import type { Command } from 'commander';
import { renderInverseProducts, spectrumSentence } from '../analysis/inverse-product-report.js';
import {
  compareInverseProducts,
  inverseProductMethods,
  type InverseProductComparison,
  type InverseProductMethod,
} from '../analysis/inverse-products.js';
import { subjectSettings, subjectTargets } from '../analysis/subject.js';
import { describeEnvironment } from '../train/environment.js';
import {
  addResultFlags,
  addSubjectFlags,
  decimal,
  describeSubject,
  oneOf,
  reportOnSubject,
  wholeNumber,
} from './analysis-flags.js';
import { formatNumber, formatSeconds, formatTable, type Terminal } from './terminal.js';

const name = 'approximate';
const methodNames = Object.keys(inverseProductMethods) as InverseProductMethod[];

interface ApproximateFlags {
  matrix: string;
  eps: string;
  methods?: string;
  iterations: string;
  tolerance: string;
  start: string;
  timeLimit: string;
  repeats: string;
  depth?: string;
}

const examples = `
Methods:
${methodNames.map((method) => `  ${method.padEnd(17)} ${inverseProductMethods[method]}`).join('\n')}

Examples:
  deep-hessian approximate --num-layers 10 --hidden-dim 8 --eps 0.01
  deep-hessian approximate runs/spirals-gauss-newton --eps 1e-3 --methods exact,cg,minres
  deep-hessian approximate --data csv --file examples/seed-001/points.csv --standardise none --num-layers 2 --hidden-dim 5 \\
      --activation sigmoid --init normal --seed 5 --eps 0 --iterations 40 --start vector
`;

export function addApproximateCommand(program: Command, terminal: Terminal): void {
  const command = program
    .command(name)
    .description('Compare the exact (M + eps I)^-1 gradient with its iterative approximations.')
    .argument('[checkpoint]', 'checkpoint file or run folder; without it, a network by flags: fresh, or --init-from');
  addSubjectFlags(command);
  command
    .option('--matrix <name>', 'hessian or gauss-newton', 'hessian')
    .option('--eps <number>', 'damping, >= 0; a singular matrix needs one', '0.01')
    .option('--methods <names>', 'with commas between (default: all)')
    .option('--iterations <n>', 'most iterations of a method, and terms of a series', '1000')
    .option('--tolerance <number>', 'relative residual at which a method stops', '1e-10')
    .option('--start <where>', 'where iterative methods begin: zero, or vector (the gradient)', 'zero')
    .option('--time-limit <seconds>', 'stop a method after this time', '60')
    .option('--repeats <n>', 'chains of LiSSA', '10')
    .option('--depth <n>', 'terms of a chain of LiSSA (default: those of --iterations, at most 1000)');
  addResultFlags(command);
  command.addHelpText('after', examples).action(async (path?: string) => approximate(command, path, terminal));
}

async function approximate(command: Command, path: string | undefined, terminal: Terminal): Promise<void> {
  const flags = command.opts<ApproximateFlags>();
  const options = {
    matrix: oneOf(name, '--matrix', flags.matrix, ['hessian', 'gauss-newton'] as const),
    damping: decimal(name, '--eps', flags.eps, { minimum: 0 }),
    iterations: wholeNumber(name, '--iterations', flags.iterations, 1, 1e7),
    tolerance: decimal(name, '--tolerance', flags.tolerance, { above: 0 }),
    start: oneOf(name, '--start', flags.start, ['zero', 'vector'] as const),
    seconds: decimal(name, '--time-limit', flags.timeLimit, { above: 0 }),
    repeats: wholeNumber(name, '--repeats', flags.repeats, 1),
    ...(flags.depth === undefined ? {} : { depth: wholeNumber(name, '--depth', flags.depth, 1) }),
  };
  const methods =
    flags.methods?.split(',').map((text) => oneOf(name, '--methods', text.trim(), methodNames)) ?? methodNames;
  await reportOnSubject(command, path, terminal, {
    ask: (subject, onProgress) => {
      const { network, params, train, settings } = subject;
      const targets = subjectTargets(network, train);
      return {
        subject: describeSubject(subject),
        comparison: compareInverseProducts(
          { network, params, inputs: train.inputs, targets },
          {
            ...options,
            methods,
            seed: settings.seed as number,
            onMethod: (method, done, total) => onProgress(method, done / total),
          },
        ),
        settings: subjectSettings(subject),
        environment: describeEnvironment(),
      };
    },
    text: ({ comparison }) => approximateText(comparison),
    html: renderInverseProducts,
  });
}

/** The table of the terminal. */
export function approximateText(comparison: InverseProductComparison): string {
  const rows = comparison.methods.map((row) => [
    row.method,
    row.status,
    formatNumber(row.relativeError),
    row.cosine.toFixed(4),
    formatNumber(row.residual),
    formatNumber(row.products),
    formatSeconds(row.seconds),
    row.negativeCurvatureAt === null ? '-' : String(row.negativeCurvatureAt),
  ]);
  const header = [
    'method',
    'ended',
    'relative error',
    'cosine',
    'residual',
    'products',
    'time',
    'negative curvature at',
  ];
  return `${formatTable(header, rows)}\n\n${spectrumSentence(comparison)}.`;
}
