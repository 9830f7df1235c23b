/**
 * The optimizers by name, each with the schema of its options. Command-line flags, the keys of configuration
 * files, their checks, the help texts and the messages about wrong combinations all come from this one table.
 *
 * To add an optimizer: write `create<Name>(network, options)` in a file of its own and add its entry below.
 */
import { checkObject, checkOneOf } from '../checks.js';
import type { Network } from '../derivatives/network.js';
import type { DeviceName } from '../device/index.js';
import { createAdam, createAdamW } from './adam.js';
import { createBfgs } from './bfgs.js';
import { createGaussNewton } from './gauss-newton.js';
import { createLbfgs } from './lbfgs.js';
import { OptionError } from './option-checks.js';
import { asFlag, asKey, checkOption, type OptionSpec, type OptionValue } from './option-schema.js';
import type { Optimizer } from './optimizer.js';
import { precision, secondOrderEntries } from './second-order-entries.js';
import { createSgd } from './sgd.js';

/** An optimizer in the registry. */
export interface OptimizerEntry {
  /** Name, as in `--optimizer`. */
  name: string;
  /** one line for lists */
  description: string;
  /** author and year of the method */
  source: string;
  /** when another optimizer is the better choice */
  whenNotToUse: string;
  /** 'first' uses gradients only */
  order: 'first' | 'second';
  /** Its options with defaults and bounds. */
  options: readonly OptionSpec[];
  /** rates tried by `compare` where none is given; empty: nothing to tune */
  rateGrid: readonly number[];
  /** whether it takes an option `device` */
  onDevice?: boolean;
  /**
   * Makes one.
   *
   * @throws TypeError or RangeError for options it does not have or allow
   */
  create(network: Network, options: Record<string, unknown>): Optimizer;
}

const momentum = (value: number): OptionSpec => ({
  name: 'momentum',
  flag: 'momentum',
  type: 'number',
  default: value,
  minimum: 0,
  below: 1,
  help: 'momentum',
});
const rate = (value: number): OptionSpec => ({
  name: 'rate',
  flag: 'lr',
  type: 'number',
  default: value,
  above: 0,
  help: 'learning rate',
});
const weightDecay = (value: number, how: string): OptionSpec => ({
  name: 'weightDecay',
  flag: 'weight-decay',
  type: 'number',
  default: value,
  minimum: 0,
  help: `weight decay, ${how}`,
});
const clipNorm: OptionSpec = {
  name: 'clipNorm',
  flag: 'clip-norm',
  type: 'number',
  above: 0,
  help: 'clip the gradient to this norm (default: off)',
};
const schedule: OptionSpec = {
  name: 'schedule',
  flag: 'schedule',
  type: 'schedule',
  default: 'constant',
  help: 'constant | step:EVERY[,DECAY] | cosine:TOTAL[,MINIMUM], each with an optional +warmup:STEPS (in steps)',
};
const betas: readonly OptionSpec[] = [
  {
    name: 'beta1',
    flag: 'beta1',
    type: 'number',
    default: 0.9,
    minimum: 0,
    below: 1,
    help: 'decay of the mean gradient',
  },
  {
    name: 'beta2',
    flag: 'beta2',
    type: 'number',
    default: 0.999,
    minimum: 0,
    below: 1,
    help: 'decay of the mean squared gradient',
  },
  {
    name: 'epsilon',
    flag: 'epsilon',
    type: 'number',
    default: 1e-8,
    above: 0,
    help: 'keeps the denominator from zero',
  },
];

const lineSearch: readonly OptionSpec[] = [
  {
    name: 'initialStep',
    flag: 'initial-step',
    type: 'number',
    default: 1,
    above: 0,
    help: 'length of the first trial step of the first line search',
  },
  {
    name: 'c1',
    flag: 'wolfe-c1',
    type: 'number',
    default: 1e-4,
    above: 0,
    below: 1,
    help: 'line search: sufficient decrease, less than wolfe-c2',
  },
  {
    name: 'c2',
    flag: 'wolfe-c2',
    type: 'number',
    default: 0.9,
    above: 0,
    below: 1,
    help: 'line search: curvature condition',
  },
  {
    name: 'maxEvaluations',
    flag: 'max-evaluations',
    type: 'integer',
    default: 25,
    minimum: 1,
    help: 'line search: most evaluations of loss and gradient',
  },
  {
    name: 'safeguard',
    flag: 'safeguard',
    type: 'choice',
    default: 'damp',
    choices: ['damp', 'skip'],
    help: 'what becomes of a pair of too little curvature',
  },
];

