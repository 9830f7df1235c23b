import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import type { Browser } from 'playwright-core';
import { compare, type Comparison } from '../../ts/train/compare.js';
import type { ClassPredictions, EndSpectrum, ValuePredictions } from '../../ts/train/conclusion.js';
import { readCheckpoint } from '../../ts/train/checkpoint.js';
import { describeEnvironment } from '../../ts/train/environment.js';
import { networkTargets, predictClasses } from '../../ts/train/evaluation.js';
import { embeddedJson, figure, renderComparison, renderRun, writeRunReport } from '../../ts/train/report.js';
import { readMetrics } from '../../ts/train/run-folder.js';
import { TrainingSession } from '../../ts/train/session.js';
import { linearAxis, logAxis, renderChart } from '../../ts/train/svg-chart.js';
import type { EndRecord } from '../../ts/train/trainer.js';
import { launchChromium } from '../helpers/chromium.js';
import { runSession, small, temporaryFolder } from './helpers.js';

const { seed: _, ...base } = small;

async function comparison(): Promise<Comparison> {
  const runs = compare(
    { ...base, steps: 30 },
    [{ optimizer: 'gauss-newton' }, { optimizer: 'adam', rates: [0.01, 1e-3] }],
    [1, 2],
  );
  for (;;) {
    const next = await runs.next();
    if (next.done === true) return next.value;
  }
}

/** The JSON that lies in a page. */
function dataOf(html: string): unknown {
  const match = /<script type="application\/json" id="data">(.*?)<\/script>/s.exec(html);
  return JSON.parse((match as RegExpExecArray)[1]);
}

interface Seen {
  rows: string[][];
  charts: number;
  lines: { width: number; height: number; stroke: string }[];
  background: string;
  overflow: number;
  data: unknown;
}

/** Runs in the page; text, because these tests are compiled without the browser's types. */
const measure = `({
  rows: [...document.querySelectorAll('section:first-of-type tbody tr')].map((row) => [...row.children].map((cell) => cell.textContent)),
  charts: document.querySelectorAll('svg[role=img]').length,
  lines: [...document.querySelectorAll('path.line:not(.faint)')].map((line) => ({
    width: line.getBoundingClientRect().width, height: line.getBoundingClientRect().height, stroke: getComputedStyle(line).stroke,
  })),
  background: getComputedStyle(document.body).backgroundColor,
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  data: JSON.parse(document.getElementById('data').textContent),
})`;

