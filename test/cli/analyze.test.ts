import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'chai';
import type { Browser } from 'playwright-core';
import type { AnalysisRecord } from '../../ts/analysis/analysis-report.js';
import type { Part } from '../../ts/analysis/analyze.js';
import { figure } from '../../ts/train/report.js';
import { TrainingSession } from '../../ts/train/session.js';
import { launchChromium } from '../helpers/chromium.js';
import { runSession, small, temporaryFolder } from '../train/helpers.js';
import { commandLine } from './helpers.js';

function value<T>(part: Part<T> | undefined): T {
  if (part?.done !== true) throw new Error(`part not done: ${JSON.stringify(part)}`);
  return part.value;
}

interface Seen {
  facts: Record<string, string>;
  rows: Record<string, string[][]>;
  charts: { width: number; height: number; shapes: number }[];
  overflow: number;
  background: string;
  data: unknown;
}

/** Runs in the page; text, because these tests are compiled without the browser's types. */
const measure = `({
  facts: Object.fromEntries([...document.querySelectorAll('.facts li')].map((item) => [item.querySelector('span').textContent, item.querySelector('b').textContent])),
  rows: Object.fromEntries([...document.querySelectorAll('section')].map((section) => [section.querySelector('h2')?.textContent ?? '',
    [...section.querySelectorAll('tbody tr')].map((row) => [...row.children].map((cell) => cell.textContent))])),
  charts: [...document.querySelectorAll('svg[role=img]')].map((svg) => ({ width: svg.getBoundingClientRect().width, height: svg.getBoundingClientRect().height,
    shapes: svg.querySelectorAll('path,rect,circle').length })),
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  background: getComputedStyle(document.body).backgroundColor,
  data: JSON.parse(document.getElementById('data').textContent),
})`;