const entries: readonly OptimizerEntry[] = [
  {
    name: 'gauss-newton',
    description: 'exact damped Gauss-Newton, Levenberg-Marquardt control of the damping; no learning rate',
    source: 'Levenberg 1944; Marquardt 1963; Schraudolph 2002',
    whenNotToUse: 'streams of small batches: an exact solve on a small batch overfits that batch',
    order: 'second',
    options: [
      { name: 'damping', flag: 'damping', type: 'number', default: 1, above: 0, help: 'first damping' },
      {
        name: 'control',
        flag: 'damping-control',
        type: 'choice',
        streamDefault: 'gain-ratio',
        defaultFor: ({ loss }) => (loss === 'mse' ? 'gain-ratio' : 'search'),
        choices: ['search', 'gain-ratio'],
        help: 'search: best of several dampings a step, the default of the cross-entropies; gain-ratio: one trial, the default of mse and of streams of batches',
      },
      {
        name: 'searchFactor',
        flag: 'search-factor',
        type: 'number',
        default: 10,
        above: 1,
        needs: { flag: 'damping-control', values: ['search'] },
        help: 'ratio of neighbouring trial dampings',
      },
      {
        name: 'uphill',
        flag: 'uphill',
        type: 'number',
        default: 0.3,
        minimum: 0,
        needs: { flag: 'damping-control', values: ['search'] },
        help: 'share of the loss by which a step may raise it, which leads out of plateaus; 0: none',
      },
      momentum(0),
      {
        name: 'maxStepSeconds',
        flag: 'max-step-seconds',
        type: 'number',
        default: 60,
        above: 0,
        help: 'refuse a batch whose step is modelled to take longer',
      },
      {
        name: 'geodesic',
        flag: 'geodesic',
        type: 'boolean',
        streamDefault: false,
        help: 'geodesic acceleration (default: on for mse with gain-ratio, else off)',
      },
      {
        name: 'decrease',
        flag: 'damping-decrease',
        type: 'number',
        streamDefault: 0.5,
        above: 0,
        below: 1,
        needs: { flag: 'damping-control', values: ['gain-ratio'] },
        help: 'factor on the damping after a good step (default: 0.3 for mse, else 0.5)',
      },
      {
        name: 'increase',
        flag: 'damping-increase',
        type: 'number',
        default: 2,
        above: 1,
        needs: { flag: 'damping-control', values: ['gain-ratio'] },
        help: 'factor on the damping after a poor step',
      },
      {
        name: 'minimumDamping',
        flag: 'minimum-damping',
        type: 'number',
        default: 1e-20,
        above: 0,
        help: 'least damping',
      },
      {
        name: 'maximumDamping',
        flag: 'maximum-damping',
        type: 'number',
        default: 1e10,
        above: 0,
        help: 'largest damping',
      },
      {
        name: 'maxTrials',
        flag: 'max-trials',
        type: 'integer',
        default: 12,
        minimum: 1,
        maximum: 1000,
        help: 'most trials of one step',
      },
      precision,
    ],
    rateGrid: [],
    onDevice: true,
    create: (network, options) => createGaussNewton(network, options),
  },
  {
    name: 'sgd',
    description: 'stochastic gradient descent with momentum',
    source: 'Robbins & Monro 1951; Polyak 1964; Nesterov 1983',
    whenNotToUse:
      'deep narrow or ill-conditioned networks, fits to high precision, or when no time is there to tune the rate',
    order: 'first',
    options: [
      rate(0.01),
      momentum(0.9),
      { name: 'nesterov', flag: 'nesterov', type: 'boolean', default: false, help: "Nesterov's momentum" },
      weightDecay(0, 'added to the gradient'),
      clipNorm,
      schedule,
    ],
    rateGrid: [0.03, 0.01, 3e-3, 1e-3],
    create: (network, options) => createSgd(network, options),
  },
  {
    name: 'adam',
    description: 'Adam: steps scaled by running moments of the gradient',
    source: 'Kingma & Ba 2015',
    whenNotToUse: 'fits to high precision: at a constant rate it settles in a cloud around the minimum',
    order: 'first',
    options: [rate(1e-3), ...betas, weightDecay(0, 'added to the gradient'), clipNorm, schedule],
    rateGrid: [1e-2, 3e-3, 1e-3, 3e-4],
    create: (network, options) => createAdam(network, options),
  },
  {
    name: 'adamw',
    description: 'Adam with decoupled weight decay',
    source: 'Loshchilov & Hutter 2019',
    whenNotToUse: 'as for adam; without weight decay it is adam',
    order: 'first',
    options: [rate(1e-3), ...betas, weightDecay(0.01, 'decoupled from the step'), clipNorm, schedule],
    rateGrid: [1e-2, 3e-3, 1e-3, 3e-4],
    create: (network, options) => createAdamW(network, options),
  },
  {
    name: 'lbfgs',
    description: 'limited-memory BFGS with a strong Wolfe line search; no learning rate',
    source: 'Nocedal 1980; Nocedal & Wright 2006, algorithms 7.4 and 7.5',
    whenNotToUse: 'streams of small batches: the line search fits every batch by itself',
    order: 'first',
    options: [
      {
        name: 'memory',
        flag: 'memory',
        type: 'integer',
        default: 10,
        minimum: 1,
        maximum: 10000,
        help: 'pairs of steps and gradient changes kept',
      },
      ...lineSearch,
    ],
    rateGrid: [],
    create: (network, options) => createLbfgs(network, options),
  },
  {
    name: 'bfgs',
    description: 'BFGS with a dense inverse and a strong Wolfe line search; no learning rate',
    source: 'Broyden, Fletcher, Goldfarb, Shanno 1970; Nocedal & Wright 2006, algorithm 6.1',
    whenNotToUse: 'streams of small batches, or more than a few thousand parameters (8 P^2 bytes): lbfgs there',
    order: 'first',
    options: [
      {
        name: 'maximumParameters',
        flag: 'max-parameters',
        type: 'integer',
        default: 8192,
        minimum: 1,
        help: 'refuse larger networks, for the dense inverse takes 8 P^2 bytes',
      },
      ...lineSearch,
    ],
    rateGrid: [],
    create: (network, options) => createBfgs(network, options),
  },
  ...secondOrderEntries,
];

