// Prints the path of libopenblas.a, for binding.gyp with openblas_static=true.
const { existsSync } = require('node:fs');
const { join } = require('node:path');

const folders = [
  process.env.OPENBLAS_DIR,
  '/usr/lib/x86_64-linux-gnu/openblas-pthread',
  '/usr/lib/aarch64-linux-gnu/openblas-pthread',
  '/opt/homebrew/opt/openblas/lib',
  '/usr/local/opt/openblas/lib',
];
const files = folders.filter(Boolean).map((folder) => join(folder, 'libopenblas.a'));
process.stdout.write(`${files.find(existsSync) ?? '-l:libopenblas.a'}\n`);
