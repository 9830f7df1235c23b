import { expect } from 'chai';
import { createSchedule, parseSchedule } from '../../ts/optimize/schedules.js';
import { clipByNorm } from '../../ts/optimize/clipping.js';

describe('schedules', () => {
  it('constant is 1 everywhere', () => {
    const schedule = createSchedule();
    expect([0, 1, 1e6].map(schedule)).to.deep.equal([1, 1, 1]);
  });

  it('step decays after every so many steps', () => {
    const schedule = createSchedule({ kind: 'step', every: 3, decay: 0.5 });
    expect([0, 2, 3, 5, 6, 9].map(schedule)).to.deep.equal([1, 1, 0.5, 0.5, 0.25, 0.125]);
  });

  it('cosine goes from 1 by the middle to its minimum and stays there', () => {
    const schedule = createSchedule({ kind: 'cosine', total: 100, minimum: 0.2 });
    expect(schedule(0)).to.equal(1);
    // cos(pi/2) is 6e-17 in floating point.
    expect(schedule(50)).to.be.closeTo(0.6, 1e-15);
    expect(schedule(100)).to.equal(0.2);
    expect(schedule(1e6)).to.equal(0.2);
  });

  it('warm-up rises linearly to 1 and multiplies the schedule', () => {
    const schedule = createSchedule({ kind: 'step', every: 4, decay: 0.1, warmup: 4 });
    expect([0, 1, 2, 3].map(schedule)).to.deep.equal([0.25, 0.5, 0.75, 1]);
    expect(schedule(4)).to.equal(0.1);
  });

  it('reads the short text form', () => {
    expect(parseSchedule('constant')).to.deep.equal({ kind: 'constant' });
    expect(parseSchedule('step:100')).to.deep.equal({ kind: 'step', every: 100 });
    expect(parseSchedule('step:100,0.5+warmup:10')).to.deep.equal({ kind: 'step', every: 100, decay: 0.5, warmup: 10 });
    expect(parseSchedule('cosine:5000,0.01+warmup:200')).to.deep.equal({
      kind: 'cosine',
      total: 5000,
      minimum: 0.01,
      warmup: 200,
    });
  });

  for (const text of [
    '',
    'linear',
    'step',
    'step:',
    'step:1,2,3',
    'cosine:x',
    'constant:3',
    'step:5+warm:3',
    'step:5+warmup:x',
    'step:5+warmup:1+warmup:2',
    'step:0',
    'step:5,2',
    'cosine:10,1.5',
  ]) {
    it(`refuses '${text}'`, () => {
      expect(() => parseSchedule(text)).to.throw(RangeError, 'schedule');
    });
  }

  it('refuses fields of another kind', () => {
    expect(() => createSchedule({ kind: 'cosine', total: 10, every: 3 })).to.throw(
      RangeError,
      "unknown option 'every'",
    );
    expect(() => createSchedule({ kind: 'step' })).to.throw(TypeError, 'schedule.every');
  });
});

describe('clipByNorm', () => {
  it('scales a long gradient and leaves a short one alone', () => {
    const long = Float64Array.of(3, -4);
    expect(clipByNorm(long, 1)).to.equal(5);
    // 3/5 and 4/5 through one division and one product.
    expect(long[0]).to.be.closeTo(0.6, 1e-15);
    expect(long[1]).to.be.closeTo(-0.8, 1e-15);
    const short = Float64Array.of(0.3, 0.4);
    clipByNorm(short, 1);
    expect([...short]).to.deep.equal([0.3, 0.4]);
  });

  it('refuses a bound that is no positive number', () => {
    expect(() => clipByNorm(Float64Array.of(1), 0)).to.throw(RangeError, 'maximum');
  });
});
