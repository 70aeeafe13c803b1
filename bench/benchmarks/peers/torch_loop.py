"""The training loop that one writes by hand in PyTorch: `python -m bench.benchmarks.peers.torch_loop CASE OUTPUT`.

Batches lie in memory as tensors before the time is taken; gradients come from autograd, the step is in place. Two ways
to write the step and each number of threads are tried, as which is best depends on the network and the machine.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .case import Case, Weights, check, load
from .measure import measure

Tensors = list[torch.Tensor]
Step = Callable[[Tensors, Sequence[torch.Tensor], float], None]


def build(layers: Sequence[Mapping[str, Any]]) -> nn.Sequential:
    """A case's network; its modules with parameters come in the order of the layers."""
    modules: list[nn.Module] = []
    for layer in layers:
        if layer["op"] == "dense":
            modules += [nn.Flatten(), nn.Linear(layer["inputs"], layer["outputs"])]
        else:
            top, left, bottom, right = layer["pad"]
            symmetric = (top, left) == (bottom, right)
            if not symmetric:
                if layer["op"] != "conv":
                    raise SystemExit(f"{layer['op']}: only convolutions are padded on one side")
                modules.append(nn.ZeroPad2d((left, right, top, bottom)))
            modules.append(_windowed(layer, (top, left) if symmetric else (0, 0)))
        if layer["relu"]:
            modules.append(nn.ReLU())
    return nn.Sequential(*modules)


def _windowed(layer: Mapping[str, Any], pad: tuple[int, int]) -> nn.Module:
    kernel, stride = tuple(layer["kernel"]), tuple(layer["stride"])
    if layer["op"] == "conv":
        return nn.Conv2d(layer["inputs"], layer["outputs"], kernel, stride, pad, groups=layer["groups"])
    return nn.MaxPool2d(kernel, stride, pad) if layer["op"] == "max_pool" else nn.AvgPool2d(kernel, stride, pad)


def to_torch(weights: Weights) -> Tensors:
    """In PyTorch's order of dimensions, weight and bias of one layer after the other."""
    return [
        torch.from_numpy(value if value.ndim == 1 else value.transpose(0, 3, 1, 2).copy()) for value in weights.values()
    ]


def from_torch(tensors: Sequence[torch.Tensor], like: Weights) -> Weights:
    """What to_torch() was given. A dense layer's tensor has two dimensions."""
    found: Weights = {}
    for (name, value), tensor in zip(like.items(), tensors, strict=True):
        array = tensor.detach().numpy()
        if value.ndim == 4:
            out, high, wide, channels = value.shape
            array = array.reshape(out, channels, high, wide).transpose(0, 2, 3, 1)
        found[name] = array
    return found


def step_each(parameters: Tensors, gradients: Sequence[torch.Tensor], rate: float) -> None:
    """Plain SGD, tensor by tensor."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.sub_(gradient, alpha=rate)


def step_together(parameters: Tensors, gradients: Sequence[torch.Tensor], rate: float) -> None:
    """Plain SGD as torch.optim does it: one call for all tensors."""
    torch._foreach_add_(parameters, gradients, alpha=-rate)


class Trainer:
    """One network that plays all clients."""

    def __init__(self, case: Case, step: Step = step_each) -> None:
        self._model = build(case.layers)
        self._parameters = list(self._model.parameters())
        self._rate = case.rate
        self._step = step
        x = torch.from_numpy(case.x).permute(0, 1, 4, 2, 3).contiguous()
        y = torch.from_numpy(case.y)
        shape = (case.clients, case.steps, case.batch)
        self._x = [list(client) for client in x.reshape(*shape, *x.shape[2:])]
        self._y = [list(client) for client in y.reshape(*shape)]

    def train(self, client: int, start: Sequence[torch.Tensor]) -> Tensors:
        """A client's weights after its pass."""
        with torch.no_grad():
            for parameter, value in zip(self._parameters, start, strict=True):
                parameter.copy_(value.view_as(parameter))
        for x, y in zip(self._x[client], self._y[client], strict=True):
            loss = nn.functional.cross_entropy(self._model(x), y)
            gradients = torch.autograd.grad(loss, self._parameters)
            with torch.no_grad():
                self._step(self._parameters, gradients, self._rate)
        return [parameter.detach().clone() for parameter in self._parameters]


def main(folder: Path, output: Path) -> None:
    """Checks, measures, writes."""
    case = load(folder)
    start = to_torch(case.start)
    runs = []

    def run(trainer: Trainer, count: int) -> None:
        for client in range(count):
            trainer.train(client, start)

    for name, step in (("each", step_each), ("together", step_together)):
        trainer = Trainer(case, step)
        found = [from_torch(trainer.train(client, start), case.start) for client in range(len(case.expected))]
        distance = check(case, found)
        for threads in (1, 2):
            torch.set_num_threads(threads)
            times = measure(partial(run, trainer), most=case.clients, updates=1, repeats=case.repeats,
                            seconds=case.seconds)  # fmt: skip
            runs.append({"threads": threads, "way": name, "distance": distance, **times})
    document = {"versions": {"torch": torch.__version__}, "runs": runs}
    output.write_text(json.dumps(document), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
