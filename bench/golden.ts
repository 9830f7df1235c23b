/** Every golden case through every route: worst errors against automatic differentiation and dense eigenvalues. */
import { factor, type Method } from '../ts/inverse/index.js';
import { goldenNames, readGolden, relativeError } from '../test/helpers/golden.js';
import { heading, verdict } from './harness.js';

export function goldenBenchmark(): void {
  heading('1. Golden cases');
  console.log('case     loss      gradient  H v       residual  inertia  log|det|');
  let worst = { derivative: 0, residual: 0, inertia: 0, counted: 0, logAbsDet: 0 };
  for (const name of goldenNames) {
    const golden = readGolden(name);
    const point = golden.network.linearize(golden.params, { inputs: golden.inputs, targets: golden.targets });
    const loss = Math.abs(point.loss - golden.array('loss')[0]) / golden.array('loss')[0];
    const gradient = relativeError(point.gradient, golden.array('grad'));
    const product = relativeError(point.hessianProduct(golden.array('v')), golden.array('hvp_v'));
    let residual = 0;
    let wrong = 0;
    let counted = 0;
    let log = 0;
    for (const matrix of ['hessian', 'gauss-newton'] as const) {
      const spectrum = golden.array(matrix === 'hessian' ? 'hessian_eigenvalues' : 'gauss_newton_eigenvalues');
      const methods: Method[] =
        matrix === 'hessian' ? ['affine', 'block', 'dense'] : ['affine', 'block', 'sample-space', 'dense'];
      for (const method of methods) {
        for (const damping of golden.metadata.eps) {
          const f = factor(point, { matrix, damping, method });
          residual = Math.max(residual, f.solve(golden.array('grad')).residual);
          counted++;
          if (f.inertia.negative !== spectrum.filter((value) => value + damping < 0).length) wrong++;
          const exact = spectrum.reduce((sum, value) => sum + Math.log(Math.abs(value + damping)), 0);
          log = Math.max(log, Math.abs(f.logAbsDet - exact) / Math.max(1, Math.abs(exact)));
          f.dispose();
        }
      }
    }
    const e = (value: number): string => value.toExponential(1).padEnd(9);
    console.log(
      `${name}   ${e(loss)} ${e(gradient)} ${e(product)} ${e(residual)} ${counted - wrong}/${counted}    ${e(log)}`,
    );
    worst = {
      derivative: Math.max(worst.derivative, loss, gradient, product),
      residual: Math.max(worst.residual, residual),
      inertia: worst.inertia + wrong,
      counted: worst.counted + counted,
      logAbsDet: Math.max(worst.logAbsDet, log),
    };
  }
  verdict(`loss, gradient, H v within 1e-12 (worst ${worst.derivative.toExponential(1)})`, worst.derivative <= 1e-12);
  verdict(`residual of every solve at most 1e-10 (worst ${worst.residual.toExponential(1)})`, worst.residual <= 1e-10);
  verdict(
    `inertia equals the eigenvalue count (${worst.counted - worst.inertia} of ${worst.counted})`,
    worst.inertia === 0,
  );
  verdict(`log-determinant within 1e-8 (worst ${worst.logAbsDet.toExponential(1)})`, worst.logAbsDet <= 1e-8);
}
