/** Structure and values of networks: what other folders may use. */
export { activationNames, isPiecewiseLinear, type ActivationName } from './activations.js';
export type { Batch, BatchData } from './batch.js';
export { checkBatch, prepareBatch } from './batch.js';
export { initialisationNames, type InitialisationName, type InitialiseOptions } from './initialise.js';
export type { AffineLayer, CustomLayer, CustomSpec, DenseSpec, Layer, LayerSpec } from './layers.js';
export { lossNames, type LossName } from './losses.js';
export { NetworkModel, type Evaluation, type NetworkOptions } from './network.js';
export type { CustomJSON, NetworkJSON } from './network-json.js';
export { registerLayer, type LayerFactory, type SmoothLayer } from './smooth-layer.js';
