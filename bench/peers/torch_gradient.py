"""Gradient and Hessian product of a deep tanh network in PyTorch on the CPU: one line of JSON, milliseconds (median, best).

Eager: loss and backward; from version 2 on also the Hessian product as torch.func does it (forward over reverse), and both compiled
by torch.compile, which needs a C++ compiler; null where there is no such thing.

usage: torch_gradient.py LAYERS HIDDEN INPUTS OUTPUTS SAMPLES THREADS SECONDS
"""
import json
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


def measure(work):
    for _ in range(3):
        work()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 20:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    times.sort()
    return [1e3 * times[len(times) // 2], 1e3 * times[0]]


def backward():
    for parameter in model.parameters():
        parameter.grad = None
    loss_function(model(x), y).backward()


def attempt(work):
    try:
        return measure(work)
    except Exception as error:  # no compiler, no such mode
        print(f"left out: {str(error).splitlines()[0]}", file=sys.stderr)
        return None


result = {"version": torch.__version__, "gradient": measure(backward)}
if hasattr(torch, "func"):
    from torch.func import functional_call, grad, grad_and_value, jvp

    parameters = {name: value.detach() for name, value in model.named_parameters()}
    direction = {name: torch.randn_like(value) for name, value in parameters.items()}

    def loss(values):
        return loss_function(functional_call(model, values, (x,)), y)

    def product(values, vector):
        return jvp(grad(loss), (values,), (vector,))[1]

    result["product"] = attempt(lambda: product(parameters, direction))
    compiled = torch.compile(grad_and_value(loss))
    result["compiledGradient"] = attempt(lambda: compiled(parameters))
    compiled_product = torch.compile(product)
    result["compiledProduct"] = attempt(lambda: compiled_product(parameters, direction))
print(json.dumps(result))
