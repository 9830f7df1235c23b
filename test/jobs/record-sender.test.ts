/** Records in groups: order, what waits and what does not, and the timer. */
import { expect } from 'chai';
import { setTimeout as sleep } from 'node:timers/promises';
import { RecordSender } from '../../ts/jobs/record-sender.js';
import type { EvaluationRecord, StepRecord, TrainEvent } from '../../ts/train/trainer.js';

const step = (n: number): StepRecord => ({
  type: 'step',
  step: n,
  epoch: n,
  seconds: n,
  loss: 1,
  smoothedLoss: 1,
  accepted: true,
  acceptedSteps: n,
  rejectedSteps: 0,
  stepNorm: 1,
  samplesPerSecond: 1,
  figures: {},
});
const evaluation = (n: number): EvaluationRecord => ({ type: 'evaluation', step: n, epoch: n, seconds: n, sets: {} });

describe('record sender', () => {
  let clock: number;
  let groups: TrainEvent[][];
  let sender: RecordSender;
  const steps = (): number[][] => groups.map((group) => group.map((record) => record.step));

  beforeEach(() => {
    clock = 0;
    groups = [];
    sender = new RecordSender(
      (group) => groups.push(group),
      16,
      () => clock,
    );
  });
  afterEach(() => sender.send());

  it('sends quick records in groups, in their order, none twice', () => {
    for (let n = 1; n <= 100; n++) {
      clock += 3;
      sender.add(step(n));
    }
    sender.send();
    expect(steps().flat()).to.deep.equal(Array.from({ length: 100 }, (_, i) => i + 1));
    // The first goes at once; 40 ms later, with records 3 ms apart, 14 have come.
    expect(groups[0]).to.have.length(1);
    expect(groups[1]).to.have.length(14);
    expect(groups.length).to.equal(9);
    sender.send();
    expect(groups.length).to.equal(9);
  });

  it('holds no more than a group', () => {
    for (let n = 1; n <= 50; n++) sender.add(step(n));
    expect(groups.map((group) => group.length)).to.deep.equal([1, 16, 16, 16]);
  });

  it('lets records of slow steps, evaluations and the end go at once', () => {
    for (const n of [1, 2, 3]) {
      clock += 25;
      sender.add(step(n));
    }
    expect(steps()).to.deep.equal([[1], [2], [3]]);
    clock += 1;
    sender.add(step(4));
    expect(groups).to.have.length(3);
    sender.add(evaluation(4));
    expect(steps()[3]).to.deep.equal([4, 4]);
    clock += 1;
    sender.add(step(5));
    sender.add({ ...evaluation(5), type: 'end', reason: 'steps', acceptedSteps: 5, rejectedSteps: 0, loss: 1 });
    expect(groups[4].map(({ type }) => type)).to.deep.equal(['step', 'end']);
  });

  it('sends what nothing follows', async () => {
    sender.add(step(1));
    sender.add(step(2));
    expect(steps()).to.deep.equal([[1]]);
    while (groups.length < 2) await sleep(5);
    expect(steps()).to.deep.equal([[1], [2]]);
  });
});
