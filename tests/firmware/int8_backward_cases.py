"""What the tests of the int8 backward pass share: sources, values, and the kernels' arguments."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from engine_targets import Argument, Target
from float32_reference import Array, Conv, Pool, packed
from numpy.typing import NDArray

ENGINE = Path(__file__).resolve().parents[2] / "firmware" / "engine" / "int8"
KERNELS = ("add_gradients", "avg_pool_gradient", "conv2d_input_gradient", "conv2d_update", "depthwise2d_input_gradient",
           "depthwise2d_update", "fold", "gate_gradient", "gradient_scale", "max_pool_gradient", "update",
           "upsample_gradient")  # fmt: skip
SOURCES = [*(ENGINE / f"{name}.cpp" for name in KERNELS), Path(__file__).with_name("int8_backward_probe.cpp")]

RULES = ("compensated", "accumulated", "truncated", "compensated4")
"""In the order of the probe's numbers."""
RESIDUALS = {"compensated": np.int8, "accumulated": np.int16, "truncated": None, "compensated4": np.uint8}
"""A number for each weight; compensated4: a byte for two."""


def ints(*values: int) -> NDArray[np.int32]:
    return np.array(values, np.int32)


def int8s(generator: np.random.Generator, *shape: int) -> NDArray[np.int8]:
    """Of one of four kinds: any value, the extremes, small values, mostly zero."""
    kind = int(generator.integers(4))
    if kind == 0:
        return generator.integers(-128, 128, shape, np.int8)
    if kind == 1:
        return generator.choice(np.array([-128, -127, 127], np.int8), shape)
    if kind == 2:
        return generator.integers(-3, 4, shape, np.int8)
    return (generator.integers(-128, 128, shape, np.int8) * (generator.random(shape) < 0.1)).astype(np.int8)


def gradients(generator: np.random.Generator, *shape: int) -> NDArray[np.int8]:
    """As kernels store them: never -128."""
    return np.maximum(int8s(generator, *shape), -127).astype(np.int8)


def lifts(generator: np.random.Generator, conv: Conv, *, depthwise: bool = False) -> NDArray[np.int8]:
    """Up to the limit within which sums over a layer's output channels fit int32."""
    terms = conv.rows.kernel * conv.columns.kernel * (1 if depthwise else conv.out_c // conv.groups)
    return generator.integers(0, min(7, 17 - (terms - 1).bit_length()) + 1, conv.out_c, np.int8)


def splits(weights: Array, trained_in: int) -> tuple[Array | None, Array | None]:
    """Trained and frozen weights, channels last; null where a part is empty."""
    parts = (weights[..., :trained_in], weights[..., trained_in:])
    trained, frozen = (np.ascontiguousarray(part) if part.size else None for part in parts)
    return trained, frozen


@dataclass
class Step:
    """What the kernels share in one training step, as they take it."""

    rate_q16: int = 0
    seed: int = 0
    sgd: NDArray[np.uint32] = field(init=False)

    def __post_init__(self) -> None:
        self.sgd = np.array([self.rate_q16, self.seed, 0], np.uint32)

    @property
    def saturated(self) -> int:
        return int(self.sgd[2])


@dataclass
class Map:
    """A gradient map: its peak, its gate (booleans, or None), and after a call its values and exponent."""

    shape: tuple[int, ...]
    gate: Array | None = None
    peak: int = 0
    seed: int = 77
    saturated: int = 0
    values: NDArray[np.int8] = field(init=False)
    exponent: int = field(init=False)

    def __post_init__(self) -> None:
        self.values = np.full(self.shape, 99, np.int8)

    def arguments(self) -> list[Argument]:
        """gate, peak, gx."""
        bits = None if self.gate is None else packed(self.gate, 1)
        return [bits, np.array([self.peak], np.uint32), self.values]

    def write(self, target: Target, name: str, *arguments: Argument) -> None:
        """Calls a kernel: its shape or size, what it reads, and this map."""
        step, mine = Step(seed=self.seed), self.arguments()
        self.exponent = target.call(name, step.sgd, *arguments, *mine)
        self.saturated = step.saturated
        peak = mine[1]
        assert isinstance(peak, np.ndarray)
        self.peak = int(peak[0])


def conv_gradient_arguments(
    conv: Conv, gy: Array, exponents: tuple[int, int], w: Array, trained_in: int, lift: Array
) -> list[Argument]:
    """Of conv2d_input_gradient and depthwise2d_input_gradient, but for the map. exponents: of gy and of the weights."""
    return [conv.fields, gy, ints(*exponents), *splits(w, trained_in), trained_in, lift]


def max_pool_winners(generator: np.random.Generator, pool: Pool) -> tuple[Array, NDArray[np.uint8]]:
    """Winning taps of a random map, and these as max_pool packs them."""
    winners = pool.winners(generator.normal(size=pool.x_shape))
    return winners, packed(winners, 2 if pool.taps <= 4 else 4 if pool.taps <= 16 else 8)


@dataclass
class Weights:
    """Trained weights as an update takes them."""

    rule: str
    values: NDArray[np.int8]
    residuals: Array | None
    lift: NDArray[np.int8]
    exponent: int

    @classmethod
    def random(
        cls, generator: np.random.Generator, rule: str, shape: tuple[int, ...], lift: Array, exponent: int
    ) -> Weights:
        dtype = RESIDUALS[rule]
        residuals = None
        if dtype is not None:
            limits = np.iinfo(dtype)
            shape_of_them = shape if rule != "compensated4" else (-(-math.prod(shape) // 2),)
            choices = [limits.min, -100, 0, 0, 77, limits.max] if limits.min else np.arange(256)
            residuals = generator.choice(choices, shape_of_them).astype(dtype)
        return cls(rule, int8s(generator, *shape), residuals, lift, exponent)

    def arguments(
        self, stream: int, conv: Conv, gy: Array, gy_exponent: int, x: Array, x_exponent: int
    ) -> list[Argument]:
        """Of conv2d_update and depthwise2d_update, after the step's."""
        return [stream, RULES.index(self.rule), conv.fields, gy, x, ints(gy_exponent, x_exponent, self.exponent),
                x.shape[-1], self.values, self.residuals, self.values.shape[-1], self.lift]  # fmt: skip
