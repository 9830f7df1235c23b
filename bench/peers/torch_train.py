"""Trains a tanh network in PyTorch, eager mode, CPU, float64, one thread, from given parameters: SGD or Adam at equal time.

usage: torch_train.py JOB.json

The job names .npy files of inputs [N, features], targets (int32 classes [N] or float64 values [N, outputs]) and the flat
parameters, layer by layer weight [out, in] then bias [out]; "test_inputs" and "test_targets" may be null. "batch": 0 is the full
set. Prints one JSON line. The clock counts batches and steps, not the evaluation at the end.
"""
import json
import sys
import time

import numpy as np
import torch

with open(sys.argv[1]) as file:
    job = json.load(file)
torch.set_num_threads(job["threads"])
torch.set_default_dtype(torch.float64)
torch.manual_seed(job["seed"])


def load(name):
    return None if job[name] is None else torch.from_numpy(np.load(job[name]))


x, y = load("inputs"), load("targets")
classes = job["loss"] == "cross-entropy"
modules = []
widths = job["widths"]
flat, at = load("parameters"), 0
for l in range(len(widths) - 1):
    linear = torch.nn.Linear(widths[l], widths[l + 1])
    for tensor in (linear.weight, linear.bias):
        with torch.no_grad():
            tensor.copy_(flat[at : at + tensor.numel()].view(tensor.shape))
        at += tensor.numel()
    modules.append(linear)
    if l < len(widths) - 2:
        modules.append(torch.nn.Tanh())
assert at == flat.numel()
model = torch.nn.Sequential(*modules)
criterion = torch.nn.CrossEntropyLoss() if classes else torch.nn.MSELoss()
if classes:
    y = y.long()
if job["optimizer"] == "sgd":
    optimizer = torch.optim.SGD(model.parameters(), lr=job["lr"], momentum=job["momentum"])
else:
    optimizer = torch.optim.Adam(model.parameters(), lr=job["lr"])

n, batch = len(x), job["batch"]
smoothed, steps, elapsed, curve, next_point = None, 0, 0.0, [], 0.0
order, position = torch.randperm(n), 0
for warm in range(5):
    criterion(model(x[: batch or n]), y[: batch or n]).backward()
while elapsed < job["seconds"]:
    start = time.perf_counter()
    if batch:
        if position + batch > n:
            order, position = torch.randperm(n), 0
        index = order[position : position + batch]
        position += batch
        inputs, targets = x[index], y[index]
    else:
        inputs, targets = x, y
    optimizer.zero_grad(set_to_none=True)
    loss = criterion(model(inputs), targets)
    loss.backward()
    optimizer.step()
    elapsed += time.perf_counter() - start
    steps += 1
    value = loss.item()
    if not np.isfinite(value):
        break
    if elapsed >= next_point:
        curve.append({"step": steps - 1, "seconds": elapsed, "loss": value})
        next_point = elapsed + job["seconds"] / 200
    if not batch and value <= job["target"]:
        break


def evaluate(inputs, targets):
    outputs = torch.cat([model(part) for part in inputs.split(4096)])
    result = {"loss": criterion(outputs, targets).item()}
    if classes:
        result["accuracy"] = (outputs.argmax(1) == targets).double().mean().item()
    else:
        result["rmse"] = ((outputs - targets) ** 2).mean().sqrt().item() * job["scale"]
    # JSON has no infinity: a diverged run says null.
    return {name: value if np.isfinite(value) else None for name, value in result.items()}


with torch.no_grad():
    sets = {"train": evaluate(x, y)}
    if job["test_inputs"] is not None:
        targets = load("test_targets")
        sets["test"] = evaluate(load("test_inputs"), targets.long() if classes else targets)
print(json.dumps({"version": torch.__version__, "steps": steps, "seconds": elapsed, "curve": curve, "sets": sets}, allow_nan=False))
