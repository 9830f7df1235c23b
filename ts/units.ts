/** Quantities in print. */

/** Bytes in print, e.g. '1.5 GB'. */
export function formatBytes(bytes: number): string {
  if (bytes < 1e3) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`;
  if (bytes < 1e9) return `${(bytes / 1e6).toFixed(1)} MB`;
  return `${(bytes / 1e9).toFixed(2)} GB`;
}

/** Seconds in print, e.g. '12 ms'. */
export function formatSeconds(seconds: number): string {
  return seconds < 1 ? `${(seconds * 1e3).toPrecision(2)} ms` : `${seconds.toPrecision(3)} s`;
}
