/** The facts of machine and software that a figure needs beside it. */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, platform, release, totalmem, arch } from 'node:os';
import { kernels, type KernelInfo } from '../native/index.js';

/** Machine and software. */
export interface Environment {
  /** version of this package */
  version: string;
  /** Version of Node. */
  node: string;
  /** Operating system, release and architecture. */
  platform: string;
  /** Model of the processor. */
  cpu: string;
  /** Processors available to this process. */
  cores: number;
  /** bytes of main memory */
  memory: number;
  /** Which kernels are loaded. */
  kernels: KernelInfo;
}

/** Version of this package, from its package.json. */
export function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** The machine and software of this process. */
export function describeEnvironment(): Environment {
  return {
    version: packageVersion(),
    node: process.version,
    platform: `${platform()} ${release()} ${arch()}`,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memory: totalmem(),
    kernels: kernels.info(),
  };
}