/** All optimizers, in the order of help texts. */
export const optimizerEntries: readonly OptimizerEntry[] = entries;

/** Names of all optimizers. */
export const optimizerNames: readonly string[] = entries.map((entry) => entry.name);

/** The entry of an optimizer. @throws RangeError listing the names there are */
export function optimizerEntry(name: string): OptimizerEntry {
  checkOneOf('optimizer', 'name', name, optimizerNames);
  return entries.find((entry) => entry.name === name) as OptimizerEntry;
}

/**
 * Makes an optimizer from its name and options keyed by flag, as the command line and configuration files have them.
 *
 * @param settings values by flag, e.g. { lr: 0.1, momentum: 0.9, schedule: 'cosine:1000' }
 * @throws RangeError for an unknown name, an option that this optimizer does not have (with the list of those it
 *   has and of the optimizers that have it), or a value out of range
 * @param device where it works, for the optimizers that can choose
 */
export function createOptimizer(
  name: string,
  network: Network,
  settings: Record<string, unknown> = {},
  device: DeviceName = 'cpu',
): Optimizer {
  return buildOptimizer(name, network, settings, device, asKey);
}

/** {@link createOptimizer} whose messages call an option by `wordFor` of its flag. */
export function buildOptimizer(
  name: string,
  network: Network,
  settings: Record<string, unknown>,
  device: DeviceName,
  wordFor = asFlag,
): Optimizer {
  const entry = optimizerEntry(name);
  const options = resolveOptimizerSettings(entry, settings, network, wordFor);
  try {
    return entry.create(network, entry.onDevice === true ? { ...options, device } : options);
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    const nameOf = (option: string): string =>
      wordFor(entry.options.find((spec) => spec.name === option)?.flag ?? option);
    throw new RangeError(`optimizer '${name}': ${error.sentence(nameOf)}`, { cause: error });
  }
}

/**
 * Whether an option has an effect beside the others: the option it needs has one of the values. Yes, too, where that cannot be
 * told without the network.
 */
export function hasEffect(
  entry: OptimizerEntry,
  spec: OptionSpec,
  settings: Record<string, unknown>,
  network?: Network,
): boolean {
  const { needs } = spec;
  if (needs === undefined) return true;
  const needed = entry.options.find(({ flag }) => flag === needs.flag);
  const value = settings[needs.flag] ?? needed?.default ?? (network && needed?.defaultFor?.(network));
  return value === undefined || needs.values.includes(value as OptionValue);
}

/**
 * Checks settings keyed by flag and returns the options object of the optimizer.
 *
 * @param network where it is known, options that have no effect with its loss are refused too
 */
export function resolveOptimizerSettings(
  entry: OptimizerEntry,
  settings: Record<string, unknown>,
  network?: Network,
  wordFor = asFlag,
): Record<string, OptionValue> {
  checkObject('optimizer', 'settings', settings);
  const options: Record<string, OptionValue> = {};
  for (const [flag, value] of Object.entries(settings)) {
    if (value === undefined) continue;
    const spec = entry.options.find((option) => option.flag === flag);
    if (spec === undefined) {
      const others = entries
        .filter((other) => other.options.some((option) => option.flag === flag))
        .map((other) => other.name);
      throw new RangeError(
        `optimizer '${entry.name}': unknown option ${wordFor(flag)}` +
          (others.length > 0 ? ` (it belongs to: ${others.join(', ')})` : '') +
          `; allowed: ${entry.options.map((option) => wordFor(option.flag)).join(', ')}`,
      );
    }
    options[spec.name] = checkOption(`optimizer '${entry.name}'`, spec, value, wordFor);
    if (spec.needs !== undefined && value !== spec.default && !hasEffect(entry, spec, settings, network)) {
      throw new RangeError(
        `optimizer '${entry.name}': ${wordFor(flag)} has an effect with ${wordFor(spec.needs.flag)} ${spec.needs.values.map(String).join(' or ')} only`,
      );
    }
  }
  return options;
}

/** Every flag of any optimizer once, with the optimizers that have it. */
export function allOptimizerFlags(): { spec: OptionSpec; optimizers: string[] }[] {
  const flags = new Map<string, { spec: OptionSpec; optimizers: string[] }>();
  for (const entry of entries) {
    for (const spec of entry.options) {
      const known = flags.get(spec.flag);
      if (known === undefined) flags.set(spec.flag, { spec, optimizers: [entry.name] });
      else known.optimizers.push(entry.name);
    }
  }
  return [...flags.values()];
}
