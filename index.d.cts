// Types of require('deep-hessian'): the same names as the ES module.
export * from './dist/index.js';
