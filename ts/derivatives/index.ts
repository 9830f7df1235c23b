/** Derivatives of networks: what other folders may use. */
export { checkLayer } from './check-layer.js';
export type { BlockCheck, CheckLayerOptions, LayerBlockName, LayerCheck } from './check-layer.js';
export type { LayerBlocks } from './layer-blocks.js';
export { deviceLinearizationBytes } from './device-point.js';
export { layerBlocksSize } from './layer-blocks.js';
export type { AffinePoint, CustomPoint, LayerPoint } from './layer-point.js';
export { Linearization } from './linearization.js';
export { Network, type LinearizeOptions } from './network.js';
export type { DiagonalOutputHessian, OutputHessian, SoftmaxOutputHessian } from './output-hessian.js';
