/** Questions of curvature: what other folders may use. */
export { conditionNumber, type ConditionNumber } from './condition-number.js';
export {
  criticalPoint,
  criticalPointKinds,
  lossProfile,
  type CriticalPointKind,
  type CriticalPointOptions,
  type CriticalPointReport,
  type LossProfile,
  type QuadraticFormCheck,
} from './critical-point.js';
export {
  eigenvalue,
  eigenvalues,
  inverseIteration,
  largestEigenvalue,
  smallestEigenvalue,
  type CertifiedEigenvalue,
  type EigenvalueOptions,
  type SpectrumResult,
} from './eigenvalues.js';
export { eigenvalueCount, inertia, type CertifiedInertia, type InertiaOptions } from './inertia.js';
export {
  curvatureOperator,
  fisherKinds,
  fisherOperator,
  gaussNewtonOperator,
  hessianOperator,
  inverseOperator,
  type FisherKind,
  type FisherOptions,
} from './operators.js';
export {
  effectiveParameters,
  selectedInverse,
  type EffectiveParameters,
  type SelectedInverse,
  type SelectedInversionOptions,
} from './selected-inversion.js';
export { spectralDensity, type SpectralDensityOptions, type SpectralDensityResult } from './spectral-density.js';
export { SpectrumSlicer, type EigenvalueBound, type SpectrumOptions } from './spectrum-slicer.js';
export { hypergradient, type Hypergradient } from './implicit.js';
export {
  influence,
  influenceRows,
  relativeKinds,
  selfInfluence,
  type InfluenceOptions,
  type InfluenceResult,
  type InfluenceRows,
  type InfluenceRowsOptions,
  type InverseOptions,
  type RelativeKind,
  type SelfInfluenceResult,
} from './influence.js';
export { SampleGradients } from './sample-gradients.js';
export {
  classificationCalibration,
  regressionCalibration,
  type ClassificationCalibration,
  type CoverageRow,
  type RegressionCalibration,
  type ReliabilityBin,
} from './calibration.js';
export {
  laplace,
  LaplacePosterior,
  tuneEvidence,
  withL2,
  type EvidenceOptions,
  type LaplaceOptions,
  type LaplacePrediction,
} from './laplace.js';
