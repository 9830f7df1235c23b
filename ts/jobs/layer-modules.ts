/** Modules that make custom layers known in a worker thread: each calls `registerLayer` when it is imported. */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { failType } from '../checks.js';

/** Imports the modules, paths or file URLs, each once a thread. */
export async function loadLayerModules(modules: readonly string[]): Promise<void> {
  for (const name of modules) {
    const url = /^(file|data|node):/.test(name) ? name : pathToFileURL(resolve(name)).href;
    await import(url);
  }
}

export function checkLayerModules(operation: string, modules: unknown): asserts modules is readonly string[] {
  const expected = 'a list of paths or file URLs';
  if (!Array.isArray(modules)) failType(operation, 'layerModules', expected, modules);
  for (const name of modules as unknown[])
    if (typeof name !== 'string') failType(operation, 'layerModules', expected, name);
}
