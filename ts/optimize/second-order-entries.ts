/** Registry entries of the second-order optimizers beside Gauss-Newton and the quasi-Newton family. */
import { fisherRows } from './backpropagated-rows.js';
import { createDampedNewton, dampedNewtonMatrices } from './damped-newton.js';
import { preconditionerNames } from './curvature-preconditioners.js';
import { createEkfac } from './ekfac.js';
import { createHessianFree, hessianFreeCurvatures } from './hessian-free.js';
import { createKfac, rescalings } from './kfac.js';
import { createNewton } from './newton.js';
import { createSaddleFree } from './saddle-free.js';
import type { OptionSpec } from './option-schema.js';
import type { OptimizerEntry } from './registry.js';

const number = (
  name: string,
  flag: string,
  value: number | undefined,
  help: string,
  more: Partial<OptionSpec> = {},
): OptionSpec => ({
  name,
  flag,
  type: 'number',
  default: value,
  help,
  ...more,
});
const integer = (
  name: string,
  flag: string,
  value: number,
  help: string,
  more: Partial<OptionSpec> = {},
): OptionSpec => ({
  name,
  flag,
  type: 'integer',
  default: value,
  minimum: 1,
  help,
  ...more,
});
const maxTrials = (value: number): OptionSpec => ({
  name: 'maxTrials',
  flag: 'max-trials',
  type: 'integer',
  default: value,
  minimum: 1,
  maximum: 1000,
  help: 'most trials of one step',
});

/** Of the optimizers whose steps are exact solves. */
export const precision: OptionSpec = {
  name: 'precision',
  flag: 'precision',
  type: 'choice',
  choices: ['float64', 'mixed'],
  default: 'float64',
  help: 'of the factors: double, or single precision refined in double',
};

export const newtonEntry: OptimizerEntry = {
  name: 'newton',
  description: 'Newton with the exact Hessian in an exact trust region; follows negative curvature at saddles',
  source: 'More & Sorensen 1983; Conn, Gould & Toint 2000',
  whenNotToUse:
    'streams (the Hessian of a small batch is not that of the data), large fits where gauss-newton has cheaper steps',
  order: 'second',
  options: [
    number('radius', 'radius', 1, 'first trust radius', { above: 0 }),
    number('maximumRadius', 'maximum-radius', 1000, 'largest trust radius', { above: 0 }),
    number('accept', 'accept', 1e-4, 'least gain ratio of an accepted step', { minimum: 0, below: 0.25 }),
    number('boundaryTolerance', 'boundary-tolerance', 0.1, 'accepted deviation of the step from the radius', {
      above: 0,
      below: 1,
    }),
    number('minimumDamping', 'minimum-damping', 1e-12, 'least damping', { minimum: 0 }),
    maxTrials(10),
    integer('krylovSteps', 'krylov-steps', 30, 'products spent on a look at the spectrum', {
      minimum: 2,
      maximum: 1000,
    }),
    number('solveTolerance', 'solve-tolerance', 1e-8, 'relative residual of the solves', { above: 0 }),
    { name: 'inertia', flag: 'inertia', type: 'boolean', default: false, help: 'report the index of every point' },
    precision,
  ],
  rateGrid: [],
  onDevice: true,
  create: (network, options) => createNewton(network, options),
};

/** Options of the exact quadratic model, which the rescaling 'clip' does without. */
const byModel: OptionSpec['needs'] = { flag: 'rescaling', values: ['model'] };

