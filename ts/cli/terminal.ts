/** Where commands print. Results go to `out` (stdout), progress and messages to `err` (stderr). */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /** whether progress may be drawn over itself */
  interactive: boolean;
  stream: NodeJS.WritableStream;
}

/** The process's own terminal. A reader that goes away (`| head`) ends the output, not the run. */
export function processTerminal(): Terminal {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    interactive: process.stderr.isTTY === true && process.env.TERM !== 'dumb' && process.env.CI === undefined,
    stream: process.stderr,
  };
}

/** 0.000123 -> "1.23e-4"; numbers of everyday size stay as they are. */
export function formatNumber(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? '-' : value > 0 ? 'inf' : '-inf';
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1e-2 && size < 1e5) return String(Number(value.toPrecision(digits)));
  return value.toExponential(digits - 1).replace('e+', 'e');
}

/** 12345.6 -> "12,346" */
export function formatCount(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

/** 75 -> "1m15s" */
export function formatSeconds(value: number): string {
  if (!Number.isFinite(value)) return '-';
  if (value < 0.1 && value > 0) return `${formatNumber(1000 * value, 2)}ms`;
  if (value < 10) return `${value.toFixed(1)}s`;
  const seconds = Math.round(value);
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, '0')}s`;
  return `${Math.floor(seconds / 3600)}h${String(Math.floor((seconds % 3600) / 60)).padStart(2, '0')}m`;
}

/** A table of text with aligned columns; columns whose cells all begin like numbers are set to the right. */
export function formatTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, j) => Math.max(title.length, ...rows.map((row) => row[j].length)));
  const right = header.map((_, j) => rows.every((row) => /^[-+]?[\d.]|^-$|^inf$/.test(row[j])));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, j) => (right[j] ? cell.padStart(widths[j]) : cell.padEnd(widths[j])))
      .join('   ')
      .trimEnd();
  return [line(header), widths.map((width) => '-'.repeat(width)).join('   '), ...rows.map(line)].join('\n');
}
