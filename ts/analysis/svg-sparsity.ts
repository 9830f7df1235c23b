/** Pictures of the augmented system: where its nonzeros can be, in one ordering. */
import { escapeHtml } from '../train/svg-chart.js';
import {
  augmentedKinds,
  type AugmentedBlock,
  type AugmentedKind,
  type AugmentedOrdering,
  type AugmentedStructure,
} from './augmented-system.js';
import { place } from './svg-frame.js';
import type { NetworkModel } from '../network/index.js';

const side = 520;
/** Diagonals and squares drawn one by one up to this many in a block; a block of more is toned by its density. */
const mostParts = 144;
const colours: Record<AugmentedKind, number> = { parameters: 0, jacobian: 1, chain: 2, states: 3 };

interface Shapes {
  fills: string[];
  lines: string[];
}

/** The picture of one ordering. */
export function renderSparsity(
  structure: AugmentedStructure,
  ordering: AugmentedOrdering,
  network: NetworkModel,
  samples: number,
): string {
  const { order, sizes, blocks } = structure;
  const scale = side / order;
  const drawn = new Map<AugmentedKind, Shapes>();
  const toned: string[] = [];
  for (const block of blocks) {
    const shapes = drawn.get(block.kind) ?? { fills: [], lines: [] };
    drawn.set(block.kind, shapes);
    const mirrored = block.rows !== block.columns;
    for (const mirror of mirrored ? [false, true] : [false]) {
      const [row, column] = [ordering.offsets[block.rows], ordering.offsets[block.columns]];
      const [height, width] = [sizes[block.rows], sizes[block.columns]];
      const rect = (r: number, c: number, h: number, w: number): string => {
        const [x, y, dx, dy] = mirror ? [row + r, column + c, h, w] : [column + c, row + r, w, h];
        return `M${place(x * scale)} ${place(y * scale)}h${fine(dx * scale)}v${fine(dy * scale)}h-${fine(dx * scale)}z`;
      };
      const diagonal = (r: number, c: number, length: number): string => {
        const [x, y] = mirror ? [row + r, column + c] : [column + c, row + r];
        return `M${place(x * scale)} ${place(y * scale)}l${fine(length * scale)} ${fine(length * scale)}`;
      };
      if (!drawBlock(block, network, samples, rect, diagonal, height, width, shapes)) {
        const opacity = Math.max(0.08, Math.min(1, Math.sqrt(block.nonzeros / (height * width))));
        toned.push(
          `<path class="cell k${colours[block.kind]}" fill-opacity="${opacity.toFixed(2)}" d="${rect(0, 0, height, width)}"/>`,
        );
      }
    }
  }
  const out = [...toned];
  for (const [kind, { fills, lines }] of drawn) {
    const colour = colours[kind];
    if (fills.length > 0) out.push(`<path class="cell k${colour}" d="${fills.join('')}"/>`);
    if (lines.length > 0)
      out.push(`<path d="${lines.join('')}" style="fill:none;stroke:var(--s${colour});stroke-width:.8"/>`);
  }
  const title = ordering.name === 'by kind' ? 'As written: all x, all y, all Λ' : 'Ordered layer by layer';
  return (
    `<figure><figcaption>${title}</figcaption><svg viewBox="-1 -1 ${side + 2} ${side + 2}" role="img" aria-label="${escapeHtml(`Nonzeros of the augmented system, ${ordering.name}`)}">` +
    `${out.join('')}<rect class="frame" width="${side}" height="${side}"/></svg></figure>`
  );
}

/** Draws a block's own pattern; false where it has too many parts. */
function drawBlock(
  block: AugmentedBlock,
  network: NetworkModel,
  N: number,
  rect: (r: number, c: number, h: number, w: number) => string,
  diagonal: (r: number, c: number, length: number) => string,
  height: number,
  width: number,
  { fills, lines }: Shapes,
): boolean {
  if (block.pattern === 'full') {
    if (block.nonzeros < height * width) return false;
    fills.push(rect(0, 0, height, width));
    return true;
  }
  if (block.pattern === 'diagonal') {
    lines.push(diagonal(0, 0, Math.min(height, width)));
    return true;
  }
  if (block.pattern === 'samples') {
    const [rows, columns] = [height / N, width / N];
    if (rows * columns > mostParts) return false;
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) lines.push(diagonal(i * N, j * N, N));
    return true;
  }
  // Unit by unit. Weights come first, row by row; biases after them.
  const layer = network.layers[Number(/\d+$/.exec(block.columns)?.[0]) - 1];
  if (layer.kind !== 'affine' || layer.units > mostParts) return false;
  const { inputs: a, units: h } = layer;
  const square = block.rows === block.columns;
  for (let u = 0; u < h; u++) {
    if (square) {
      fills.push(rect(u * a, u * a, a, a));
      if (layer.bias)
        fills.push(rect(h * a + u, u * a, 1, a), rect(u * a, h * a + u, a, 1), rect(h * a + u, h * a + u, 1, 1));
    } else {
      fills.push(rect(u * N, u * a, N, a));
      if (layer.bias) fills.push(rect(u * N, h * a + u, N, 1));
    }
  }
  return true;
}

/** Lengths never vanish from the picture. */
function fine(length: number): string {
  return String(Math.round(Math.max(length, 0.35) * 100) / 100);
}

/** What the colours mean. */
export function sparsityLegend(): string {
  const items = Object.entries(augmentedKinds).map(
    ([kind, text]) =>
      `<li><span style="background:var(--s${colours[kind as AugmentedKind]});height:10px"></span>${escapeHtml(text)}</li>`,
  );
  return `<ul class="legend">${items.join('')}</ul>`;
}
