/** Live progress: a bar on a terminal, a plain line now and then elsewhere. */
import { Presets, SingleBar } from 'cli-progress';
import type { Budget, EndRecord, EvaluationRecord, StepRecord, TrainEvent } from '../train/trainer.js';
import { formatCount, formatNumber, formatSeconds, type Terminal } from './terminal.js';

/** How far a run is, from 0 to 1: the limit that is nearest. */
export function fractionDone(budget: Budget, event: { step: number; epoch: number; seconds: number }): number {
  let fraction = 0;
  if (budget.steps !== undefined && budget.steps > 0) fraction = Math.max(fraction, event.step / budget.steps);
  if (budget.epochs !== undefined) fraction = Math.max(fraction, event.epoch / budget.epochs);
  if (budget.seconds !== undefined) fraction = Math.max(fraction, event.seconds / budget.seconds);
  return Math.min(1, fraction);
}

/** Seconds of optimizer time for which an evaluation still speaks for the parameters. */
const freshSeconds = 1;

/** Whether an evaluation belongs to the parameters at `event`, or to those of a moment before; that of the start never does. */
export function isFresh(
  evaluation: { step: number; seconds: number },
  event: { step: number; seconds: number },
): boolean {
  if (evaluation.step === 0) return event.step === 0;
  return event.step - evaluation.step <= 1 || event.seconds - evaluation.seconds <= freshSeconds;
}

/** The figures of a step in words; an evaluation gives the accuracy while it is fresh. */
export function describeStep(event: StepRecord, latest: EvaluationRecord | EndRecord | null, budget: Budget): string {
  const parts = [`loss ${formatNumber(event.smoothedLoss)}`];
  const evaluation = latest !== null && isFresh(latest, event) ? latest : null;
  // The figure of the set that says most: held-out samples, else those trained on.
  const name = ['test', 'test sample', 'validation', 'train', 'train sample'].find(
    (candidate) => evaluation !== null && candidate in evaluation.sets,
  );
  const set = name === undefined ? undefined : evaluation?.sets[name];
  if (set !== undefined && 'accuracy' in set) parts.push(`${name} accuracy ${(100 * set.accuracy).toFixed(1)}%`);
  else if (set !== undefined && 'rmse' in set) parts.push(`${name} rmse ${formatNumber(set.rmse)}`);
  const { damping } = event.figures;
  if (typeof damping === 'number') parts.push(`damping ${formatNumber(damping, 2)}`);
  parts.push(`step ${formatNumber(event.stepNorm, 2)}`);
  parts.push(
    event.rejectedSteps > 0
      ? `${formatCount(event.acceptedSteps)} taken, ${formatCount(event.rejectedSteps)} rejected`
      : `${formatCount(event.acceptedSteps)} taken`,
  );
  parts.push(`${formatCount(event.samplesPerSecond)} samples/s`);
  const fraction = fractionDone(budget, event);
  if (fraction > 0) parts.push(`${formatSeconds((event.seconds * (1 - fraction)) / fraction)} left`);
  return parts.join(' | ');
}

/** Seconds between two plain lines. */
const plainInterval = 2;

/** Shows the progress of one run after another. */
export class Progress {
  private bar: SingleBar | null = null;
  private evaluation: EvaluationRecord | EndRecord | null = null;
  private step: StepRecord | null = null;
  private lastLine = 0;
  private lines = 0;

  constructor(
    private readonly terminal: Terminal,
    private readonly quiet: boolean,
  ) {}

  /** Begins a run; `title` stands before its figures. */
  begin(title: string): void {
    this.finish();
    this.evaluation = null;
    this.step = null;
    this.lines = 0;
    this.lastLine = performance.now();
    if (this.quiet) return;
    if (!this.terminal.interactive) return;
    this.bar = new SingleBar(
      {
        format: `${title} {bar} {percentage}% | {figures}`,
        stream: this.terminal.stream,
        hideCursor: true,
        barsize: 20,
        fps: 10,
        linewrap: false,
        gracefulExit: false,
        clearOnComplete: false,
      },
      Presets.shades_classic,
    );
    this.bar.start(1000, 0, { figures: '' });
  }

  update(title: string, event: TrainEvent, budget: Budget): void {
    if (event.type === 'step') this.step = event;
    else this.evaluation = event;
    if (this.quiet || this.step === null || event.type === 'evaluation') return;
    // The end shows the last step again, now with the figures of the evaluation that belongs to it.
    const last = event.type === 'end';
    const figures = describeStep(this.step, this.evaluation, budget);
    if (this.bar !== null) {
      const done = event.type === 'end' && event.reason !== 'aborted' ? 1 : fractionDone(budget, event);
      this.bar.update(Math.round(1000 * done), { figures });
    } else if (
      !this.terminal.interactive &&
      (last ? this.lines > 0 : performance.now() - this.lastLine > 1000 * plainInterval)
    ) {
      this.lastLine = performance.now();
      this.lines++;
      this.terminal.err(`${title} step ${this.step.step} | ${formatSeconds(this.step.seconds)} | ${figures}\n`);
    }
  }

  /** Ends the bar of the current run. */
  finish(): void {
    this.bar?.stop();
    this.bar = null;
  }
}

/** "loss 0.123, accuracy 98.50%" */
export function describeFigures(figures: Readonly<Record<string, number>>): string {
  return Object.entries(figures)
    .map(([figure, value]) =>
      figure === 'accuracy' ? `accuracy ${(100 * value).toFixed(2)}%` : `${figure} ${formatNumber(value, 4)}`,
    )
    .join(', ');
}

/** One line for the end of a run. */
export function describeEnd(event: EndRecord): string {
  const reasons: Record<EndRecord['reason'], string> = {
    steps: 'all steps done',
    epochs: 'all epochs done',
    seconds: 'time is up',
    'target-loss': 'target loss reached',
    aborted: 'interrupted',
    stalled: 'no step lowers the loss any more',
  };
  const sets = Object.entries(event.sets).map(([name, figures]) => `${name} ${describeFigures(figures)}`);
  return (
    `${reasons[event.reason]}: ${formatCount(event.step)} steps in ${formatSeconds(event.seconds)}, loss ${formatNumber(event.loss, 4)}` +
    (event.rejectedSteps > 0 ? ` (${formatCount(event.rejectedSteps)} steps rejected)` : '') +
    (sets.length > 0 ? `; ${sets.join('; ')}` : '')
  );
}
