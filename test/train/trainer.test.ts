import { expect } from 'chai';
import { spirals } from '../../ts/data/generated.js';
import { Network } from '../../ts/derivatives/network.js';
import type { Batch } from '../../ts/network/batch.js';
import { DeepHessianError } from '../../ts/errors.js';
import type { Optimizer, StepReport } from '../../ts/optimize/optimizer.js';
import { optimizerEntries } from '../../ts/optimize/registry.js';
import { createAdam } from '../../ts/optimize/adam.js';
import { createSgd } from '../../ts/optimize/sgd.js';
import { fixedSource, sampledSource, type BatchSource } from '../../ts/train/source.js';
import { checkBudget, recordedStep, Trainer, type TrainEvent, type TrainerOptions } from '../../ts/train/trainer.js';

const data = spirals({ points: 40, seed: 1 });
const network = new Network({
  inputs: 2,
  loss: 'cross-entropy',
  layers: [
    { type: 'dense', units: 8, activation: 'tanh' },
    { type: 'dense', units: 2, activation: 'identity' },
  ],
});
const batch = network.batch({ inputs: data.inputs, targets: data.labels as Int32Array });

function options(more: Partial<TrainerOptions> = {}): TrainerOptions {
  return {
    network,
    params: network.initialize({ seed: 1 }),
    optimizer: createAdam(network, { rate: 0.01 }),
    source: fixedSource(batch),
    budget: { steps: 30 },
    ...more,
  };
}

async function collect(trainer: Trainer): Promise<TrainEvent[]> {
  const events: TrainEvent[] = [];
  for await (const event of trainer.run()) events.push(event);
  return events;
}

/** An optimizer whose reports are given; it changes the first parameter by 1 a step. */
function scripted(report: (step: number) => Partial<StepReport>): Optimizer {
  let step = 0;
  return {
    name: 'scripted',
    step: (params) => {
      params[0] += 1;
      return { loss: 1, accepted: true, stepNorm: 1, ...report(++step) };
    },
    state: () => ({ scalars: { step }, vectors: {} }),
    restore: (state) => {
      step = state.scalars.step as number;
    },
  };
}

