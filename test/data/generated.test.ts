import { expect } from 'chai';
import { friedman, sinc, spirals, teacher } from '../../ts/data/generated.js';
import { mackeyGlass, mackeyGlassSeries } from '../../ts/data/mackey-glass.js';

describe('generated data', () => {
  it('spirals: alternating classes on two arms half a turn apart, the same bits from the same seed', () => {
    const set = spirals({ points: 100, noise: 0, turns: 2 });
    for (let n = 0; n < 100; n += 2) {
      // The second arm is the first turned by pi.
      expect(set.inputs[2 * n]).to.be.closeTo(-set.inputs[2 * n + 2], 1e-12);
      expect(set.inputs[2 * n + 1]).to.be.closeTo(-set.inputs[2 * n + 3], 1e-12);
      expect(set.labels?.[n]).to.equal(0);
      expect(set.labels?.[n + 1]).to.equal(1);
    }
    const radius = (n: number): number => Math.hypot(set.inputs[2 * n], set.inputs[2 * n + 1]);
    expect(radius(0)).to.be.closeTo(0.1, 1e-12);
    expect(radius(99)).to.be.closeTo(1, 1e-12);
    expect([...spirals({ seed: 5 }).inputs]).to.deep.equal([...spirals({ seed: 5 }).inputs]);
    expect([...spirals({ seed: 5 }).inputs]).not.to.deep.equal([...spirals({ seed: 6 }).inputs]);
    expect(() => spirals({ points: 1 })).to.throw(RangeError, /points/);
    expect(() => spirals({ noise: -1 })).to.throw(RangeError, /noise/);
    expect(() => spirals({ turn: 1 } as never)).to.throw(RangeError, /unknown option 'turn'/);
  });

  it('sinc: sin(x)/x, 1 at zero', () => {
    const set = sinc({ points: 3 });
    expect([...set.inputs]).to.deep.equal([-10, 0, 10]);
    expect(set.values?.[1]).to.equal(1);
    expect(set.values?.[2]).to.be.closeTo(-0.0544021110889, 1e-12); // sin(10)/10
  });

  it("Friedman's functions at their own inputs, and their ranges", () => {
    const one = friedman(1, { points: 200, noise: 0, features: 6 });
    const two = friedman(2, { points: 200 });
    const three = friedman(3, { points: 200 });
    for (let n = 0; n < 200; n++) {
      const [a, b, c, d, e] = one.inputs.subarray(6 * n);
      const y = 10 * Math.sin(Math.PI * a * b) + 20 * (c - 0.5) ** 2 + 10 * d + 5 * e;
      expect(one.values?.[n]).to.be.closeTo(y, 1e-12);
      const [x1, x2, x3, x4] = two.inputs.subarray(4 * n);
      const w = x2 * x3 - 1 / (x2 * x4);
      expect(two.values?.[n]).to.be.closeTo(Math.hypot(x1, w), 1e-9);
      expect(three.values?.[n]).to.be.closeTo(Math.atan(w / x1), 1e-12);
      expect(x1).to.be.within(0, 100);
      expect(x2).to.be.within(40 * Math.PI, 560 * Math.PI);
      expect(x4).to.be.within(1, 11);
    }
    expect(() => friedman(4 as never)).to.throw(RangeError, /which/);
    expect(() => friedman(2, { features: 5 })).to.throw(RangeError, /features/);
  });

  it('teacher: values are what its parameters give', () => {
    const set = teacher({ widths: [3, 5, 2], points: 10, seed: 4 });
    const p = set.teacher.parameters;
    expect(p.length).to.equal(5 * 4 + 2 * 6);
    for (let n = 0; n < 10; n++) {
      const x = set.inputs.subarray(3 * n, 3 * n + 3);
      const z = Array.from({ length: 5 }, (_, o) =>
        Math.tanh(p[o * 3] * x[0] + p[o * 3 + 1] * x[1] + p[o * 3 + 2] * x[2] + p[15 + o]),
      );
      for (let k = 0; k < 2; k++) {
        const y = z.reduce((s, value, i) => s + p[20 + k * 5 + i] * value, p[30 + k]);
        expect(set.values?.[2 * n + k]).to.be.closeTo(y, 1e-12);
      }
    }
  });
});

describe('Mackey-Glass', () => {
  it('converges with fourth order in the step', () => {
    // Before chaos has amplified anything: t = 60, three delays in.
    const end = (stepsPerUnit: number): number => mackeyGlassSeries({ count: 61, stepsPerUnit })[60];
    const best = end(160);
    const coarse = Math.abs(end(2) - best);
    const fine = Math.abs(end(4) - best);
    const finer = Math.abs(end(8) - best);
    // 16 for order 4 exactly, 8 for order 3: between them there is room for the higher terms.
    expect(coarse / fine).to.be.within(11, 24);
    expect(fine / finer).to.be.within(11, 24);
  });

  it('decays as exp(-gamma t) plus a constant while the delayed value is the constant history', () => {
    const series = mackeyGlassSeries({ count: 18, history: 0.5 });
    const feed = (0.2 * 0.5) / (1 + 0.5 ** 10);
    for (let t = 0; t <= 17; t++) {
      // Closed form on the first delay interval; RK4 with h = 0.1 leaves (gamma h)^5 t / h / 120 < 1e-10.
      expect(series[t]).to.be.closeTo(feed / 0.1 + (0.5 - feed / 0.1) * Math.exp(-0.1 * t), 1e-9);
    }
  });

  it('embeds the series: inputs and value of a row are its own values', () => {
    const set = mackeyGlass({ points: 50, embedding: 3, spacing: 2, horizon: 4 });
    for (let n = 4; n < 46; n++) {
      expect(set.inputs[3 * n + 1]).to.equal(set.inputs[3 * (n - 2)]);
      expect(set.inputs[3 * n + 2]).to.equal(set.inputs[3 * (n - 4)]);
      expect(set.values?.[n - 4]).to.equal(set.inputs[3 * n]);
    }
    expect(set.featureNames).to.deep.equal(['x(t)', 'x(t-2)', 'x(t-4)']);
    // The attractor for tau = 17 lies within about 0.2 .. 1.4.
    for (const x of set.inputs) expect(x).to.be.within(0.1, 1.6);
    expect([...mackeyGlass({ seed: 1 }).inputs]).not.to.deep.equal([...mackeyGlass({ seed: 2 }).inputs]);
    expect(() => mackeyGlassSeries({ count: 5, tau: 17.05 })).to.throw(RangeError, /tau/);
  });
});
