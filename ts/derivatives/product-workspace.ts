/** The scratch arrays that all linearizations of a network share. */
import type { NetworkModel } from '../network/network.js';

/** Grow-only arrays of one network, shared by all its linearizations: no call leaves anything in them. */
export class ProductWorkspace {
  private rows = 0;
  private scratchRows = 0;
  private readonly widest: number;
  /** Y_l and S_l of each layer. */
  readonly tangents: Float64Array[] = [];
  readonly states: Float64Array[] = [];
  /** Two blocks as wide as the widest layer. */
  first = new Float64Array(0);
  second = new Float64Array(0);

  constructor(private readonly network: NetworkModel) {
    this.widest = network.layers.reduce((most, layer) => Math.max(most, layer.units), 0);
  }

  /** Room in `first` and `second` only. */
  prepareScratch(rows: number): void {
    if (rows <= this.scratchRows) return;
    this.first = new Float64Array(rows * this.widest);
    this.second = new Float64Array(rows * this.widest);
    this.scratchRows = rows;
  }

  /** Room for m tangents of N samples: rows = N m. */
  prepare(rows: number): void {
    this.prepareScratch(rows);
    if (rows <= this.rows) return;
    for (const layer of this.network.layers) {
      this.tangents[layer.index] = new Float64Array(rows * layer.units);
      // A linear layer has Y = S up to its residual part and no curvature: nothing of S is needed later.
      const keeps = layer.kind === 'affine' && !(layer.linear && !layer.residual);
      this.states[layer.index] = keeps ? new Float64Array(rows * layer.units) : this.tangents[layer.index];
    }
    this.rows = rows;
  }
}

const workspaces = new WeakMap<NetworkModel, ProductWorkspace>();

/** The product workspace of a network. */
export function productWorkspace(network: NetworkModel): ProductWorkspace {
  let workspace = workspaces.get(network);
  if (workspace === undefined) {
    workspace = new ProductWorkspace(network);
    workspaces.set(network, workspace);
  }
  return workspace;
}