describe('Trainer', () => {
  it('takes the steps of its budget, and its last record holds the loss of the final parameters', async () => {
    const given = options();
    const events = await collect(new Trainer(given));
    const steps = events.filter((event) => event.type === 'step');
    expect(steps.map((event) => event.step)).to.deep.equal(Array.from({ length: 30 }, (_, i) => i + 1));
    const end = events[events.length - 1];
    if (end.type !== 'end') throw new Error('no end record');
    expect(end.reason).to.equal('steps');
    expect(end.loss).to.equal(network.evaluate(given.params, batch).loss);
    expect(end.loss).to.be.below(steps[0].type === 'step' ? steps[0].loss : NaN);
  });

  it('stops at the target loss', async () => {
    const trainer = new Trainer(options({ budget: { steps: 1000, targetLoss: 0.5 } }));
    const events = await collect(trainer);
    const end = events[events.length - 1];
    expect(end.type === 'end' && end.reason).to.equal('target-loss');
    expect(trainer.counters.loss).to.be.at.most(0.5);
    expect(trainer.counters.step).to.be.within(2, 999);
  });

  it('stops when the time is up, on its own clock', async () => {
    const trainer = new Trainer(options({ budget: { seconds: 0.05 } }));
    const events = await collect(trainer);
    const end = events[events.length - 1];
    expect(end.type === 'end' && end.reason).to.equal('seconds');
    expect(trainer.counters.seconds).to.be.at.least(0.05);
  });

  it('leaves evaluation off the clock', async () => {
    const now = performance.now.bind(performance);
    let slept = 0;
    performance.now = () => now() + slept;
    const slow = (): Record<string, Record<string, number>> => {
      slept += 1e6; // milliseconds
      return { train: { loss: 1 } };
    };
    const trainer = new Trainer(
      options({ evaluate: slow, evaluateEverySteps: 3, optimizer: scripted(() => ({})), budget: { steps: 9 } }),
    );
    let events: TrainEvent[];
    try {
      events = await collect(trainer);
    } finally {
      performance.now = now;
    }
    // At the start, after 3, 6 and 9 steps, and in the end record.
    expect(events.filter((event) => event.type === 'evaluation').map((event) => event.step)).to.deep.equal([
      0, 3, 6, 9,
    ]);
    expect(trainer.counters.seconds).to.be.below(100); // nine empty steps; one evaluation alone takes 1000 s
  });

  it('counts epochs and accepted steps on a stream', async () => {
    const source = sampledSource(network, data, { batchSize: 8, seed: 1 });
    const trainer = new Trainer(
      options({ source, budget: { epochs: 2 }, optimizer: scripted((step) => ({ accepted: step % 2 === 0 })) }),
    );
    await collect(trainer);
    expect(trainer.counters).to.include({ step: 10, epoch: 2, samples: 80, accepted: 5, rejected: 5 });
  });

  it('uses the memory of spent batches again only where the optimizer has let go of them, to the same bits', async () => {
    const train = async (optimizer: Optimizer, reuse: boolean): Promise<{ params: Float64Array; arrays: number }> => {
      const stream = sampledSource(network, data, { batchSize: 8, seed: 1 });
      const arrays = new Set<Float64Array>();
      const source: BatchSource = {
        ...stream,
        next: (spent) => {
          const next = stream.next(reuse ? spent : undefined) as Batch;
          arrays.add(next.inputs);
          return next;
        },
      };
      const given = options({ source, optimizer, budget: { steps: 25 } });
      await collect(new Trainer(given));
      return { params: given.params, arrays: arrays.size };
    };
    for (const entry of optimizerEntries) {
      const make = (): Optimizer => entry.create(network, entry.name === 'sgd' ? { rate: 0.1 } : {});
      const again = await train(make(), true);
      const fresh = await train(make(), false);
      expect(again.params, entry.name).to.deep.equal(fresh.params);
      expect(fresh.arrays).to.equal(25);
      expect(again.arrays, entry.name).to.equal(make().releasesBatches === true ? 1 : 25);
    }
    expect(createAdam(network).releasesBatches).to.equal(true);
  });

  it('gives the event loop a turn', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await collect(new Trainer(options({ budget: { seconds: 0.15 }, yieldEvery: 5 })));
    clearInterval(timer);
    expect(turns).to.be.at.least(3);
  });

  it('ends after the step in progress when cancelled', async () => {
    const controller = new AbortController();
    const trainer = new Trainer(options({ signal: controller.signal }));
    let end: TrainEvent | null = null;
    for await (const event of trainer.run()) {
      if (event.type === 'step' && event.step === 5) controller.abort();
      end = event;
    }
    expect(end).to.include({ type: 'end', reason: 'aborted', step: 5 });
  });

  it('stops at a loss that is not finite and puts the last good parameters back', async () => {
    const params = network.initialize({ seed: 1 });
    const start = params.slice();
    const trainer = new Trainer(
      options({ params, optimizer: scripted((step) => (step === 8 ? { loss: Number.NaN } : {})) }),
    );
    let caught: unknown;
    try {
      await collect(trainer);
    } catch (error) {
      caught = error;
    }
    if (!(caught instanceof DeepHessianError)) throw new Error('expected a DeepHessianError');
    expect(caught.code).to.equal('diverged');
    expect(caught.message).to.match(/NaN at step 8 with optimizer 'scripted'/);
    expect(trainer.lastGoodState?.counters.step).to.be.at.most(7);
    expect(trainer.lastGoodState?.params[0]).to.equal(start[0] + (trainer.lastGoodState?.counters.step as number));
    expect([...params]).to.deep.equal([...(trainer.lastGoodState as { params: Float64Array }).params]);
  });

  it('calls parameters that overflow a divergence, not a wrong argument', async () => {
    const linear = new Network({
      inputs: 2,
      loss: 'mse',
      layers: [{ type: 'dense', units: 1, activation: 'identity' }],
    });
    const trainer = new Trainer({
      network: linear,
      params: linear.initialize({ seed: 1 }),
      optimizer: createSgd(linear, { rate: 1e200, momentum: 0 }),
      source: fixedSource(linear.batch({ inputs: data.inputs, targets: new Float64Array(40).fill(1) })),
      budget: { steps: 50 },
    });
    let code = '';
    try {
      await collect(trainer);
    } catch (error) {
      if (error instanceof DeepHessianError) code = error.code;
    }
    expect(code).to.equal('diverged');
  });

  it('stops when every step is rejected at the largest damping', async () => {
    const trainer = new Trainer(
      options({ optimizer: scripted((step) => (step > 4 ? { accepted: false, damping: 1e10 } : {})) }),
    );
    const events = await collect(trainer);
    expect(events[events.length - 1]).to.include({ type: 'end', reason: 'stalled' });
    expect(trainer.counters.step).to.be.below(10);
  });

  it('records every early step and fewer later ones, by the step number alone', () => {
    expect([1, 57, 200].every(recordedStep)).to.equal(true);
    const late = Array.from({ length: 100000 }, (_, i) => i + 1).filter(recordedStep).length;
    expect(late).to.be.within(1000, 2500);
  });

  it('refuses wrong options by name', () => {
    expect(() => new Trainer(options({ params: new Float64Array(3) }))).to.throw(RangeError, 'params');
    expect(() => new Trainer(options({ budget: {} }))).to.throw(RangeError, 'at least one of steps, epochs, seconds');
    expect(() => new Trainer({ ...options(), epochs: 3 } as TrainerOptions)).to.throw(
      RangeError,
      "unknown option 'epochs'",
    );
    expect(() => checkBudget('x', { steps: -1 })).to.throw(RangeError, 'budget.steps');
    expect(() => checkBudget('x', { steps: 1, targetLoss: 0 })).to.throw(RangeError, 'budget.targetLoss');
  });
});
