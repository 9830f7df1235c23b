"""Forward and backward of a deep tanh network in PyTorch, eager mode, CPU: prints milliseconds, median and best.

usage: torch_gradient.py LAYERS HIDDEN INPUTS OUTPUTS SAMPLES THREADS SECONDS
"""
import sys
import time

import torch

layers, hidden, inputs, outputs, samples, threads = (int(a) for a in sys.argv[1:7])
seconds = float(sys.argv[7])
torch.set_num_threads(threads)
torch.set_default_dtype(torch.float64)
modules = []
width = inputs
for _ in range(layers - 1):
    modules += [torch.nn.Linear(width, hidden), torch.nn.Tanh()]
    width = hidden
model = torch.nn.Sequential(*modules, torch.nn.Linear(width, outputs))
x = torch.randn(samples, inputs)
y = torch.randint(0, outputs, (samples,))
loss_function = torch.nn.CrossEntropyLoss()
times = []
end = time.perf_counter() + seconds
while time.perf_counter() < end or len(times) < 20:
    start = time.perf_counter()
    for parameter in model.parameters():
        parameter.grad = None
    loss_function(model(x), y).backward()
    times.append(time.perf_counter() - start)
times.sort()
print(f"{torch.__version__} {1e3 * times[len(times) // 2]:.4f} {1e3 * times[0]:.4f}")