const kfacOptions: readonly OptionSpec[] = [
  number('damping', 'damping', 1, 'first damping', { above: 0, streamDefault: 0.1 }),
  {
    name: 'rescaling',
    flag: 'rescaling',
    type: 'choice',
    choices: rescalings,
    default: 'model',
    help: 'step length and momentum from the exact quadratic model, or a learning rate with a bounded step (small batches)',
  },
  {
    name: 'fisher',
    flag: 'fisher',
    type: 'choice',
    choices: fisherRows,
    default: 'exact',
    streamDefault: 'sampled',
    help: 'expectation over the labels exactly, or one drawn label a sample',
  },
  integer('factorInterval', 'factor-interval', 5, 'steps between updates of the Kronecker factors', {
    streamDefault: 10,
  }),
  integer('inverseInterval', 'inverse-interval', 20, 'steps between inversions of the Kronecker factors'),
  integer('adaptInterval', 'adapt-interval', 1, 'steps between adaptations of the damping', {
    streamDefault: 5,
    needs: byModel,
  }),
  number('dampingDecay', 'damping-decay', 0.8, 'factor on the damping per step after good steps', {
    above: 0,
    below: 1,
    streamDefault: 0.95,
    needs: byModel,
  }),
  number('decay', 'factor-decay', 0.95, 'largest weight of the past in the Kronecker factors', {
    minimum: 0,
    below: 1,
  }),
  {
    name: 'adaptGamma',
    flag: 'adapt-gamma',
    type: 'boolean',
    default: false,
    needs: byModel,
    help: 'tune the damping of the factors apart',
  },
  number('minimumDamping', 'minimum-damping', 1e-20, 'least damping', { above: 0, streamDefault: 0.001 }),
  {
    name: 'momentum',
    flag: 'model-momentum',
    type: 'boolean',
    default: true,
    streamDefault: false,
    needs: byModel,
    help: 'momentum by the quadratic model',
  },
  number('maximumDamping', 'maximum-damping', 1e10, 'largest damping', { above: 0 }),
  number('rate', 'lr', undefined, 'learning rate (rescaling clip, default 0.03)', { above: 0 }),
  number('klClip', 'kl-clip', undefined, 'bound of the step in the metric (rescaling clip, default 1e-3)', {
    above: 0,
  }),
  number('momentumFactor', 'momentum', undefined, 'momentum (rescaling clip, default 0.9)', { minimum: 0, below: 1 }),
  { name: 'schedule', flag: 'schedule', type: 'schedule', help: 'schedule of the rate (rescaling clip)' },
  {
    name: 'seed',
    flag: 'fisher-seed',
    type: 'integer',
    default: 0,
    minimum: 0,
    maximum: 0xffffffff,
    needs: { flag: 'fisher', values: ['sampled'] },
    help: 'seed of drawn labels',
  },
];

export const kfacEntry: OptimizerEntry = {
  name: 'kfac',
  description:
    'K-FAC: natural gradient with Kronecker-factored curvature, step length and momentum from the exact model',
  source: 'Martens & Grosse 2015',
  whenNotToUse: 'fits to the last digits (gauss-newton, newton), custom layers, layers with many thousands of inputs',
  order: 'second',
  options: kfacOptions,
  rateGrid: [],
  create: (network, options) => createKfac(network, options),
};

export const ekfacEntry: OptimizerEntry = {
  name: 'ekfac',
  description: 'EK-FAC: K-FAC with second moments measured in the eigenbasis of the factors',
  source: 'George, Laurent, Bouthillier, Ballas & Vincent 2018',
  whenNotToUse: 'as for kfac; with a first layer of thousands of inputs kfac has cheaper refreshes',
  order: 'second',
  options: kfacOptions,
  rateGrid: [],
  create: (network, options) => createEkfac(network, options),
};

export const hessianFreeEntry: OptimizerEntry = {
  name: 'hessian-free',
  description:
    'truncated CG on the Gauss-Newton model (or MINRES on the Hessian), Levenberg-Marquardt damping; no learning rate',
  source: 'Martens 2010; Martens & Sutskever 2011',
  whenNotToUse: 'where a factor is affordable (gauss-newton), and streams of small batches (kfac, adam)',
  order: 'second',
  options: [
    {
      name: 'curvature',
      flag: 'hf-curvature',
      type: 'choice',
      choices: hessianFreeCurvatures,
      default: 'gauss-newton',
      help: 'CG on the Gauss-Newton matrix or MINRES on the Hessian',
    },
    number('damping', 'damping', 1, 'first damping', { above: 0 }),
    {
      name: 'preconditioner',
      flag: 'preconditioner',
      type: 'choice',
      choices: preconditionerNames,
      defaultFor: () => 'diagonal',
      help: 'of CG (default: diagonal; none for the Hessian)',
    },
    number('exponent', 'preconditioner-exponent', 0.75, 'exponent of diagonal preconditioners', {
      above: 0,
      maximum: 1,
      needs: { flag: 'preconditioner', values: ['diagonal', 'exact-diagonal'] },
    }),
    integer('subBatch', 'sub-batch', 32, 'samples of the preconditioner sub-batch', {
      needs: { flag: 'preconditioner', values: ['sub-batch'] },
    }),
    integer('maxIterations', 'cg-iterations', 250, 'most products of one step'),
    number('progress', 'cg-progress', undefined, 'stop at this relative progress per iteration (default 5e-4)', {
      minimum: 0,
    }),
    number(
      'solveTolerance',
      'solve-tolerance',
      undefined,
      'stop at this relative residual (default 1e-10; Hessian 1e-2)',
      { minimum: 0 },
    ),
    number('warmStart', 'warm-start', undefined, 'share of the last solution that starts CG (default 0.95)', {
      minimum: 0,
      below: 1,
    }),
    number('structural', 'structural-damping', undefined, 'weight of structural damping (default 0)', { minimum: 0 }),
    number('minimumDamping', 'minimum-damping', 1e-20, 'least damping', { above: 0 }),
    number('maximumDamping', 'maximum-damping', 1e10, 'largest damping', { above: 0 }),
    {
      name: 'seed',
      flag: 'fisher-seed',
      type: 'integer',
      default: 0,
      minimum: 0,
      maximum: 0xffffffff,
      needs: { flag: 'preconditioner', values: ['kfac'] },
      help: 'seed of drawn labels',
    },
  ],
  rateGrid: [],
  onDevice: true,
  create: (network, options) => createHessianFree(network, options),
};

