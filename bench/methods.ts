/** The choice of route: modelled against measured seconds of every route that is not absurd, and whether 'auto' chose well. */
import type { Network } from '../ts/derivatives/index.js';
import { estimateFactor, factor, formatBytes, type MatrixKind } from '../ts/inverse/index.js';
import type { LayerSpec } from '../ts/network/index.js';
import { Network as NetworkClass } from '../ts/derivatives/index.js';
import { Random } from '../ts/random.js';
import { deepNetwork, heading, randomBatch, verdict } from './harness.js';

interface Case {
  name: string;
  network: Network;
  samples: number;
}

function regression(layers: number, hidden: number, inputs: number): Network {
  const specs: LayerSpec[] = [];
  for (let l = 0; l < layers - 1; l++) specs.push({ type: 'dense', units: hidden, activation: 'tanh' });
  specs.push({ type: 'dense', units: 1, activation: 'identity' });
  return new NetworkClass({ inputs, loss: 'mse', layers: specs });
}

const cases: Case[] = [
  { name: '3x6-3, N = 4', network: deepNetwork(3, 6, 5, 3), samples: 4 },
  { name: '10-8x10, N = 1', network: deepNetwork(8, 10, 10, 10), samples: 1 },
  { name: '10-64x10, N = 1', network: deepNetwork(64, 10, 10, 10), samples: 1 },
  { name: '10-30x10, N = 8', network: deepNetwork(30, 10, 10, 10), samples: 8 },
  { name: '10-30x10, N = 32', network: deepNetwork(30, 10, 10, 10), samples: 32 },
  { name: '768-24x7-10, N = 8', network: deepNetwork(8, 24, 768, 10), samples: 8 },
  { name: '768-16x29-10, N = 32', network: deepNetwork(30, 16, 768, 10), samples: 32 },
  { name: '64-10-10, N = 256', network: deepNetwork(2, 10, 64, 10), samples: 256 },
  { name: '5-3x16-1, N = 400', network: regression(4, 16, 5), samples: 400 },
  { name: '5-20x10-1, N = 300', network: regression(20, 10, 5), samples: 300 },
];

/** Routes whose model says more than this are not run. */
const longest = 4;

export function methodsBenchmark(): void {
  heading(
    '7. Choice of route: modelled / measured milliseconds of factor + solve (routes modelled above 4 s are left out)',
  );
  let chosen = 0;
  let total = 0;
  for (const { name, network, samples } of cases) {
    const random = new Random(1);
    const batch =
      network.loss === 'mse'
        ? {
            inputs: random.normals(new Float64Array(samples * network.inputs)),
            targets: random.normals(new Float64Array(samples)),
          }
        : randomBatch(samples, network.inputs, network.outputs);
    const point = network.linearize(network.initialize({ seed: 1, scheme: 'orthogonal', gain: 1.1 }), batch);
    for (const matrix of ['hessian', 'gauss-newton'] as MatrixKind[]) {
      const measured = estimateFactor(point, matrix)
        .filter((e) => e.unavailable === null && e.seconds < longest && e.bytes < 4e9)
        .map((estimate) => {
          let best = Infinity;
          const start = performance.now();
          for (let k = 0; k < 5 && (k < 2 || performance.now() - start < 400); k++) {
            const begin = performance.now();
            const f = factor(point, { matrix, damping: 0.1, method: estimate.method });
            f.solve(point.gradient);
            best = Math.min(best, performance.now() - begin);
            f.dispose();
          }
          return { ...estimate, best };
        });
      const auto = factor(point, { matrix, damping: 0.1 }).method;
      const fastest = measured.reduce((a, b) => (b.best < a.best ? b : a));
      const own = measured.find((m) => m.method === auto);
      // A route within a factor of 1.5 of the fastest, or a millisecond, is as good a choice as timing noise lets one make.
      const good = own !== undefined && (own.best <= 1.5 * fastest.best || own.best - fastest.best < 1);
      total++;
      if (good) chosen++;
      const cells = measured.map(
        (m) =>
          `${m.method === auto ? '*' : ''}${m.method} ${(1e3 * m.seconds).toPrecision(2)}/${m.best.toPrecision(2)} (${formatBytes(m.bytes)})`,
      );
      console.log(`${name.padEnd(22)} ${matrix.padEnd(13)} ${good ? '' : 'POOR '}${cells.join('  ')}`);
    }
  }
  verdict(
    `the chosen route is the fastest, or within 1.5 times, in ${chosen} of ${total} cases (at least 90 %)`,
    chosen >= 0.9 * total,
  );
}
