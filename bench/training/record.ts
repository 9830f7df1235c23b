/**
 * The record of a training benchmark: every finished run as one JSON line, so that hours of measuring survive an interruption and
 * can be done in parts. A run that the record holds is not repeated. Runs on another processor or Node, or with another time budget, are other
 * runs; after a change of the code, start a new record.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import os from 'node:os';
import type { Outcome } from './runs.js';

/** What identifies a run. */
export interface RunKey {
  /** name of the problem, as in `airfoil, 20 x 10` */
  job: string;
  label: string;
  rate: number | null;
  seed: number;
  /** time budget, seconds */
  budget: number;
}

const machine = `${os.cpus()[0]?.model.trim() ?? 'unknown'}, Node ${process.version}`;

/** JSON has no infinity and no NaN; a diverged run has a loss of Infinity. */
const encode = (_: string, value: unknown): unknown =>
  typeof value === 'number' && !Number.isFinite(value) ? { number: String(value) } : value;
const decode = (_: string, value: unknown): unknown =>
  typeof value === 'object' && value !== null && 'number' in value && Object.keys(value).length === 1
    ? Number(value.number)
    : value;

const name = ({ job, label, rate, seed, budget }: RunKey): string => JSON.stringify([job, label, rate, seed, budget]);

export class RunRecord {
  private readonly runs = new Map<string, Outcome>();

  /** Reads what the file holds, if it is there. A last line cut short by a kill is ignored. */
  constructor(private readonly path: string) {
    if (!existsSync(path)) return;
    let foreign = 0;
    for (const line of readFileSync(path, 'utf8').split('\n')) {
      let entry: { machine: string; key: RunKey; run: Outcome };
      try {
        entry = JSON.parse(line, decode) as typeof entry;
      } catch {
        continue;
      }
      if (entry.machine === machine) this.runs.set(name(entry.key), entry.run);
      else foreign++;
    }
    const others = foreign === 0 ? '' : `; ${foreign} of another machine ignored`;
    console.log(`record    ${this.runs.size} finished runs in ${path}${others}`);
  }

  find(key: RunKey): Outcome | undefined {
    return this.runs.get(name(key));
  }

  add(key: RunKey, run: Outcome): void {
    const { label, rate, seed, loss, steps, seconds, sets, curve } = run;
    const kept: Outcome = { label, rate, seed, loss, steps, seconds, sets, curve };
    this.runs.set(name(key), kept);
    appendFileSync(this.path, `${JSON.stringify({ machine, key, run: kept }, encode)}\n`);
  }
}