export const dampedNewtonEntry: OptimizerEntry = {
  name: 'damped-newton',
  description:
    'descent preconditioned by an exact inverse Hessian that is refreshed every few batches and reused in between',
  source: 'Levenberg 1944; Goldfeld, Quandt & Trotter 1966; inertia after Haynsworth 1968',
  whenNotToUse: 'streams of small batches; newton and gauss-newton go further at every refresh',
  order: 'second',
  options: [
    number('rate', 'lr', 1, 'learning rate', { above: 0 }),
    integer('frequency', 'hessian-freq', 10, 'steps between refreshes of the inverse Hessian (the first interval)'),
    number('damping', 'damping', 0.1, 'least damping', { above: 0 }),
    {
      name: 'matrix',
      flag: 'matrix',
      type: 'choice',
      choices: dampedNewtonMatrices,
      default: 'hessian',
      help: 'the exact Hessian or the Gauss-Newton matrix',
    },
    {
      name: 'adaptive',
      flag: 'adaptive-freq',
      type: 'boolean',
      default: true,
      help: 'undo steps that the loss refutes and fit the interval to how long the model lasts',
    },
    number('solveTolerance', 'solve-tolerance', 1e-6, 'relative residual of the solves', { above: 0 }),
    maxTrials(12),
    precision,
    { name: 'schedule', flag: 'schedule', type: 'schedule', default: 'constant', help: 'schedule of the rate' },
  ],
  rateGrid: [1, 0.3],
  onDevice: true,
  create: (network, options) => createDampedNewton(network, options),
};

export const saddleFreeEntry: OptimizerEntry = {
  name: 'saddle-free',
  description: 'saddle-free Newton: steps by the absolute curvatures, in a Krylov subspace or (small networks) exactly',
  source: 'Dauphin, Pascanu, Gulcehre, Cho, Ganguli & Bengio 2014',
  whenNotToUse: 'saddles whose gradient is exactly zero (newton), streams of small batches',
  order: 'second',
  options: [
    number('damping', 'damping', 1, 'first damping', { above: 0 }),
    integer('subspace', 'subspace', 40, 'products a step', { minimum: 2, maximum: 10000 }),
    integer('denseOrder', 'dense-order', 300, 'parameters up to which the whole spectrum is used', {
      minimum: 0,
      maximum: 20000,
    }),
    number('accept', 'accept', 1e-3, 'least gain ratio of an accepted step', { minimum: 0, below: 0.25 }),
    number('minimumDamping', 'minimum-damping', 1e-20, 'least damping', { above: 0 }),
    number('maximumDamping', 'maximum-damping', 1e10, 'largest damping', { above: 0 }),
    maxTrials(12),
  ],
  rateGrid: [],
  create: (network, options) => createSaddleFree(network, options),
};

export const secondOrderEntries: readonly OptimizerEntry[] = [
  newtonEntry,
  dampedNewtonEntry,
  saddleFreeEntry,
  hessianFreeEntry,
  kfacEntry,
  ekfacEntry,
];