describe('report', () => {
  const folder = temporaryFolder();

  it('of a run holds exactly the figures of the metrics file', async () => {
    const path = join(folder.path(), 'run');
    await runSession(await TrainingSession.start({ ...small, steps: 30 }, path));
    const report = await writeRunReport(path);
    const data = dataOf(readFileSync(report, 'utf8')) as { metrics: unknown };
    expect(data.metrics).to.deep.equal(JSON.parse(JSON.stringify(readMetrics(join(path, 'metrics.jsonl')))));
  });

  it('counts and values of the end agree with the parameters of the checkpoint', async () => {
    const path = join(folder.path(), 'classes');
    const session = await TrainingSession.start({ ...small, optimizer: 'newton', steps: 12, validation: 0.25 }, path);
    const events = await runSession(session);
    const end = events[events.length - 1] as EndRecord;
    const { network, problem } = session.experiment;
    const { params } = readCheckpoint(join(path, 'checkpoints', 'latest.checkpoint')).state;
    for (const [name, set] of Object.entries({ train: problem.train, ...problem.heldOut })) {
      const figures = end.conclusion?.predictions[name] as ClassPredictions;
      const predicted = predictClasses(network.forward(params, set.inputs), network.outputs);
      let right = 0;
      for (let n = 0; n < set.samples; n++) if (predicted[n] === set.labels?.[n]) right++;
      expect(figures.counts[0][0] + figures.counts[1][1]).to.equal(right);
      expect(figures.counts.flat().reduce((a, b) => a + b)).to.equal(set.samples);
      expect(figures.classes).to.deep.equal(set.classes);
      expect(right / set.samples).to.equal(end.sets[name].accuracy);
    }
    // The sum of the eigenvalues is the trace, and the counts add up.
    const spectrum = end.conclusion?.spectrum as EndSpectrum;
    const { train } = problem;
    const dense = network
      .linearize(params, { inputs: train.inputs, targets: networkTargets(network, train.labels as Int32Array) })
      .denseHessian();
    const P = network.parameterCount;
    let trace = 0;
    for (let i = 0; i < P; i++) trace += dense[i * (P + 1)];
    const sum = spectrum.values.reduce((a, b) => a + b, 0);
    // Rounding of P eigenvalues of this size.
    expect(sum).to.be.closeTo(trace, 1e-12 * P * Math.abs(spectrum.values[P - 1]));
    expect(spectrum.negative + spectrum.zero + spectrum.positive).to.equal(P);
    expect(spectrum.samples).to.equal(train.samples);
  });

  it('gives predicted and true values in the units of the data', async () => {
    const path = join(folder.path(), 'values');
    const file = join(folder.path(), 'values.csv');
    writeFileSync(file, `x,y\n${Array.from({ length: 40 }, (_, i) => `${i},${1000 + 50 * i}`).join('\n')}\n`);
    const session = await TrainingSession.start(
      { data: 'csv', file, 'num-layers': 2, 'hidden-dim': 4, steps: 60 },
      path,
    );
    const events = await runSession(session);
    const { points } = ((events[events.length - 1] as EndRecord).conclusion?.predictions.train as ValuePredictions)
      .outputs[0];
    expect(points).to.have.length(40);
    points.forEach(([truth, predicted], i) => {
      expect(truth).to.be.closeTo(1000 + 50 * i, 1e-8); // put back from the standardised value
      expect(predicted).to.be.closeTo(truth, 50); // a line is learnt to much less than the step between points
    });
    const html = readFileSync(await writeRunReport(path), 'utf8');
    expect(html).to.contain('train: y, predicted against true').and.to.contain('residuals');
  });

  it('needs nothing from outside and runs no script', async () => {
    const html = renderComparison(await comparison(), describeEnvironment());
    expect(html).to.not.match(/https?:\/\/|<link|@import|url\(|src=/);
    expect(html.match(/<script/g)).to.have.length(1);
  });

  it('escapes text from outside, in markup and in the data', () => {
    const evil = '</script><img src=x onerror=alert(1)>"\'&\u2028';
    const html = renderRun({
      config: { data: evil, optimizer: evil, [evil]: 1 },
      environment: describeEnvironment(),
      metrics: [],
    });
    expect(html).to.not.contain('<img');
    expect(html.match(/<\/script>/g)).to.have.length(1);
    expect((dataOf(html) as { config: { data: string } }).config.data).to.equal(evil);
    expect(JSON.parse(embeddedJson(evil))).to.equal(evil);
  });

  it('writes figures that people can read', () => {
    expect([0, 1e-12, 0.12345, 12345, -3, Infinity, NaN, 2.5e9].map((value) => figure(value))).to.deep.equal([
      '0',
      '1.000e-12',
      '0.1235',
      '12,345',
      '-3',
      'diverged',
      '-',
      '2.500e9',
    ]);
  });

  it('draws points where the axes say', () => {
    const chart = renderChart(
      [
        {
          name: 'a',
          colour: 0,
          points: [
            [1, 1],
            [10, 1e-2],
            [100, 0],
            [100, 1e-4],
          ],
        },
      ],
      { title: 't', xLabel: 'x', yLabel: 'y', xScale: 'log', yScale: 'log' },
    );
    const path = (/ d="([^"]*)"/.exec(chart) as RegExpExecArray)[1]
      .match(/[-\d.]+ [-\d.]+/g)
      ?.map((pair) => pair.split(' ').map(Number)) as number[][];
    // The point at 0 has no place on a logarithmic axis; the other three lie on a straight line, evenly spaced.
    expect(path).to.have.length(3);
    expect(path[1][0] - path[0][0]).to.be.closeTo(path[2][0] - path[1][0], 0.2); // rounded to 0.1
    expect(path[1][1] - path[0][1]).to.be.closeTo(path[2][1] - path[1][1], 0.2);
    expect(path[2][1]).to.be.above(path[0][1]);
    expect(renderChart([], { title: 't', xLabel: 'x', yLabel: 'y', xScale: 'log', yScale: 'log' })).to.contain(
      'No points',
    );
  });

  it('labels axes with whole decades and round numbers', () => {
    expect(logAxis(3e-25, 0.7).ticks.map((tick) => tick.label)).to.deep.equal([
      '1e-25',
      '1e-21',
      '1e-17',
      '1e-13',
      '1e-9',
      '1e-5',
      '0.1',
    ]);
    expect(linearAxis(0, 609).ticks.map((tick) => tick.label)).to.deep.equal(['0', '200', '400', '600', '800']);
    expect(linearAxis(0, 0).ticks.length).to.be.above(1);
  });

  describe('in a browser', function () {
    let browser: Browser | null = null;
    before(async function () {
      browser = await launchChromium();
      if (browser === null) {
        console.warn('      no Chromium found: skipped');
        this.skip();
      }
    });
    after(async () => browser?.close());

    it('shows table and curves without errors, in light and dark, offline, on a narrow screen', async () => {
      const result = await comparison();
      // How much of the time axis a method takes is the machine's affair; here every step takes a millisecond.
      for (const run of result.runs) for (const point of run.curve) point.seconds = point.step / 1000;
      const file = join(folder.path(), 'comparison.html');
      writeFileSync(file, renderComparison(result, describeEnvironment()));
      const backgrounds = new Set<string>();
      for (const colorScheme of ['light', 'dark'] as const) {
        const context = await (browser as Browser).newContext({
          colorScheme,
          offline: true,
          viewport: { width: 420, height: 800 },
        });
        const page = await context.newPage();
        const problems: string[] = [];
        page.on('console', (message) => problems.push(message.text()));
        page.on('pageerror', (error) => problems.push(error.message));
        page.on('request', (request) => {
          if (!request.url().startsWith('file:')) problems.push(request.url());
        });
        await page.goto(pathToFileURL(file).href);
        expect(problems).to.deep.equal([]);
        const seen = await page.evaluate<Seen>(measure);
        expect(seen.charts).to.equal(3);
        expect(seen.overflow).to.be.at.most(0);
        expect(seen.rows.map((row) => row[0])).to.deep.equal(['gauss-newton', 'adam']);
        expect(seen.rows.map((row) => row[2])).to.deep.equal(
          result.methods.map((method) => figure(method.loss.median)),
        );
        expect(seen.data).to.deep.equal(JSON.parse(JSON.stringify(result)));
        // Two methods in two charts and the damping of one.
        expect(seen.lines).to.have.length(5);
        for (const { width, height, stroke } of seen.lines) {
          expect(width + height).to.be.above(20);
          expect(stroke).to.match(/^rgb/);
        }
        backgrounds.add(seen.background);
        await context.close();
      }
      expect(backgrounds.size).to.equal(2);
    });

    it('shows the report of a run: confusion, spectrum, damping, radius, gain ratio and index', async () => {
      const path = join(folder.path(), 'browser-run');
      const settings = { ...small, optimizer: 'newton', inertia: true, steps: 12, validation: 0.25 };
      const events = await runSession(await TrainingSession.start(settings, path));
      const end = events[events.length - 1] as EndRecord;
      const file = await writeRunReport(path);
      for (const colorScheme of ['light', 'dark'] as const) {
        const context = await (browser as Browser).newContext({
          colorScheme,
          offline: true,
          viewport: { width: 420, height: 800 },
        });
        const page = await context.newPage();
        const problems: string[] = [];
        page.on('console', (message) => problems.push(message.text()));
        page.on('pageerror', (error) => problems.push(error.message));
        await page.goto(pathToFileURL(file).href);
        expect(problems).to.deep.equal([]);
        const seen = await page.evaluate<{
          overflow: number;
          titles: string[];
          confusion: string[][][];
          dots: number[];
          data: { metrics: unknown };
        }>(`({
          overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
          titles: [...document.querySelectorAll('figcaption')].map((caption) => caption.textContent),
          confusion: [...document.querySelectorAll('table.confusion')].map((table) =>
            [...table.querySelectorAll('tbody tr')].map((row) => [...row.querySelectorAll('td')].map((cell) => cell.textContent))),
          dots: [...document.querySelectorAll('path.dots')].map((path) => path.getBoundingClientRect().height),
          data: JSON.parse(document.getElementById('data').textContent),
        })`);
        expect(seen.overflow).to.be.at.most(0);
        expect(seen.titles).to.include.members([
          'Damping',
          'Trust radius',
          'Gain ratio (cut off at -1 and 3)',
          'Negative eigenvalues of the Hessian',
          'Eigenvalues by size',
        ]);
        const shown = Object.values(end.conclusion?.predictions ?? {}) as ClassPredictions[];
        expect(shown).to.have.length(2);
        expect(seen.confusion).to.deep.equal(shown.map(({ counts }) => counts.map((row) => row.map(String))));
        expect(seen.dots.length).to.be.at.least(1);
        for (const height of seen.dots) expect(height).to.be.above(20);
        expect(seen.data.metrics).to.deep.equal(JSON.parse(JSON.stringify(readMetrics(join(path, 'metrics.jsonl')))));
        await context.close();
      }
    });
  });
});
