/** Modules that make custom layers known in a worker thread: each calls `registerLayer` when it is imported. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { failType } from '../checks.js';
import { checkRegular } from '../data/regular-file.js';

/**
 * Imports the modules, paths or file URLs, each once a thread.
 *
 * @throws DeepHessianError 'io' for what is there but not a regular file
 */
export async function loadLayerModules(modules: readonly string[]): Promise<void> {
  for (const name of modules) {
    const url = /^(file|data|node):/.test(name) ? name : pathToFileURL(resolve(name)).href;
    // What is not there is left to the import, whose loader may find it under another ending.
    const info = url.startsWith('file:') ? statSync(fileURLToPath(url), { throwIfNoEntry: false }) : undefined;
    if (info !== undefined) checkRegular(name, info, 'importing');
    await import(url);
  }
}

export function checkLayerModules(operation: string, modules: unknown): asserts modules is readonly string[] {
  const expected = 'a list of paths or file URLs';
  if (!Array.isArray(modules)) failType(operation, 'layerModules', expected, modules);
  for (const name of modules as unknown[])
    if (typeof name !== 'string') failType(operation, 'layerModules', expected, name);
}