describe('deep-hessian analyze', function () {
  const folder = temporaryFolder();
  const run = (): string => join(folder.path(), 'run');
  const out = (): string => join(folder.path(), 'analysis');
  let record: AnalysisRecord;

  before(async () => {
    await runSession(await TrainingSession.start({ ...small, steps: 25, l2: 1e-3 }, run()));
    const result = await commandLine('analyze', run(), '--eps', '0.01', '--bins', '8', '--grid', '9', '--out', out());
    expect(result.err).to.contain('report:');
    expect(result.code).to.equal(0);
    expect(result.out).to.match(/directions +\d+ negative, \d+ flat, \d+ positive/);
    record = JSON.parse(readFileSync(join(out(), 'results.json'), 'utf8')) as AnalysisRecord;
  });

  it('writes a page that needs nothing and holds the JSON', () => {
    const html = readFileSync(join(out(), 'report.html'), 'utf8');
    expect(html).to.not.match(/https?:\/\/|<link|@import|url\(|src=/);
    expect(html.match(/<script/g)).to.have.length(1);
    const data = /<script type="application\/json" id="data">(.*?)<\/script>/s.exec(html) as RegExpExecArray;
    expect(JSON.parse(data[1])).to.deep.equal(record);
  });

  it('factors in double only, and says why', async () => {
    const one = (precision: string): ReturnType<typeof commandLine> =>
      commandLine(
        'analyze',
        run(),
        '--precision',
        precision,
        '--parts',
        'structure',
        '--out',
        join(folder.path(), precision),
      );
    const mixed = await one('mixed');
    expect(mixed.code).to.equal(2);
    expect(mixed.err).to.match(/expected float64 for --precision, received "mixed": .*newton and damped-newton/);
    expect(existsSync(join(folder.path(), 'mixed'))).to.equal(false);
    expect((await one('float64')).code).to.equal(0);
  });

  it('takes a checkpoint file, other samples and single parts; --json is one object', async () => {
    const file = join(run(), 'checkpoints', 'latest.checkpoint');
    const result = await commandLine(
      'analyze',
      file,
      '--samples',
      '10',
      '--parts',
      'critical,structure',
      '--out',
      join(folder.path(), 'part'),
      '--json',
    );
    expect([result.code, result.err]).to.deep.equal([0, '']);
    const part = JSON.parse(result.out) as AnalysisRecord;
    expect(part.result.subject.samples).to.equal(10);
    expect(part.result.subject.choice).to.equal('the first 10 of 60 training samples');
    expect([part.result.critical?.done, part.result.extremes]).to.deep.equal([true, undefined]);
  });

  it('analyses other data through the standardisation of the training data', async () => {
    const table = join(folder.path(), 'train.csv');
    const shifted = join(folder.path(), 'other.csv');
    const line = (n: number, by: number): string => `${n + by},${(n * n) % 7},${Math.sin(n)}`;
    const write = (path: string, by: number): void =>
      writeFileSync(path, `a,b,y\n${Array.from({ length: 20 }, (_, n) => line(n, by)).join('\n')}\n`);
    write(table, 0);
    write(shifted, 100);
    const path = join(folder.path(), 'table');
    await runSession(
      await TrainingSession.start({ data: 'csv', file: table, 'num-layers': 2, 'hidden-dim': 3, steps: 5 }, path),
    );
    const loss = async (file: string, name: string): Promise<number> => {
      const result = await commandLine(
        'analyze',
        path,
        '--data',
        'csv',
        '--file',
        file,
        '--parts',
        'structure',
        '--out',
        join(folder.path(), name),
        '--json',
      );
      expect(result.err).to.equal('');
      return (JSON.parse(result.out) as AnalysisRecord).result.subject.loss;
    };
    const same = await loss(table, 'same');
    const other = await loss(shifted, 'other');
    // Standardised by its own mean, the shifted table would be the same data.
    expect(Math.abs(other - same)).to.be.above(1e-3 * same);
  });

  it('refuses data that do not fit, naming both sizes', async () => {
    const never = join(folder.path(), 'never');
    const result = await commandLine('analyze', run(), '--data', 'friedman1', '--out', never);
    expect([result.code, result.out]).to.deep.equal([2, '']);
    expect(result.err).to.match(
      /expected data of 2 inputs and 2 classes .* received 'friedman1.*' of 10 inputs and 1 value/,
    );
  });

  const misuse: [string[], RegExp, number][] = [
    [['missing.checkpoint'], /missing\.checkpoint/, 1],
    [['--eps', '0'], /number > 0 for --eps, received "0"/, 2],
    [['--parts', 'critical,magic'], /for --parts, received "magic"/, 2],
    [['--bins', 'many'], /--bins, received "many"/, 2],
    [['--path', 'past'], /for --path, received "past"/, 2],
    [['--samples', '0'], /--samples, received "0"/, 2],
    [['--optimizer', 'adam'], /unknown option '--optimizer'/, 2],
  ];
  for (const [args, message, expected] of misuse) {
    it(`${args.join(' ')} exits with ${expected}`, async () => {
      const { code, err, out: printed } = await commandLine('analyze', ...args, '--out', join(folder.path(), 'never'));
      expect([code, printed]).to.deep.equal([expected, '']);
      expect(err).to.match(message);
    });
  }

  it('refuses to change the network of a checkpoint, a damaged one, and one that does not know its data', async () => {
    const changed = await commandLine('analyze', run(), '--hidden-dim', '5', '--out', join(folder.path(), 'never'));
    expect(changed.code).to.equal(2);
    expect(changed.err).to.match(/--hidden-dim cannot change the network of a checkpoint/);
    const damaged = join(folder.path(), 'damaged.checkpoint');
    const bytes = readFileSync(join(run(), 'checkpoints', 'latest.checkpoint'));
    bytes[bytes.length - 50] ^= 1;
    writeFileSync(damaged, bytes);
    const broken = await commandLine('analyze', damaged, '--out', join(folder.path(), 'never'));
    expect(broken.code).to.equal(1);
    expect(broken.err).to.match(/checksum/);
  });

  describe('in a browser', () => {
    let browser: Browser | null = null;
    before(async function () {
      browser = await launchChromium();
      if (browser === null) {
        console.warn('      no Chromium found: skipped');
        this.skip();
      }
    });
    after(async () => browser?.close());

    it('shows the figures of the JSON in light and dark, offline, on a narrow screen, without errors', async () => {
      const { result } = record;
      const backgrounds = new Set<string>();
      for (const [colorScheme, width] of [
        ['light', 1280],
        ['dark', 420],
      ] as const) {
        const context = await (browser as Browser).newContext({
          colorScheme,
          offline: true,
          viewport: { width, height: 900 },
        });
        const page = await context.newPage();
        const problems: string[] = [];
        page.on('console', (message) => problems.push(message.text()));
        page.on('pageerror', (error) => problems.push(error.message));
        page.on('request', (request) => {
          if (!request.url().startsWith('file:')) problems.push(request.url());
        });
        await page.goto(pathToFileURL(join(out(), 'report.html')).href);
        const seen = await page.evaluate<Seen>(measure);
        expect(problems).to.deep.equal([]);
        expect(seen.overflow).to.be.at.most(0);
        expect(seen.data).to.deep.equal(record);
        const critical = value(result.critical);
        const extremes = value(result.extremes);
        expect(seen.facts.parameters).to.equal(figure(result.subject.network.parameters));
        expect(seen.facts.loss).to.equal(figure(result.subject.loss));
        expect(seen.facts['negative directions (index)']).to.equal(figure(critical.negative));
        expect(seen.facts['smallest eigenvalue']).to.equal(figure(extremes.smallest[0].value));
        expect(seen.facts['largest eigenvalue']).to.equal(figure(extremes.largest[0].value));
        expect(seen.rows['Critical point'][0].slice(0, 4)).to.deep.equal([
          critical.kind,
          figure(critical.negative),
          figure(critical.degenerate),
          figure(critical.positive),
        ]);
        expect(seen.rows.Spectrum.slice(0, 6).map((row) => row[1])).to.deep.equal(
          [...extremes.largest, ...[...extremes.smallest].reverse()].map((pair) => figure(pair.value, 9)),
        );
        expect(seen.rows.Layers.map((row) => row[5])).to.deep.equal(
          value(result.layers).layers.map((layer) => figure(layer.hessianTrace)),
        );
        expect(seen.rows.Layers.map((row) => row[7])).to.deep.equal(
          value(result.inverse).layerTraces.map((trace) => figure(trace)),
        );
        expect(seen.rows['Structure of the system'].map((row) => row[4])).to.deep.equal(
          value(result.structure).orderings.map((o) => figure(o.bandwidth)),
        );
        // Loss profile, density, magnitudes, four by layer, surface, loss on the way, two pictures of the system.
        expect(seen.charts).to.have.length(11);
        for (const chart of seen.charts) {
          expect(chart.width).to.be.above(200);
          expect(chart.height).to.be.above(100);
          expect(chart.shapes).to.be.above(1);
        }
        backgrounds.add(seen.background);
        await context.close();
      }
      expect(backgrounds.size).to.equal(2);
    });
  });
});
