"""A residual network of float32 kernels, wired as a training step wires them: its gradients are JAX's."""

from __future__ import annotations

import float32_cases as cases
import jax
import numpy as np
import pytest
from engine_targets import HostTarget
from float32_cases import LINEAR, RELU, RELU6, floats
from float32_reference import Array, Axis, Conv, Pool, double

RATE = np.array([1], np.float32)
CLASSES, LABEL = 5, 3


def same(size: int) -> Axis:
    return Axis(size, size, 3, 1, 1)


POINT = Axis(4, 4, 1, 1, 0)
STEM = Conv(same(8), same(8), 2, 6, 1)
POOL = Pool(Axis(8, 4, 2, 2, 0), Axis(8, 4, 2, 2, 0), 6)
DEPTHWISE = Conv(same(4), same(4), 6, 6, 6)
POINTWISE = Conv(POINT, POINT, 6, 6, 1)
MEAN = Pool(Axis(4, 2, 2, 2, 0), Axis(4, 2, 2, 2, 0), 6)
HEAD = Conv(Axis(2, 1, 2, 1, 0), Axis(2, 1, 2, 1, 0), 6, CLASSES, 1)
CONVS = {"stem": STEM, "depthwise": DEPTHWISE, "pointwise": POINTWISE, "head": HEAD}


def loss(weights: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """Stem, ReLU6, max-pooling; a depthwise separable block beside a shortcut, ReLU; average-pooling, head."""
    stem = STEM.jax(x, weights["stem"], weights["stem_bias"]).clip(0, 6)
    pooled = POOL.jax_maximum(stem)
    by_channel = weights["depthwise"].transpose(2, 0, 1)[..., None]
    inner = DEPTHWISE.jax(pooled, by_channel, weights["depthwise_bias"]).clip(0)
    block = POINTWISE.jax(inner, weights["pointwise"], weights["pointwise_bias"])
    y = MEAN.jax_average((pooled + block).clip(0))
    logits = HEAD.jax(y, weights["head"], weights["head_bias"]).reshape(-1)
    return -jax.nn.log_softmax(logits)[LABEL]


class Step:
    """One training step by the kernels; maps and gates under the names that `loss` has for them."""

    def __init__(self, host: HostTarget, weights: dict[str, Array], x: Array) -> None:
        self._call = host.call
        self._weights = {name: value.copy() for name, value in weights.items()}
        self._maps: dict[str, Array] = {"x": x}
        self._gates: dict[str, Array] = {}
        self.winners = np.zeros(POOL.y_shape[0] * POOL.y_shape[1] * POOL.channels // 4, np.uint8)
        self.loss = 0.0

    def forward(self) -> Array:
        """The logits' gradient."""
        self._conv("stem", "x", RELU6)
        pooled = self._maps["pooled"] = np.zeros(POOL.y_shape, np.float32)
        self._call("max_pool", POOL.fields, self._maps["stem"], pooled, self.winners)
        self._conv("depthwise", "pooled", RELU)
        self._conv("pointwise", "depthwise", LINEAR)
        total = np.zeros_like(pooled)
        self._call("add", total.size, pooled, self._maps["pointwise"], RELU, total)
        self._gate("total", total, RELU)
        mean = self._maps["mean"] = np.zeros(MEAN.y_shape, np.float32)
        self._call("avg_pool", MEAN.fields, total, mean)
        logits = self._conv("head", "mean", LINEAR).reshape(-1)
        result = np.zeros(2, np.float32)
        self._call("softmax_cross_entropy", CLASSES, logits, LABEL, logits, result)
        self.loss = float(result[0])
        return logits

    def backward(self, logits: Array) -> dict[str, Array]:
        """The weights after a step at rate 1."""
        mean = self._conv_back("head", "mean", logits, None)
        total = np.zeros(POOL.y_shape, np.float32)
        self._call("avg_pool_gradient", MEAN.fields, mean, self._gates["total"], total)
        inner = self._conv_back("pointwise", "depthwise", total, self._gates["depthwise"])
        pooled = self._conv_back("depthwise", "pooled", inner, None)
        self._call("add_gradients", pooled.size, pooled, total, None, pooled)
        stem = np.zeros(STEM.y_shape, np.float32)
        self._call("max_pool_gradient", POOL.fields, pooled, self.winners, self._gates["stem"], stem)
        self._conv_back("stem", "x", stem, None)
        return self._weights

    def _conv(self, name: str, source: str, bounds: Array) -> Array:
        conv, weights, bias = CONVS[name], self._weights[name], self._weights[f"{name}_bias"]
        y = self._maps[name] = np.zeros(conv.y_shape, np.float32)
        scratch = [] if name == "depthwise" else [np.zeros(9 * conv.in_c, np.float32)]
        self._call(kernel_of(name), conv.fields, self._maps[source], weights, None, weights.shape[-1], bias, bounds,
                   *scratch, y)  # fmt: skip
        self._gate(name, y, bounds)
        return y

    def _gate(self, name: str, y: Array, bounds: Array) -> None:
        bits = self._gates[name] = np.zeros((y.size + 7) // 8, np.uint8)
        self._call("pack_gate", y.size, y, bounds, bits)

    def _conv_back(self, name: str, source: str, gy: Array, gate: Array | None) -> Array:
        conv, weights, x = CONVS[name], self._weights[name], self._maps[source]
        gx = np.zeros_like(x)
        channels = weights.shape[-1]
        self._call(f"{kernel_of(name)}_input_gradient", conv.fields, gy, weights, None, channels, gate, gx)
        self._call(f"{kernel_of(name)}_update_immediate", RATE, conv.fields, gy, x, conv.in_c, weights, channels)
        positions = conv.y_shape[0] * conv.y_shape[1]
        self._call("update_bias_immediate", RATE, gy, positions, conv.out_c, self._weights[f"{name}_bias"])
        return gx


def kernel_of(name: str) -> str:
    return "depthwise2d" if name == "depthwise" else "conv2d"


@pytest.mark.parametrize("seed", [1, 2])
def test_a_training_step_is_the_gradient_of_the_whole_network(seed: int) -> None:
    generator = np.random.default_rng(seed)
    weights = {}
    for name, conv in CONVS.items():
        shape = (3, 3, 6) if name == "depthwise" else conv.w_shape
        weights[name] = floats(generator, *shape) / np.float32(np.sqrt(np.prod(conv.w_shape[1:])))
        weights[f"{name}_bias"] = floats(generator, conv.out_c) * np.float32(0.5)
    x = floats(generator, *STEM.x_shape) * np.float32(3)
    step = Step(HostTarget("float32", cases.SOURCES), weights, x)
    after = step.backward(step.forward())
    wide = {name: double(value) for name, value in weights.items()}
    expected, slopes = jax.value_and_grad(loss)(wide, double(x))
    assert step.loss == pytest.approx(float(expected), rel=1e-5)
    for name, slope in slopes.items():
        # Weights of about 1 lose 2^-24 in the difference.
        np.testing.assert_allclose(
            weights[name] - after[name], slope, rtol=0, atol=1e-5 * np.abs(slope).max() + 2e-7, err_msg=name
        )
