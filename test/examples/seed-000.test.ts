import { expect } from 'chai';
import { drawLines } from '../../examples/chart.js';
import { gradientDescent, manualHessian, problem, table } from '../../examples/seed-000/hessian-descent.js';

describe('example seed-000: Hessian descent on a 5 x 5 problem', () => {
  it('gives the documented table', () => {
    const rows = table();
    expect(rows.map(({ losses }) => [losses[0].toFixed(4), losses[30].toFixed(4)])).to.deep.equal([
      ['0.1446', '0.0893'],
      ['0.1446', '0.0003'],
      ['0.1446', '0.0003'],
    ]);
    expect(rows.map(({ improvement }) => (100 * improvement).toFixed(1))).to.deep.equal(['38.2', '99.8', '99.8']);
    // The library solves with H + 1e-9 I; relative to the curvature 0.08 that is 1e-8 of a step.
    for (let k = 0; k <= 40; k++) expect(rows[2].losses[k]).to.be.closeTo(rows[1].losses[k], 1e-8);
  });

  it('loses the factors that H = 2/25 I predicts, at any seed', () => {
    const losses = gradientDescent(40, 7);
    // Every step is a product and a sum in float64.
    for (let k = 0; k < 40; k++) expect(losses[k + 1] / losses[k]).to.be.closeTo(0.992 ** 2, 1e-12);
    const { start, target } = problem(7);
    const columns = manualHessian(start, target);
    columns.forEach((column, j) => {
      column.forEach((value, i) => expect(value).to.be.closeTo(i === j ? 2 / 25 : 0, 1e-15));
    });
  });

  it('draws a chart that leaves out what a logarithmic axis cannot show', async () => {
    const chart = { title: 'a < b', x: 'step', y: 'loss' };
    const svg = await drawLines(
      [
        { name: 'first', points: [[0, 1], [1, 1e-3], [2, 0]] }, // prettier-ignore
        { name: 'second', points: [[0, 1], [1, 0.5], [2, NaN]], dashed: true }, // prettier-ignore
      ],
      chart,
    );
    expect(svg)
      .to.match(/^<svg /)
      .and.include('a &lt; b')
      .and.include('first')
      .and.not.include('NaN');
  });
});
