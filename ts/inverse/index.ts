export { factor, factorShifted, estimateFactor, Factor, type FactorOptions } from './factor.js';
export { hessianInverseVectorProduct, type InverseVectorProductOptions } from './hessian-inverse-vector-product.js';
export {
  chooseMethod,
  estimateCosts,
  formatBytes,
  formatSeconds,
  methods,
  sampleSpaceSide,
  type CostEstimate,
  type Method,
} from './cost.js';
export { solveStatuses, type ManySolution, type Solution, type SolveRoute, type SolveStatus } from './status.js';
export { availableMemory, requireMemory } from './memory.js';
export { SampleSpaceFactor } from './sample-space.js';
export { ChainFactor } from './chain.js';
export { DenseFactor } from './dense.js';
export { DeviceChainFactor } from './device-chain.js';
export { DeviceDenseFactor } from './device-dense.js';
export { DeviceSampleSpaceFactor } from './device-sample-space.js';
export { chainWork, sampleSpaceWork } from './device-route.js';
export type { MatrixKind, RawFactor } from './raw-factor.js';
export type { FactorTotals } from './stage.js';
