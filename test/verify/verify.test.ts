/** `deep-hessian verify`: it passes here, and it would notice what it is there to notice. */
import { expect } from 'chai';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readGolden } from '../../ts/data/golden.js';
import { fallback } from '../../ts/native/fallback.js';
import { kernels, type Kernels, type Real } from '../../ts/native/index.js';
import { goldenChecks, goldenFolder } from '../../ts/verify/golden-checks.js';
import { findDrift, verify, type VerificationReport } from '../../ts/verify/index.js';
import { kernelChecks } from '../../ts/verify/kernel-checks.js';
import { judge } from '../../ts/verify/verdict.js';
import { commandLine } from '../cli/helpers.js';

const golden = fileURLToPath(new URL('../golden', import.meta.url));

describe('verify', function () {
  let folder = '';
  let report: VerificationReport;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'deep-hessian-verify-'));
    report = await verify();
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('passes on this machine, in all groups, in under a minute', () => {
    expect(report.verdicts.filter(({ passed }) => !passed)).to.deep.equal([]);
    expect(report.passed).to.equal(true);
    for (const group of ['kernels', 'golden', 'identities'])
      expect(report.verdicts.filter((verdict) => verdict.group === group).length).to.be.greaterThan(20);
    const names = report.verdicts.map(({ group, name }) => `${group}/${name}`);
    expect(new Set(names).size).to.equal(names.length);
  });

  it('notices every single kernel that is wrong in one entry', async () => {
    const missed: string[] = [];
    for (const name of Object.keys(fallback) as (keyof Kernels)[]) {
      if (name === 'info' || name === 'setThreads') continue;
      // The kernel with the last number of its last written array changed in the seventh place, or its result.
      const original = fallback[name] as (...args: unknown[]) => unknown;
      const wrong = (...args: unknown[]): unknown => {
        const before = args.map((value) => (ArrayBuffer.isView(value) ? (value as Real).slice() : value));
        const result = original(...args);
        let touched = false;
        args.forEach((value, i) => {
          if (!(value instanceof Float64Array || value instanceof Float32Array)) return;
          let last = -1;
          for (let p = 0; p < value.length; p++) if (value[p] !== (before[i] as Real)[p]) last = p;
          if (last < 0) return;
          value[last] = value[last] * (1 + 1e-3) + 1e-3;
          touched = true;
        });
        return touched || typeof result !== 'number' ? result : result * (1 + 1e-3);
      };
      const checks = kernelChecks({ ...fallback, [name]: wrong });
      let noticed = false;
      for (const check of checks) {
        if (
          !check.name
            .toLowerCase()
            .includes(name.toLowerCase().replace('transposed', '').replace('activate', 'activate tanh'))
        )
          continue;
        noticed ||= !(await judge(check)).passed;
      }
      if (!noticed) missed.push(name);
    }
    expect(missed).to.deep.equal([]);
  });

  it('fails a check that throws or finds no number', async () => {
    const check = { group: 'kernels', name: 'x', bound: 1, unit: 'eps' as const };
    expect(await judge({ ...check, measure: () => Number.NaN })).to.include({ passed: false });
    expect(await judge({ ...check, measure: () => Promise.reject(new Error('broken')) })).to.include({
      passed: false,
      note: 'broken',
    });
    expect(await judge({ ...check, measure: () => 1 })).to.include({ passed: true });
  });

  it('notices wrong numbers in a carried case and cases that are gone', async () => {
    const copy = join(folder, 'golden');
    cpSync(goldenFolder, copy, { recursive: true });
    const { arrays } = JSON.parse(readFileSync(join(copy, 'case02.json'), 'utf8')) as {
      arrays: Record<string, { offset_bytes: number }>;
    };
    const bytes = readFileSync(join(copy, 'case02.bin'));
    bytes.writeDoubleLE(bytes.readDoubleLE(arrays.grad.offset_bytes) * (1 + 1e-9), arrays.grad.offset_bytes);
    writeFileSync(join(copy, 'case02.bin'), bytes);
    writeFileSync(join(copy, 'case03.json'), '{');
    const failed: string[] = [];
    for (const check of await goldenChecks(copy)) if (!(await judge(check)).passed) failed.push(check.name);
    expect(failed).to.deep.equal(['case02 grad', 'case03.json']);
    const [gone] = await goldenChecks(join(folder, 'nowhere'));
    expect((await judge(gone)).passed).to.equal(false);
  });

  it('carries the cases that the tests use', async () => {
    for (const name of ['case01', 'case05', 'case11']) {
      const [carried, whole] = [
        await readGolden(join(goldenFolder, `${name}.json`)),
        await readGolden(join(golden, `${name}.json`)),
      ];
      expect(carried.params).to.deep.equal(whole.params);
      expect(carried.inputs).to.deep.equal(whole.inputs);
      const { hessian: _h, gauss_newton: _g, ...kept } = whole.expected;
      expect(carried.expected).to.deep.equal(kept);
    }
  });

  it('finds drift: changed verdicts, errors that grew or shrank tenfold, checks that came or went', () => {
    expect(findDrift(report, report)).to.deep.equal([]);
    const verdicts = report.verdicts.map((verdict) => ({ ...verdict }));
    verdicts[3].error = 100;
    verdicts[5].passed = false;
    // Below the noise of rounding: no drift.
    verdicts[6].error = 1e-9;
    const now = { ...report, verdicts: verdicts.slice(1) };
    expect(findDrift(report, now).map(({ name }) => name)).to.deep.equal([
      verdicts[3].name,
      verdicts[5].name,
      report.verdicts[0].name,
    ]);
  });

  it('prints verdicts, keeps reports and compares them', async () => {
    const file = join(folder, 'report.json');
    const first = await commandLine('verify', '--only', 'golden', '--out', file);
    expect([first.code, first.err]).to.deep.equal([0, '']);
    expect(first.out).to.match(/pass {3}case05, 31 checks, worst:/);
    expect(first.out).to.match(/PASS: 248 of 248 checks passed/);
    expect(readFileSync(file, 'utf8')).not.to.contain(process.cwd());
    const again = await commandLine('verify', '--only', 'golden', '--compare', file, '--json');
    const parsed = JSON.parse(again.out) as {
      passed: boolean;
      drift: unknown[];
      environment: { kernels: { backend: string } };
    };
    expect([parsed.passed, parsed.drift, parsed.environment.kernels.backend]).to.deep.equal([
      true,
      [],
      kernels.info().backend,
    ]);
    writeFileSync(file, readFileSync(file, 'utf8').replace(/("name":"case01 loss","error":)[^,]+/, '$10.5'));
    const drifted = await commandLine('verify', '--only', 'golden', '--compare', file);
    expect(drifted.out).to.match(/drift +before +now\n.*\ncase01 loss +0\.5/);
  });

  it('says what is wrong with a report to compare with', async () => {
    writeFileSync(join(folder, 'bad.json'), '{ "format": "other" }');
    for (const [name, words] of [
      ['none.json', /is not there \[io\]/],
      ['bad.json', /not a report of deep-hessian verify \[bad-file\]/],
    ] as const) {
      const { code, err } = await commandLine('verify', '--only', 'golden', '--compare', join(folder, name));
      expect(code).to.equal(1);
      expect(err).to.match(words);
    }
    expect((await commandLine('verify', '--only', 'everything')).code).to.equal(2);
  });
});
