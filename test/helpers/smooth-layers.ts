/** Custom layers for tests: an affine tanh layer written the long way, and a gated layer that no built-in layer can express. */
import type { SmoothLayer } from '../../ts/network/index.js';

/** act(W z + b) (+ z) with tanh; parameters as in a built-in layer: W row-major, then b. */
export function tanhLayer(inputs: number, units: number, residual = false): SmoothLayer {
  const a = inputs;
  const h = units;
  const parameterCount = h * a + h;
  const states = (params: Float64Array, z: Float64Array): Float64Array => {
    const s = new Float64Array(h);
    for (let u = 0; u < h; u++) {
      s[u] = params[h * a + u];
      for (let i = 0; i < a; i++) s[u] += params[u * a + i] * z[i];
    }
    return s;
  };
  return {
    name: residual ? 'residual-tanh' : 'tanh',
    inputs,
    units,
    parameterCount,
    forward(params, z, output) {
      const s = states(params, z);
      for (let u = 0; u < h; u++) output[u] = Math.tanh(s[u]) + (residual ? z[u] : 0);
    },
    jacobians(params, z, dParams, dInput) {
      const s = states(params, z);
      for (let u = 0; u < h; u++) {
        const d = 1 - Math.tanh(s[u]) ** 2;
        for (let i = 0; i < a; i++) {
          dParams[u * parameterCount + u * a + i] = d * z[i];
          dInput[u * a + i] = d * params[u * a + i] + (residual && u === i ? 1 : 0);
        }
        dParams[u * parameterCount + h * a + u] = d;
      }
    },
    contractions(params, z, adjoint, hxx, hxz, hzz) {
      const s = states(params, z);
      for (let u = 0; u < h; u++) {
        const t = Math.tanh(s[u]);
        const d = (1 - t * t) * adjoint[u];
        const c = -2 * t * d;
        const rows = [...Array.from({ length: a }, (_, i) => u * a + i), h * a + u];
        const entries = [...z, 1];
        for (let i = 0; i <= a; i++) {
          for (let j = 0; j <= a; j++) hxx[rows[i] * parameterCount + rows[j]] += c * entries[i] * entries[j];
          for (let j = 0; j < a; j++) hxz[rows[i] * a + j] += c * entries[i] * params[u * a + j] + (i === j ? d : 0);
        }
        for (let i = 0; i < a; i++) {
          for (let j = 0; j < a; j++) hzz[i * a + j] += c * params[u * a + i] * params[u * a + j];
        }
      }
    },
  };
}

/** f_u = (A_u . z) sin(B_u . z): parameters A then B, both row-major units x inputs. */
export function gatedLayer(inputs: number, units: number): SmoothLayer {
  const a = inputs;
  const h = units;
  const parameterCount = 2 * h * a;
  const parts = (params: Float64Array, z: Float64Array, u: number): [number, number] => {
    let left = 0;
    let right = 0;
    for (let i = 0; i < a; i++) {
      left += params[u * a + i] * z[i];
      right += params[h * a + u * a + i] * z[i];
    }
    return [left, right];
  };
  return {
    name: 'gated-sine',
    inputs,
    units,
    parameterCount,
    initialize: (random) => random.normals(new Float64Array(parameterCount)).map((value) => 0.6 * value),
    toJSON: () => ({ inputs, units }),
    forward(params, z, output) {
      for (let u = 0; u < h; u++) {
        const [left, right] = parts(params, z, u);
        output[u] = left * Math.sin(right);
      }
    },
    jacobians(params, z, dParams, dInput) {
      for (let u = 0; u < h; u++) {
        const [left, right] = parts(params, z, u);
        const [fl, fr] = [Math.sin(right), left * Math.cos(right)];
        for (let i = 0; i < a; i++) {
          dParams[u * parameterCount + u * a + i] = fl * z[i];
          dParams[u * parameterCount + h * a + u * a + i] = fr * z[i];
          dInput[u * a + i] = fl * params[u * a + i] + fr * params[h * a + u * a + i];
        }
      }
    },
    contractions(params, z, adjoint, hxx, hxz, hzz) {
      for (let u = 0; u < h; u++) {
        const [left, right] = parts(params, z, u);
        const fl = adjoint[u] * Math.sin(right);
        const fr = adjoint[u] * left * Math.cos(right);
        const flr = adjoint[u] * Math.cos(right);
        const frr = -adjoint[u] * left * Math.sin(right);
        const A = (i: number): number => u * a + i;
        const B = (i: number): number => h * a + u * a + i;
        for (let i = 0; i < a; i++) {
          for (let j = 0; j < a; j++) {
            const wA = params[A(j)];
            const wB = params[B(j)];
            hxx[A(i) * parameterCount + B(j)] += flr * z[i] * z[j];
            hxx[B(i) * parameterCount + A(j)] += flr * z[i] * z[j];
            hxx[B(i) * parameterCount + B(j)] += frr * z[i] * z[j];
            hxz[A(i) * a + j] += flr * z[i] * wB + (i === j ? fl : 0);
            hxz[B(i) * a + j] += z[i] * (flr * wA + frr * wB) + (i === j ? fr : 0);
            hzz[i * a + j] += flr * (params[A(i)] * wB + params[B(i)] * wA) + frr * params[B(i)] * wB;
          }
        }
      }
    },
  };
}

/** f_u = z_u + z_u z_{u+1} / 2 (cyclic): couples the inputs and has no parameters. */
export function couplingLayer(units: number): SmoothLayer {
  const h = units;
  return {
    name: 'coupling',
    inputs: h,
    units: h,
    parameterCount: 0,
    forward(_params, z, output) {
      for (let u = 0; u < h; u++) output[u] = z[u] + (z[u] * z[(u + 1) % h]) / 2;
    },
    jacobians(_params, z, _dParams, dInput) {
      for (let u = 0; u < h; u++) {
        dInput[u * h + u] += 1 + z[(u + 1) % h] / 2;
        dInput[u * h + ((u + 1) % h)] += z[u] / 2;
      }
    },
    contractions(_params, _z, adjoint, _hxx, _hxz, hzz) {
      for (let u = 0; u < h; u++) {
        const next = (u + 1) % h;
        hzz[u * h + next] += adjoint[u] / 2;
        hzz[next * h + u] += adjoint[u] / 2;
      }
    },
  };
}
