/** Analyses of whole networks: what the commands approximate, analyze and influence do, as functions. */
export { linearizeSubject, openSubject, type Origin, type Subject, type SubjectRequest } from './subject.js';
export {
  compareInverseProducts,
  inverseProductMethods,
  type InverseProduct,
  type InverseProductComparison,
  type InverseProductMethod,
  type InverseProductOptions,
  type InverseProductProblem,
} from './inverse-products.js';
export { renderInverseProducts, type InverseProductRecord } from './inverse-product-report.js';
export {
  analysisParts,
  analyze,
  type AnalysisPart,
  type AnalysisResult,
  type AnalyzeOptions,
  type Eigenpair,
  type LayerFigures,
  type Part,
  type SurfaceDirection,
} from './analyze.js';
export { renderAnalysis, type AnalysisRecord } from './analysis-report.js';
export {
  augmentedKinds,
  augmentedStructure,
  type AugmentedBlock,
  type AugmentedKind,
  type AugmentedOrdering,
  type AugmentedPattern,
  type AugmentedStructure,
} from './augmented-system.js';
export { layerNorms, layerTraces, type LayerTraces } from './layer-curvature.js';
export { lossSurface, type LossSurface, type LossSurfaceOptions, type PathPoint } from './loss-surface.js';
export { pathModes, walkTrainingPath, type PathMode, type PathReport } from './training-path.js';
export { type MagnitudeBin } from './svg-spectrum.js';
export {
  writeInfluence,
  type InfluenceMatrixOptions,
  type InfluenceSummary,
  type RankedSample,
} from './influence-matrix.js';
