"""The Gauss-Newton solve (assemble, factor, step) in PyTorch, float64, eager mode: milliseconds of each size.

The algorithm is that of ts/inverse/sample-space.ts, as far as PyTorch's own operations give it: rows back-propagated through the
layers, the Gram matrix as a sum over layers of products of two smaller ones, a Cholesky factorization, two triangular solves. The other
way, a Jacobian by torch.func and its product with its transpose, costs samples x outputs x parameters numbers and was left out.

usage: torch_gauss_newton.py DEVICE LAYERS,HIDDEN,INPUTS,OUTPUTS,SAMPLES ...
"""
import sys
import time

import torch

device = sys.argv[1]
if device == "cuda" and not torch.cuda.is_available():
    sys.exit("PyTorch sees no GPU")
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
damping = 0.1


def wait():
    if device == "cuda":
        torch.cuda.synchronize()


def median(work, repeats=3):
    times = []
    for i in range(repeats + 1):
        wait()
        start = time.perf_counter()
        work()
        wait()
        if i > 0:
            times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def step(weights, x, y):
    """x = (G + damping I)^-1 grad of the mean cross-entropy of a tanh network."""
    N = x.shape[0]
    states = [torch.cat([x, x.new_ones(N, 1)], 1)]
    for l, w in enumerate(weights):
        z = states[-1] @ w.T
        states.append(z if l == len(weights) - 1 else torch.cat([torch.tanh(z), z.new_ones(N, 1)], 1))
    p = torch.softmax(states[-1], 1)
    K = p.shape[1]
    # R^T of every sample, K - 1 rows: Q = diag(p) - p p^T = R R^T (Tanabe & Sagae 1992)
    tail = torch.flip(torch.cumsum(torch.flip(p, [1]), 1), [1])
    root = torch.sqrt(p[:, :-1] * tail[:, 1:] / tail[:, :-1] / N)
    rows = -(root / tail[:, 1:])[:, :, None] * p[:, None, :]
    rows = torch.triu(rows, 1)
    rows[:, range(K - 1), range(K - 1)] = root
    d = rows.transpose(0, 1).reshape((K - 1) * N, K)
    gram = d.new_zeros((K - 1) * N, (K - 1) * N)
    held = []
    for l in range(len(weights) - 1, -1, -1):
        held.append(d)
        gram.view(K - 1, N, K - 1, N).add_((d @ d.T).view(K - 1, N, K - 1, N) * (states[l] @ states[l].T)[None, :, None, :])
        if l > 0:
            h = weights[l].shape[1] - 1
            slope = 1 - states[l][:, :h] ** 2
            d = (d @ weights[l][:, :h]).view(K - 1, N, h) * slope
            d = d.view((K - 1) * N, h)
    held.reverse()
    # rows of the residual: R a = dLoss/doutputs by forward substitution is a small batched solve
    u = (p - torch.nn.functional.one_hot(y, K)) / N
    lower = rows[:, :, :-1].transpose(1, 2)
    a = torch.linalg.solve_triangular(lower, u[:, :-1, None], upper=False)[:, :, 0].T.reshape(-1, 1)
    gram.diagonal().add_(damping)
    a = torch.cholesky_solve(a, torch.linalg.cholesky(gram)).view(K - 1, N, 1)
    return [(d.view(K - 1, N, -1) * a).sum(0).T @ z for d, z in zip(held, states)]


print(f"torch {torch.__version__} on {torch.cuda.get_device_name(0) if device == 'cuda' else 'the CPU'}")
for case in sys.argv[2:]:
    layers, hidden, inputs, outputs, samples = (int(a) for a in case.split(","))
    widths = [inputs] + [hidden] * (layers - 1) + [outputs]
    weights = [torch.randn(b, a + 1, device=device) / a**0.5 for a, b in zip(widths, widths[1:])]
    x = torch.randn(samples, inputs, device=device)
    y = torch.randint(0, outputs, (samples,), device=device)
    try:
        print(samples, f"{1e3 * median(lambda: step(weights, x, y)):.4g}")
    except RuntimeError as error:
        print(samples, "-", str(error).split("\n")[0])
