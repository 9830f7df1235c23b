/**
 * The public surface: no name appears, goes or changes its kind by accident, and every name says what it is.
 *
 * test/public-surface.json holds the surface as released; `npm run surface:update` writes it anew.
 */
import { expect } from 'chai';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readSurface, type PublicSurface, type SurfaceEntry } from './helpers/public-surface.js';

const snapshotFile = join(dirname(fileURLToPath(import.meta.url)), 'public-surface.json');

interface Snapshot {
  entries: Record<string, SurfaceEntry>;
  /** names still without a docstring; the update takes names out, never in */
  undocumented: string[];
}

const bare = (place: string): string => place.slice(place.indexOf(' ') + 1);

/** What changed, one line a name: `- name` gone, `+ name` new, `~ name` of another kind or with other members. */
function differences(before: Record<string, SurfaceEntry>, now: Record<string, SurfaceEntry>): string[] {
  const lines: string[] = [];
  for (const name of [...new Set([...Object.keys(before), ...Object.keys(now)])].sort()) {
    const [old, current] = [before[name], now[name]];
    if (old === undefined) lines.push(`+ ${name} (${current.kind})`);
    else if (current === undefined) lines.push(`- ${name} (${old.kind})`);
    else {
      if (old.kind !== current.kind) lines.push(`~ ${name}: ${old.kind} -> ${current.kind}`);
      const [had, has] = [old.members ?? [], current.members ?? []];
      for (const member of had) if (!has.includes(member)) lines.push(`- ${name}.${member}`);
      for (const member of has) if (!had.includes(member)) lines.push(`+ ${name}.${member}`);
    }
  }
  return lines;
}

describe('public surface', function () {
  // Reading the types of the whole library takes seconds on a busy machine.

  let surface: PublicSurface;
  let snapshot: Snapshot;

  before(() => {
    surface = readSurface();
    const old = existsSync(snapshotFile) ? (JSON.parse(readFileSync(snapshotFile, 'utf8')) as Snapshot) : null;
    snapshot = old ?? { entries: {}, undocumented: [] };
    if (process.env.DEEP_HESSIAN_SURFACE !== 'update') return;
    const missing = surface.undocumented.map(bare);
    const undocumented = old === null ? missing : old.undocumented.filter((name) => missing.includes(name));
    snapshot = { entries: surface.entries, undocumented: undocumented.sort() };
    writeFileSync(snapshotFile, `${JSON.stringify(snapshot, null, 2)}\n`);
  });

  it('is the one written down', () => {
    const changed = differences(snapshot.entries, surface.entries);
    if (changed.length === 0) return;
    expect.fail(
      `ts/index.ts exports something else than test/public-surface.json:\n  ${changed.join('\n  ')}\n` +
        'If that is meant: run `npm run surface:update`, commit the file, note the change in CHANGELOG.md under Unreleased, and ' +
        'raise the version at the next release (what is gone or renamed: major, before 1.0 minor; what is new: minor).',
    );
  });

  it('has a docstring at every name and member', () => {
    const missing = surface.undocumented.filter((place) => !snapshot.undocumented.includes(bare(place)));
    if (missing.length > 0) expect.fail(`without a docstring:\n  ${missing.join('\n  ')}`);
  });

  it('would notice a name, a member or a kind that changes', () => {
    const before = { a: { kind: 'function' }, b: { kind: 'class', members: ['x', 'y()'] }, c: { kind: 'type' } };
    const now = { b: { kind: 'class', members: ['x', 'z?'] }, c: { kind: 'interface' }, d: { kind: 'constant' } };
    expect(differences(before, now)).to.deep.equal([
      '- a (function)',
      '- b.y()',
      '+ b.z?',
      '~ c: type -> interface',
      '+ d (constant)',
    ]);
    expect(differences(before, before)).to.deep.equal([]);
  });

  it('would notice what has no docstring', () => {
    const folder = mkdtempSync(join(tmpdir(), 'surface-'));
    try {
      const file = join(folder, 'index.ts');
      writeFileSync(
        file,
        '/** Said. */\nexport class A {\n  /** Said. */ x = 1;\n  y = 2;\n  private z = 3;\n  use(): number { return this.z; }\n' +
          "  static make(): A { return new A(); }\n}\nexport interface B {\n  kind: 'b';\n  /** Said. */\n  w?: number;\n}\nexport const f = (): number => 1;\n",
      );
      const { entries, undocumented } = readSurface(file);
      expect(entries).to.deep.equal({
        A: { kind: 'class', members: ['static make()', 'use()', 'x', 'y'] },
        B: { kind: 'interface', members: ['kind', 'w?'] },
        f: { kind: 'constant' },
      });
      expect(undocumented.map(bare)).to.deep.equal(['A.y', 'A.use', 'A.static make', 'B', 'f']);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
