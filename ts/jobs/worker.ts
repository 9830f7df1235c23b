/**
 * The module that worker threads run: their tasks by name.
 *
 * The top-level await keeps the pool from loading this file by `require`: modules of custom layers, which are imported,
 * must meet the same instance of the library.
 */
export const { holdFactor } = await import('./factor-thread.js');
export const { runTraining } = await import('./training-thread.js');
/** A task that is over at once. */
export const nothing = (): void => undefined;
