export {
  factorAsync,
  FactorHandle,
  FactorPool,
  type FactorAsyncOptions,
  type FactorPoolOptions,
  type PointDescription,
} from './factor-async.js';
export { JobScheduler, type JobSchedulerOptions } from './job-scheduler.js';
export { MemoryBudget } from './memory-budget.js';
export { estimateMemory, type MemoryEstimate } from './memory-estimate.js';
export { shareArray } from './shared-array.js';
export {
  TrainingJob,
  type EventOptions,
  type JobResult,
  type JobState,
  type TrainingJobOptions,
} from './training-job.js';
export type { WhenFull } from './event-queue.js';
