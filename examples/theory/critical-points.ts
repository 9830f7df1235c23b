/**
 * The numbers of docs/theory/critical-points.md: symmetry, quadratic form, eigen-decomposition and orthogonality of the Hessian of
 * a small network, and its critical points by index.
 *
 *     node --import tsx examples/theory/critical-points.ts
 */
import { criticalPoint, eigenvalues } from '../../ts/curvature/index.js';
import { Network, type Linearization } from '../../ts/derivatives/index.js';
import { Random } from '../../ts/random.js';
import { commandLine } from '../command-line.js';

commandLine({});

const network = new Network({
  inputs: 2,
  loss: 'mse',
  layers: [
    { type: 'dense', units: 3, activation: 'tanh' },
    { type: 'dense', units: 1, activation: 'identity' },
  ],
  l2: 0.003,
});
// exclusive or, with a third of its plane: six points
const inputs = Float64Array.of(0, 0, 0, 1, 1, 0, 1, 1, 0.5, 0.2, 0.2, 0.8);
const batch = network.batch({ inputs, targets: [0, 1, 1, 0, 0.6, 0.7] });
const P = network.parameterCount;
const random = new Random(11);

const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, value, i) => sum + value * b[i], 0);
const e = (value: number, digits = 2): string => value.toExponential(digits);
const unit = (): Float64Array => {
  const v = random.normals(new Float64Array(P));
  const length = Math.sqrt(dot(v, v));
  return v.map((value) => value / length);
};
/** sum_i f(lambda_i) (v_i . x) v_i */
function spectralFunction(
  values: Float64Array,
  vectors: Float64Array,
  x: Float64Array,
  f: (lambda: number) => number,
): Float64Array {
  const out = new Float64Array(P);
  for (let k = 0; k < P; k++) {
    const v = vectors.subarray(k * P, (k + 1) * P);
    const weight = f(values[k]) * dot(v, x);
    for (let i = 0; i < P; i++) out[i] += weight * v[i];
  }
  return out;
}

console.log(`network 2-3-1, tanh, P = ${P}, N = 6\n`);
const params = network.initialize({ seed: 5, scheme: 'normal', gain: 1.5, biasScale: 0.3 });
const point = network.linearize(params, batch);
const norm = Math.max(...eigenvalues(point).values.map(Math.abs));

console.log('1. Symmetry');
let asymmetry = 0;
for (let trial = 0; trial < 100; trial++) {
  const [v, w] = [unit(), unit()];
  asymmetry = Math.max(asymmetry, Math.abs(dot(v, point.hessianProduct(w)) - dot(w, point.hessianProduct(v))));
}
console.log(`   largest |v'Hw - w'Hv| of 100 pairs: ${e(asymmetry)}   (|H| = ${norm.toFixed(4)})\n`);

console.log("2. Quadratic form: v'Hv against second differences of the loss, step t");
const v = unit();
const exact = dot(v, point.hessianProduct(v));
const lossAt = (t: number): number =>
  network.evaluate(
    params.map((value, i) => value + t * v[i]),
    batch,
  ).loss;
for (const t of [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6]) {
  const difference = (lossAt(t) - 2 * lossAt(0) + lossAt(-t)) / t ** 2;
  console.log(`   t = ${e(t, 0)}   ${difference.toFixed(10)}   error ${e(Math.abs(difference - exact))}`);
}
console.log(`   exact       ${exact.toFixed(10)}\n`);

console.log('3. Eigen-decomposition and orthogonality');
const { values, vectors } = eigenvalues(point, { vectors: true });
let residual = 0;
let overlap = 0;
for (let k = 0; k < P; k++) {
  const vk = vectors!.slice(k * P, (k + 1) * P);
  const hv = point.hessianProduct(vk);
  residual = Math.max(residual, Math.hypot(...hv.map((value, i) => value - values[k] * vk[i])));
  for (let j = 0; j < k; j++) overlap = Math.max(overlap, Math.abs(dot(vk, vectors!.subarray(j * P, (j + 1) * P))));
}
console.log(`   eigenvalues ${Array.from(values, (value) => value.toFixed(4)).join(' ')}`);
console.log(`   largest |H v - lambda v|   ${e(residual)}`);
console.log(`   largest |v_j . v_k|, j <> k ${e(overlap)}`);
const x = unit();
const form = values.reduce((sum, value, k) => sum + value * dot(x, vectors!.subarray(k * P, (k + 1) * P)) ** 2, 0);
console.log(`   x'Hx = ${dot(x, point.hessianProduct(x)).toFixed(15)}`);
console.log(`   sum lambda_k (v_k . x)^2 = ${form.toFixed(15)}\n`);

