/**
 * Plain against Hessian-preconditioned descent on CIFAR-10, at equal time on the optimizer's clock.
 *
 *     node --import tsx examples/seed-004/hessian-preconditioned.ts [--data-dir ../shared/data/cifar10] [--seconds 8]
 *         [--batch-size 16] [--layers 8] [--hidden 24] [--hessian-freq 10] [--stream]
 *
 * A tanh network of 8 layers of 24 on images reduced to 16 x 16 x 3. By default all methods see one fixed batch; with --stream they
 * go through all images in shuffled batches, where the inverse Hessian of one batch says little of the next.
 *
 * Plain descent is SGD with momentum 0.9 at the best of four rates. The preconditioned one is what `--use-hessian --hessian-freq 10`
 * means on the command line: params -= lr (H + eps I)^-1 g, the factor refreshed every 10 batches and reused in between, eps raised
 * until the inertia of the factor says that H + eps I is positive definite. Beside it: Newton in a trust region and Gauss-Newton.
 */
import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { compare, type Comparison, type Contestant } from '../../ts/index.js';
import { comparisonText } from '../../ts/cli/compare.js';
import { commandLine, integer, positive } from '../command-line.js';

export interface Options {
  dataDir: string;
  seconds: number;
  batchSize: number;
  layers: number;
  hidden: number;
  hessianFreq: number;
  stream: boolean;
}

export const defaults: Omit<Options, 'dataDir'> = {
  seconds: 8,
  batchSize: 16,
  layers: 8,
  hidden: 24,
  hessianFreq: 10,
  stream: false,
};

/** The methods that are compared. */
export function contestants(hessianFreq: number): Contestant[] {
  return [
    { label: 'plain descent (sgd)', optimizer: 'sgd', settings: { momentum: 0.9 }, rates: [0.3, 0.1, 0.03, 0.01] },
    {
      label: 'Hessian-preconditioned',
      optimizer: 'damped-newton',
      settings: { 'hessian-freq': hessianFreq, damping: 0.01, lr: 1 },
    },
    { label: 'newton, trust region', optimizer: 'newton' },
    { label: 'gauss-newton', optimizer: 'gauss-newton' },
  ];
}

/** Runs the comparison, calling `progress` at the end of every run. */
export async function run(options: Options, progress: (line: string) => void = () => {}): Promise<Comparison> {
  const runs = compare(
    {
      data: 'cifar10',
      'data-dir': options.dataDir,
      'image-size': 16,
      'num-layers': options.layers,
      'hidden-dim': options.hidden,
      'batch-size': options.batchSize,
      'fixed-batch': !options.stream,
      'time-budget': options.seconds,
    },
    contestants(options.hessianFreq),
  );
  for (;;) {
    const next = await runs.next();
    if (next.done === true) return next.value;
    const { event, label, rate } = next.value.type === 'run' ? next.value : { event: null, label: '', rate: null };
    if (event?.type === 'end') {
      progress(
        `${label}${rate === null ? '' : `, rate ${rate}`}: loss ${event.loss.toExponential(2)} after ${event.step} steps`,
      );
    }
  }
}

async function main(): Promise<number> {
  const { values } = commandLine({
    options: {
      'data-dir': { type: 'string', default: '../shared/data/cifar10' },
      seconds: { type: 'string', default: String(defaults.seconds) },
      'batch-size': { type: 'string', default: String(defaults.batchSize) },
      layers: { type: 'string', default: String(defaults.layers) },
      hidden: { type: 'string', default: String(defaults.hidden) },
      'hessian-freq': { type: 'string', default: String(defaults.hessianFreq) },
      stream: { type: 'boolean', default: false },
    },
  });
  const options: Options = {
    dataDir: values['data-dir'],
    seconds: positive('--seconds', values.seconds),
    batchSize: integer('--batch-size', values['batch-size'], 1),
    layers: integer('--layers', values.layers, 1),
    hidden: integer('--hidden', values.hidden, 1),
    hessianFreq: integer('--hessian-freq', values['hessian-freq'], 1),
    stream: values.stream,
  };
  if (!existsSync(values['data-dir'])) {
    console.error(`no CIFAR-10 files in ${values['data-dir']}: give the folder of the binary version with --data-dir`);
    return 1;
  }
  const result = await run(options, (line) => console.error(line));
  console.log(`\n${comparisonText(result)}`);
  return 0;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) process.exitCode = await main();
