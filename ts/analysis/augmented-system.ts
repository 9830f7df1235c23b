/**
 * The structure of the augmented system whose elimination gives (H + eps I)^-1 (docs/theory/inverse.md):
 *
 *     [ Hxx + eps I   Hxz P        D_x^T ] [ x      ]
 *     [ P^T Hzx       P^T Hzz P   -M^T   ] [ y      ]        y, Lambda: tangent and adjoint activations of all layers
 *     [ D_x          -M            0     ] [ Lambda ]
 *
 * in the order in which it is written down (all x, all y, all Lambda), and ordered layer by layer (x_l, y_l, Lambda_l for
 * l = 1..L), where it is block tridiagonal. Structural nonzeros: what a network of these layers can have, whatever its numbers.
 *
 * Sizes: x_l has p_l entries, y_l and Lambda_l have N h_l, sample by sample within each unit.
 */
import type { NetworkModel } from '../network/index.js';

/** Which derivative a block holds. */
export const augmentedKinds = {
  parameters: 'Hxx + eps I and Hxz: second derivatives in the parameters',
  jacobian: 'D_x: activations by parameters',
  chain: 'M: activations by activations',
  states: 'Hzz and Q: second derivatives in the activations',
} as const;
/** Kind of a block, a key of {@link augmentedKinds}. */
export type AugmentedKind = keyof typeof augmentedKinds;

/** How the nonzeros of a block lie, which is what a picture needs. */
export type AugmentedPattern = 'full' | 'diagonal' | 'samples' | 'units';

/** One block of the lower triangle or the diagonal; its mirror image is meant with it. */
export interface AugmentedBlock {
  /** which derivative it holds */
  kind: AugmentedKind;
  /** how its nonzeros lie */
  pattern: AugmentedPattern;
  /** unknowns of the rows and of the columns, named like 'x3', 'y2', 'lambda3' */
  rows: string;
  /** unknowns of the columns, named in the same way */
  columns: string;
  /** structural nonzeros, the mirror image not counted */
  nonzeros: number;
}

/** An order of the unknowns of the augmented system. */
export interface AugmentedOrdering {
  /** 'by kind': all x, all y, all Lambda; 'by layer': x_l, y_l, Lambda_l for l = 1..L, block tridiagonal */
  name: 'by kind' | 'by layer';
  /** first index of every group of unknowns */
  offsets: Record<string, number>;
  /** largest |row - column| of a block corner: nothing lies further from the diagonal */
  bandwidth: number;
}

/** Sizes and structural nonzeros of the augmented system, and where they lie in two orderings. */
export interface AugmentedStructure {
  /** unknowns in all: sum over the layers of p_l + 2 N h_l */
  order: number;
  /** of the whole symmetric matrix */
  nonzeros: number;
  /** nonzeros / order^2 */
  density: number;
  /** unknowns of every group */
  sizes: Record<string, number>;
  /** blocks of the lower triangle and the diagonal that are not empty */
  blocks: AugmentedBlock[];
  /** 'by kind' and 'by layer', in this order */
  orderings: [AugmentedOrdering, AugmentedOrdering];
}

/**
 * Structure of the augmented system of a network with a batch: counted from the sizes, nothing is computed or stored.
 *
 * @param samples N
 */
export function augmentedStructure(network: NetworkModel, samples: number): AugmentedStructure {
  const N = samples;
  const { layers } = network;
  const L = layers.length;
  const sizes: Record<string, number> = {};
  const blocks: AugmentedBlock[] = [];
  const add = (
    kind: AugmentedKind,
    pattern: AugmentedPattern,
    rows: string,
    columns: string,
    nonzeros: number,
  ): void => {
    if (nonzeros > 0) blocks.push({ kind, pattern, rows, columns, nonzeros });
  };
  for (const [index, layer] of layers.entries()) {
    const l = index + 1;
    const { inputs: a, units: h, parameterCount: p } = layer;
    const [x, y, lambda, before] = [`x${l}`, `y${l}`, `lambda${l}`, `y${l - 1}`];
    sizes[x] = p;
    sizes[y] = N * h;
    sizes[lambda] = N * h;
    if (layer.kind === 'custom') {
      add('parameters', 'full', x, x, p * p);
      add('jacobian', 'full', lambda, x, N * h * p);
      if (index > 0) {
        add('parameters', 'full', x, before, p * N * a);
        add('states', 'samples', before, before, N * a * a);
        add('chain', 'samples', lambda, before, N * a * h);
      }
    } else {
      const fan = a + (layer.bias ? 1 : 0);
      const curved = !layer.piecewiseLinear;
      // Unit by unit: a unit's weights share its curvature. Without curvature only eps is left.
      if (curved) add('parameters', 'units', x, x, h * fan * fan);
      else add('parameters', 'diagonal', x, x, p);
      add('jacobian', 'units', lambda, x, N * h * fan);
      if (index > 0) {
        add('parameters', 'full', x, before, curved ? p * N * a : h * a * N);
        if (curved) add('states', 'samples', before, before, N * a * a);
        add('chain', 'samples', lambda, before, N * a * h);
      }
    }
    add('chain', 'diagonal', lambda, y, N * h);
  }
  const K = network.outputs;
  if (network.loss === 'cross-entropy') add('states', 'samples', `y${L}`, `y${L}`, N * K * K);
  else add('states', 'diagonal', `y${L}`, `y${L}`, N * K);

  const names = (prefix: string): string[] => layers.map((_, l) => `${prefix}${l + 1}`);
  const byKind = [...names('x'), ...names('y'), ...names('lambda')];
  const byLayer = layers.flatMap((_, l) => [`x${l + 1}`, `y${l + 1}`, `lambda${l + 1}`]);
  const order = Object.values(sizes).reduce((sum, size) => sum + size, 0);
  const nonzeros = blocks.reduce((sum, block) => sum + block.nonzeros * (block.rows === block.columns ? 1 : 2), 0);
  return {
    order,
    nonzeros,
    density: nonzeros / order ** 2,
    sizes,
    blocks,
    orderings: [ordering('by kind', byKind, sizes, blocks), ordering('by layer', byLayer, sizes, blocks)],
  };
}

function ordering(
  name: AugmentedOrdering['name'],
  groups: readonly string[],
  sizes: Record<string, number>,
  blocks: readonly AugmentedBlock[],
): AugmentedOrdering {
  const offsets: Record<string, number> = {};
  let next = 0;
  for (const group of groups) {
    offsets[group] = next;
    next += sizes[group];
  }
  let bandwidth = 0;
  for (const { rows, columns, pattern } of blocks) {
    const [r, c] = [offsets[rows], offsets[columns]];
    const far =
      pattern === 'diagonal'
        ? Math.abs(r - c)
        : Math.max(Math.abs(r + sizes[rows] - 1 - c), Math.abs(c + sizes[columns] - 1 - r));
    bandwidth = Math.max(bandwidth, far);
  }
  return { name, offsets, bandwidth };
}