console.log('4. Critical points: roots of the gradient from 200 random starts');
interface Found {
  loss: number;
  index: number;
  flat: number;
  kind: string;
  smallest: number;
  check: number;
  starts: number;
}
/**
 * Levenberg-Marquardt on |gradient|^2, whose roots are critical points of every index. With `descend`, first saddle-free Newton
 * steps |H|^-1 g (Dauphin et al. 2014), which leave saddles and end at minima.
 */
function findCriticalPoint(start: Float64Array, descend: boolean): Linearization | null {
  let at = network.linearize(start, batch);
  for (let step = 0; descend && step < 300; step++) {
    const spectrum = eigenvalues(at, { vectors: true });
    const d = spectralFunction(
      spectrum.values,
      spectrum.vectors!,
      at.gradient,
      (lambda) => 1 / (Math.abs(lambda) + 0.01),
    );
    at = network.linearize(
      at.params.map((value, i) => value - 0.5 * d[i]),
      batch,
    );
  }
  let damping = 0.1;
  for (let step = 0; step < 400; step++) {
    const size = Math.sqrt(dot(at.gradient, at.gradient));
    if (size < 1e-13) return at;
    const spectrum = eigenvalues(at, { vectors: true });
    const d = spectralFunction(
      spectrum.values,
      spectrum.vectors!,
      at.gradient,
      (lambda) => lambda / (lambda * lambda + damping * size),
    );
    const next = network.linearize(
      at.params.map((value, i) => value - d[i]),
      batch,
    );
    if (Math.sqrt(dot(next.gradient, next.gradient)) < size) {
      at = next;
      damping = Math.max(damping / 4, 1e-12);
    } else {
      damping *= 4;
      if (damping > 1e8) break;
    }
  }
  return Math.sqrt(dot(at.gradient, at.gradient)) < 1e-11 ? at : null;
}
const found = new Map<string, Found>();
let failures = 0;
for (let trial = 0; trial < 200; trial++) {
  const root = findCriticalPoint(
    random.normals(new Float64Array(P)).map((value) => 1.2 * value),
    trial % 2 === 1,
  );
  if (root === null) {
    failures++;
    continue;
  }
  const report = criticalPoint(root, { tolerance: 1e-8, gradientTolerance: 1e-10 });
  const key = `${root.loss.toFixed(9)} ${report.index}`;
  const entry = found.get(key);
  if (entry !== undefined) {
    entry.starts++;
    continue;
  }
  const { exact: curvature, difference } = report.quadraticForm[0];
  found.set(key, {
    loss: root.loss,
    index: report.index,
    flat: report.degenerate,
    kind: report.kind,
    smallest: report.smallest.value,
    check: Math.abs(curvature - difference),
    starts: 1,
  });
}
console.log(
  "   index  kind      points  starts  flat   lowest loss  highest loss   smallest eigenvalues     |v'Hv - difference| <=",
);
const all = [...found.values()];
for (const index of [...new Set(all.map((point) => point.index))].sort((a, b) => a - b)) {
  const group = all.filter((point) => point.index === index);
  const column = (pick: (point: Found) => number): number[] => group.map(pick);
  const smallest = column((point) => point.smallest);
  console.log(
    `   ${String(index).padStart(5)}  ${[...new Set(group.map((point) => point.kind))].join('/').padEnd(8)}  ${String(group.length).padStart(6)}  ` +
      `${String(column((point) => point.starts).reduce((a, b) => a + b)).padStart(6)}  ${String(Math.max(...column((point) => point.flat))).padStart(4)}   ` +
      `${Math.min(...column((point) => point.loss)).toFixed(7)}    ${Math.max(...column((point) => point.loss)).toFixed(7)}   ` +
      `${Math.min(...smallest)
        .toFixed(5)
        .padStart(9)} to ${Math.max(...smallest)
        .toFixed(5)
        .padStart(9)}   ${e(Math.max(...column((point) => point.check)))}`,
  );
}
console.log(`   starts that ended at no root: ${failures}`);
