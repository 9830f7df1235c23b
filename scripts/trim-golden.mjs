/**
 * node scripts/trim-golden.mjs: writes share/golden/, which the package carries for `deep-hessian verify`, from
 * test/golden/: the same cases without their P x P matrices. Eigenvalues and solves stay.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, say } from './lib/process.mjs';

const from = join(root, 'test', 'golden');
const to = join(root, 'share', 'golden');
const dropped = ['hessian', 'gauss_newton'];

mkdirSync(to, { recursive: true });
let total = 0;
for (const name of readdirSync(from).filter((file) => file.endsWith('.json'))) {
  const metadata = JSON.parse(readFileSync(join(from, name), 'utf8'));
  const bytes = readFileSync(join(from, metadata.bin));
  const arrays = {};
  const parts = [];
  let offset = 0;
  for (const [key, { offset_bytes: start, shape }] of Object.entries(metadata.arrays)) {
    if (dropped.includes(key)) continue;
    const length = shape.reduce((product, size) => product * size, 8);
    arrays[key] = { offset_bytes: offset, shape };
    parts.push(bytes.subarray(start, start + length));
    offset += length;
  }
  writeFileSync(join(to, metadata.bin), Buffer.concat(parts));
  const trimmed = { ...metadata, ...('bin_bytes' in metadata ? { bin_bytes: offset } : {}), arrays };
  writeFileSync(join(to, name), `${JSON.stringify(trimmed, null, 1)}\n`);
  total += offset;
}
say(`share/golden: ${total} bytes of arrays`);
