import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import { describeStep, isFresh, Progress } from '../../ts/cli/progress.js';
import type { EndRecord, EvaluationRecord, StepRecord } from '../../ts/train/trainer.js';

const step = (n: number, seconds: number): StepRecord => ({
  type: 'step',
  step: n,
  epoch: n,
  seconds,
  loss: 0.5,
  smoothedLoss: 0.5,
  accepted: true,
  acceptedSteps: n,
  rejectedSteps: 0,
  stepNorm: 1,
  samplesPerSecond: 10,
  figures: {},
});
const evaluation = (n: number, seconds: number, accuracy: number): EvaluationRecord => ({
  type: 'evaluation',
  step: n,
  epoch: n,
  seconds,
  sets: { train: { loss: 1, accuracy } },
});

describe('progress', () => {
  it('shows an accuracy only while it belongs to the parameters', () => {
    const budget = { steps: 100 };
    expect(describeStep(step(3, 0.1), evaluation(0, 0, 0.395), budget)).to.not.contain('accuracy');
    expect(describeStep(step(60, 1.4), evaluation(50, 0.5, 0.75), budget)).to.contain('train accuracy 75.0%');
    expect(describeStep(step(90, 3), evaluation(50, 0.5, 0.75), budget)).to.not.contain('accuracy');
    expect(isFresh({ step: 4, seconds: 8 }, { step: 5, seconds: 10 })).to.equal(true); // slow steps
  });

  it('ends with the figures of the last evaluation', () => {
    let text = '';
    const write = (part: string): void => void (text += part);
    const progress = new Progress({ out: write, err: write, stream: process.stderr, interactive: false }, false);
    progress.begin('sgd');
    const now = performance.now.bind(performance);
    performance.now = () => now() + 5000; // a plain line is due
    try {
      progress.update('sgd', evaluation(0, 0, 0.395), { steps: 2 });
      progress.update('sgd', step(1, 0.1), { steps: 2 });
    } finally {
      performance.now = now;
    }
    progress.update('sgd', step(2, 0.2), { steps: 2 });
    const end: EndRecord = {
      type: 'end',
      reason: 'steps',
      step: 2,
      epoch: 2,
      seconds: 0.2,
      acceptedSteps: 2,
      rejectedSteps: 0,
      loss: 0.4,
      sets: { train: { loss: 0.4, accuracy: 0.99 } },
    };
    progress.update('sgd', end, { steps: 2 });
    const lines = text.trim().split('\n');
    expect(lines).to.have.length(2);
    expect(lines[0])
      .to.match(/step 1 /)
      .and.to.not.contain('accuracy');
    expect(lines[1]).to.match(/step 2 .*train accuracy 99\.0%/);
  });

  it('leaves the bar of an interrupted run where it was', () => {
    const stream = Object.assign(new PassThrough(), { isTTY: true, columns: 200 });
    let text = '';
    stream.on('data', (part: Buffer) => (text += part.toString()));
    const progress = new Progress({ out: () => {}, err: () => {}, stream, interactive: true }, false);
    progress.begin('sgd');
    const ends = { acceptedSteps: 25, rejectedSteps: 0, loss: 0.4, sets: {} };
    progress.update('sgd', step(25, 1), { steps: 100 });
    progress.update(
      'sgd',
      { type: 'end', reason: 'aborted', step: 25, epoch: 25, seconds: 1, ...ends },
      { steps: 100 },
    );
    progress.finish();
    expect(text).to.contain('25%').and.to.not.contain('100%');
  });
});
