/** `deep-hessian info`: what is installed and what it runs on. */
import type { Command } from 'commander';
import { cudaInfo, type CudaInfo } from '../device/index.js';
import { kernelsReason } from '../native/index.js';
import { describeEnvironment } from '../train/environment.js';
import type { Terminal } from './terminal.js';

export function addInfoCommand(program: Command, terminal: Terminal): void {
  const command = program
    .command('info')
    .description('Versions, BLAS library, threads, GPU and machine.')
    .option('--json', 'as JSON')
    .action(() => {
      const environment = { ...describeEnvironment(), kernelsReason, gpu: cudaInfo() };
      if (command.opts<{ json?: boolean }>().json === true) {
        terminal.out(`${JSON.stringify(environment)}\n`);
        return;
      }
      const { kernels } = environment;
      const lines: [string, string][] = [
        ['deep-hessian', environment.version],
        ['node', environment.node],
        ['platform', environment.platform],
        ['processor', `${environment.cpu}, ${environment.cores} cores`],
        ['memory', `${(environment.memory / 2 ** 30).toFixed(1)} GiB`],
        [
          'kernels',
          kernels.backend === 'openblas' ? 'native (OpenBLAS)' : 'plain TypeScript (the native core is not loaded)',
        ],
        ['BLAS', kernels.version],
        ['core type', kernels.core],
        ['threads', `${kernels.threads} of at most ${kernels.maxThreads}`],
        ['SIMD', kernels.simd],
        ['binary', kernels.file ?? 'none'],
        ['because', environment.kernelsReason],
        ...describeGpu(environment.gpu),
      ];
      const width = Math.max(...lines.map(([name]) => name.length));
      terminal.out(`${lines.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n')}\n`);
    });
}

/** The cards, or why there are none, and the CUDA libraries that were found. */
export function describeGpu({ available, reason, libraries, devices }: CudaInfo): [string, string][] {
  const cards = devices.map(({ index, name, memory, computeCapability }): [string, string] => [
    `GPU ${index}`,
    `${name}, ${(memory / 2 ** 30).toFixed(1)} GiB, compute capability ${computeCapability}`,
  ]);
  const found = libraries
    .filter(({ file }) => file !== null)
    .map(({ name, file, version }) => `${name} ${version ?? ''} (${file})`);
  return [
    ...cards,
    ...(available ? [] : [['GPU', `not used: ${reason}`] as [string, string]]),
    ...(found.length === 0 ? [] : [['CUDA', found.join(', ')] as [string, string]]),
  ];
}
