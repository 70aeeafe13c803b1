"""Exponents of an int8 program, found by training its float32 twin on the host.

    python -m bench.fleet.calibrate demo_float32

trains the float32 program on 6,000 seeded Fashion-MNIST images and prints, for each weight and each stored activation,
the largest exponent with which the share `COVERED` of all values fits int8 (those beyond are clipped). These are the
exponents in demo_int8's plan.json and program.cpp. A few values are clipped on purpose: a bit more of resolution for
all others is worth more, and a clipped weight still trains.
"""

import argparse
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bench.data import fashion_mnist
from bench.fleet.engine import Engine
from bench.model.plan import Layer, Plan, Values

COVERED = 0.995
LARGEST = 127

Map = NDArray[np.float64]
"""Samples of a stored activation: [count, height, width, channels] or [count, features]."""


def exponent_for(values: NDArray[np.float64]) -> int:
    """The largest exponent e with which `COVERED` of the magnitudes are at most LARGEST * 2^-e."""
    reach = float(np.quantile(np.abs(values), COVERED))
    return math.floor(math.log2(LARGEST / reach)) if reach > 0 else 7


def forward(plan: Plan, values: Values, samples: NDArray[np.int8]) -> Iterable[tuple[Layer, Map]]:
    """Each layer with its outputs, in real arithmetic.

    Args:
        plan: with layers.
        values: real weights and biases.
        samples: int8 [count, channels, height, width].
    """
    x: Map = np.ldexp(samples.astype(np.float64), -plan.input.exponent).transpose(0, 2, 3, 1)
    for layer in plan.layers:
        x = _apply(layer, values, x)
        yield layer, x


def _apply(layer: Layer, values: Values, x: Map) -> Map:
    if layer.op == "max_pool2x2":
        count, height, width, channels = x.shape
        even = x[:, : height // 2 * 2, : width // 2 * 2]
        return np.asarray(even.reshape(count, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4)))
    assert layer.weights is not None
    assert layer.bias is not None
    weights = values[layer.weights]
    if layer.op == "dense":
        y = x.reshape(len(x), -1) @ weights
    else:
        pad = ((0, 0), (layer.pad, layer.pad), (layer.pad, layer.pad), (0, 0))
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, pad), weights.shape[:2], axis=(1, 2))
        y = np.einsum("nyxihw,hwio->nyxo", windows[:, :: layer.stride, :: layer.stride], weights, optimize=True)
    y = y + values[layer.bias]
    return np.maximum(y, 0.0) if layer.relu else y


def calibrate(
    program: str,
    *,
    seed: int = 1,
    samples: int = 6000,
    passes: int = 6,
    learning_rate: float = 0.06,
    decay: float = 0.6,
) -> dict[str, int]:
    """Exponents by name: of each weight tensor, and `layers.N` of each layer's output that is stored.

    Args:
        program: a float32 program whose plan has layers.
        seed: of the choice of images and of the initial weights.
        samples: training images.
        passes: times that all are trained on.
        learning_rate: of the first pass.
        decay: factor from one pass to the next.
    """
    data = fashion_mnist.load()
    engine = Engine(program)
    chosen = np.random.default_rng(seed).permutation(len(data.train_x))[:samples]
    params = engine.begin(engine.plan.encode_down(engine.plan.initial(seed)))
    for index in range(passes):
        rate = learning_rate * decay**index
        params, _ = engine.train(params, data.train_x[chosen], data.train_y[chosen], learning_rate=rate, seed=seed)
    values = engine.plan.decode(params)
    found = {
        tensor.name: exponent_for(values[tensor.name]) for tensor in engine.plan.trained if tensor.kind == "weight"
    }
    outputs = list(forward(engine.plan, values, data.train_x[chosen[:1000]]))
    for index, (layer, output) in enumerate(outputs[:-1]):  # the last layer's are accumulators
        following = outputs[index + 1][0]
        # A map that is only pooled needs the exponent of what the pooling keeps.
        kept = outputs[index + 1][1] if following.op == "max_pool2x2" else output
        found[f"layers.{index}"] = exponent_for(kept) if layer.op != "max_pool2x2" else found[f"layers.{index - 1}"]
    return found


def main() -> None:
    """Prints the exponents of a program."""
    parser = argparse.ArgumentParser(description="Finds the exponents of an int8 program from its float32 twin.")
    parser.add_argument("program", help="a float32 program, for example demo_float32")
    for name, exponent in calibrate(parser.parse_args().program).items():
        print(f"{name}: {exponent}")


if __name__ == "__main__":
    main()
