import { expect } from 'chai';
import { type DeepHessianError } from '../../ts/errors.js';
import {
  compare,
  median,
  planComparison,
  summarize,
  thin,
  type CompareEvent,
  type Comparison,
  type Contestant,
  type RunResult,
} from '../../ts/train/compare.js';
import { small } from './helpers.js';

const { seed: _, ...base } = small;

async function run(
  settings: Record<string, unknown>,
  contestants: Contestant[],
  seeds: number[],
  signal?: AbortSignal,
): Promise<{ result: Comparison; events: CompareEvent[] }> {
  const events: CompareEvent[] = [];
  const runs = compare(settings, contestants, seeds, signal);
  for (;;) {
    const next = await runs.next();
    if (next.done === true) return { result: next.value, events };
    events.push(next.value);
  }
}

const result = (label: string, rate: number | null, seed: number, loss: number): RunResult => ({
  label,
  optimizer: label,
  rate,
  seed,
  loss,
  steps: 10,
  accepted: 10,
  rejected: 0,
  seconds: 1,
  reason: 'seconds',
  sets: {},
  curve: [],
});

describe('compare', () => {
  it('judges a method at the rate with the least median loss over the seeds', () => {
    const [a, b] = summarize([
      result('a', 0.1, 1, 1),
      result('a', 0.1, 2, 2),
      result('a', 0.1, 3, 9),
      result('a', 0.01, 1, 0.5),
      result('a', 0.01, 2, 3),
      result('a', 0.01, 3, 3),
      result('b', null, 1, 4),
      result('b', null, 2, Infinity),
      result('b', null, 3, 5),
    ]);
    expect(a).to.include({ label: 'a', rate: 0.1 });
    expect(a.loss).to.deep.equal({ median: 2, minimum: 1, maximum: 9 });
    expect(a.rates).to.deep.equal([
      { rate: 0.1, loss: 2 },
      { rate: 0.01, loss: 3 },
    ]);
    // A diverged run counts as infinitely bad, it does not drop out.
    expect(b.loss).to.deep.equal({ median: 5, minimum: 4, maximum: Infinity });
    expect(b.rates).to.deep.equal([]);
  });

  it('median and thinning', () => {
    expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([])]).to.deep.equal([2, 2.5, NaN]);
    expect(thin([0, 1, 2, 3, 4, 5, 6, 7, 8], 5)).to.deep.equal([0, 2, 4, 6, 8]);
  });

  it('plans every rate of the grid and every seed, and nothing to tune where a rate is set', () => {
    const plan = planComparison(
      { ...base, momentum: 0.5 },
      [{ optimizer: 'gauss-newton' }, { optimizer: 'sgd' }, { optimizer: 'adam', settings: { lr: 0.02 } }],
      [1, 2],
    );
    expect(plan.filter((item) => item.label === 'gauss-newton')).to.have.length(2);
    expect(plan.filter((item) => item.label === 'sgd').map((item) => item.rate)).to.deep.equal([
      0.03, 0.03, 0.01, 0.01, 3e-3, 3e-3, 1e-3, 1e-3,
    ]);
    expect(plan.filter((item) => item.label === 'adam').map((item) => [item.rate, item.settings.lr])).to.deep.equal([
      [0.02, 0.02],
      [0.02, 0.02],
    ]);
    // A common option reaches those that have it.
    expect(plan.find((item) => item.label === 'sgd')?.settings.momentum).to.equal(0.5);
    expect(plan.find((item) => item.label === 'adam')?.settings).to.not.have.property('momentum');
  });

  it('refuses unknown optimizers, options and double labels before anything runs', () => {
    expect(() => planComparison(base, [{ optimizer: 'nadam' }], [1])).to.throw(RangeError, "one of 'gauss-newton'");
    expect(() => planComparison(base, [{ optimizer: 'sgd' }, { optimizer: 'sgd' }], [1])).to.throw(
      RangeError,
      'labels',
    );
    expect(() => planComparison(base, [{ optimizer: 'sgd', settings: { damping: 1 } }], [1])).to.throw(
      RangeError,
      '--damping',
    );
    expect(() => planComparison(base, [], [1])).to.throw(RangeError, 'at least one optimizer');
  });

  it('starts all methods from the same parameters and reports what happened', async () => {
    const { result: found, events } = await run(
      { ...base, steps: 40 },
      [{ optimizer: 'gauss-newton' }, { optimizer: 'adam', rates: [0.01, 1e-3] }],
      [1, 2],
    );
    expect(found.runs).to.have.length(6);
    // The loss before the first step is that of the common first parameters; gradient and linearisation sum in their own orders.
    const first = (seed: number): number[] => found.runs.filter((r) => r.seed === seed).map((r) => r.curve[0].loss);
    for (const seed of [1, 2]) for (const loss of first(seed)) expect(loss).to.be.closeTo(first(seed)[0], 1e-13);
    expect(first(1)[0]).to.not.equal(first(2)[0]);
    expect(found.runs.every((r) => r.steps === 40 && r.reason === 'steps')).to.equal(true);
    expect(found.methods.map((method) => method.label)).to.deep.equal(['gauss-newton', 'adam']);
    expect(found.methods[0].loss.median).to.be.below(found.methods[1].loss.median);
    expect(events.filter((event) => event.type === 'run' && event.event.type === 'end')).to.have.length(6);
    expect(found.problem).to.include({ samples: 60, layers: 4, batch: 'full batch' });
  });

  it('goes on after a method has diverged, and ranks it last', async () => {
    const settings = {
      data: 'friedman1',
      points: 50,
      'num-layers': 2,
      'hidden-dim': 4,
      activation: 'identity',
      steps: 300,
    };
    const { result: found, events } = await run(
      settings,
      [
        { optimizer: 'sgd', rates: [1e8] },
        { optimizer: 'adam', rates: [0.01] },
      ],
      [1],
    );
    expect(found.runs.map((r) => r.reason)).to.deep.equal(['diverged', 'steps']);
    expect(found.runs[0].loss).to.equal(Infinity);
    expect(events.some((event) => event.type === 'diverged')).to.equal(true);
  });

  it('gives no result when it is cancelled', async () => {
    const controller = new AbortController();
    controller.abort();
    let caught: unknown;
    await run({ ...base, steps: 5 }, [{ optimizer: 'adam', rates: [0.01] }], [1], controller.signal).catch(
      (error: unknown) => {
        caught = error;
      },
    );
    expect((caught as DeepHessianError).code).to.equal('aborted');
  });
});
