/**
 * The layer rule of the source tree: imports run one way, and some abilities belong to one folder alone.
 * Reads the sources as text, so it holds for files that no other test loads.
 */
import { expect } from 'chai';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, posix, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const source = join(dirname(fileURLToPath(import.meta.url)), '..', 'ts');

/** From the ground up: a layer may import itself and those before it. */
const order = [
  'ground',
  'native',
  'linalg',
  'device',
  'network',
  'derivatives',
  'inverse',
  'curvature',
  'optimize',
  'data',
  'train',
  'analysis',
  'jobs',
  'verify',
  'cli',
  'index',
];
/** Layers that may import fewer than all below them. */
const only: Record<string, string[]> = { data: ['ground', 'data'], ground: ['ground'], native: ['ground', 'native'] };
const groundFiles = ['errors.ts', 'checks.ts', 'random.ts', 'units.ts'];

function layerOf(file: string): string {
  if (groundFiles.includes(file)) return 'ground';
  if (file === 'index.ts') return 'index';
  return file.includes('/') ? file.slice(0, file.indexOf('/')) : `unknown file ${file}`;
}

function sources(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) return sources(path);
    return path.endsWith('.ts') ? [relative(source, path).split(sep).join('/')] : [];
  });
}

/** The text with comments blanked out; string contents stay, since import lines need them. */
export function withoutComments(text: string): string {
  return text.replace(
    /("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g,
    (_, literal?: string) => literal ?? ' ',
  );
}

/** Module names after `from`, in bare imports, and in import() and require() calls. */
export function importsOf(text: string): string[] {
  const pattern = /\b(?:from|import)\s*\(?\s*['"]([^'"]+)['"]|\brequire\s*\(\s*['"]([^'"]+)['"]/g;
  return Array.from(withoutComments(text).matchAll(pattern), (match) => match[1] ?? match[2]);
}

/** What is wrong with the imports of one file. */
export function breaches(file: string, text: string): string[] {
  const layer = layerOf(file);
  if (!order.includes(layer)) return [`${file} is in no known layer (${layer})`];
  return importsOf(text)
    .filter((name) => name.startsWith('.'))
    .flatMap((name) => {
      const target = posix.normalize(posix.join(posix.dirname(file), name)).replace(/\.js$/, '.ts');
      if (target.startsWith('../'))
        return target === '../package.json' ? [] : [`${file} imports ${target}, outside ts/`];
      const to = layerOf(target);
      if (to === 'index') return [`${file} imports index.ts, which nobody may`];
      if (!order.includes(to)) return [`${file} imports ${target}, which is in no known layer`];
      const allowed = only[layer] ?? order.slice(0, order.indexOf(layer) + 1);
      return allowed.includes(to) ? [] : [`${file} (${layer}) imports ${target} (${to})`];
    });
}

describe('layers', () => {
  const files = sources(source);
  const text = (file: string) => readFileSync(join(source, file), 'utf8');

  it('knows the files', () => {
    expect(files.length).to.be.greaterThan(10);
    expect(files).to.include('native/kernels.ts');
  });

  it('import downwards only', () => {
    expect(files.flatMap((file) => breaches(file, text(file)))).to.deep.equal([]);
  });

  it('has no import cycle between files', () => {
    const edges = new Map(
      files.map((file) => [
        file,
        // Types vanish in the compiled code: `import type` makes no cycle at run time.
        importsOf(text(file).replace(/\b(?:import|export)\s+type\s[^;]*;/g, ''))
          .filter((name) => name.startsWith('.'))
          .map((name) => posix.normalize(posix.join(posix.dirname(file), name)).replace(/\.js$/, '.ts')),
      ]),
    );
    const done = new Set<string>();
    const cycles: string[] = [];
    const visit = (file: string, path: string[]): void => {
      if (path.includes(file)) {
        cycles.push([...path.slice(path.indexOf(file)), file].join(' -> '));
        return;
      }
      if (done.has(file)) return;
      for (const next of edges.get(file) ?? []) visit(next, [...path, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
    expect(cycles).to.deep.equal([]);
  });

  it('touches the addon in native/ only', () => {
    const pattern = /\.node['"`]|process\.dlopen|deep_hessian/;
    const found = files.filter((file) => layerOf(file) !== 'native' && pattern.test(withoutComments(text(file))));
    expect(found).to.deep.equal([]);
  });

  it('prints and exits in cli/ only', () => {
    // The kernels' one warning goes through process.emitWarning, which its caller can catch.
    const pattern = /\bconsole\.|\bprocess\.(?:exit\b|exitCode|stdout|stderr|abort)/;
    const found = files.filter((file) => layerOf(file) !== 'cli' && pattern.test(withoutComments(text(file))));
    expect(found).to.deep.equal([]);
  });

  it('would notice a breach', () => {
    expect(breaches('linalg/matrix.ts', "import { Network } from '../network/network.js';")).to.have.length(1);
    expect(breaches('data/csv.ts', "export * from '../linalg/matrix.js';")).to.have.length(1);
    expect(breaches('cli/main.ts', "const x = await import('../index.js');")).to.have.length(1);
    expect(breaches('train/loop.ts', "import {\n  A,\n  B,\n} from '../cli/main.js';")).to.have.length(1);
    expect(breaches('extra.ts', '')).to.have.length(1);
    expect(
      breaches('linalg/matrix.ts', "// import '../cli/main.js';\nimport { x } from '../native/index.js';"),
    ).to.deep.equal([]);
  });
});
