import { expect } from 'chai';
import { defaultNote } from '../../ts/cli/flags.js';
import { optimizerEntries } from '../../ts/optimize/registry.js';
import { commandLine } from './helpers.js';

/** The help text as flags with their descriptions, each on one line. */
async function helpOf(command: string): Promise<Map<string, string>> {
  const { code, out } = await commandLine(command, '--help');
  expect(code).to.equal(0);
  const flags = new Map<string, string>();
  let flag = '';
  for (const line of out.slice(0, out.indexOf('\nOptimizers:\n')).split('\n')) {
    const start = /^ {2}(?:-\w, )?(--[\w-]+)(?: <[^>]+>)? {2,}(.*)$/.exec(line);
    if (start !== null) flags.set((flag = start[1]), start[2]);
    else if (/^ {10,}\S/.test(line) && flag !== '') flags.set(flag, `${flags.get(flag)} ${line.trim()}`);
    else flag = '';
  }
  return flags;
}

describe('flags', () => {
  it('say the default of every optimizer that has them', async () => {
    const help = await helpOf('train');
    let checked = 0;
    for (const { name, options } of optimizerEntries) {
      for (const { flag, default: value, streamDefault } of options) {
        const text = help.get(`--${flag}`);
        expect(text, `--${flag}`).to.be.a('string');
        for (const given of [value, streamDefault]) {
          if (typeof given !== 'number' && typeof given !== 'string') continue;
          // As a number, for 1e-4 is 0.0001.
          const said = (/\((?:default: |on streams ).*\)$/.exec(text as string)?.[0] ?? '').match(/[\w.-]+/g) ?? [];
          const found = said.some((word) => (typeof given === 'number' ? Number(word) === given : word === given));
          expect(found, `${name} --${flag} ${given}: "${text}"`).to.equal(true);
          checked++;
        }
      }
    }
    expect(checked).to.be.greaterThan(80);
  });

  it('tell apart the optimizers that share one', () => {
    expect(defaultNote('damping')).to.equal(' (default: 1; damped-newton: 0.1; on streams kfac, ekfac: 0.1)');
    expect(defaultNote('momentum')).to.match(/^ \(default: kfac, ekfac: rescaling clip, 0\.9; .*sgd: 0\.9\)$/);
    expect(defaultNote('model-momentum')).to.equal(' (default: on; on streams off)');
    expect(defaultNote('minimum-damping')).to.contain('1e-20').and.to.contain('newton: 1e-12');
    expect(defaultNote('clip-norm')).to.equal('');
  });
});
