"""Factor + solve with PyTorch on the card, float64, by order: milliseconds and TFLOP/s. Called by bench/gpu.ts."""
import sys
import time

import torch

if not torch.cuda.is_available():
    sys.exit("PyTorch sees no GPU")
print(f"  torch {torch.__version__} on {torch.cuda.get_device_name(0)}")


def median(work, repeats=3):
    times = []
    for i in range(repeats + 1):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        if i > 0:
            times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


for n in (512, 1024, 2048, 4096, 8192, 16384):
    a = torch.full((n, n), 1 / n, dtype=torch.float64, device="cuda")
    a.diagonal().copy_(4 + torch.arange(n, dtype=torch.float64, device="cuda") / n)
    b = torch.ones(n, 1, dtype=torch.float64, device="cuda")
    gemm = median(lambda: a @ a)
    cholesky = median(lambda: torch.cholesky_solve(b, torch.linalg.cholesky(a)))
    flops = n**3 / 3 + 2 * n * n
    print(f"  {n:6d}  gemm {2 * n**3 / gemm / 1e12:7.3f}  cholesky + solve {1e3 * cholesky:9.3f} ms {flops / cholesky / 1e12:7.3f} TFLOP/s")
