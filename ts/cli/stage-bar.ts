/** Progress of a command that goes through stages: a bar on a terminal, a plain line now and then elsewhere. */
import { Presets, SingleBar } from 'cli-progress';
import type { Terminal } from './terminal.js';

/** Seconds between two plain lines. */
const plainInterval = 2;

export class StageBar {
  private bar: SingleBar | null = null;
  private lastLine = performance.now();

  constructor(
    private readonly terminal: Terminal,
    private readonly title: string,
    private readonly quiet: boolean,
    /** whether the bar makes room at the end for what is printed below it */
    private readonly passing = false,
  ) {}

  /** @param fraction of the whole work, from 0 to 1; null where that is not known */
  update(label: string, fraction: number | null): void {
    if (this.quiet) return;
    const { terminal, title } = this;
    if (!terminal.interactive) {
      if (performance.now() - this.lastLine < 1000 * plainInterval) return;
      this.lastLine = performance.now();
      terminal.err(`${title}${fraction === null ? '' : ` ${Math.round(100 * fraction)}%`} | ${label}\n`);
      return;
    }
    if (this.bar === null) {
      const format = `${title}${fraction === null ? '' : ' {bar} {percentage}%'} | {label}`;
      this.bar = new SingleBar(
        {
          format,
          stream: terminal.stream,
          hideCursor: true,
          barsize: 20,
          fps: 10,
          linewrap: false,
          gracefulExit: false,
          clearOnComplete: this.passing,
        },
        Presets.shades_classic,
      );
      this.bar.start(1000, 0, { label });
    }
    this.bar.update(Math.round(1000 * Math.min(1, fraction ?? 0)), { label });
  }

  finish(): void {
    this.bar?.stop();
    this.bar = null;
  }
}
