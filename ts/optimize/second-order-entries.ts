/** Registry entries of the second-order optimizers beside Gauss-Newton and the quasi-Newton family. */
import { createNewton } from './newton.js';
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
const integer = (name: string, flag: string, value: number, help: string, minimum = 1): OptionSpec => ({
  name,
  flag,
  type: 'integer',
  default: value,
  minimum,
  help,
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
    integer('krylovSteps', 'krylov-steps', 30, 'products spent on a look at the spectrum', 2),
    number('solveTolerance', 'solve-tolerance', 1e-8, 'relative residual of the solves', { above: 0 }),
    { name: 'inertia', flag: 'inertia', type: 'boolean', default: false, help: 'report the index of every point' },
  ],
  rateGrid: [],
  create: (network, options) => createNewton(network, options),
};

export const secondOrderEntries: readonly OptimizerEntry[] = [newtonEntry];
