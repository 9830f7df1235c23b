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
  ) {}

  /** @param fraction of the whole work, from 0 to 1 */
  update(label: string, fraction: number): void {
    if (this.quiet) return;
    const { terminal, title } = this;
    if (!terminal.interactive) {
      if (performance.now() - this.lastLine < 1000 * plainInterval) return;
      this.lastLine = performance.now();
      terminal.err(`${title} ${Math.round(100 * fraction)}% | ${label}\n`);
      return;
    }
    if (this.bar === null) {
      const format = `${title} {bar} {percentage}% | {label}`;
      this.bar = new SingleBar(
        {
          format,
          stream: terminal.stream,
          hideCursor: true,
          barsize: 20,
          fps: 10,
          linewrap: false,
          gracefulExit: false,
        },
        Presets.shades_classic,
      );
      this.bar.start(1000, 0, { label });
    }
    this.bar.update(Math.round(1000 * Math.min(1, fraction)), { label });
  }

  finish(): void {
    this.bar?.stop();
    this.bar = null;
  }
}
