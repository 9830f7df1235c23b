import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { AtomicFile, makeFolder, removeLeftovers, writeFileAtomic, writeFileAtomicSync } from '../../ts/data/atomic.js';
import { DeepHessianError } from '../../ts/errors.js';
import { expectFailure, temporaryFolder } from './helpers.js';

describe('atomic files', () => {
  const folder = temporaryFolder();

  it('writes text, bytes and parts, over an old file too, and leaves nothing beside it', async () => {
    const at = folder.path('write');
    mkdirSync(at);
    const path = join(at, 'a.bin');
    await writeFileAtomic(path, 'old');
    await writeFileAtomic(path, ['new ', Buffer.from('parts')]);
    expect(readFileSync(path, 'utf8')).to.equal('new parts');
    const numbers = Float64Array.of(0, 1, 2, 3);
    writeFileAtomicSync(path, numbers.subarray(1, 3));
    expect([...new Float64Array(new Uint8Array(readFileSync(path)).buffer)]).to.deep.equal([1, 2]);
    expect(readdirSync(at)).to.deep.equal(['a.bin']);
  });

  it('is not there before commit, never there after discard', async () => {
    const path = folder.path('piecewise');
    const file = await AtomicFile.create(path);
    await file.write('0000');
    await file.write('tail');
    await file.writeAt('head', 0);
    expect(existsSync(path)).to.equal(false);
    await file.commit();
    expect(readFileSync(path, 'utf8')).to.equal('headtail');
    await expectFailure(file.write('x'), 'io', /closed/);
    const other = await AtomicFile.create(path);
    await other.write('half');
    await other.discard();
    expect(readFileSync(path, 'utf8')).to.equal('headtail');
    expect(readdirSync(folder.path()).filter((name) => name.includes('piecewise'))).to.deep.equal(['piecewise']);
  });

  it('fails by name where it cannot write, and leaves nothing', async () => {
    const path = folder.path('no/such/folder/a');
    await expectFailure(writeFileAtomic(path, 'x'), 'io', /writing .*no\/such\/folder\/a failed/);
    expect(() => writeFileAtomicSync(path, 'x')).to.throw(/writing .* failed/);
    const target = folder.path('directory');
    mkdirSync(target);
    await expectFailure(writeFileAtomic(target, 'x'), 'io', /writing .*directory failed/);
    expect(readdirSync(folder.path()).filter((name) => name.endsWith('.partial'))).to.deep.equal([]);
  });

  it('a process killed in the middle leaves the old content; what it left behind can be removed', function () {
    const at = folder.path('killed');
    mkdirSync(at);
    const path = join(at, 'state');
    writeFileSync(path, 'old');
    const module = new URL('../../ts/data/atomic.ts', import.meta.url).href;
    const script = `const { AtomicFile } = await import(${JSON.stringify(module)});
      const file = await AtomicFile.create(${JSON.stringify(path)});
      await file.write(Buffer.alloc(100000, 1));
      process.kill(process.pid, 'SIGKILL');`;
    const result = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script]);
    expect(result.signal).to.equal('SIGKILL');
    expect(readFileSync(path, 'utf8')).to.equal('old');
    const left = readdirSync(at).filter((name) => name !== 'state');
    expect(left).to.have.length(1);
    expect(removeLeftovers(at)).to.equal(0); // too young: it might be at work
    utimesSync(join(at, left[0]), 1, 1);
    expect(removeLeftovers(at)).to.equal(1);
    expect(readdirSync(at)).to.deep.equal(['state']);
  });

  it('makes folders with their parents, and says where that is impossible', () => {
    const at = folder.path('folders');
    makeFolder(join(at, 'a', 'b'));
    makeFolder(join(at, 'a', 'b'));
    expect(readdirSync(join(at, 'a'))).to.deep.equal(['b']);
    writeFileSync(join(at, 'file'), '');
    expect(() => makeFolder(join(at, 'file'))).to.throw(DeepHessianError, /in the way/);
    expect(() => makeFolder(join(at, 'file', 'x'))).to.throw(DeepHessianError, /making folder/);
    // In /proc mkdir answers ENOENT although the parent exists: a recursive mkdir would never return.
    if (process.platform === 'linux')
      expect(() => makeFolder('/proc/nothing/x')).to.throw(DeepHessianError, /making folder/);
  });
});
