/**
 * Builds the emulated CUDA libraries (C++ beside this file) into build/cuda-emulator, once for each state of their sources.
 * They let everything that the addon does with a card run where there is none, except the card's own arithmetic and speed.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
export const root = resolve(here, '../../..');
const sources = ['runtime.cc', 'compiler.cc', 'dense.cc'];
const libraries = ['libcudart.so.13', 'libcublas.so.13', 'libcusolver.so.12', 'libnvrtc.so.13'];

/** The environment that makes a process find the emulated libraries and nothing else. */
export function emulatedEnvironment(folder: string): Record<string, string> {
  return {
    DEEP_HESSIAN_CUDA_PATH: folder,
    DEEP_HESSIAN_CUDA_CACHE: 'none',
    EMULATED_CUDA_CACHE: folder,
    EMULATED_CUDA_SOURCES: here,
  };
}

function compile(source: string, object: string): Promise<string> {
  return new Promise((done) => {
    const compiler = spawn('g++', ['-std=c++17', '-O1', '-fPIC', '-fvisibility=hidden', '-c', source, '-o', object]);
    let errors = '';
    compiler.stderr.on('data', (text: Buffer) => (errors += text.toString()));
    compiler.on('close', (status) => done(status === 0 ? '' : errors || `status ${status}`));
  });
}

/** The folder of the libraries, or the reason why there are none. */
export async function buildEmulator(): Promise<{ folder: string } | { reason: string }> {
  if (process.platform !== 'linux' || process.arch !== 'x64') return { reason: 'the emulator is for Linux on x64' };
  if (spawnSync('g++', ['--version']).status !== 0) return { reason: 'g++ is not there' };
  const hash = createHash('sha256');
  for (const name of [...sources, 'runtime.h']) hash.update(readFileSync(join(here, name)));
  const folder = join(root, 'build', 'cuda-emulator', hash.digest('hex').slice(0, 16));
  if (existsSync(join(folder, 'libcuda.so.1'))) return { folder };
  const making = `${folder}.${process.pid}`;
  mkdirSync(making, { recursive: true });
  try {
    const objects = sources.map((name) => join(making, name.replace('.cc', '.o')));
    const errors = await Promise.all(sources.map((name, i) => compile(join(here, name), objects[i])));
    const failed = errors.find((text) => text !== '');
    if (failed !== undefined) throw new Error(`the emulator does not compile: ${failed}`);
    const linked = spawnSync('g++', ['-shared', '-o', join(making, 'libcuda.so.1'), ...objects, '-lopenblas', '-ldl'], {
      encoding: 'utf8',
    });
    if (linked.status !== 0) return { reason: `OpenBLAS is not there to link with: ${linked.stderr.split('\n')[0]}` };
    for (const name of libraries) symlinkSync('libcuda.so.1', join(making, name));
    // Another process may have been faster.
    try {
      renameSync(making, folder);
    } catch (error) {
      if (!existsSync(join(folder, 'libcuda.so.1'))) throw error;
    }
    return { folder };
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
}
