"""The float32 kernels against an independent autodiff (JAX in float64) and against finite differences."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference as ref
from engine_targets import HostTarget
from numpy.typing import NDArray

from bench.data import fashion_mnist
from bench.fleet.engine import Engine
from bench.model.plan import Values

RELATIVE = 1e-5
RATE = np.array([0.5], np.float32)
Array = NDArray[np.float32]


@pytest.fixture(scope="module")
def host() -> HostTarget:
    return HostTarget("demo_float32")


@pytest.fixture(autouse=True, scope="module")
def _double_precision() -> None:
    jax.config.update("jax_enable_x64", True)


def floats(generator: np.random.Generator, *shape: int) -> Array:
    return generator.normal(0, 1, shape).astype(np.float32)


def close(found: Array, expected: jax.Array) -> bool:
    return float(np.linalg.norm(found - expected)) <= RELATIVE * float(np.linalg.norm(np.asarray(expected)))


def jax_conv(conv: ref.Conv, x: jax.Array, w: jax.Array, bias: jax.Array) -> jax.Array:
    pad = ((conv.pad, conv.pad), (conv.pad, conv.pad))
    layout = ("NHWC", "HWIO", "NHWC")
    strides = (conv.stride, conv.stride)
    return jax.lax.conv_general_dilated(x[None], w, strides, pad, dimension_numbers=layout)[0] + bias


CONVOLUTIONS = [
    ref.Conv(14, 14, 1, 12, 3, 3, 1, 0),
    ref.Conv(8, 7, 5, 6, 3, 2, 2, 1),
    ref.Conv(6, 6, 3, 9, 4, 4, 1, 3),
    ref.Conv(10, 9, 2, 3, 3, 3, 3, 1),
]


@pytest.mark.parametrize("conv", CONVOLUTIONS)
@pytest.mark.parametrize("relu", [False, True])
def test_conv2d_and_its_gradients(host: HostTarget, conv: ref.Conv, relu: bool) -> None:
    generator = np.random.default_rng(5)
    x = floats(generator, conv.in_h, conv.in_w, conv.in_c)
    if relu:
        x = np.maximum(x, 0)  # the layer before ended in a ReLU
    w = floats(generator, conv.kernel_h, conv.kernel_w, conv.in_c, conv.out_c)
    bias = floats(generator, conv.out_c)
    shape = np.array(conv.fields, np.int32)
    y = np.zeros((conv.out_h, conv.out_w, conv.out_c), np.float32)
    host.call("float32_conv2d", shape, x, w, bias, int(relu), np.zeros(w[..., 0].size, np.float32), y)
    exact = jax_conv(conv, jnp.asarray(x, jnp.float64), jnp.asarray(w, jnp.float64), jnp.asarray(bias, jnp.float64))
    assert close(y, jnp.maximum(exact, 0) if relu else exact)

    gy = floats(generator, *y.shape)
    _, pull = jax.vjp(lambda *a: jax_conv(conv, *a), *(jnp.asarray(a, jnp.float64) for a in (x, w, bias)))
    dx, dw, db = pull(jnp.asarray(gy, jnp.float64))
    gx = np.zeros_like(x)
    host.call("float32_conv2d_input_gradient", shape, gy, w, x if relu else None, gx)
    assert close(gx, jnp.where(x > 0, dx, 0) if relu else dx)
    new_w, new_bias = np.zeros_like(w), np.zeros_like(bias)
    host.call("float32_conv2d_update", shape, RATE, gy, x, new_w, new_bias)
    assert close(new_w, -RATE[0] * dw)
    assert close(new_bias, -RATE[0] * db)


@pytest.mark.parametrize(("inputs", "outputs"), [(432, 10), (7, 5), (1, 3), (6, 1)])
def test_dense_and_its_gradients(host: HostTarget, inputs: int, outputs: int) -> None:
    generator = np.random.default_rng(6)
    shape = np.array([inputs, outputs], np.int32)
    x, w, bias = floats(generator, inputs), floats(generator, inputs, outputs), floats(generator, outputs)
    y = np.zeros(outputs, np.float32)
    host.call("float32_dense", shape, x, w, bias, 0, y)
    wide = [jnp.asarray(a, jnp.float64) for a in (x, w, bias)]
    value, pull = jax.vjp(lambda a, b, c: a @ b + c, *wide)
    assert close(y, value)
    gy = floats(generator, outputs)
    dx, dw, db = pull(jnp.asarray(gy, jnp.float64))
    gx, new_w, new_bias = np.zeros_like(x), np.zeros_like(w), np.zeros_like(bias)
    host.call("float32_dense_input_gradient", shape, gy, w, None, gx)
    host.call("float32_dense_update", shape, RATE, gy, x, new_w, new_bias)
    assert close(gx, dx)
    assert close(new_w, -RATE[0] * dw)
    assert close(new_bias, -RATE[0] * db)
    host.call("float32_dense_input_gradient", shape, gy, w, x, gx)
    assert close(gx, jnp.where(x > 0, dx, 0))


@pytest.mark.parametrize(("h", "w", "c"), [(12, 12, 12), (5, 7, 3)])
def test_max_pool_and_its_gradient(host: HostTarget, h: int, w: int, c: int) -> None:
    generator = np.random.default_rng(7)
    x = floats(generator, h, w, c)
    x[0, 0, :] = x[0, 1, :]  # a tie: the first wins
    pooled, winners = ref.max_pool(x)
    y, packed = np.zeros_like(pooled), np.zeros_like(winners)
    shape = np.array([h, w, c], np.int32)
    host.call("float32_max_pool", shape, x, y, packed)
    np.testing.assert_array_equal(y, pooled)
    np.testing.assert_array_equal(packed, winners)
    gy, gx = floats(generator, *pooled.shape), np.ones_like(x)
    host.call("float32_max_pool_gradient", shape, gy, winners, gx)
    np.testing.assert_array_equal(gx, ref.max_pool_gradient(gy, winners, h, w))


@pytest.mark.parametrize("spread", [0.01, 1.0, 30.0])
def test_softmax_cross_entropy(host: HostTarget, spread: float) -> None:
    generator = np.random.default_rng(8)
    for label in range(10):
        logits = floats(generator, 10) * np.float32(spread)
        loss, slope = jax.value_and_grad(lambda z, label=label: -jax.nn.log_softmax(z)[label])(
            logits.astype(np.float64)
        )
        gradient, result = np.zeros(10, np.float32), np.zeros(2, np.float32)
        host.call("float32_softmax_cross_entropy", 10, logits, label, gradient, result)
        np.testing.assert_allclose(gradient, slope, rtol=RELATIVE, atol=2e-7)
        assert result[0] == pytest.approx(float(loss), rel=RELATIVE, abs=1e-6)
        assert result[1] == logits.argmax()


def demo_loss(values: dict[str, jax.Array], x: jax.Array, label: int) -> jax.Array:
    """The network of the demo programs."""
    conv = ref.Conv(14, 14, 1, 12, 3, 3, 1, 0)
    y = jnp.maximum(jax_conv(conv, x, values["conv.weight"], values["conv.bias"]), 0)
    pooled = y.reshape(6, 2, 6, 2, 12).max(axis=(1, 3)).reshape(-1)
    logits = pooled @ values["dense.weight"] + values["dense.bias"]
    return -jax.nn.log_softmax(logits)[label]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine("demo_float32")


@pytest.fixture(scope="module")
def start(engine: Engine) -> Values:
    """Initial values as float32 holds them, biases off zero."""
    generator = np.random.default_rng(9)
    values = engine.plan.initial(9)
    for name in ("conv.bias", "dense.bias"):
        values[name] = generator.normal(0, 0.1, values[name].shape)
    return engine.plan.decode(engine.plan.encode_down(values))


def step_gradient(engine: Engine, start: Values, sample: NDArray[np.int8], label: int) -> Values:
    """Gradient of one sample's loss as the program's step applies it; a rate of 1 loses the fewest bits."""
    params, _ = engine.train(engine.plan.encode_down(start), sample[None], np.array([label], np.uint8),
                             learning_rate=1.0, seed=0)  # fmt: skip
    after = engine.plan.decode(params)
    return {name: start[name] - after[name] for name in start}


def test_a_step_of_the_program_is_the_gradient(engine: Engine, start: Values) -> None:
    data = fashion_mnist.load()
    gradient: Callable[..., dict[str, jax.Array]] = jax.jit(jax.grad(demo_loss))
    wide = {name: jnp.asarray(value, jnp.float64) for name, value in start.items()}
    for index in range(12):
        image = jnp.asarray(data.train_x[index].transpose(1, 2, 0), jnp.float64) / 64
        label = int(data.train_y[index])
        expected = gradient(wide, image, label)
        found = step_gradient(engine, start, data.train_x[index], label)
        for name, value in expected.items():
            # Weights of magnitude 1 lose 2^-24 in the difference; the norms here are about 1.
            error = np.linalg.norm(found[name] - np.asarray(value))
            assert error <= RELATIVE * np.linalg.norm(np.asarray(value)) + 2e-6, (index, name)


def test_a_step_of_the_program_agrees_with_finite_differences(engine: Engine, start: Values) -> None:
    """Independent of any autodiff: central differences of the loss that infer() reports (Q16.16, so coarse)."""
    data = fashion_mnist.load()
    sample, label = data.train_x[3], int(data.train_y[3])
    found = step_gradient(engine, start, sample, label)
    labels = np.array([label], np.uint8)
    generator = np.random.default_rng(10)
    for name in start:
        direction = found[name] / np.linalg.norm(found[name]) + 0.3 * generator.normal(
            0, 1, found[name].shape
        ) / np.sqrt(found[name].size)
        losses = []
        for sign in (1, -1):
            moved = {**start, name: start[name] + sign * 0.002 * direction}
            losses.append(engine.infer(engine.plan.encode_down(moved), sample[None], labels).loss)
        slope = (losses[0] - losses[1]) / 0.004
        assert slope == pytest.approx(float((found[name] * direction).sum()), rel=0.02, abs=0.01), name
