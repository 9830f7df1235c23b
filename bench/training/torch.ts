/**
 * PyTorch's SGD and Adam on the problems of the training benchmarks: the same data, first parameters, rate and time, eager mode,
 * float64, one thread. Left out with a message where there is no PyTorch.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Dataset } from '../../ts/data/dataset.js';
import { writeNpy } from '../../ts/data/npy.js';
import { resolveSettings, type Settings } from '../../ts/train/config.js';
import {
  buildNetwork,
  initialParameters,
  loadProblem,
  trainingSamples,
  type Problem,
} from '../../ts/train/experiment.js';
import { findTorch, noTorch } from '../python.js';
import type { Outcome } from './runs.js';

const script = fileURLToPath(new URL('../peers/torch_train.py', import.meta.url));

interface Answer {
  version: string;
  steps: number;
  seconds: number;
  curve: { step: number; seconds: number; loss: number }[];
  /** null where a figure is not finite */
  sets: Record<string, Record<string, number | null>>;
}

export class TorchPeer {
  private constructor(
    private readonly python: string,
    readonly version: string,
  ) {}

  /** The interpreter with torch, or null with a message. */
  static find(): TorchPeer | null {
    const torch = findTorch();
    if (torch === null) {
      console.log(`${noTorch}: its SGD and Adam are left out`);
      return null;
    }
    console.log(`PyTorch   ${torch.version}, eager mode, float64, one thread`);
    return new TorchPeer(torch.python, torch.version);
  }

  /** One run of the settings, on their data where these are read already; its loss is that of the training samples at the end. */
  async run(given: Settings, label: string, data?: Problem): Promise<Outcome> {
    const settings = resolveSettings(given);
    const problem = data ?? (await loadProblem(settings));
    const network = buildNetwork(settings, problem.train);
    const train = trainingSamples(settings, problem.train);
    const heldOut = problem.heldOut.test ?? problem.heldOut.validation ?? null;
    const folder = mkdtempSync(join(tmpdir(), 'deep-hessian-torch-'));
    try {
      const put = async (name: string, data: Float64Array | Int32Array, shape: number[]): Promise<string> => {
        const path = join(folder, `${name}.npy`);
        await writeNpy(path, data, shape);
        return path;
      };
      const targets = (name: string, set: Dataset): Promise<string> =>
        set.labels !== null
          ? put(name, set.labels, [set.samples])
          : put(name, set.values as Float64Array, [set.samples, set.outputs]);
      const job = {
        inputs: await put('x', train.inputs, [train.samples, train.features]),
        targets: await targets('y', train),
        test_inputs: heldOut === null ? null : await put('tx', heldOut.inputs, [heldOut.samples, heldOut.features]),
        test_targets: heldOut === null ? null : await targets('ty', heldOut),
        parameters: await put('p', initialParameters(settings, network), [network.parameterCount]),
        widths: [network.inputs, ...network.layers.map((layer) => layer.units)],
        loss: network.loss,
        optimizer: settings.optimizer,
        lr: settings.lr,
        momentum: settings.momentum ?? 0.9,
        seconds: settings['time-budget'],
        target: settings['target-loss'] ?? 0,
        batch: settings['fixed-batch'] === true || settings['full-batch'] === true ? 0 : settings['batch-size'],
        scale: problem.standardisation?.values?.scale[0] ?? 1,
        seed: settings.seed,
        threads: 1,
      };
      const jobPath = join(folder, 'job.json');
      writeFileSync(jobPath, JSON.stringify(job));
      const done = spawnSync(this.python, [script, jobPath], {
        encoding: 'utf8',
        env: { ...process.env, OMP_NUM_THREADS: '1', MKL_NUM_THREADS: '1', OPENBLAS_NUM_THREADS: '1' },
      });
      if (done.status !== 0) throw new Error(`torch_train.py failed: ${done.stderr.trim().split('\n').at(-1)}`);
      const answer = JSON.parse(done.stdout) as Answer;
      const { steps, seconds, curve } = answer;
      const sets = Object.fromEntries(
        Object.entries(answer.sets).map(([set, figures]) => [
          set,
          Object.fromEntries(Object.entries(figures).map(([name, figure]) => [name, figure ?? Infinity])),
        ]),
      );
      const { lr, seed } = settings as { lr: number; seed: number };
      return { label, rate: lr, seed, steps, seconds, curve, sets, loss: sets.train.loss };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
}
