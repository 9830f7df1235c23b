/**
 * deep-hessian: exact inverse-Hessian-vector products for deep networks, training with them, and questions about
 * curvature. This file is the public surface.
 *
 * @packageDocumentation
 */
export { DeepHessianError, errorCodes, type ErrorCode } from './errors.js';
export { Random, type RandomState } from './random.js';
export { kernels, type KernelInfo, type Kernels } from './native/index.js';

export * from './network/index.js';
export * from './derivatives/index.js';
export * from './inverse/index.js';
export {
  closeSharedCudaDevice,
  createHostDevice,
  cudaInfo,
  deviceNames,
  openCudaDevice,
  type CudaDevice,
  type CudaDeviceInfo,
  type CudaDeviceOptions,
  type CudaInfo,
  type CudaLibrary,
  type DeviceBuffer,
  type DeviceKernels,
  type DeviceMemory,
  type DeviceName,
  type DeviceOperations,
  type ElementType,
  type HostArray,
  type HostDeviceOptions,
} from './device/index.js';
export * from './curvature/index.js';

export type { Optimizer, OptimizerState, StepReport } from './optimize/optimizer.js';
export { createSgd, type SgdOptions } from './optimize/sgd.js';
export { createAdam, createAdamW, type AdamOptions } from './optimize/adam.js';
export { createGaussNewton, type GaussNewtonOptions } from './optimize/gauss-newton.js';
export { createNewton, type NewtonOptions } from './optimize/newton.js';
export { createDampedNewton, type DampedNewtonOptions } from './optimize/damped-newton.js';
export { createSaddleFree, type SaddleFreeOptions } from './optimize/saddle-free.js';
export { createHessianFree, type HessianFreeOptions } from './optimize/hessian-free.js';
export { createKfac, type KfacOptions } from './optimize/kfac.js';
export {
  kroneckerInverse,
  kroneckerOperator,
  type KroneckerInverseOptions,
  type KroneckerOperatorOptions,
} from './optimize/kronecker.js';
export { createEkfac } from './optimize/ekfac.js';
export { trustRegionStep, type TrustRegionStep, type TrustRegionStepOptions } from './optimize/trust-region-step.js';
export { trustRegionStatuses, type TrustRegionSolution, type TrustRegionStatus } from './optimize/trust-region.js';
export { createBfgs, type BfgsOptions } from './optimize/bfgs.js';
export { createLbfgs, type LbfgsOptions } from './optimize/lbfgs.js';
export { createSchedule, parseSchedule, type Schedule, type ScheduleSpec } from './optimize/schedules.js';
export { clipByNorm } from './optimize/clipping.js';
export { createOptimizer, optimizerEntries, optimizerNames, type OptimizerEntry } from './optimize/registry.js';
export type { OptionSpec, OptionValue } from './optimize/option-schema.js';

export { readNpy, writeNpy, type NpyArray, type NpyWritable, type ReadNpyOptions } from './data/npy.js';
export { readNpz, writeNpz, type NpzEntry } from './data/npz.js';
export {
  parametersToTensors,
  readSafetensors,
  tensorsToParameters,
  writeSafetensors,
  type LinearShape,
  type SafetensorsFile,
  type Tensor,
  type TensorNames,
} from './data/safetensors.js';
export type { ImageInputs, ImageOptions } from './data/images.js';
export type { CsvColumn, CsvSchema } from './data/table-rows.js';
export { ImageFolder, type BrokenImage, type ImageBatch, type ImageFolderOptions } from './data/image-folder.js';
export { dataNames, loadDataset, type DataName, type LoadedData, type LoadOptions } from './data/load.js';
export {
  fixedBatch,
  gather,
  makeDataset,
  split,
  subset,
  take,
  wholeBatch,
  type DataBatch,
  type Dataset,
  type DatasetParts,
  type SplitOptions,
} from './data/dataset.js';
export { BatchSampler, type BatchSamplerOptions, type BatchSamplerState } from './data/batch-sampler.js';
export {
  applyStandardisation,
  fitStandardisation,
  standardise,
  undoStandardisation,
  type Standardisation,
} from './data/standardise.js';

export { fixedSource, sampledSource, type BatchSource, type SourceState } from './train/source.js';
export { imageSource, openImageStream, type ImageStream } from './train/image-stream.js';
export {
  Trainer,
  type Budget,
  type Counters,
  type EndRecord,
  type EvaluationRecord,
  type Evaluations,
  type StepRecord,
  type StopReason,
  type TrainEvent,
  type TrainerOptions,
  type TrainerState,
} from './train/trainer.js';
export { accuracy, createEvaluator, predictClasses, type Evaluation as SetEvaluation } from './train/evaluation.js';
export type { CurvatureFigures } from './train/curvature-probe.js';
export {
  conclude,
  type ClassPredictions,
  type Conclusion,
  type EndSpectrum,
  type ValuePredictions,
} from './train/conclusion.js';
export { TrainedModel, type Prediction } from './train/trained-model.js';
export { readWeights, writeWeights } from './train/weights.js';
export { readCheckpoint, writeCheckpoint, type Checkpoint } from './train/checkpoint.js';
export { TrainingSession } from './train/session.js';
export {
  compare,
  type CompareEvent,
  type Comparison,
  type Contestant,
  type MethodSummary,
  type RunResult,
} from './train/compare.js';
export { describeEnvironment, type Environment } from './train/environment.js';

export * from './jobs/index.js';
export * from './verify/index.js';

export * from './analysis/index.js';
